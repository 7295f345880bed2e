"""What can go wrong with a call, and what the caller may assume then.

::

    RaftError
    ├── KvError
    │   ├── BadMessage    the bytes are no message of ours
    │   ├── BadRequest    a field is out of range: retrying cannot help
    │   ├── NotTheLeader  nothing was done: ask `address` (empty when nobody is known)
    │   ├── Unavailable   nothing was done: retry
    │   ├── Refused       the membership is as it was: the message says why
    │   └── Compacted     changes that old are gone: read the state, then watch from there
    └── OutcomeUnknown    (raftcore.core.errors) it may or may not be done: retry with the same request id
"""

from __future__ import annotations

from raftcore.core.errors import RaftError


class KvError(RaftError):
    """Anything that this service reports to its caller beside `OutcomeUnknown`."""


class BadMessage(KvError):
    pass


class BadRequest(KvError):
    pass


class NotTheLeader(KvError):
    def __init__(self, address: str) -> None:
        super().__init__(f"not the leader; it is at {address or 'an unknown address'}")
        self.address = address


class Unavailable(KvError):
    pass


class Refused(KvError):
    pass


class Compacted(KvError):
    def __init__(self, first_index: int) -> None:
        super().__init__(f"changes before index {first_index} are compacted away: read the state first")
        self.first_index = first_index
