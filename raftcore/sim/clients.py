"""The clients and the operator of a simulated cluster: commands, reads, membership changes, transfers."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from raftcore.core.errors import RaftError
from raftcore.core.types import AddLearner, ConfigChange, Index, NodeId, Promote, Remove
from raftcore.sim.linearizability import Kind

if TYPE_CHECKING:
    from raftcore.sim.host import SimHost
    from raftcore.sim.oracle import Oracle

_BURST_MAX = 12
_MEMBERS_MAX = 6


def propose(host: SimHost, oracle: Oracle, padding: int) -> int:
    """One command at ``host``; returns the call's id."""
    call = oracle.begin(host.node, host.life, Kind.WRITE)
    replica = host.replica
    if replica is None:
        oracle.refused(call)
        return call
    try:
        replica.propose(oracle.command(call, padding), lambda outcome: oracle.write_ended(call, outcome))
    except RaftError:
        oracle.refused(call)
    return call


def read(host: SimHost, oracle: Oracle) -> int:
    """One linearizable read at ``host``; returns the call's id."""
    call = oracle.begin(host.node, host.life, Kind.READ)
    replica = host.replica
    if replica is None:
        oracle.refused(call)
        return call
    try:
        replica.read(
            lambda outcome: oracle.read_ended(
                call, outcome, host.machine.applied, host.machine.register(oracle.key_of(call))
            )
        )
    except RaftError:
        oracle.refused(call)
    return call


def change_membership(host: SimHost, oracle: Oracle, change: ConfigChange, based_on: Index) -> str:
    """One change at ``host``; returns how it began, for the trace."""
    replica = host.replica
    if replica is None:
        return "down"
    call = oracle.begin(host.node, host.life)
    try:
        replica.change_membership(change, based_on, lambda outcome: oracle.change_ended(call, outcome))
    except RaftError as error:
        oracle.refused(call)
        return f"{change}: {type(error).__name__}"
    return f"{change}"


class Clients:
    """Random callers, who mostly find the leader, and sometimes everybody."""

    def __init__(self, rng: Random, oracle: Oracle) -> None:
        self._rng = rng
        self._oracle = oracle
        self._added_count = 0

    def pick(self, hosts: list[SimHost]) -> SimHost | None:
        """Whom a client calls: some leader, if there is one, four times out of five."""
        up = [host for host in hosts if host.replica is not None and not host.paused]
        leading = [host for host in up if host.leads]
        if leading and self._rng.random() < 0.8:
            return self._rng.choice(leading)
        return self._rng.choice(up) if up else None

    def call(self, hosts: list[SimHost]) -> None:
        """A burst of commands, or a read."""
        host = self.pick(hosts)
        if host is None:
            return
        rng = self._rng
        if rng.random() < 0.2:
            read(host, self._oracle)
        else:
            for _ in range(rng.randint(1, _BURST_MAX) if rng.random() < 0.3 else 1):
                propose(host, self._oracle, rng.choice((0, 10, 200)))
        host.need_turn()

    def operate(self, hosts: list[SimHost]) -> tuple[NodeId, str] | None:
        """Some membership change, sensible or not, at some host."""
        host = self.pick(hosts)
        if host is None or host.replica is None:
            return None
        rng = self._rng
        core = host.replica.core
        membership = core.membership
        based_on = core.membership_index
        if rng.random() < 0.05:
            based_on = Index(max(0, based_on - 1))
        everybody = sorted(membership.voters | membership.learners)
        change: ConfigChange
        if membership.learners and rng.random() < 0.6:
            change = Promote(rng.choice(sorted(membership.learners)))
        elif everybody and (len(everybody) >= _MEMBERS_MAX or rng.random() < 0.5):
            change = Remove(rng.choice(everybody))
        else:
            self._added_count += 1
            change = AddLearner(f"added{self._added_count}", f"added{self._added_count}:6356")
        how = change_membership(host, self._oracle, change, based_on)
        host.need_turn()
        return host.node, how

    def transfer(self, hosts: list[SimHost]) -> tuple[NodeId, str] | None:
        """Ask some host to hand leadership to some voter."""
        host = self.pick(hosts)
        if host is None or host.replica is None:
            return None
        voters = sorted(host.replica.core.membership.voters)
        if not voters:
            return None
        target = self._rng.choice(voters)
        try:
            host.replica.transfer_leadership(target)
        except RaftError as error:
            return host.node, f"to {target}: {type(error).__name__}"
        host.need_turn()
        return host.node, f"to {target}"
