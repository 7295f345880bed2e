"""Messages as frames between hosts: lost, duplicated, reordered, late, cut off in one direction or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from raftcore.core.messages import Message
from raftcore.core.types import NodeId
from raftcore.sim.swarm import Faults
from raftcore.transport.frames import encode_frame

Schedule = Callable[[int, Callable[[], None]], None]
Deliver = Callable[[NodeId, NodeId, bytes], None]

_SLOW_LINK_FACTOR = 50


class SimNetwork:
    """Everything goes through the wire's own codec, so that no two hosts share an object."""

    def __init__(self, rng: Random, faults: Faults, schedule: Schedule, deliver: Deliver) -> None:
        self._rng = rng
        self._faults = faults
        self._schedule = schedule
        self._deliver = deliver
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._slow: dict[tuple[NodeId, NodeId], bool] = {}
        self._free_at: dict[tuple[NodeId, NodeId], int] = {}

    def send(self, now: int, src: NodeId, messages: Sequence[Message]) -> None:
        """Messages of one turn: one frame per receiver, or one per message where the world says so."""
        if self._faults.one_frame_per_message:
            for message in messages:
                self._send_frame(now, src, message.dst, encode_frame((message,)))
            return
        by_receiver: dict[NodeId, list[Message]] = {}
        for message in messages:
            by_receiver.setdefault(message.dst, []).append(message)
        for dst, group in by_receiver.items():
            self._send_frame(now, src, dst, encode_frame(group))

    def connected(self, src: NodeId, dst: NodeId) -> bool:
        return (src, dst) not in self._cut and (dst, src) not in self._cut

    def is_cut(self, src: NodeId, dst: NodeId) -> bool:
        return (src, dst) in self._cut

    @property
    def is_any_cut(self) -> bool:
        return bool(self._cut)

    def heal(self) -> None:
        self._cut.clear()
        self._slow.clear()

    def isolate(self, node: NodeId, nodes: Iterable[NodeId]) -> None:
        """Cut ``node`` off from all others, the earlier cuts healed."""
        self.separate({node}, nodes)

    def separate(self, side: set[NodeId], nodes: Iterable[NodeId]) -> None:
        """Cut all links between ``side`` and all others, the earlier cuts healed."""
        others = [node for node in nodes if node not in side]
        self._cut = {link for one in side for other in others for link in ((one, other), (other, one))}

    def partition(self, nodes: Sequence[NodeId]) -> str:
        """Cut a random set of links, the earlier cuts healed; returns what was cut, for the trace."""
        rng = self._rng
        self._cut.clear()
        side = rng.sample(nodes, rng.randint(1, max(1, len(nodes) // 2)))
        rest = [node for node in nodes if node not in side]
        kind = rng.choice(("both", "out", "in", "link")) if self._faults.one_way else "both"
        if kind == "link" and rest:
            self._cut.add((rng.choice(side), rng.choice(rest)))
        for one in side:
            for other in rest:
                if kind in ("both", "out"):
                    self._cut.add((one, other))
                if kind in ("both", "in"):
                    self._cut.add((other, one))
        return f"{kind} {side} | {rest}"

    def _send_frame(self, now: int, src: NodeId, dst: NodeId, frame: bytes) -> None:
        faults, rng = self._faults, self._rng
        link = (src, dst)
        if link in self._cut or (faults.loss and rng.random() < faults.loss):
            return
        copies = 2 if faults.duplication and rng.random() < faults.duplication else 1
        for _ in range(copies):
            at = now + self._delay_us(link)
            if not faults.reordering:
                at = max(at, self._free_at.get(link, 0) + 1)
                self._free_at[link] = at
            self._schedule(at - now, lambda: self._deliver(src, dst, frame))

    def _delay_us(self, link: tuple[NodeId, NodeId]) -> int:
        faults, rng = self._faults, self._rng
        delay = 1 + int(faults.delay_us * (0.5 + rng.expovariate(2.0)))
        if faults.slow_links:
            if link not in self._slow:
                self._slow[link] = rng.random() < faults.slow_links
            if self._slow[link]:
                delay *= _SLOW_LINK_FACTOR
        return delay
