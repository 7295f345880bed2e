"""How a fresh host becomes part of a cluster: by forming one, or by an invitation from a member.

Anybody who reaches a host can learn its cluster and send it an invitation. So an invitation proves nothing:
what ends a replica is what that replica knows itself.
"""

from __future__ import annotations

import secrets

from raftcore.core.membership import everybody, is_voter
from raftcore.core.raft import RaftCore
from raftcore.core.types import NO_NODE, Member, Membership, NodeId, Role, ShardId
from raftcore.storage.base import HostIdentity
from raftcore.storage.log_store import RocksLogStore
from raftcore.transport.base import Invitation, Refused

FIRST_SHARD = ShardId(1)
_FIRST_NODE = NodeId(1)
_AHEAD_MAX = 1 << 32
"""Ids are indexes of entries: the next one is not further from what the replica has than logs grow."""
_SILENT_ELECTION_TIMEOUTS = 2


def form_cluster(store: RocksLogStore, name: str, address: str) -> HostIdentity:
    """Form a cluster of one; durable on return.

    The identity is written last: without it, an earlier attempt that was cut off took part in nothing.
    """
    member = Member(_FIRST_NODE, name, address)
    store.discard(FIRST_SHARD, member.id)
    store.bootstrap(FIRST_SHARD, member.id, Membership(voters=frozenset((member.id,)), members=(member,)))
    identity = HostIdentity(secrets.token_hex(16), name, ((FIRST_SHARD, member.id),))
    store.set_identity(identity)
    return identity


def is_new(invitation: Invitation, name: str, identity: HostIdentity | None) -> bool:
    """Whether there is anything to do: an invitation is repeated until it is answered.

    :raises Refused: when the host belongs elsewhere, has another name, or a newer replica of the shard.
    """
    if identity is not None and identity.cluster_id != invitation.cluster_id:
        raise Refused(f"{name} belongs to cluster {identity.cluster_id}")
    if invitation.name != name:
        raise Refused(f"this host is called {name}, not {invitation.name}")
    former = dict(identity.replicas).get(invitation.shard) if identity is not None else None
    if former is not None and former > invitation.node:
        raise Refused(f"{name} is already replica {former} of shard {invitation.shard}")
    return former != invitation.node


def check_plausible(invitation: Invitation, core: RaftCore) -> None:
    """That some replica may have that id: one taken too far would refuse all that come after it.

    :raises Refused: none can.
    """
    if invitation.node > core.last_index + _AHEAD_MAX:
        ends = f"the log of {invitation.name} ends at {core.last_index}"
        raise Refused(f"no replica has id {invitation.node}: {ends}")


def check_parted(name: str, core: RaftCore) -> None:
    """That the replica which the invitation is to replace knows that its cluster goes on without it.

    A voter knows when it finds itself out of a membership, or is told when it campaigns (thesis §4.2.3). A
    learner that was removed while it was away is told nothing: it hears nobody, and nobody counts on it.

    :raises Refused: it leads, or hears a leader, or votes.
    """
    if core.role is Role.LEADER:
        raise Refused(f"{name} still leads, as replica {core.node}: remove it first")
    if core.is_removed:
        return
    is_member = core.node in everybody(core.membership)
    if not is_member and 0 < core.membership_index <= core.commit:
        return
    silence_us = core.now - core.promised_at
    if core.leader != NO_NODE or silence_us < _SILENT_ELECTION_TIMEOUTS * core.config.election_timeout_us:
        if core.last_index or core.leader != NO_NODE:
            raise Refused(f"{name} still hears its leader, as replica {core.node}: remove it first")
    elif is_voter(core.membership, core.node):
        raise Refused(
            f"{name} still votes, as replica {core.node}, and was not told that it is removed: when it is, "
            "delete what is in its directories"
        )


def accept(
    invitation: Invitation, store: RocksLogStore, name: str, identity: HostIdentity | None
) -> HostIdentity:
    """Become the replica that the invitation names, with an empty log; durable on return.

    A former replica of the same shard left the cluster, for ids are never used again; its log is to be
    discarded once it stands still.
    """
    shard, node = invitation.shard, invitation.node
    store.discard(shard, node)
    store.bootstrap(shard, node, None)
    others = () if identity is None else identity.replicas
    replicas = (*((s, n) for s, n in others if s != shard), (shard, node))
    accepted = HostIdentity(invitation.cluster_id, name, replicas)
    store.set_identity(accepted)
    return accepted
