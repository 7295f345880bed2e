"""What can go wrong with a call, and what the caller may assume then.

::

    RaftError
    ├── KvError
    │   ├── BadRequest    a field is out of range: retrying cannot help
    │   ├── NotTheLeader  nothing was done: ask `address` (empty when nobody is known)
    │   ├── Unavailable   nothing was done: retry
    │   ├── Refused       the membership is as it was: the message says why
    │   └── Compacted     changes before `first_index` are gone: read the state, then watch from there
    └── OutcomeUnknown    (raftcore.core.errors) it may or may not be done: retry with the same request id
"""

from __future__ import annotations

from raftcore.application import OutcomeUnknown, RaftError
from raftcore.kv._pb import kv_pb2 as pb


class KvError(RaftError):
    """Anything that this service reports to its caller beside `OutcomeUnknown`; made of one string."""


class BadRequest(KvError):
    pass


class NotTheLeader(KvError):
    @property
    def address(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return f"not the leader; it is at {self.address or 'an unknown address'}"


class Unavailable(KvError):
    pass


class Refused(KvError):
    pass


class Compacted(KvError):
    @property
    def first_index(self) -> int:
        return int(self.args[0])

    def __str__(self) -> str:
        return f"changes before index {self.first_index} are compacted away: read the state first"


_SENT = {
    kind.__name__: kind
    for kind in (BadRequest, NotTheLeader, Unavailable, Refused, Compacted, OutcomeUnknown)
}


def failure(error: RaftError) -> pb.Failure:
    """An error as it is sent. What is none of ours leaves the outcome unknown."""
    kind = type(error).__name__
    if kind not in _SENT:
        return pb.Failure(kind=OutcomeUnknown.__name__, detail=str(error))
    return pb.Failure(kind=kind, detail=str(error.args[0]))


def error_of(sent: pb.Failure) -> RaftError:
    """The error that was sent."""
    return _SENT.get(sent.kind, KvError)(sent.detail)
