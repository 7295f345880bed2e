"""How a fresh host becomes part of a cluster: by forming one, or by an invitation from a member."""

from __future__ import annotations

import secrets

from raftcore.core.types import Member, Membership, NodeId, ShardId
from raftcore.storage.base import HostIdentity
from raftcore.storage.log_store import RocksLogStore
from raftcore.transport.base import Invitation, Refused

FIRST_SHARD = ShardId(1)
_FIRST_NODE = NodeId(1)


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
