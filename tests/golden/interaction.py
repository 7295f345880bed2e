"""Runs a golden script: commands to a few cores, and all that the cores do in answer, as text.

A script is blocks of a command, ``----``, and its output up to an empty line; ``#`` begins a remark::

    add-nodes 3
    ----
    ok

Clocks stand still until a command moves them, so nothing happens by itself. Most commands name a node first:

- ``configure FIELD=..``; ``add-nodes N``; ``add-node ID voters=.. [learners=..] [terms=..] [term=..]``
  (``terms`` of the entries behind the membership)
- ``campaign`` (its election timer is due); ``elect`` (and let it win; prints only the end); ``tick`` (a
  heartbeat interval passes); ``elapse us=..`` (its clock moves, no timer fires); ``unreachable PEER``
- ``propose DATA..``; ``read``; ``transfer to=..``
- ``change-membership add-learner=NAME|promote=ID|remove=ID [based-on=..]``
- ``ready`` (one turn); ``deliver-msgs`` and ``drop-msgs [from=..] [type=..]``; ``stabilize [ID..]`` (turns
  and deliveries until nothing is left among these)
- ``slow-disk on|off``; ``sync [writes=..]`` (the oldest of the unsynced); ``compact first=..``;
  ``crash [keep=..]`` (how many unsynced writes survive); ``restart``
- ``status``; ``log``; ``membership``; ``show``; ``in-flight``
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from raftcore.core.errors import InvariantViolation, RaftError
from raftcore.core.messages import Message
from raftcore.core.raft import RaftCore
from raftcore.core.ready import InstallSnapshot, LoadEntries, Ready, SnapshotWanted, WriteSet
from raftcore.core.types import (
    AddLearner,
    ConfigChange,
    Entry,
    Index,
    Instant,
    NodeId,
    Promote,
    Range,
    Remove,
    SnapshotMeta,
    Term,
)
from tests.golden.printing import (
    entry_text,
    membership_text,
    message_text,
    progress_text,
    ready_lines,
)
from tests.unit.core_cluster import (
    CONFIG,
    START,
    Disk,
    config_entry,
    core_of,
    entries_of,
    membership_of,
    recovered_of,
)


@dataclass(frozen=True)
class Block:
    """A command with what the script says it prints; ``remark`` are the lines above it."""

    remark: tuple[str, ...]
    command: str
    expected: str


def parse(text: str) -> list[Block]:
    blocks: list[Block] = []
    remark: list[str] = []
    lines = deque(text.splitlines())
    while lines:
        line = lines.popleft()
        if not line.strip() or line.startswith("#"):
            remark.append(line)
            continue
        assert lines and lines.popleft() == "----", f"a line ---- follows the command {line!r}"
        output = []
        while lines and lines[0].strip():
            output.append(lines.popleft())
        if lines:
            lines.popleft()
        blocks.append(Block(tuple(remark), line, "\n".join(output)))
        remark = []
    return blocks


def run(path: Path) -> str:
    """The whole script again, with what its commands print now."""
    interaction = Interaction()
    parts = []
    for block in parse(path.read_text()):
        output = interaction.do(block.command)
        parts.append("\n".join([*block.remark, block.command, "----", output, ""]))
    return "\n".join(parts)


@dataclass
class Node:
    core: RaftCore
    disk: Disk
    durable: Disk
    now: int = START
    applied: dict[int, Entry] = field(default_factory=dict)
    unsynced: deque[tuple[WriteSet, list[Message]]] = field(default_factory=deque)
    is_slow: bool = False
    is_up: bool = True


class Interaction:
    """Cores, the messages between them, and what has been printed since the last command."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._network: list[Message] = []
        self._snapshots: dict[str, dict[int, Entry]] = {}
        self._lines: list[str] = []
        self._config = CONFIG

    def do(self, line: str) -> str:
        """Carry out one command; returns what it prints."""
        self._lines = []
        name, *words = line.split()
        named = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        command: Callable[[list[str], dict[str, str]], None] = getattr(self, "_" + name.replace("-", "_"))
        try:
            command(plain, named)
        except (RaftError, InvariantViolation) as error:
            self._lines.append(f"{type(error).__name__}: {error}")
        return "\n".join(self._lines) or "ok"

    # Setting up

    def _configure(self, plain: list[str], named: dict[str, str]) -> None:
        self._config = replace(self._config, **{name: int(value) for name, value in named.items()})  # type: ignore[arg-type]  # bool is an int

    def _add_nodes(self, plain: list[str], named: dict[str, str]) -> None:
        ids = ",".join(str(id) for id in range(1, int(plain[0]) + 1))
        for id in ids.split(","):
            self._add_node([id], {"voters": ids})

    def _add_node(self, plain: list[str], named: dict[str, str]) -> None:
        terms = [int(term) for term in named.get("terms", "").split(",") if term]
        voters = [int(id) for id in named.get("voters", "").split(",") if id]
        learners = [int(id) for id in named.get("learners", "").split(",") if id]
        entries: list[Entry] = []
        if voters:
            entries = [config_entry(1, 1, membership_of(*voters, learners=learners)), *entries_of(2, *terms)]
        term = int(named.get("term", entries[-1].term if entries else 0))
        recovered = recovered_of(
            int(plain[0]), term=term, commit=int(named.get("commit", min(1, len(entries)))), entries=entries
        )
        disk = Disk(recovered.hard_state, 1, 0, {e.index: e for e in entries}, dict(recovered.configs))
        core = core_of(recovered, self._config, seed=int(plain[0]))
        self._nodes[int(plain[0])] = Node(core, disk, disk.copy())

    # Time and requests

    def _campaign(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        node.now = max(node.now, node.core.deadline())
        self._fire(node)

    def _elect(self, plain: list[str], named: dict[str, str]) -> None:
        self._campaign(plain, {})
        self._stabilize([], {})
        self._lines.clear()
        self._show([], {})

    def _tick(self, plain: list[str], named: dict[str, str]) -> None:
        for id in plain:
            node = self._node([id])
            node.now += self._config.heartbeat_interval_us
            self._fire(node)

    def _unreachable(self, plain: list[str], named: dict[str, str]) -> None:
        self._node(plain).core.unreachable(NodeId(int(plain[1])))

    def _elapse(self, plain: list[str], named: dict[str, str]) -> None:
        for id in plain:
            node = self._node([id])
            node.now += int(named["us"])
            node.core.observe(Instant(node.now))

    def _fire(self, node: Node) -> None:
        node.core.observe(Instant(node.now))
        node.core.expire()
        self._turn(node)

    def _propose(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        for data in plain[1:]:
            node.core.propose(data.encode())
        self._turn(node)

    def _read(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        self._lines.append(f"read {node.core.read() & 0xFFFF}")
        self._turn(node)

    def _transfer(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        node.core.transfer_leadership(NodeId(int(named["to"])))
        self._turn(node)

    def _change_membership(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        change: ConfigChange
        if "add-learner" in named:
            change = AddLearner(named["add-learner"], f"{named['add-learner']}:7000")
        elif "promote" in named:
            change = Promote(NodeId(int(named["promote"])))
        else:
            change = Remove(NodeId(int(named["remove"])))
        based_on = Index(int(named.get("based-on", node.core.membership_index)))
        node.core.change_membership(change, based_on)
        self._turn(node)

    # Messages

    def _deliver_msgs(self, plain: list[str], named: dict[str, str]) -> None:
        for id in plain:
            self._deliver(int(id), self._take(int(id), named))

    def _drop_msgs(self, plain: list[str], named: dict[str, str]) -> None:
        for id in plain:
            for message in self._take(int(id), named):
                self._lines.append(f"dropped: {message_text(message)}")

    def _in_flight(self, plain: list[str], named: dict[str, str]) -> None:
        self._lines += [message_text(message) for message in self._network] or ["none"]

    def _ready(self, plain: list[str], named: dict[str, str]) -> None:
        self._turn(self._node(plain))

    def _stabilize(self, plain: list[str], named: dict[str, str]) -> None:
        ids = [int(id) for id in plain] or [id for id, node in self._nodes.items() if node.is_up]
        for _ in range(1_000):
            busy = False
            for id in ids:
                inbox = [m for m in self._network if m.dst == id and m.src in ids]
                if inbox:
                    self._network = [message for message in self._network if message not in inbox]
                    self._deliver(id, inbox)
                busy |= bool(inbox) or self._turn(self._nodes[id])
            if not busy:
                return
        raise AssertionError("the nodes do not settle")

    def _take(self, id: int, named: dict[str, str]) -> list[Message]:
        sources = named.get("from", "").split(",") if "from" in named else None
        taken = [
            message
            for message in self._network
            if message.dst == id
            and (sources is None or str(message.src) in sources)
            and named.get("type", type(message).__name__) == type(message).__name__
        ]
        self._network = [message for message in self._network if message not in taken]
        return taken

    def _deliver(self, id: int, messages: list[Message]) -> None:
        node = self._nodes[id]
        node.core.observe(Instant(node.now))
        for message in messages:
            self._lines.append(message_text(message))
            node.core.step(message)
        self._turn(node)

    # A node's turn

    def _turn(self, node: Node) -> bool:
        """Carry out readies until there are none; whether there were any."""
        busy = False
        while node.is_up and (ready := node.core.ready()) is not None:
            busy = True
            self._lines += [f"  {node.core.node}: {line}" for line in ready_lines(ready)]
            self._network += ready.messages
            self._write(node, ready)
            self._apply(node, ready.committed)
            for load in ready.loads:
                self._load(node, load)
            self._snapshot(node, ready.snapshot)
        return busy

    def _write(self, node: Node, ready: Ready) -> None:
        if ready.write is not None:
            node.unsynced.append((ready.write, ready.messages_after_persist))
            node.disk.write(ready.write)
        elif node.unsynced:
            node.unsynced[-1][1].extend(ready.messages_after_persist)
        else:
            self._network += ready.messages_after_persist
        if not node.is_slow:
            self._sync_disk(node)

    def _sync_disk(self, node: Node, writes_max: int = 1_000) -> None:
        for _ in range(min(writes_max, len(node.unsynced))):
            write, messages = node.unsynced.popleft()
            node.durable.write(write)
            node.core.persisted(write.token)
            self._network += messages

    def _apply(self, node: Node, committed: Range | None) -> None:
        if committed is None:
            return
        entries = [node.disk.log[index] for index in range(committed.lo, committed.hi)]
        node.applied |= {entry.index: entry for entry in entries}
        texts = ", ".join(entry_text(entry) for entry in entries)
        self._lines.append(f"  {node.core.node}: apply {texts}")
        node.core.applied_to(entries[-1].index)

    def _load(self, node: Node, load: LoadEntries) -> None:
        log = node.disk.log
        found = [log[index] for index in range(load.lo, load.hi) if index in log]
        self._lines.append(f"  {node.core.node}: load [{load.lo}, {load.hi}) for {load.peer}")
        node.core.entries_loaded(load, found if load.lo in log else None)

    def _snapshot(self, node: Node, wanted: SnapshotWanted | InstallSnapshot | None) -> None:
        core = node.core
        if isinstance(wanted, SnapshotWanted):
            at = max(index for index in node.disk.configs if index <= core.applied)
            id = f"{core.node}-{core.applied}"
            term = Term(core.log.known_term(core.applied))
            meta = SnapshotMeta(core.applied, term, node.disk.configs[at], Index(at), id)
            self._snapshots[id] = dict(node.applied)
            self._lines.append(f"  {core.node}: snapshot {meta.term}/{meta.index} made for {wanted.peer}")
            core.snapshot_ready(wanted.peer, meta)
        elif isinstance(wanted, InstallSnapshot) and core.installing == wanted.meta:
            meta = wanted.meta
            self._sync_disk(node)
            node.applied = dict(self._snapshots[meta.id])
            node.disk.restart_after(meta)
            node.durable = node.disk.copy()
            self._lines.append(f"  {core.node}: install {meta.term}/{meta.index} from {wanted.source}")
            core.snapshot_installed(meta)

    # Disks, crashes

    def _slow_disk(self, plain: list[str], named: dict[str, str]) -> None:
        self._node(plain).is_slow = plain[1] == "on"

    def _sync(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        self._sync_disk(node, int(named.get("writes", 1_000)))
        self._turn(node)

    def _compact(self, plain: list[str], named: dict[str, str]) -> None:
        node, first = self._node(plain), int(named["first"])
        node.disk.compact(first)
        node.durable = node.disk.copy()
        node.core.compacted(Index(first))

    def _crash(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        node.is_up = False
        for write, _ in list(node.unsynced)[: int(named.get("keep", 0))]:
            node.durable.write(write)
        node.unsynced.clear()

    def _restart(self, plain: list[str], named: dict[str, str]) -> None:
        old = self._node(plain)
        disk, state = old.durable, old.durable.hard_state
        recovered = recovered_of(
            int(plain[0]),
            term=state.term,
            vote=state.vote,
            commit=state.commit,
            applied=disk.first - 1,
            entries=[disk.log[index] for index in sorted(disk.log)],
            first=disk.first,
            previous_term=disk.previous_term,
            configs=sorted(disk.configs.items()),
        )
        applied = {index: entry for index, entry in old.applied.items() if index < disk.first}
        core = core_of(recovered, self._config, seed=int(plain[0]))
        node = Node(core, disk.copy(), disk, applied=applied)
        self._nodes[int(plain[0])] = node
        self._turn(node)

    # Looking

    def _status(self, plain: list[str], named: dict[str, str]) -> None:
        for peer, progress in self._node(plain).core.progress().items():
            self._lines.append(progress_text(peer, progress))

    def _log(self, plain: list[str], named: dict[str, str]) -> None:
        node = self._node(plain)
        self._lines.append(f"first={node.core.first_index} last={node.core.last_index}")
        self._lines += [entry_text(node.disk.log[index]) for index in sorted(node.disk.log)]

    def _membership(self, plain: list[str], named: dict[str, str]) -> None:
        core = self._node(plain).core
        self._lines.append(f"{membership_text(core.membership)} since {core.membership_index}")

    def _show(self, plain: list[str], named: dict[str, str]) -> None:
        for id, node in self._nodes.items():
            core = node.core
            if not node.is_up:
                self._lines.append(f"{id}: down")
                continue
            self._lines.append(
                f"{id}: {core.role.name} term={core.term} vote={core.vote} leader={core.leader} "
                f"commit={core.commit} applied={core.applied} last={core.last_index} durable={core.durable}"
            )

    def _node(self, plain: list[str]) -> Node:
        return self._nodes[int(plain[0])]
