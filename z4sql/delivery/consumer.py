"""One consumer: its credit, what it holds, and what waits to be sent to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from z4sql.delivery.model import CREDIT_MAX, Closing, Delivery, Settled
from z4sql.tasks.life import SettleKind, SettleOutcome

if TYPE_CHECKING:
    from z4sql.delivery.shift import Shift


@dataclass(slots=True)
class Held:
    """A lease of a consumer. Microseconds, UTC."""

    place: bytes
    token: int
    due_us: int
    lease_until_us: int
    lease_us: int
    consumer: Consumer | None
    """None: of an earlier leadership, or of a consumer that left."""
    attempts: int = 0
    """Known when it was sent."""
    task_id: str = ""
    sent_s: float = 0.0
    """When it was sent, by the loop's clock."""
    sent: bool = False
    settling: bool = False
    acknowledged: bool = False
    """Its task was done when it was recalled: it can only be acknowledged once more."""


class Consumer:
    """Made by `Shift.register`. What is leased to it waits here until `take` reads it: a consumer that is
    slow to take holds up nobody else, and its queue is never longer than its credit.
    """

    def __init__(
        self,
        shift: Shift,
        namespaces: Sequence[str],
        name: str,
        *,
        lease_ms: int,
        on_ready: Callable[[], None],
        on_lost: Callable[[Held], None],
        on_closed: Callable[[Closing], None],
    ) -> None:
        """``lease_ms`` 0: each namespace's ack deadline.

        ``on_ready``: there is something to take. ``on_lost``: a lease that was sent ended without a word of
        the consumer. ``on_closed``: nothing is sent or settled here any more.
        """
        self.namespaces = tuple(dict.fromkeys(namespaces))
        self.name = name
        self.lease_ms = lease_ms
        self.credit = 0
        self.draining = False
        self.closed = False
        self.on_ready = on_ready
        self.on_lost = on_lost
        self.on_closed = on_closed
        self.held: dict[int, Held] = {}
        self.turn = 0
        """When it was last chosen, among those who wait for the same tasks."""
        self._shift = shift
        self._ready: deque[Held] = deque()

    def add_credit(self, count: int) -> None:
        """Take ``count`` more tasks."""
        self.credit = min(self.credit + count, CREDIT_MAX - min(len(self.held), CREDIT_MAX))
        if self.wants:
            self._shift.look_for(self)

    @property
    def wants(self) -> int:
        """How many tasks may be leased to it now."""
        return 0 if self.draining or self.closed else self.credit

    def hold(self, leases: list[Held]) -> None:
        """These are its now, and wait to be taken."""
        for held in leases:
            self.held[held.token] = held
        self._ready.extend(leases)
        self.on_ready()

    def take(self, count_max: int, bytes_max: int) -> list[Delivery]:
        """The next deliveries, read as they are stored now; leases that ended meanwhile are left out.

        Ends behind the task whose payload reaches ``bytes_max``. Empty when there is nothing to send.
        """
        ready = self._ready
        taken: list[Delivery] = []
        size = 0
        returned = 0
        while ready and len(taken) < count_max and size < bytes_max:
            some = [ready.popleft() for _ in range(min(len(ready), count_max - len(taken)))]
            lasting = [held for held in some if self.held.get(held.token) is held]
            read = self._shift.read(lasting, bytes_max - size)
            returned += len(some) - len(lasting)
            for held, delivery in zip(lasting, read, strict=False):
                if delivery is None:
                    self.forget(held)
                    returned += 1
                else:
                    taken.append(delivery)
                    size += len(delivery.payload)
            ready.extendleft(reversed(lasting[len(read) :]))
        if returned:
            self.add_credit(returned)
        return taken

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def settle(
        self,
        token: int,
        kind: SettleKind,
        done: Callable[[Settled], None],
        *,
        delay_ms: int | None = None,
        lease_ms: int = 0,
        error: str = "",
    ) -> None:
        """Say how the lease ``token`` ends (ACK, NACK, DEAD, RELEASE) or that it shall last longer (EXTEND).

        ``done`` is called when that is durable, or refused because the lease had ended. ``delay_ms`` None:
        the namespace's backoff. ``lease_ms`` 0: the lease's first length. Also leases of other consumers of
        its namespaces, and of earlier leaders, can be settled: whoever has the token has the task.
        """
        self._shift.settle(
            self.namespaces, token, kind, done, delay_ms=delay_ms, lease_ms=lease_ms, error=error
        )

    def acknowledge(self, tokens: Sequence[int], done: Callable[[int, SettleOutcome], None]) -> None:
        """As `settle` with ACK for each of ``tokens``, faster; ``done`` is called with each of them."""
        self._shift.acknowledge(self, tokens, done)

    def forget(self, held: Held) -> None:
        """The lease is over."""
        self.held.pop(held.token, None)
        held.consumer = None

    def leave(self) -> None:
        """Give back at once what is not settled.

        What was not sent is as if it had never been leased. For what was sent the attempt counts: a task that
        makes its consumers fall over must not be tried for ever.
        """
        if not self.closed:
            self.closed = True
            self._shift.left(self)
        self._ready.clear()

    def close(self, why: Closing) -> None:
        """Leadership ended: leases live on in the replicated state until their time is over."""
        if not self.closed:
            self.closed = True
            self._ready.clear()
            self.held.clear()
            self.on_closed(why)
