"""Moving leadership to somebody by name succeeds when that one leads, and says so when another does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from raftcore.core.errors import MembershipError
from raftcore.core.types import Member, Membership, NodeId, Role
from raftcore.host.members import Members

MEMBERS = tuple(Member(NodeId(number), f"n{number}", f"h:{number}") for number in (1, 2, 3))
STATUS = SimpleNamespace(
    node=NodeId(1),
    role=Role.LEADER,
    membership=Membership(voters=frozenset(member.id for member in MEMBERS), members=MEMBERS),
)


def members(next_leader: Member) -> Members:
    """Those of a host that leads until it hands over: then ``next_leader`` leads, whoever was asked."""
    leading = [MEMBERS[0]]
    replica = SimpleNamespace(transfer_leadership=lambda _: leading.append(next_leader))
    host = SimpleNamespace(
        status=lambda: STATUS,
        leader=lambda: leading[-1],
        member_runner=lambda: SimpleNamespace(replica=replica),
    )
    return Members(host)


async def test_who_was_named_leads() -> None:
    assert await members(MEMBERS[1]).transfer("n2", 1) == MEMBERS[1]


async def test_that_another_one_leads_is_an_error_that_names_both() -> None:
    with pytest.raises(MembershipError, match="n3 leads now, not n2"):
        await members(MEMBERS[2]).transfer("n2", 1)
