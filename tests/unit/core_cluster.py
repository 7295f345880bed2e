"""A few cores in one process: a network in a list, disks in lists, and a clock that the test moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from raftcore.core.config import CoreConfig
from raftcore.core.membership import decode_membership, encode_membership
from raftcore.core.messages import Message
from raftcore.core.raft import RaftCore
from raftcore.core.ready import InstallSnapshot, LoadEntries, Ready, SnapshotWanted, WriteSet
from raftcore.core.types import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Instant,
    Member,
    Membership,
    NodeId,
    Range,
    Recovered,
    Role,
    SnapshotMeta,
    Term,
)

CONFIG = CoreConfig(election_timeout_us=1000, heartbeat_interval_us=100)
START = 1_000_000


def membership_of(*voters: int, learners: Iterable[int] = (), outgoing: Iterable[int] = ()) -> Membership:
    ids = sorted({*voters, *learners, *outgoing})
    return Membership(
        voters=frozenset(NodeId(id) for id in voters),
        outgoing=frozenset(NodeId(id) for id in outgoing),
        learners=frozenset(NodeId(id) for id in learners),
        members=tuple(Member(NodeId(id), f"peer{id}", f"127.0.0.1:{7000 + id}") for id in ids),
    )


def entries_of(lo: int, *terms: int) -> list[Entry]:
    """Entries from ``lo`` on with the given terms; their data names term and index."""
    return [
        Entry(Term(term), Index(index), EntryKind.COMMANDS, b"%d/%d" % (term, index))
        for index, term in enumerate(terms, lo)
    ]


def config_entry(term: int, index: int, membership: Membership) -> Entry:
    return Entry(Term(term), Index(index), EntryKind.CONFIG, encode_membership(membership))


def recovered_of(
    node: int,
    *,
    term: int = 0,
    vote: int = 0,
    commit: int = 0,
    applied: int = 0,
    entries: list[Entry] | None = None,
    first: int = 1,
    previous_term: int = 0,
    configs: list[tuple[int, Membership]] | None = None,
    tail_count: int | None = None,
) -> Recovered:
    """What a log store would find; memberships come from CONFIG entries unless they are given."""
    entries = entries or []
    runs: list[tuple[Index, Term]] = []
    for entry in entries:
        if not runs or runs[-1][1] != entry.term:
            runs.append((entry.index, entry.term))
    found = [(e.index, decode_membership(e.data)) for e in entries if e.kind is EntryKind.CONFIG]
    if configs is not None:
        found = [(Index(index), membership) for index, membership in configs]
    return Recovered(
        node=NodeId(node),
        hard_state=HardState(Term(term), NodeId(vote), Index(commit)),
        first_index=Index(first),
        last_index=Index(first + len(entries) - 1),
        previous_term=Term(previous_term),
        term_runs=runs,
        tail=entries if tail_count is None else entries[len(entries) - tail_count :],
        configs=found,
        applied=Index(applied),
    )


def core_of(recovered: Recovered, config: CoreConfig = CONFIG, seed: int = 1) -> RaftCore:
    """A core at its first instant."""
    core = RaftCore(config, recovered, Random(seed))
    core.observe(Instant(START))
    return core


def voter_of(node: int, *voters: int, terms: Iterable[int] = (1,), **fields: int) -> RaftCore:
    """A core whose log begins with the membership ``voters`` and goes on with entries of ``terms``."""
    first, *rest = terms
    entries = [config_entry(first, 1, membership_of(*voters)), *entries_of(2, *rest)]
    fields.setdefault("term", entries[-1].term)
    return core_of(recovered_of(node, entries=entries, **fields))  # type: ignore[arg-type]


def drain(core: RaftCore) -> Ready:
    """One ready, with its write durable at once."""
    ready = core.ready() or Ready()
    if ready.write is not None:
        core.persisted(ready.write.token)
    return ready


@dataclass
class Disk:
    """What a log store holds. Small enough to be copied whole."""

    hard_state: HardState
    first: int
    previous_term: int
    log: dict[int, Entry]
    configs: dict[int, Membership]

    def write(self, write: WriteSet) -> None:
        if write.truncate_from:
            self.log = {i: entry for i, entry in self.log.items() if i < write.truncate_from}
            self.configs = {i: config for i, config in self.configs.items() if i < write.truncate_from}
        if write.entries:
            assert write.entries[0].index == self.first + len(self.log), "a log is written without gaps"
        self.log |= {entry.index: entry for entry in write.entries}
        self.configs |= dict(write.configs)
        if write.hard_state is not None:
            self.hard_state = write.hard_state

    def compact(self, first: int) -> None:
        if first <= self.first:
            return
        self.previous_term = self.log[first - 1].term
        self.log = {i: entry for i, entry in self.log.items() if i >= first}
        newest = max((i for i in self.configs if i < first), default=0)
        self.configs = {i: config for i, config in self.configs.items() if i >= newest}
        self.first = first

    def restart_after(self, meta: SnapshotMeta) -> None:
        self.first, self.previous_term = meta.index + 1, meta.term
        self.log, self.configs = {}, {meta.membership_index: meta.membership}
        state = self.hard_state
        self.hard_state = HardState(state.term, state.vote, meta.index)

    def copy(self) -> Disk:
        return replace(self, log=dict(self.log), configs=dict(self.configs))


@dataclass
class Node:
    """A core with its disk and its state machine."""

    core: RaftCore
    disk: Disk
    """With everything written."""
    durable: Disk
    """With everything synced."""
    applied: dict[int, Entry] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    failed_reads: set[int] = field(default_factory=set)
    unsynced: deque[tuple[WriteSet, list[Message]]] = field(default_factory=deque)
    is_slow: bool = False
    """Its disk syncs nothing until told."""

    @property
    def log(self) -> dict[int, Entry]:
        return self.disk.log


class Cluster:
    """Cores that talk to each other. ``settle`` runs turns until nothing is left to do at this instant."""

    def __init__(self, *voters: int, config: CoreConfig = CONFIG) -> None:
        self.config = config
        self.now = START
        self.nodes: dict[int, Node] = {}
        self.network: deque[Message] = deque()
        self.cuts: set[tuple[int, int]] = set()
        self.is_lost: Callable[[Message], bool] = lambda _: False
        self.sent: list[Message] = []
        self.snapshots: dict[str, dict[int, Entry]] = {}
        membership = membership_of(*voters)
        for node in voters:
            self.start(recovered_of(node, term=1, commit=1, entries=[config_entry(1, 1, membership)]))

    def start(self, recovered: Recovered) -> Node:
        core = RaftCore(self.config, recovered, Random(recovered.node * 7919 + self.now))
        core.observe(Instant(self.now))
        disk = Disk(
            recovered.hard_state,
            recovered.first_index,
            recovered.previous_term,
            {entry.index: entry for entry in recovered.tail},
            dict(recovered.configs),
        )
        node = self.nodes[recovered.node] = Node(core, disk, disk.copy())
        return node

    def restart(self, id: int, survivors: int | None = None) -> Node:
        """Crash, losing all but ``survivors`` of the writes not yet synced, and start again from the disk.

        The state machine comes back with what the log no longer has.
        """
        old = self.nodes[id]
        for write, _ in list(old.unsynced)[:survivors]:
            old.durable.write(write)
        disk = old.durable
        state = disk.hard_state
        node = self.start(
            recovered_of(
                id,
                term=state.term,
                vote=state.vote,
                commit=state.commit,
                applied=disk.first - 1,
                entries=[disk.log[index] for index in sorted(disk.log)],
                first=disk.first,
                previous_term=disk.previous_term,
                configs=sorted(disk.configs.items()),
            )
        )
        node.applied = {index: entry for index, entry in old.applied.items() if index < disk.first}
        return node

    def isolate(self, id: int) -> None:
        for other in self.nodes:
            self.cuts |= {(id, other), (other, id)}

    def heal(self) -> None:
        self.cuts.clear()

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.sent.append(message)
            cut = (message.src, message.dst) in self.cuts or message.dst not in self.nodes
            if not cut and not self.is_lost(message):
                self.network.append(message)

    def settle(self) -> None:
        for _ in range(10_000):
            busy = False
            inboxes: dict[int, list[Message]] = {}
            while self.network:
                message = self.network.popleft()
                inboxes.setdefault(message.dst, []).append(message)
            for id, node in self.nodes.items():
                busy |= self.turn(node, inboxes.get(id, []))
            if not busy and not self.network:
                self.check()
                return
        raise AssertionError("the cluster does not settle")

    def turn(self, node: Node, inbox: Iterable[Message] = ()) -> bool:
        core = node.core
        core.observe(Instant(self.now))
        for message in inbox:
            core.step(message)
        core.expire()
        ready = core.ready()
        if ready is None:
            return False
        self.send(ready.messages)
        if ready.write is not None:
            node.unsynced.append((ready.write, ready.messages_after_persist))
            node.disk.write(ready.write)
        elif node.unsynced:
            node.unsynced[-1][1].extend(ready.messages_after_persist)
        else:
            self.send(ready.messages_after_persist)
        if not node.is_slow:
            self.sync(node)
        self.apply(node, ready.committed)
        node.reads |= {read.id: read.index for read in ready.reads}
        node.failed_reads |= set(ready.failed_reads)
        for load in ready.loads:
            self.load(node, load)
        self.snapshot(node, ready.snapshot)
        return True

    def sync(self, node: Node) -> None:
        while node.unsynced:
            write, messages = node.unsynced.popleft()
            node.durable.write(write)
            node.core.persisted(write.token)
            self.send(messages)

    def apply(self, node: Node, committed: Range | None) -> None:
        if committed is None:
            return
        entries = node.core.entries(committed)
        if entries is None:
            entries = [node.log[index] for index in range(committed.lo, committed.hi)]
        for entry in entries:
            assert entry.index not in node.applied
            node.applied[entry.index] = entry
        node.core.applied_to(entries[-1].index)

    def load(self, node: Node, load: LoadEntries) -> None:
        found = [node.log[index] for index in range(load.lo, load.hi) if index in node.log]
        node.core.entries_loaded(load, found[:10] if load.lo in node.log else None)

    def snapshot(self, node: Node, wanted: SnapshotWanted | InstallSnapshot | None) -> None:
        core = node.core
        if isinstance(wanted, SnapshotWanted):
            index, membership = max(
                (c for c in node.disk.configs.items() if c[0] <= core.applied), key=lambda c: c[0]
            )
            meta = SnapshotMeta(
                core.applied,
                core.log.known_term(core.applied),
                membership,
                Index(index),
                str(len(self.snapshots)),
            )
            self.snapshots[meta.id] = {i: e for i, e in node.applied.items() if i <= meta.index}
            core.snapshot_ready(wanted.peer, meta)
        elif isinstance(wanted, InstallSnapshot) and core.installing == wanted.meta:
            node.applied = dict(self.snapshots[wanted.meta.id])
            assert not core.keeps_log(wanted.meta)
            self.sync(node)
            node.disk.restart_after(wanted.meta)
            node.durable = node.disk.copy()
            core.snapshot_installed(wanted.meta)

    def compact(self, id: int, first: int) -> None:
        node = self.nodes[id]
        self.sync(node)
        node.disk.compact(first)
        node.durable = node.disk.copy()
        node.core.compacted(Index(first))

    def advance(self, us: int, step: int = 50) -> None:
        end = self.now + us
        while self.now < end:
            self.now += step
            self.settle()

    def elect(self, id: int) -> Node:
        """Let ``id`` win an election, whoever led before."""
        node = self.nodes[id]
        for _ in range(10):
            if node.core.role is Role.LEADER:
                return node
            self.now += 3 * self.config.election_timeout_us
            for other in self.nodes.values():
                other.core.observe(Instant(self.now))
                if other is not node and other.core.leadership is None:
                    other.core.leader_contact = Instant(0)
                    other.core.restart_election_timer()
            self.settle()
            self.advance(self.config.heartbeat_interval_us)
        raise AssertionError(f"replica {id} does not become leader")

    @property
    def leader(self) -> Node:
        leaders = [node for node in self.nodes.values() if node.core.role is Role.LEADER]
        return max(leaders, key=lambda node: node.core.term)

    def propose(self, data: bytes = b"x") -> None:
        self.leader.core.propose(data)
        self.settle()

    def data(self, id: int) -> list[bytes]:
        """The commands that ``id`` has applied."""
        applied = self.nodes[id].applied
        return [applied[i].data for i in sorted(applied) if applied[i].kind is EntryKind.COMMANDS]

    def check(self) -> None:
        """Election safety, log matching, state machine safety. Thesis figure 3.2."""
        leaders = [n.core.term for n in self.nodes.values() if n.core.role is Role.LEADER]
        assert len(leaders) == len(set(leaders)), "two leaders in one term"
        committed: dict[int, Entry] = {}
        at: dict[tuple[int, int], Entry] = {}
        for node in self.nodes.values():
            log = node.core.log
            assert log.first - 1 <= log.applied <= log.handed_out <= log.commit <= log.last
            assert log.durable <= log.last
            for index, entry in node.applied.items():
                assert committed.setdefault(index, entry) == entry, "two commands at one index"
            for entry in log.slice(log.tail_first, Index(log.last + 1)) or []:
                assert at.setdefault((entry.index, entry.term), entry) == entry, "logs do not match"
            for progress in node.core.progress().values():
                assert progress.match < progress.next
