"""What must hold after every event, checked on the host that the event touched.

The checks are incremental. *Log matching* is an induction: every entry ever written is remembered as
(index, term) -> (term before it, its data), so two logs that agree on an entry agree on everything before it.
What is committed first, by whichever leader, is the truth that every other host must repeat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

from raftcore.core.membership import decode_membership
from raftcore.core.messages import AppendReply, Message, Vote, VoteReply
from raftcore.core.ready import WriteSet
from raftcore.core.types import (
    NO_NODE,
    Entry,
    EntryKind,
    HardState,
    Index,
    Membership,
    NodeId,
    Role,
    SnapshotMeta,
    Term,
)
from raftcore.sim.trace import demand
from raftcore.storage.memory import LogImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftcore.core.raft import RaftCore
    from raftcore.sim.host import SimHost


@dataclass(slots=True, frozen=True)
class Committed:
    """One index of the truth: the entry, and the term of the leader that first committed it."""

    term: Term
    digest: int
    committed_in: Term


@dataclass(slots=True)
class _Seen:
    """What a host showed last time: within one life, these only grow."""

    life: int
    term: Term = Term(0)  # noqa: RUF009
    role: Role = Role.FOLLOWER
    commit: Index = Index(0)  # noqa: RUF009
    applied: Index = Index(0)  # noqa: RUF009
    last: Index = Index(0)  # noqa: RUF009
    durable: Index = Index(0)  # noqa: RUF009
    leader: NodeId = NO_NODE
    match: dict[NodeId, Index] = field(default_factory=dict)


class Invariants:
    """Family J: safety as a function of the whole world's state. Raises `Violation`."""

    def __init__(self, hosts: dict[NodeId, SimHost], committed: Callable[[Index, Entry], None]) -> None:
        self.truth: list[Committed] = []
        self.chains: dict[Index, bytes] = {}
        self._hosts = hosts
        self._on_committed = committed
        self._entries: dict[tuple[int, int], tuple[Term, int]] = {}
        self._leaders: dict[Term, NodeId] = {}
        self._votes: dict[tuple[NodeId, Term], NodeId] = {}
        self._seen: dict[NodeId, _Seen] = {}
        self._durable_terms: dict[NodeId, Term] = {}
        self._members: frozenset[NodeId] = frozenset()
        self._removed: set[NodeId] = set()

    @property
    def commit(self) -> Index:
        """The newest index that anybody ever committed."""
        return Index(len(self.truth))

    # -- hooks, in the order in which a host passes them

    def started(self, host: SimHost, core: RaftCore) -> None:
        """A host came up: what it promised before still binds it."""
        demand(
            core.term >= self._durable_terms.get(host.node, 0),
            "a restart keeps the term that was durable",
            node=host.node,
            term=core.term,
            durable=self._durable_terms.get(host.node),
        )
        seen = self._seen[host.node] = _Seen(host.life)
        seen.term = core.term

    def writing(self, host: SimHost, image: LogImage, write: WriteSet) -> None:
        """``write`` is about to change ``image``."""
        if write.truncate_from:
            self._keeps_committed(host.node, image, write.truncate_from, "truncation")
        state = write.hard_state
        if state is not None:
            before = image.hard_state
            demand(
                state.term > before.term
                or (state.term == before.term and before.vote in (NO_NODE, state.vote)),
                "the hard state never moves back, a vote never changes",
                node=host.node,
                before=before,
                state=state,
            )
        if write.entries:
            first = write.entries[0].index
            previous = image.term_at(first - 1)
            demand(previous is not None, "a log is written without gaps", node=host.node, first=first)
            self._match_entries(host.node, previous or Term(0), write.entries)
        if write.configs:
            kept = [index for index, _ in image.configs if not 0 < write.truncate_from <= index]
            new = [index for index, _ in write.configs]
            in_flight = [index for index in kept + new if index > self.commit]
            demand(len(in_flight) <= 1, "one membership change is in flight", node=host.node, at=in_flight)

    def sent(self, host: SimHost, message: Message) -> None:
        """``message`` leaves ``host``: what it promises must be durable. Thesis §3.8."""
        durable = host.disk.store.durable_image(host.shard, host.node)
        match message:
            case VoteReply(granted=True, term=term, dst=candidate):
                self._vote(host.node, term, candidate)
                self._vote_is_durable(host.node, durable.hard_state, term, candidate)
            case Vote(term=term):
                self._vote(host.node, term, host.node)
                self._vote_is_durable(host.node, durable.hard_state, term, host.node)
            case AppendReply(rejected=False, match=match):
                demand(
                    durable.last_index >= match and durable.hard_state.term >= message.term,
                    "an acknowledged append is durable, with its term",
                    message=message,
                    durable=durable.last_index,
                    durable_term=durable.hard_state.term,
                )
            case _:
                pass

    def installing(self, host: SimHost, core: RaftCore, meta: SnapshotMeta) -> None:
        """``meta`` is about to replace the log, unless the log goes on behind it."""
        image = host.disk.store.image(host.shard, host.node)
        keeps_log = image.term_at(meta.index) == meta.term
        demand(keeps_log == core.keeps_log(meta), "core and store agree on what a snapshot leaves", meta=meta)
        if not keeps_log:
            self._keeps_committed(host.node, image, Index(meta.index + 1), "an installed snapshot")
        demand(
            meta.index <= self.commit and self.truth[meta.index - 1].term == meta.term,
            "a snapshot is of the committed log",
            meta=meta,
        )

    def applied(self, host: SimHost, entries: list[Entry]) -> None:
        """``host``'s machine has just applied ``entries``."""
        durable = host.disk.store.durable_image(host.shard, host.node)
        for entry in entries:
            demand(
                entry.index <= self.commit and self.truth[entry.index - 1].digest == _digest(entry),
                "only committed entries are applied",
                node=host.node,
                entry=entry,
            )
            demand(
                durable.term_at(entry.index) == entry.term or entry.index < durable.first_index,
                "only durable entries are applied (etcd #14370)",
                node=host.node,
                entry=entry,
            )
            chain = host.machine.chain_at(entry.index)
            demand(
                self.chains.setdefault(entry.index, chain) == chain,
                "machines at the same index have the same state",
                node=host.node,
                index=entry.index,
            )

    def after(self, host: SimHost, core: RaftCore) -> None:
        """The event is over, and everything that it produced is on its way."""
        seen = self._seen[host.node]
        image = host.disk.store.image(host.shard, host.node)
        self._pointers(host, core, seen, image)
        if core.role is Role.LEADER:
            if seen.role is not Role.LEADER or seen.term != core.term:
                self._elected(host, core, image)
                seen.match = {}
            elif core.commit > seen.commit:
                demand(
                    image.term_at(core.commit) == core.term,
                    "a leader commits by counting only what is of its own term (thesis §3.6.2)",
                    node=host.node,
                    commit=core.commit,
                    term=core.term,
                )
            self._progress(host, core, seen, image)
        if core.commit > seen.commit:
            self._committed(host, core, seen.commit, image)
        seen.term, seen.role, seen.leader = core.term, core.role, core.leader
        seen.commit, seen.applied, seen.last, seen.durable = (
            core.commit,
            core.applied,
            core.last_index,
            core.durable,
        )
        self._durable_terms[host.node] = host.disk.store.durable_image(host.shard, host.node).hard_state.term

    # -- the rules

    def _pointers(self, host: SimHost, core: RaftCore, seen: _Seen, image: LogImage) -> None:
        facts = {
            "node": host.node,
            "first": core.first_index,
            "applied": core.applied,
            "commit": core.commit,
            "last": core.last_index,
            "durable": core.durable,
            "term": core.term,
        }
        demand(
            core.first_index - 1 <= core.applied <= core.commit <= core.last_index
            and core.durable <= core.last_index
            and host.machine.flushed <= host.machine.applied
            and image.first_index - 1 <= host.machine.flushed,
            "pointers are ordered",
            **facts,
        )
        demand(
            core.term >= seen.term and core.commit >= seen.commit and core.applied >= seen.applied,
            "term, commit and applied only grow",
            seen=seen,
            **facts,
        )
        demand(
            core.term > seen.term or seen.leader in (NO_NODE, core.leader) or core.leader == NO_NODE,
            "a term has one leader",
            seen=seen.leader,
            leader=core.leader,
        )
        demand(
            image.last_index == core.last_index,
            "what a turn leaves behind is written",
            written=image.last_index,
            **facts,
        )
        if core.durable != seen.durable:
            durable = host.disk.store.durable_image(host.shard, host.node)
            demand(
                durable.last_index >= core.durable
                and (
                    core.durable < image.first_index
                    or durable.term_at(core.durable) == image.term_at(core.durable)
                    or core.durable < durable.first_index
                ),
                "what the core takes for durable is",
                on_disk=durable.last_index,
                **facts,
            )

    def _elected(self, host: SimHost, core: RaftCore, image: LogImage) -> None:
        leader = self._leaders.setdefault(core.term, host.node)
        demand(leader == host.node, "a term elects one leader", term=core.term, one=leader, other=host.node)
        electors = {node for node in self._hosts if self._votes.get((node, core.term)) == host.node}
        state = host.disk.store.durable_image(host.shard, host.node).hard_state
        if state.term == core.term and state.vote == host.node:
            electors.add(host.node)
        in_force = image.membership_at(image.last_index)
        demand(
            in_force is not None and _is_quorum(in_force[1], electors),
            "a leader has the votes of a quorum",
            node=host.node,
            term=core.term,
            electors=sorted(electors),
            membership=in_force,
        )
        index = len(self.truth)
        while index and self.truth[index - 1].committed_in >= core.term:
            index -= 1
        if index >= image.first_index:
            demand(
                image.term_at(index) == self.truth[index - 1].term,
                "a leader has every entry that was committed in earlier terms",
                node=host.node,
                term=core.term,
                committed=index,
                last=image.last_index,
            )

    def _progress(self, host: SimHost, core: RaftCore, seen: _Seen, image: LogImage) -> None:
        for peer, progress in core.progress().items():
            match = progress.match
            before = seen.match.get(peer, 0)
            if match == before:
                continue
            demand(
                before < match <= core.last_index and match < progress.next,
                "match only grows, below next",
                leader=host.node,
                peer=peer,
                before=before,
                match=match,
                next=progress.next,
                last=core.last_index,
            )
            seen.match[peer] = match
            other = self._hosts.get(peer)
            if other is None or other is host:
                continue
            durable = other.disk.store.durable_image(other.shard, peer)
            if durable.hard_state.term == core.term:
                demand(
                    durable.last_index >= match
                    and (
                        match < max(durable.first_index, image.first_index)
                        or durable.term_at(match) == image.term_at(match)
                    ),
                    "a peer has on disk what its leader thinks it has",
                    leader=host.node,
                    peer=peer,
                    match=match,
                    on_disk=durable.last_index,
                )

    def _committed(self, host: SimHost, core: RaftCore, seen: Index, image: LogImage) -> None:
        for index in range(max(seen + 1, image.first_index), core.commit + 1):
            entry = image.entries[index - image.first_index]
            if index <= len(self.truth):
                truth = self.truth[index - 1]
                demand(
                    truth.term == entry.term and truth.digest == _digest(entry),
                    "what is committed never changes",
                    node=host.node,
                    index=index,
                    truth=truth,
                    entry=entry,
                )
                continue
            demand(index == len(self.truth) + 1, "commits leave no gap", node=host.node, index=index)
            self._on_a_quorum(host.node, Index(index), entry.term, image)
            self.truth.append(Committed(entry.term, _digest(entry), core.term))
            self._names_are_new(Index(index), entry)
            self._on_committed(Index(index), entry)

    def _names_are_new(self, index: Index, entry: Entry) -> None:
        """A removed replica is gone for good: its id would vouch for what its disk held. Thesis §4.1."""
        membership = membership_of(entry)
        if membership is None:
            return
        members = frozenset(member.id for member in membership.members)
        self._removed |= self._members - members
        again = members & self._removed
        demand(not again, "an id names one replica for ever", index=index, again=sorted(again))
        self._members = members

    def _on_a_quorum(self, leader: NodeId, index: Index, term: Term, image: LogImage) -> None:
        """The entry is on the disks of a majority of a membership that its leader may have counted by."""
        configs = [membership for at, membership in image.configs if at >= index]
        in_force = image.membership_at(index)
        if in_force is not None:
            configs.append(in_force[1])
        holders = {node for node in self._hosts if self._holds(node, index, term)}
        demand(
            any(_is_quorum(membership, holders) for membership in configs),
            "a committed entry is on the disks of a quorum",
            leader=leader,
            index=index,
            term=term,
            holders=sorted(holders),
            memberships=[sorted(membership.voters) for membership in configs],
        )

    def _holds(self, node: NodeId, index: Index, term: Term) -> bool:
        host = self._hosts[node]
        durable = host.disk.store.durable_image(host.shard, node)
        return index < durable.first_index or durable.term_at(index) == term

    def _keeps_committed(self, node: NodeId, image: LogImage, lost_from: Index, what: str) -> None:
        """Nothing committed is lost from ``lost_from`` on: its first entry decides, by log matching."""
        if image.first_index <= lost_from <= min(image.last_index, len(self.truth)):
            demand(
                image.term_at(lost_from) != self.truth[lost_from - 1].term,
                f"{what} loses no committed entry",
                node=node,
                lost_from=lost_from,
                last=image.last_index,
            )

    def _match_entries(self, node: NodeId, previous: Term, entries: list[Entry]) -> None:
        known = self._entries
        for entry in entries:
            seen = (previous, _digest(entry))
            first = known.setdefault((entry.index, entry.term), seen)
            demand(first == seen, "logs match", node=node, entry=entry, previous=previous, elsewhere=first)
            demand(entry.term >= previous, "terms never fall along a log", node=node, entry=entry)
            previous = entry.term

    def _vote(self, voter: NodeId, term: Term, candidate: NodeId) -> None:
        first = self._votes.setdefault((voter, term), candidate)
        demand(first == candidate, "one vote per term", voter=voter, term=term, first=first, second=candidate)

    @staticmethod
    def _vote_is_durable(node: NodeId, state: HardState, term: Term, candidate: NodeId) -> None:
        demand(
            state.term > term or (state.term == term and state.vote == candidate),
            "a vote is durable before it leaves",
            node=node,
            term=term,
            candidate=candidate,
            durable=state,
        )


def membership_of(entry: Entry) -> Membership | None:
    """The membership that a CONFIG entry makes."""
    return decode_membership(entry.data) if entry.kind == EntryKind.CONFIG else None


def _digest(entry: Entry) -> int:
    return crc32(entry.data, entry.kind)


def _is_quorum(membership: Membership, holders: set[NodeId]) -> bool:
    return all(
        2 * len(half & holders) > len(half) for half in (membership.voters, membership.outgoing) if half
    )
