"""What can go wrong, and what the caller may assume then.

::

    RaftError
    ├── NotAccepted            the command is in no log and never will be: safe to retry anywhere
    │   ├── NotLeader          ask `leader` (0 when nobody is known)
    │   ├── Busy               a bound is full: retry after a pause
    │   ├── TransferInProgress leadership is moving: retry at the new leader
    │   └── PayloadTooLarge    the command exceeds the limit: retrying cannot help
    ├── OutcomeUnknown         it may or may not be applied: retry only with an idempotency key
    ├── ReadFailed             nothing was read
    ├── MembershipError        the membership is as it was
    │   ├── ChangePending      another change is not yet committed
    │   ├── ConfigMoved        the membership is not the one this change was based on
    │   ├── NotCaughtUp        the learner is too far behind to vote
    │   ├── UnknownMember      no such replica
    │   └── WouldRemoveLastVoter
    ├── StorageError           the log is not to be trusted further: the process must stop
    │   ├── DiskFull
    │   ├── Stalled            nothing was written: retry later
    │   ├── Corrupt
    │   └── LogLost            the leader knows of committed entries that this log lost
    └── RemoteError            a peer spoke wrongly; its message was dropped
        ├── WrongCluster
        ├── WrongReplica
        └── BadFrame

`InvariantViolation` is no RaftError: it is a bug, and halts the shard that found it.
"""

from __future__ import annotations

from raftcore.core.types import NO_NODE, NodeId


class InvariantViolation(AssertionError):
    """A rule that can never be broken was broken; the shard must halt with its state kept."""


def require(condition: object, what: str, **facts: object) -> None:
    """Check an invariant in production, also under ``python -O``.

    :raises InvariantViolation: when ``condition`` is false; the message names ``what`` and the facts.
    """
    if not condition:
        raise InvariantViolation(what + "".join(f" {name}={value!r}" for name, value in facts.items()))


class RaftError(Exception):
    """Anything that this library reports to its caller."""


class NotAccepted(RaftError):
    """The command is in no log and never will be."""


class NotLeader(NotAccepted):
    def __init__(self, leader: NodeId = NO_NODE) -> None:
        super().__init__(f"not the leader; known leader: {leader or 'none'}")
        self.leader = leader


class Busy(NotAccepted):
    """A bounded queue is full."""


class TransferInProgress(NotAccepted):
    pass


class PayloadTooLarge(NotAccepted):
    pass


class OutcomeUnknown(RaftError):
    """The command may or may not have been applied."""


class ReadFailed(RaftError):
    pass


class MembershipError(RaftError):
    """The membership is as it was before the call."""


class ChangePending(MembershipError):
    pass


class ConfigMoved(MembershipError):
    pass


class NotCaughtUp(MembershipError):
    pass


class UnknownMember(MembershipError):
    pass


class WouldRemoveLastVoter(MembershipError):
    pass


class StorageError(RaftError):
    """The store failed. Unless the class says otherwise, stop: never retry an fsync."""


class DiskFull(StorageError):
    pass


class Stalled(StorageError):
    """The store refused a write to protect itself; nothing was written."""


class Corrupt(StorageError):
    pass


class LogLost(StorageError):
    pass


class RemoteError(RaftError):
    pass


class WrongCluster(RemoteError):
    pass


class WrongReplica(RemoteError):
    pass


class BadFrame(RemoteError):
    pass
