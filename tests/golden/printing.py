"""How messages, entries and readies look in a golden script: short, with all that a rule looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from raftcore.core.membership import decode_membership
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    NotMember,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Snapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftcore.core.progress import Progress
from raftcore.core.ready import Ready, WriteSet
from raftcore.core.types import Entry, EntryKind, Membership, NodeId


def entry_text(entry: Entry) -> str:
    """``term/index content``"""
    match entry.kind:
        case EntryKind.NOOP:
            content = "noop"
        case EntryKind.COMMANDS:
            content = repr(entry.data.decode())
        case EntryKind.CONFIG:
            content = membership_text(decode_membership(entry.data))
        case _:
            assert_never(entry.kind)
    return f"{entry.term}/{entry.index} {content}"


def entries_text(entries: list[Entry]) -> str:
    return "[" + ", ".join(entry_text(entry) for entry in entries) + "]"


def membership_text(membership: Membership) -> str:
    parts = ["voters=" + _ids(membership.voters)]
    if membership.outgoing:
        parts.append("outgoing=" + _ids(membership.outgoing))
    if membership.learners:
        parts.append("learners=" + _ids(membership.learners))
    return " ".join(parts)


def message_text(message: Message) -> str:
    head = f"{message.src}->{message.dst} {type(message).__name__} T{message.term}"
    details = _details(message)
    return f"{head} {details}" if details else head


def ready_lines(ready: Ready) -> Iterator[str]:
    """In the order in which a host handles it."""
    if ready.role is not None:
        yield f"{ready.role.role.name} term={ready.role.term} leader={ready.role.leader}"
    if ready.membership is not None:
        yield f"membership {membership_text(ready.membership)}"
    for message in ready.messages:
        yield message_text(message)
    if ready.write is not None:
        yield write_text(ready.write)
    for message in ready.messages_after_persist:
        yield f"after persist: {message_text(message)}"
    for read in ready.reads:
        yield f"read {read.id & 0xFFFF} may be served at {read.index}"
    for id in ready.failed_reads:
        yield f"read {id & 0xFFFF} failed"


def write_text(write: WriteSet) -> str:
    parts = ["write"]
    if write.hard_state is not None:
        state = write.hard_state
        parts.append(f"term={state.term} vote={state.vote} commit={state.commit}")
    if write.truncate_from:
        parts.append(f"truncate from {write.truncate_from}")
    if write.entries:
        parts.append(entries_text(write.entries))
    if not write.must_sync:
        parts.append("(no sync)")
    return " ".join(parts)


def progress_text(peer: int, progress: Progress) -> str:
    text = f"{peer}: {progress.state.name} match={progress.match} next={progress.next}"
    if progress.paused:
        text += " paused"
    if len(progress.inflights):
        text += f" inflight={len(progress.inflights)}"
    if progress.snapshot is not None:
        text += f" snapshot={progress.snapshot.index}"
    return text


def _ids(ids: frozenset[NodeId]) -> str:
    return ",".join(str(id) for id in sorted(ids))


def _details(message: Message) -> str:
    match message:
        case PreVote(last_index=index, last_term=term):
            return f"last={term}/{index}"
        case Vote(last_index=index, last_term=term, transfer=transfer):
            return f"last={term}/{index}" + (" transfer" if transfer else "")
        case PreVoteReply(granted=granted) | VoteReply(granted=granted):
            return "granted" if granted else "refused"
        case Append():
            text = f"prev={message.prev_term}/{message.prev_index} commit={message.commit}"
            text += f" {entries_text(list(message.entries))}" if message.entries else ""
            return text + (f" read={message.read_position}" if message.read_position else "")
        case AppendReply(rejected=True):
            text = f"rejected={message.rejected_index} hint={message.hint_term}/{message.hint_index}"
            return text + (f" read={message.read_position}" if message.read_position else "")
        case AppendReply():
            text = f"match={message.match}"
            return text + (f" read={message.read_position}" if message.read_position else "")
        case Heartbeat():
            return f"commit={message.commit}" + (
                f" read={message.read_position}" if message.read_position else ""
            )
        case HeartbeatReply():
            return f"read={message.read_position}" if message.read_position else ""
        case Snapshot(meta=meta):
            return f"{meta.term}/{meta.index} {membership_text(meta.membership)}"
        case TimeoutNow():
            return ""
        case ReadRequest(id=id):
            return f"id={id & 0xFFFF}"
        case ReadReply(id=id, index=index):
            return f"id={id & 0xFFFF} index={index}" if index else f"id={id & 0xFFFF} refused"
        case NotMember(config_index=index):
            return f"since {index}"
        case _:
            assert_never(message)
