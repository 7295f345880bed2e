"""A hand-driven cluster of replicas: messages go at once unless cut, disks and appliers when told."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from raftcore.core.config import CoreConfig
from raftcore.core.messages import Message
from raftcore.core.raft import RaftCore
from raftcore.core.ready import SnapshotWanted
from raftcore.core.types import Entry, EntryKind, Index, Instant, NodeId, Role, ShardId
from raftcore.replica.group import decode_group
from raftcore.replica.replica import Replica, ReplicaLimits
from raftcore.replica.turn import Turn
from raftcore.storage.conformance import membership_of
from raftcore.storage.memory import MemoryLogStore

SHARD = ShardId(1)
CONFIG = CoreConfig()


class Driven:
    """One replica, with its disk and its machine at hand."""

    def __init__(self, node: int, voters: list[int], limits: ReplicaLimits, config: CoreConfig) -> None:
        self.node = NodeId(node)
        self.store = MemoryLogStore()
        self.store.bootstrap(SHARD, self.node, membership_of(*voters))
        recovered = self.store.recover(SHARD, self.node, Index(0), config.tail_bytes_max)
        self.replica = Replica(RaftCore(config, recovered, Random(node)), limits)
        self.applies = True
        self.to_apply: list[Entry] = []
        self.applied_commands: list[bytes] = []
        self.groups: list[int] = []
        self.snapshots_wanted = 0

    def apply(self) -> None:
        """Apply everything handed out; a command's result is itself in upper case."""
        entries, self.to_apply = self.to_apply, []
        if not entries:
            return
        results = []
        for entry in entries:
            if entry.kind is EntryKind.COMMANDS:
                commands = [bytes(command) for command in decode_group(entry.data)]
                self.groups.append(len(commands))
                self.applied_commands += commands
                results.append((entry.index, [command.upper() for command in commands]))
        self.replica.applied(entries[-1].index, results)


class Cluster:
    def __init__(
        self,
        count: int = 3,
        limits: ReplicaLimits = ReplicaLimits(),  # noqa: B008
        config: CoreConfig = CONFIG,
    ) -> None:
        voters = list(range(1, count + 1))
        self.now = Instant(0)
        self.nodes = {node: Driven(node, voters, limits, config) for node in voters}
        self.cut: set[int] = set()
        self.drops: Callable[[Message], bool] = lambda message: False
        for driven in self.nodes.values():
            driven.replica.observe(self.now)

    def __getitem__(self, node: int) -> Replica:
        return self.nodes[node].replica

    def settle(self) -> None:
        """Take turns until nobody has anything to do."""
        busy = True
        while busy:
            busy = False
            for driven in self.nodes.values():
                while (turn := driven.replica.turn()) is not None:
                    busy = True
                    self._carry_out(driven, turn)
                if driven.applies and driven.to_apply:
                    busy = True
                    driven.apply()

    def pass_time(self, us: int, *nodes: int) -> None:
        """Time goes on, timers fire at ``nodes`` (default: everywhere)."""
        self.now = Instant(self.now + us)
        for node, driven in self.nodes.items():
            driven.replica.observe(self.now)
            if not nodes or node in nodes:
                driven.replica.expire()
        self.settle()

    def elect(self, node: int) -> None:
        for _ in range(20):
            self.pass_time(2 * CONFIG.election_timeout_us, node)
            if self[node].core.role is Role.LEADER:
                self.settle()
                return
        raise AssertionError(f"{node} was not elected")

    def _carry_out(self, driven: Driven, turn: Turn) -> None:
        self._send(driven, turn.messages)
        if turn.write is not None:
            driven.store.write([(SHARD, driven.node, turn.write)])
            driven.store.sync()
        self._send(driven, turn.after_persist)
        if turn.write is not None:
            driven.replica.persisted(turn.write.token)
        driven.to_apply += turn.apply
        driven.snapshots_wanted += isinstance(turn.snapshot, SnapshotWanted)
        for load in turn.loads:
            entries = driven.store.entries(SHARD, driven.node, load.lo, load.hi, load.bytes_max)
            driven.replica.loaded(load, entries)

    def _send(self, driven: Driven, messages: list[Message]) -> None:
        for message in messages:
            reachable = not {int(driven.node), int(message.dst)} & self.cut
            if reachable and message.dst in self.nodes and not self.drops(message):
                self.nodes[message.dst].replica.step(message)


class Calls:
    """Collects how calls end; each at most once."""

    def __init__(self) -> None:
        self.outcomes: dict[object, object] = {}

    def done(self, name: object) -> Callable[[object], None]:
        def end(outcome: object) -> None:
            assert name not in self.outcomes, f"{name} ended twice"
            self.outcomes[name] = outcome

        return end

    def kinds(self) -> dict[object, str]:
        return {name: type(outcome).__name__ for name, outcome in self.outcomes.items()}
