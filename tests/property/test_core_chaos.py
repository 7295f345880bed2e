"""Random worlds of a few cores: loss, duplication, reordering, slow disks, crashes, changes of members.

After every step the cluster checks election safety, log matching and that no index is applied differently;
at the end the faults stop and everybody must agree, with every acknowledged command in place. Thesis §3.6.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from raftcore.core.config import CoreConfig
from raftcore.core.errors import RaftError
from raftcore.core.messages import Message
from raftcore.core.types import AddLearner, EntryId, NodeId, Promote, Remove, Role
from tests.unit.core_cluster import Cluster, Node, recovered_of

SMALL = CoreConfig(
    election_timeout_us=1000,
    heartbeat_interval_us=100,
    inflight_messages_max=3,
    append_bytes_max=200,
    tail_bytes_max=600,
    committed_bytes_max=150,
    promote_lag_max=2,
)


class World(Cluster):
    """A cluster whose network keeps messages for a while and whose hosts die."""

    def __init__(self, seed: int, voters: int) -> None:
        super().__init__(*range(1, voters + 1), config=SMALL)
        self.random = Random(seed)
        self.loss = self.random.choice([0.0, 0.05, 0.3])
        self.late = self.random.choice([0.0, 0.2, 0.6])
        self.crashes = self.random.choice([0.0, 0.01, 0.04])
        self.changes = self.random.choice([0.0, 0.0, 0.05])
        self.compactions = self.random.choice([0.0, 0.03])
        self.in_flight: list[Message] = []
        self.proposed: dict[EntryId, bytes] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.reads: dict[tuple[int, int], int] = {}

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.dst not in self.nodes or (message.src, message.dst) in self.cuts:
                continue
            if self.random.random() >= self.loss:
                self.in_flight.append(message)
            if self.random.random() < self.loss / 2:
                self.in_flight.append(message)

    def step(self) -> None:
        random = self.random
        self.now += random.choice([1, 20, 60])
        inboxes: dict[int, list[Message]] = {}
        kept = []
        for message in self.in_flight:
            if random.random() < self.late:
                kept.append(message)
            elif (message.src, message.dst) not in self.cuts:
                inboxes.setdefault(message.dst, []).append(message)
        self.in_flight = kept
        for id in list(self.nodes):
            inbox = inboxes.get(id, [])
            if self.late:
                random.shuffle(inbox)
            self.act(self.nodes[id])
            node = self.nodes[id]
            self.turn(node, inbox)
            self.see(node)
            if random.random() < 0.3:
                node.is_slow = random.random() < 0.5
            if not node.is_slow:
                self.sync(node)
        self.check()

    def act(self, node: Node) -> None:
        random, core = self.random, node.core
        if random.random() < self.crashes:
            self.crash(node)
            return
        if random.random() < self.compactions and core.applied > core.first_index + 5:
            self.compact(core.node, random.randrange(core.first_index, core.applied + 1))
        try:
            if random.random() < 0.3:
                data = b"%d" % len(self.proposed) * random.choice([1, 30])
                entry = core.propose(data)
                self.proposed[entry] = data
            if random.random() < 0.1:
                id = core.read()
                self.reads[core.node, id] = max(self.acknowledged, default=0)
            if random.random() < self.changes and core.role is Role.LEADER:
                self.change(node)
            if random.random() < 0.01 and core.role is Role.LEADER:
                core.transfer_leadership(random.choice(sorted(core.membership.voters)))
        except RaftError:
            pass

    def change(self, node: Node) -> None:
        core, random = node.core, self.random
        members = core.membership
        choice = random.random()
        if choice < 0.4 and len(members.members) < 6:
            added = core.change_membership(AddLearner("new", "new:1"), core.membership_index)
            self.start(recovered_of(added.index))
        elif choice < 0.8 and members.learners:
            core.change_membership(Promote(NodeId(min(members.learners))), core.membership_index)
        elif len(members.voters) > 2:
            core.change_membership(Remove(random.choice(sorted(members.voters))), core.membership_index)

    def crash(self, node: Node) -> None:
        """Lose some suffix of what was written but not synced."""
        self.restart(node.core.node, self.random.randrange(len(node.unsynced) + 1))

    def see(self, node: Node) -> None:
        for index, entry in node.applied.items():
            if self.proposed.get(EntryId(entry.term, entry.index)) is not None:
                self.acknowledged[index] = entry.data
        for id in list(node.reads):
            asked = self.reads.pop((node.core.node, id), None)
            index = node.reads.pop(id)
            assert asked is None or index >= asked, "a read misses a write acknowledged before it"

    def converge(self) -> None:
        self.loss = self.late = self.crashes = self.changes = self.compactions = 0.0
        self.cuts.clear()
        for _ in range(3000):
            self.step_quietly()
            leaders = [n.core for n in self.nodes.values() if n.core.role is Role.LEADER]
            if not leaders:
                continue
            leader = max(leaders, key=lambda core: core.term)
            members = {m.id for m in leader.membership.members}
            cores = [self.nodes[id].core for id in members]
            if (
                leader.membership_index <= leader.commit
                and leader.node in leader.membership.voters
                and all(core.applied == leader.last_index for core in cores)
            ):
                for index, data in self.acknowledged.items():
                    for core in cores:
                        assert self.nodes[core.node].applied[index].data == data
                return
        raise AssertionError("no convergence")

    def partition(self) -> None:
        """Cut some directions of some pairs, whatever was cut before."""
        pairs = [(a, b) for a in self.nodes for b in self.nodes if a != b]
        self.cuts = {pair for pair in pairs if self.random.random() < 0.15}

    def step_quietly(self) -> None:
        self.now += 20
        inboxes: dict[int, list[Message]] = {}
        for message in self.in_flight:
            inboxes.setdefault(message.dst, []).append(message)
        self.in_flight = []
        for id, node in list(self.nodes.items()):
            node.is_slow = False
            self.turn(node, inboxes.get(id, []))
            self.sync(node)
        self.check()


@pytest.mark.parametrize("seed", range(40))
def test_safety_under_faults_and_convergence_after_them(seed: int) -> None:
    run(seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 11_000, 1000))
def test_safety_in_many_worlds(first: int) -> None:
    for seed in range(first, first + 1000):
        run(seed)


def run(seed: int) -> None:
    world = World(seed, voters=3 + 2 * (seed % 2))
    for step in range(600):
        if step % 50 == 0:
            world.partition()
        world.step()
    world.converge()
