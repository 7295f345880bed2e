"""Elections, from both sides: asking for votes and giving them. Thesis §3.4, §9.6.

- A pre-vote changes nothing at the voter, and nothing but the role at the candidate.
- Who has heard a leader within the least election timeout ignores elections, unless that leader asks for one.
- A pre-vote grant echoes the asked term, a refusal carries the voter's own: so a candidate whose term is
  behind catches up, and a voter whose term is behind is still of use (etcd #8501).
- Every replica votes when asked, member or not; only a voter campaigns (thesis §4.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftcore.core.membership import everybody, is_voter
from raftcore.core.messages import NotMember, PreVote, PreVoteReply, TimeoutNow, Vote, VoteReply
from raftcore.core.quorum import VoteResult, vote_result
from raftcore.core.types import NO_NODE, NodeId, Role, Term

if TYPE_CHECKING:
    from raftcore.core.raft import RaftCore


def may_campaign(core: RaftCore) -> bool:
    """Whether this replica votes, or did before a change that is not yet known to be committed.

    The latter keeps two removals from leaving nobody who can finish the first. Thesis §4.2.2, figure 4.6.
    """
    if core.is_removed or core.role is Role.LEADER:
        return False
    if is_voter(core.membership, core.node):
        return True
    return core.configs.index > core.commit and is_voter(core.configs.at(core.commit), core.node)


def campaign(core: RaftCore) -> None:
    """Ask whether an election could be won. Thesis §9.6."""
    core.become_pre_candidate()
    log = core.log
    for voter in _others(core):
        core.out.messages.append(
            PreVote(core.shard, core.node, voter, Term(core.term + 1), log.last, log.last_term)
        )
    _count_votes(core)


def stand(core: RaftCore, *, transfer: bool) -> None:
    """Start an election; the requests, and the own vote, wait until the new term is durable.

    Thesis §3.4, §3.8.
    """
    core.become_candidate()
    log = core.log
    for voter in _others(core):
        core.out.messages_after_persist.append(
            Vote(core.shard, core.node, voter, core.term, log.last, log.last_term, transfer)
        )


def own_vote_durable(core: RaftCore) -> None:
    """The candidate's own vote counts as everybody else's does: once it cannot be forgotten. Thesis §3.8."""
    if core.role is Role.CANDIDATE and core.writes.durable_vote == (core.term, core.node):
        core.votes[core.node] = True
        _count_votes(core)


def on_pre_vote(core: RaftCore, message: PreVote) -> None:
    """Grant what would be granted, and change nothing. Thesis §9.6."""
    if _is_stranger(core, message):
        core.reply(NotMember(core.shard, core.node, message.src, core.term, core.configs.index))
        return
    if _hears_leader(core, message):
        return
    granted = message.term > core.term and core.log.is_up_to_date(message.last_index, message.last_term)
    term = message.term if granted else core.term
    core.reply(PreVoteReply(core.shard, core.node, message.src, term, granted))


def on_pre_vote_reply(core: RaftCore, message: PreVoteReply) -> None:
    """A grant counts for the term that was asked for. Thesis §9.6."""
    if core.role is not Role.PRE_CANDIDATE:
        return
    if message.granted and message.term != core.term + 1:
        return
    core.votes.setdefault(message.src, message.granted)
    _count_votes(core)


def on_vote(core: RaftCore, message: Vote) -> None:
    """Runs before the term is looked at: a vote request that is ignored must not raise it.

    Thesis §3.4, §3.6.1.
    """
    if _is_stranger(core, message):
        core.reply(NotMember(core.shard, core.node, message.src, core.term, core.configs.index))
        return
    if message.term > core.term:
        if not message.transfer and _hears_leader(core, message):
            return
        core.become_follower(message.term, NO_NODE)
    can_vote = core.vote == message.src or (core.vote == NO_NODE and core.leader == NO_NODE)
    granted = (
        message.term == core.term
        and can_vote
        and core.log.is_up_to_date(message.last_index, message.last_term)
        and (message.transfer or not _is_promised(core, message.src))
    )
    reply = VoteReply(core.shard, core.node, message.src, core.term, granted)
    if granted:
        core.vote = message.src
        core.restart_election_timer()
        core.out.messages_after_persist.append(reply)
    else:
        core.reply(reply)


def on_vote_reply(core: RaftCore, message: VoteReply) -> None:
    """The first answer of each voter counts. Thesis §3.4."""
    if core.role is Role.CANDIDATE:
        core.votes.setdefault(message.src, message.granted)
        _count_votes(core)


def on_timeout_now(core: RaftCore, message: TimeoutNow) -> None:
    """The leader hands over: no pre-vote, since everybody else hears it well. Thesis §3.10."""
    if core.role is Role.FOLLOWER and may_campaign(core):
        stand(core, transfer=True)


def on_not_member(core: RaftCore, message: NotMember) -> None:
    """A membership that this log does not have was committed without this replica. Ids never come again.

    Thesis §4.2.3.
    """
    if message.config_index > core.configs.index:
        core.is_removed = True
        if core.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            core.become_follower(core.term, NO_NODE)


def _count_votes(core: RaftCore) -> None:
    """Act on the votes so far. Thesis §3.4, §4.3."""
    result = vote_result(core.membership, core.votes)
    if result is VoteResult.WON:
        if core.role is Role.PRE_CANDIDATE:
            stand(core, transfer=False)
        else:
            core.become_leader()
    elif result is VoteResult.LOST:
        core.become_follower(core.term, NO_NODE)


def _others(core: RaftCore) -> list[NodeId]:
    """Everybody whose vote counts, but this replica; in order, so that a run can be repeated exactly.

    Thesis §4.3.
    """
    membership = core.membership
    return sorted((membership.voters | membership.outgoing) - {core.node})


def _hears_leader(core: RaftCore, message: PreVote | Vote) -> bool:
    """Whether an election is out of place: a leader was heard within the least election timeout.

    Thesis §4.2.3. The leader itself may ask (hashicorp/raft #606: it restarted, and nobody else can win).
    """
    if core.role is Role.LEADER:
        return True
    return _is_promised(core, message.src) or (
        core.leader not in (NO_NODE, message.src)
        and core.now - core.leader_contact < core.config.election_timeout_us
    )


def _is_promised(core: RaftCore, candidate: NodeId) -> bool:
    """Whether a vote for ``candidate`` would break the promise that a leader's lease rests on. Thesis §6.4.1.

    Unlike `_hears_leader` it outlives the leader's term: a higher term may be heard of before the lease ends.
    """
    return (
        core.config.lease_reads
        and candidate != core.promised_to
        and core.now - core.promised_at < core.config.election_timeout_us
    )


def _is_stranger(core: RaftCore, message: PreVote | Vote) -> bool:
    """Whether the sender was removed and cannot know it.

    A candidate whose log reaches our committed membership knows better: it may have been added since.
    Thesis §4.2.3.
    """
    return (
        message.src not in everybody(core.membership)
        and core.configs.index <= core.commit
        and message.last_index < core.configs.index
    )
