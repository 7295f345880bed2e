"""How hosts talk: what a host asks of a transport, and what a transport asks of its host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from raftcore.core.errors import RaftError
from raftcore.core.messages import Message
from raftcore.core.types import NodeId, ShardId


class Unreachable(RaftError):
    """Nobody answered at that address in time."""


class Refused(RaftError):
    """The other host answered, and said no."""


class CannotListen(OSError):
    """The address to listen on is taken, or not of this machine; nothing was started."""


@dataclass(slots=True, frozen=True)
class Hello:
    """Who listens at an address. ``cluster_id`` is empty for a host that belongs to none."""

    name: str
    cluster_id: str


@dataclass(slots=True, frozen=True)
class Invitation:
    """What a leader's host tells a newcomer before it sends it anything else."""

    cluster_id: str
    shard: ShardId
    node: NodeId
    name: str


@dataclass(slots=True, frozen=True)
class Claim:
    """A host of another cluster took this one, by its name, for a member of that cluster."""

    cluster_id: str
    name: str
    address: str
    """Of the host that said so, like ``name``."""


@dataclass(slots=True)
class TransportCounts:
    """What happened since the start; for metrics."""

    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    messages_dropped: int = 0
    streams_refused: int = 0
    frames_refused: int = 0


class Receiver(Protocol):
    """The host behind a transport. Every method is called on its loop."""

    def receive(self, messages: Sequence[Message], source: str) -> None:
        """Messages of one frame, from the host whose advertised address is ``source``."""
        ...

    def unreachable(self, address: str) -> None:
        """Something sent to ``address`` was lost, or nobody is there."""
        ...

    def hello(self) -> Hello: ...

    def name_of(self, address: str) -> str:
        """What the member at ``address`` is called; empty when no membership known here has one there."""
        ...

    def claimed(self, claim: Claim) -> None:
        """A connection was refused whose other end counts on this host for another cluster."""
        ...

    async def invited(self, invitation: Invitation) -> None:
        """Join a cluster; durable on return. :raises Refused: saying why."""
        ...


class Transport(Protocol):
    """Sends messages to addresses, in no promised order, each at most once."""

    counts: TransportCounts

    async def start(self, receiver: Receiver) -> None:
        """Listen. :raises OSError: when the address cannot be bound."""
        ...

    def send(self, address: str, message: Message, *, urgent: bool = True) -> None:
        """Queue for ``address``; leaves with `flush`. Never blocks: what does not fit is dropped.

        What is not urgent leaves with the next urgent message to the same peer, or soon.
        """
        ...

    def flush(self) -> None:
        """Let go what was queued since the last call: one frame per peer and stream."""
        ...

    def retain(self, addresses: Iterable[str]) -> None:
        """Close, after a while, the connections to all others."""
        ...

    async def hello(self, address: str, timeout_s: float) -> Hello:
        """Ask who listens there. :raises Unreachable: nobody, or not in time."""
        ...

    async def invite(self, address: str, invitation: Invitation, timeout_s: float) -> None:
        """Hand over an invitation.

        :raises Unreachable: no answer; it may have arrived or not. :raises Refused: the other host said no.
        """
        ...

    async def stop(self) -> None: ...
