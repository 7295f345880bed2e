"""When the membership may change. `Changer` says to what, `Leader` appends it. Thesis §4.1, §4.2.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftcore.core.errors import (
    ChangePending,
    ConfigMoved,
    MembershipError,
    NotCaughtUp,
    UnknownMember,
)
from raftcore.core.membership import everybody
from raftcore.core.progress import Progress, ProgressState
from raftcore.core.types import EntryKind, Index, NodeId

if TYPE_CHECKING:
    from raftcore.core.raft import RaftCore

_ID_GAP_MAX = 1_000
"""How many empty entries may be written to bring the log's end above all ids given out at bootstrap."""


def require_settled(core: RaftCore, based_on: Index, *, has_committed: bool) -> None:
    """One change at a time, made for the membership in force. Thesis §4.1.

    Without an own-term commit two leaders could each change the same old membership: Ongaro's correction of
    the single-server change, raft-dev 2015.

    :raises ChangePending: :raises ConfigMoved: otherwise.
    """
    if core.configs.index > core.log.commit or core.membership.outgoing or not has_committed:
        raise ChangePending("another change, or this term's first entry, is not committed yet")
    if based_on != core.configs.index:
        raise ConfigMoved(f"the membership is that of {core.configs.index}, not of {based_on}")


def require_caught_up(core: RaftCore, progress: Progress | None, id: NodeId) -> None:
    """A learner votes only when it would not hold up the next commit. Thesis §4.2.1.

    :raises UnknownMember: when there is no such learner. :raises NotCaughtUp: when it lags, or is silent.
    """
    if progress is None or id not in core.membership.learners:
        raise UnknownMember(f"no learner {id}")
    lag = core.log.last - progress.match
    if progress.state is not ProgressState.REPLICATE or lag > core.config.promote_lag_max:
        raise NotCaughtUp(f"learner {id} is {lag} entries behind")
    silent_us = core.now - progress.contact
    if silent_us >= core.config.election_timeout_us:
        raise NotCaughtUp(f"learner {id} was last heard {silent_us} us ago")


def pass_all_ids(core: RaftCore) -> None:
    """Bring the log's end above every id, so that no index can ever name a second replica.

    Ids given at bootstrap may exceed the first indexes; all later ones are indexes themselves. Thesis §4.1.

    :raises MembershipError: when that would take too many empty entries.
    """
    greatest = max(everybody(core.membership))
    if greatest - core.log.last > _ID_GAP_MAX:
        raise MembershipError(f"replica id {greatest} is far beyond the log's end {core.log.last}")
    while core.log.last < greatest:
        core.append_own(EntryKind.NOOP, b"")
