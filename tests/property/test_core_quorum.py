"""Quorums and membership changes hold for all inputs, not only for the usual ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftcore.core.errors import MembershipError
from raftcore.core.membership import (
    Changer,
    check_membership,
    decode_membership,
    encode_membership,
    everybody,
)
from raftcore.core.progress import Inflights, Progress, ProgressState
from raftcore.core.quorum import VoteResult, committed_index, vote_result
from raftcore.core.types import (
    AddLearner,
    ConfigChange,
    Index,
    Instant,
    Member,
    Membership,
    NodeId,
    Promote,
    Remove,
    SnapshotMeta,
)

ids = st.integers(1, 12).map(NodeId)
matches = st.dictionaries(ids, st.integers(0, 50))


@st.composite
def memberships(draw: st.DrawFn, joint: bool = True) -> Membership:
    voters = draw(st.frozensets(ids, min_size=1, max_size=7))
    outgoing = draw(st.frozensets(ids, max_size=7)) if joint else frozenset[NodeId]()
    learners = draw(st.frozensets(ids, max_size=4)) - voters - outgoing
    next_learners = frozenset(id for id in outgoing - voters if draw(st.booleans()))
    members = tuple(
        Member(id, draw(st.text(max_size=5)), f"host:{id}") for id in sorted(voters | outgoing | learners)
    )
    return Membership(voters, outgoing, learners, next_learners, members)


def reached(voters: frozenset[NodeId], match: dict[NodeId, int], index: int) -> bool:
    return 2 * sum(match.get(voter, 0) >= index for voter in voters) > len(voters)


@given(memberships(), matches)
def test_the_commit_index_is_the_largest_that_both_majorities_have(
    membership: Membership, match: dict[NodeId, int]
) -> None:
    index = committed_index(membership, match)
    groups = [group for group in (membership.voters, membership.outgoing) if group]
    assert all(reached(group, match, index) for group in groups) or index == 0
    assert not all(reached(group, match, index + 1) for group in groups)


@given(memberships(), matches)
def test_learners_and_strangers_never_count(membership: Membership, match: dict[NodeId, int]) -> None:
    voters = membership.voters | membership.outgoing
    only_voters = {node: index for node, index in match.items() if node in voters}
    assert committed_index(membership, match) == committed_index(membership, only_voters)


@given(memberships(), st.dictionaries(ids, st.booleans()))
def test_an_election_is_won_by_both_majorities_and_lost_when_one_cannot_be_had(
    membership: Membership, votes: dict[NodeId, bool]
) -> None:
    groups = [group for group in (membership.voters, membership.outgoing) if group]
    won = all(2 * sum(votes.get(v, False) for v in group) > len(group) for group in groups)
    still = all(2 * sum(votes.get(v, True) for v in group) > len(group) for group in groups)
    expected = VoteResult.WON if won else VoteResult.PENDING if still else VoteResult.LOST
    assert vote_result(membership, votes) is expected


@given(memberships())
def test_a_membership_survives_its_bytes(membership: Membership) -> None:
    assert decode_membership(encode_membership(membership)) == membership


changes = st.one_of(
    st.just(AddLearner("new", "new:1")),
    st.builds(Promote, ids),
    st.builds(Remove, ids),
)


@given(memberships(joint=False), changes)
def test_a_simple_change_is_a_joint_one_that_was_left(base: Membership, change: ConfigChange) -> None:
    changer = Changer(base, Index(13))
    try:
        simple = changer.simple(change)
    except MembershipError as refused:
        try:
            changer.enter_joint([change])
        except type(refused):
            return
        raise AssertionError("one way refuses what the other accepts") from refused
    joint = changer.enter_joint([change])
    check_membership(joint)
    assert Changer(joint, Index(14)).leave_joint() == simple
    assert len(simple.voters ^ base.voters) <= 1


@given(memberships(joint=False), st.lists(changes, max_size=5))
def test_any_chain_of_changes_keeps_the_rules(base: Membership, chain: list[ConfigChange]) -> None:
    membership = base
    for index, change in enumerate(chain, 13):
        try:
            membership = Changer(membership, Index(index)).simple(change)
        except MembershipError:
            continue
        check_membership(membership)
        assert max(everybody(membership)) <= index


@given(memberships(joint=False), st.lists(changes, max_size=5))
def test_old_and_new_majorities_overlap_in_every_joint_step(
    base: Membership, chain: list[ConfigChange]
) -> None:
    adds = [change for change in chain if isinstance(change, AddLearner)][:1]
    chain = adds + [change for change in chain if not isinstance(change, AddLearner)]
    try:
        joint = Changer(base, Index(13)).enter_joint(chain)
    except MembershipError:
        return
    assert joint.outgoing == base.voters
    left = Changer(joint, Index(14)).leave_joint()
    assert left.voters == joint.voters and not left.outgoing
    assert {member.id for member in left.members} == everybody(left)


steps = st.lists(
    st.tuples(
        st.sampled_from(["accept", "reject", "send", "probe", "snapshot", "abandon"]),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(steps)
def test_match_never_falls_and_stays_below_next(actions: list[tuple[str, int, int]]) -> None:
    progress = Progress(next=Index(10), inflights=Inflights(4, 1000), contact=Instant(0))
    for action, a, b in actions:
        match = progress.match
        if action == "accept" and a <= 40:
            progress.accepted(Index(a))
            if progress.state is ProgressState.PROBE and a == progress.match:
                progress.become_replicate()
            progress.inflights.free_to(progress.match)
        elif action == "reject":
            progress.rejected(Index(a), Index(b))
        elif (
            action == "send" and progress.state is ProgressState.REPLICATE and not progress.inflights.is_full
        ):
            progress.next = Index(progress.next + a)
            progress.inflights.add(Index(progress.next - 1), b)
        elif action == "probe":
            progress.become_probe()
        elif action == "snapshot":
            progress.become_snapshot()
            progress.snapshot = SnapshotMeta(Index(a), 1, Membership(frozenset()), Index(1))
        elif action == "abandon":
            progress.abandon_snapshot()
        assert match <= progress.match < progress.next
        assert len(progress.inflights) <= 4


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 300)), max_size=30), st.integers(0, 200))
def test_a_window_is_never_overfull_and_frees_what_arrived(sent: list[tuple[int, int]], arrived: int) -> None:
    window = Inflights(5, 600)
    last = 0
    open_lasts = []
    for count, size in sent:
        if window.is_full:
            break
        last += count
        open_lasts.append(last)
        window.add(Index(last), size)
    window.free_to(Index(arrived))
    assert len(window) == sum(one > arrived for one in open_lasts)
