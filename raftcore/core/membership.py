"""Who is in the cluster: how a membership changes, what it was at each index, and its bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import assert_never

from raftcore.core.errors import BadFrame, ChangePending, UnknownMember, WouldRemoveLastVoter, require
from raftcore.core.types import AddLearner, ConfigChange, Index, Member, Membership, NodeId, Promote, Remove

NOBODY = Membership(voters=frozenset())
"""The membership of a replica that has not yet heard of any."""

_VERSION = 1
_HEAD = struct.Struct("<BHHHHH")
_MEMBER = struct.Struct("<QHH")


def everybody(membership: Membership) -> frozenset[NodeId]:
    """All replicas that entries are sent to."""
    return membership.voters | membership.outgoing | membership.learners | membership.learners_next


def is_voter(membership: Membership, node: NodeId) -> bool:
    """Whether ``node`` is in a majority that elections and commits need."""
    return node in membership.voters or node in membership.outgoing


def check_membership(membership: Membership) -> None:
    """The rules that every membership in a log obeys. :raises InvariantViolation: when one is broken."""
    voters, outgoing = membership.voters, membership.outgoing
    require(voters, "a membership has a voter", membership=membership)
    require(
        not membership.learners & (voters | outgoing),
        "nobody is voter and learner at once",
        membership=membership,
    )
    require(
        membership.learners_next <= outgoing - voters,
        "only outgoing voters wait to become learners",
        membership=membership,
    )
    directory = [member.id for member in membership.members]
    require(
        directory == sorted(everybody(membership)),
        "the directory names everybody once, by id",
        membership=membership,
    )


class Changer:
    """Yields the membership that follows ``current``, or refuses. It never changes anything itself.

    ``index`` is where the new membership will stand in the log: it becomes the id of an added learner, and is
    therefore greater than every id in use.
    """

    def __init__(self, current: Membership, index: Index) -> None:
        self._current = current
        self._index = index

    def simple(self, change: ConfigChange) -> Membership:
        """One change, effective at once: old and new majorities overlap. Thesis §4.1.

        :raises ChangePending: in a joint membership.
        :raises UnknownMember: when the change names no replica that it could apply to.
        :raises WouldRemoveLastVoter: when nobody would be left to vote.
        """
        self._require_settled()
        changed = self._directory_of(self._apply(self._current, change))
        require(
            len(changed.voters ^ self._current.voters) <= 1,
            "a simple change moves at most one voter",
            change=change,
        )
        check_membership(changed)
        return changed

    def enter_joint(self, changes: Sequence[ConfigChange]) -> Membership:
        """Any changes, under both majorities until `leave_joint`. Thesis §4.3. Raises as `simple` does."""
        self._require_settled()
        require(
            sum(isinstance(change, AddLearner) for change in changes) <= 1,
            "one entry adds at most one replica: its index is the id",
        )
        changed = self._current
        for change in changes:
            changed = self._apply(changed, change)
        joint = self._directory_of(
            Membership(
                voters=changed.voters,
                outgoing=self._current.voters,
                learners=changed.learners,
                members=changed.members,
            )
        )
        check_membership(joint)
        return joint

    def leave_joint(self) -> Membership:
        """Drop the outgoing majority; those who wait to become learners do. Thesis §4.3."""
        current = self._current
        require(current.outgoing, "only a joint membership is left", membership=current)
        left = self._directory_of(
            Membership(
                voters=current.voters,
                learners=current.learners | current.learners_next,
                members=current.members,
            )
        )
        check_membership(left)
        return left

    def _require_settled(self) -> None:
        """Thesis §4.3. :raises ChangePending: in a joint membership."""
        if self._current.outgoing:
            raise ChangePending("the membership is joint: its own change is not finished")

    def _apply(self, base: Membership, change: ConfigChange) -> Membership:
        voters, learners, members = base.voters, base.learners, base.members
        match change:
            case AddLearner(name=name, address=address):
                id = NodeId(self._index)
                require(
                    all(member.id < id for member in members),
                    "an id is never used again",
                    id=id,
                    members=members,
                )
                learners |= {id}
                members = (*members, Member(id, name, address))
            case Promote(id=id):
                if id not in learners:
                    raise UnknownMember(f"no learner {id}")
                voters |= {id}
                learners -= {id}
            case Remove(id=id):
                if id not in voters and id not in learners:
                    raise UnknownMember(f"no replica {id}")
                if voters == {id}:
                    raise WouldRemoveLastVoter(f"replica {id} is the last voter")
                voters -= {id}
                learners -= {id}
            case _:
                assert_never(change)
        return Membership(voters=voters, learners=learners, members=members)

    def _directory_of(self, changed: Membership) -> Membership:
        """``changed`` with a directory of just those in its sets; a joint one still names who leaves."""
        ids = everybody(changed)
        known = {member.id: member for member in (*self._current.members, *changed.members)}
        return Membership(
            voters=changed.voters,
            outgoing=changed.outgoing,
            learners=changed.learners,
            learners_next=changed.learners_next,
            members=tuple(known[id] for id in sorted(ids)),
        )


class ConfigHistory:
    """The memberships in reach, oldest first. One is effective as soon as its entry is in the log.

    Effective on append and rolled back with its entry: the proof of thesis §4.1 is about the log, not about
    what is applied (etcd #7625).
    """

    def __init__(self, configs: Sequence[tuple[Index, Membership]]) -> None:
        self._configs = list(configs)
        indexes = [index for index, _ in configs]
        require(indexes == sorted(set(indexes)), "memberships are kept in log order", indexes=indexes)

    @property
    def current(self) -> Membership:
        return self._configs[-1][1] if self._configs else NOBODY

    @property
    def index(self) -> Index:
        return self._configs[-1][0] if self._configs else Index(0)

    def append(self, index: Index, membership: Membership) -> None:
        require(index > self.index, "memberships are kept in log order", index=index, newest=self.index)
        self._configs.append((index, membership))

    def truncate(self, truncate_from: Index) -> bool:
        """Forget memberships at or above ``truncate_from``; whether there were any. Thesis §4.1."""
        count = len(self._configs)
        while self._configs and self._configs[-1][0] >= truncate_from:
            self._configs.pop()
        return len(self._configs) < count

    def compact(self, first_index: Index) -> None:
        """Forget memberships that ended before ``first_index``; the one in force there stays."""
        while len(self._configs) > 1 and self._configs[1][0] < first_index:
            del self._configs[0]

    def reset(self, index: Index, membership: Membership) -> None:
        """Start again from a snapshot's membership."""
        self._configs = [(index, membership)] if index else []

    def at(self, index: Index) -> Membership:
        """The membership in force at ``index``. Thesis §4.2.2."""
        for config_index, membership in reversed(self._configs):
            if config_index <= index:
                return membership
        return NOBODY

    def since(self, index: Index) -> list[tuple[Index, Membership]]:
        """Memberships whose entries stand at or above ``index``, oldest first."""
        if self.index < index:
            return []
        return [config for config in self._configs if config[0] >= index]


def encode_membership(membership: Membership) -> bytes:
    """Little-endian: version (1), five counts (2 each), ids of the four sets (8 each), then per member its
    id (8), lengths of name and address (2 each), name, address.
    """
    sets = (membership.voters, membership.outgoing, membership.learners, membership.learners_next)
    ids = [id for group in sets for id in sorted(group)]
    parts = [
        _HEAD.pack(_VERSION, *map(len, sets), len(membership.members)),
        struct.pack(f"<{len(ids)}Q", *ids),
    ]
    for member in membership.members:
        name, address = member.name.encode(), member.address.encode()
        parts += [_MEMBER.pack(member.id, len(name), len(address)), name, address]
    return b"".join(parts)


def decode_membership(data: bytes) -> Membership:
    """The reverse of `encode_membership`. :raises BadFrame: when the bytes are no membership."""
    try:
        version, *counts, members_count = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise BadFrame(f"membership of unknown version {version}")
        at = _HEAD.size
        sets = []
        for count in counts:
            sets.append(frozenset(NodeId(id) for id in struct.unpack_from(f"<{count}Q", data, at)))
            at += 8 * count
        members = []
        for _ in range(members_count):
            id, name_length, address_length = _MEMBER.unpack_from(data, at)
            at += _MEMBER.size
            name = data[at : at + name_length].decode()
            at += name_length
            members.append(Member(NodeId(id), name, data[at : at + address_length].decode()))
            at += address_length
    except (struct.error, UnicodeDecodeError) as error:
        raise BadFrame(f"membership: {error}") from error
    if at != len(data):
        raise BadFrame(f"membership ends at {at}, data at {len(data)}")
    voters, outgoing, learners, learners_next = sets
    return Membership(voters, outgoing, learners, learners_next, tuple(members))
