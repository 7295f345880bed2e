"""One leadership's delivery: feeds, consumers, settlements and sweeping; all of it ends with the leadership.

Nothing in here is needed to know what is true: leases, attempts and times are in the replicated state. A new
leader starts with an empty shift, and finds out from the due index what its predecessor left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, islice
from typing import Final

from raftcore.core.errors import NotAccepted, RaftError
from raftcore.core.types import Entry
from raftcore.storage.kv import Store
from z4sql.delivery.arrivals import arrivals
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.feed import Feed, part_of
from z4sql.delivery.model import Clock, Closing, Delivery, Observer, Propose, Settled
from z4sql.delivery.recall import Entries, Recall
from z4sql.delivery.settler import Done, Settler
from z4sql.delivery.sweeper import Sweeper
from z4sql.tasks.backoff import backoff_ms
from z4sql.tasks.due import Due, DueReader
from z4sql.tasks.encoding import attempts_and_lease_of, task_id_of
from z4sql.tasks.keys import SUFFIX_BYTES
from z4sql.tasks.life import (
    RETIRED_MAX,
    LifeCommands,
    SettleKind,
    Settlement,
    SettleOutcome,
    retire_outcome,
)
from z4sql.tasks.model import NamespaceSettings
from z4sql.tasks.reader import TaskReader

_SLICE_S: Final = 0.004
"""How long feeds are looked after before the loop may do something else."""

_BUSY_PAUSE_S: Final = 0.1

_ENDING_S_MAX: Final = 30.0
"""How long the end of a lease or of a task may be on its way through the log, before it is taken for lost."""

_random = random.SystemRandom()


class Shift:
    """Made when the leadership is ready; see `z4sql.delivery.dispatcher`."""

    def __init__(
        self,
        store: Store,
        *,
        propose: Propose,
        clock: Clock,
        observer: Observer,
        on_failure: Callable[[Exception], None],
        entries: Entries,
        applied_index: Callable[[], int],
    ) -> None:
        """``on_failure`` is told of a defect; callbacks of the log must not raise. ``entries`` reads the log,
        of which ``applied_index`` tells the newest entry applied.
        """
        self.clock = clock
        self.observer = observer
        self.commands = LifeCommands(clock.stamp_us)
        self.due = DueReader(store)
        self.reader = TaskReader(store)
        self.stopped = False
        self.ending = False
        """Whether nothing is leased any more."""
        self.leases: dict[int, Held] = {}
        self.consumers: set[Consumer] = set()
        self._loop = asyncio.get_running_loop()
        self._host_propose = propose
        self._on_failure = on_failure
        self._feeds: dict[str, Feed] = {}
        self._feeds_by_part: dict[bytes, Feed] = {}
        self._queue: deque[Feed] = deque()
        self._running = False
        self._acked_s: list[float] = []
        self._round_over = asyncio.Event()
        self._expiring: dict[bytes, int] = {}
        """Places and times of what expired and is not in a command yet."""
        self._ending: dict[tuple[bytes, int], float] = {}
        """Since when the end of what is due (its place and time) is on its way: a lease's, or a task's."""
        self.settler = Settler(self.propose, self.commands, observer)
        self.sweeper = Sweeper(self, store)
        self._recall = Recall(entries, self.reader, applied_index)

    def start(self) -> None:
        self.sweeper.start()

    def stop(self, why: Closing) -> None:
        """End everything; consumers are told why."""
        if self.stopped:
            return
        self.stopped = True
        self._round_over.set()
        self.settler.stop()
        self.sweeper.stop()
        for feed in self._feeds.values():
            feed.stop()
        for consumer in list(self.consumers):
            consumer.close(why)
        self.consumers.clear()
        self.leases.clear()

    def propose(self, command: bytes, done: Callable[[bytes | RaftError], None]) -> None:
        """Through the log; ``done`` is not called any more after the end. :raises NotAccepted:"""

        def ended(result: bytes | RaftError) -> None:
            if self.stopped:
                return
            try:
                done(result)
            except Exception as error:
                self._on_failure(error)

        self._host_propose(command, ended)

    def register(self, consumer: Consumer) -> None:
        """Deliver to ``consumer`` as it gives credit."""
        self.consumers.add(consumer)
        for namespace in consumer.namespaces:
            self._feed(namespace).consumers.append(consumer)
        self.look_for(consumer)

    def look_for(self, consumer: Consumer) -> None:
        """It wants tasks now."""
        if not self.stopped and not consumer.closed:
            for namespace in consumer.namespaces:
                self._feed(namespace).look()

    def look_at_all(self) -> None:
        """The clock took a step: what seemed far may be due."""
        for feed in self._feeds.values():
            feed.look()

    def missed(self, namespace: str, dues: Sequence[Due]) -> int:
        """Make up for due tasks that stand in front of their feed's cursor; how many there were."""
        feed = self._feeds.get(namespace)
        missed = [] if feed is None else [due for due in dues if feed.missed(due) and not self._ends(due)]
        if feed is not None and missed:
            feed.arrived(missed[0].cursor[:-1], ())
        return len(missed)

    def survey(self) -> None:
        """Tell how long acknowledgements took since the last time."""
        if self._acked_s:
            took_s, self._acked_s = self._acked_s, []
            self.observer.acknowledged(took_s)

    def cursor_of(self, namespace: str) -> bytes | None:
        """Where the feed of a namespace stands: what is due in front of it is dealt with."""
        feed = self._feeds.get(namespace)
        return None if feed is None else feed.cursor

    def schedule(self, feed: Feed) -> None:
        """Look after ``feed`` soon, in its turn."""
        if feed.scheduled or self.stopped:
            return
        feed.scheduled = True
        self._queue.append(feed)
        if not self._running:
            self._running = True
            self._loop.call_soon(self._run)

    def applied(self, entries: Iterable[Entry]) -> None:
        """Wake those feeds for which something changed."""
        if not self._feeds_by_part:
            self.sweeper.unwatched()
            return
        found = arrivals(entries)
        for part in found.settings:
            feed = self._feeds_by_part.get(part)
            if feed is not None:
                feed.settings_changed()
        for part, arrival in found.found.items():
            feed = self._feeds_by_part.get(part)
            if feed is not None:
                feed.arrived(arrival.cursor, arrival.times)
            self.sweeper.arrived(part, arrival.cursor)

    def settings(self, namespace: str) -> NamespaceSettings:
        return self.reader.settings(namespace) or NamespaceSettings()

    def sort_out(self, dues: Sequence[Due], settings: NamespaceSettings, now_us: int) -> list[Due]:
        """What can be leased; leases that ran out and tasks that expired are sent where they belong."""
        takes = []
        for due in dues:
            expired = due.expire_at_us is not None and due.expire_at_us <= now_us
            if not due.lease_token and not expired:
                takes.append(due)
            elif self._ends(due):
                continue
            elif due.lease_token:
                self._lease_ran_out(due, settings, now_us)
            else:
                self._expire(due)
        return takes

    def _ends(self, due: Due) -> bool:
        """Whether its end is on its way."""
        begun_s = self._ending.get((due.place, due.next_attempt_at_us))
        return begun_s is not None and self._loop.time() - begun_s < _ENDING_S_MAX

    def leased(self, consumer: Consumer, leases: list[Held]) -> None:
        """The log gave ``leases`` to ``consumer``, who may have left."""
        for held in leases:
            self.leases[held.token] = held
        if consumer.closed or self.ending:
            for held in leases:
                self._give_back(held)
        elif leases:
            consumer.hold(leases)

    def read(self, leases: Sequence[Held], bytes_max: int) -> list[Delivery | None]:
        """The tasks as they are now, on their way to their consumer; None for those whose lease is over.

        Ends behind the task whose payload reaches ``bytes_max``.
        """
        now_us = self.clock.stamp_us()
        found: list[Delivery | None] = []
        lateness_s: list[float] = []
        size = again = 0
        records = self.reader.records_at([held.place for held in leases])
        for held, record in zip(leases, records, strict=True):
            if size >= bytes_max:
                break
            delivery = None
            if record is not None and now_us < held.lease_until_us:
                delivery = self._delivery(held, record)
            found.append(delivery)
            if delivery is None:
                self._not_sent(held)
                continue
            size += len(delivery.payload)
            lateness_s.append((now_us - held.due_us) / 1e6)
            again += held.attempts > 1
        self.observer.delivered(lateness_s, again)
        return found

    def _begin_to_end(self, place: bytes, due_us: int) -> Done:
        """The end of what is due then is on its way; what is returned is called when it has come."""
        key = (place, due_us)
        self._ending[key] = self._loop.time()

        def ended(_: Settlement, __: SettleOutcome) -> None:
            self._ending.pop(key, None)

        return ended

    def _not_sent(self, held: Held) -> None:
        """It ended before it was sent; or by what was done to its task, then this changes nothing."""
        if self.leases.get(held.token) is held and not held.settling:
            self._give_back(held)

    def _delivery(self, held: Held, record: bytes) -> Delivery | None:
        """None when the record's lease is another."""
        attempts, token = attempts_and_lease_of(record)
        if token != held.token:
            return None
        place = held.place
        held.sent, held.attempts, held.task_id = True, attempts, task_id_of(place, record)
        held.sent_s = self._loop.time()
        return Delivery(held.task_id, place, record, self.reader.payload_of(place, record), token)

    def acknowledge(
        self, consumer: Consumer, tokens: Sequence[int], done: Callable[[int, SettleOutcome], None]
    ) -> None:
        """See `Consumer.acknowledge`."""

        def ended(item: Settlement, outcome: SettleOutcome) -> None:
            held = self.leases.pop(item.token, None)
            if held is not None and held.sent and outcome is SettleOutcome.DONE:
                self._acked_s.append(self._loop.time() - held.sent_s)
            if held is not None and held.consumer is not None:
                held.consumer.forget(held)
            done(item.token, outcome)

        for token in tokens:
            held = self.leases.get(token)
            if held is None or held.consumer is not consumer:
                # Another's, an earlier leader's, or nobody's.
                self.settle(
                    consumer.namespaces,
                    token,
                    SettleKind.ACK,
                    lambda settled: done(settled.token, settled.outcome),
                    delay_ms=None,
                    lease_ms=0,
                    error="",
                )
                continue
            held.settling = True
            self.settler.add(Settlement(held.place, token, SettleKind.ACK), ended)

    def settle(
        self,
        namespaces: Sequence[str],
        token: int,
        kind: SettleKind,
        done: Callable[[Settled], None],
        *,
        delay_ms: int | None,
        lease_ms: int,
        error: str,
    ) -> None:
        """See `Consumer.settle`. Tokens are easy to guess: only leases of ``namespaces`` can be settled."""
        held = self.leases.get(token) or self._recall.lease(token)
        over = held is not None and held.acknowledged and kind is not SettleKind.ACK
        if held is None or over or _namespace(held.place) not in namespaces:
            self.observer.settled(kind.name.lower(), SettleOutcome.STALE, "", 1)
            self._loop.call_soon(done, Settled(token, SettleOutcome.STALE))
            return
        now_us = self.clock.stamp_us()
        at_us = 0
        match kind:
            case SettleKind.NACK:
                settings = self.settings(_namespace(held.place))
                if held.attempts >= settings.attempts_max:
                    kind = SettleKind.DEAD
                else:
                    if delay_ms is None:
                        delay_ms = backoff_ms(settings, held.attempts, _random.random())
                    at_us = now_us + delay_ms * 1000
            case SettleKind.EXTEND:
                at_us = now_us + (lease_ms * 1000 or held.lease_us)
            case SettleKind.RELEASE:
                at_us = held.due_us
            case _:
                pass

        def ended(_: Settlement, outcome: SettleOutcome) -> None:
            if kind is SettleKind.EXTEND and outcome is SettleOutcome.DONE:
                held.lease_until_us = at_us
                done(Settled(token, outcome, at_us))
                return
            self._over(held)
            done(Settled(token, outcome))

        held.settling = held.settling or kind is not SettleKind.EXTEND
        self.settler.add(Settlement(held.place, token, kind, at_us, error), ended)

    def left(self, consumer: Consumer) -> None:
        """Give back what a consumer holds that left."""
        self.consumers.discard(consumer)
        for namespace in consumer.namespaces:
            feed = self._feeds.get(namespace)
            if feed is not None and consumer in feed.consumers:
                feed.consumers.remove(consumer)
        if not self.stopped:
            for held in list(consumer.held.values()):
                if not held.settling:
                    self._give_back(held)
        consumer.held.clear()

    def give_back_unsent(self) -> None:
        """Before this leadership ends: lease no more; what no consumer has seen goes back, the rest stays."""
        self.ending = True
        for held in list(self.leases.values()):
            if not held.sent and not held.settling:
                self._give_back(held)

    async def given_back(self) -> None:
        """Wait until all that was leased and not sent has gone back."""
        while not self.stopped and any(feed.leasing for feed in self._feeds.values()):
            self._round_over.clear()
            await self._round_over.wait()
        await self.settler.drained()

    def round_over(self) -> None:
        """A command of some feed was applied, or never will be."""
        self._round_over.set()

    def failed(self, error: Exception) -> None:
        """A defect: delivery starts anew."""
        self._on_failure(error)

    def lost(self, held: Held) -> None:
        """A lease ended without a word of its consumer."""
        consumer = held.consumer
        told = self._over(held)
        if told and consumer is not None and held.sent and not consumer.closed:
            consumer.on_lost(held)

    def _over(self, held: Held) -> bool:
        """Forget a lease; whether it was known."""
        known = self.leases.pop(held.token, None) is not None
        if held.consumer is not None:
            held.consumer.forget(held)
        return known

    def _give_back(self, held: Held) -> None:
        kind, at_us, error = SettleKind.RELEASE, held.due_us, ""
        if held.sent:
            kind, at_us = SettleKind.NACK, self.clock.stamp_us()
            error = "the consumer left without an answer"
            if held.attempts >= self.settings(_namespace(held.place)).attempts_max:
                kind = SettleKind.DEAD
        self._over(held)
        ended = self._begin_to_end(held.place, held.lease_until_us)
        self.settler.add(Settlement(held.place, held.token, kind, at_us, error), ended)

    def _lease_ran_out(self, due: Due, settings: NamespaceSettings, now_us: int) -> None:
        task = self.reader.task_at(due.place)
        if task is None or task.lease_token != due.lease_token:
            return
        token = due.lease_token
        known = self.leases.get(token)
        if known is not None and not known.sent and not known.settling:
            # The log was slow, or its consumer: nobody has tried.
            self._give_back(known)
            return
        begun = self._begin_to_end(due.place, due.next_attempt_at_us)
        dead = task.attempts >= settings.attempts_max
        kind = SettleKind.LEASE_EXPIRED_DEAD if dead else SettleKind.LEASE_EXPIRED

        def ended(item: Settlement, outcome: SettleOutcome) -> None:
            begun(item, outcome)
            held = self.leases.get(token)
            if outcome is SettleOutcome.DONE and held is not None:
                self.lost(held)

        self.settler.add(Settlement(due.place, token, kind, now_us), ended)

    def _expire(self, due: Due) -> None:
        if not self._expiring:
            self._loop.call_soon(self._retire_expiring)
        self._expiring[due.place] = due.next_attempt_at_us

    def _retire_expiring(self) -> None:
        while self._expiring and not self.stopped:
            some = sorted(islice(self._expiring.items(), RETIRED_MAX))
            try:
                for _, of_namespace in groupby(some, lambda key: key[0][:-SUFFIX_BYTES]):
                    self._retire(list(of_namespace))
            except NotAccepted:
                self._loop.call_later(_BUSY_PAUSE_S, self._retire_expiring)
                return

    def _retire(self, some: list[tuple[bytes, int]]) -> None:
        """Places and times of one namespace. :raises NotAccepted:"""

        def retired(result: bytes | RaftError) -> None:
            for key in some:
                self._ending.pop(key, None)
            if isinstance(result, bytes):
                self.observer.removed("expired", _namespace(some[0][0]), retire_outcome(result).expired)

        self.propose(self.commands.retire((), [place for place, _ in some]), retired)
        for key in some:
            del self._expiring[key[0]]
            self._ending[key] = self._loop.time()

    def _feed(self, namespace: str) -> Feed:
        feed = self._feeds.get(namespace)
        if feed is None:
            feed = self._feeds[namespace] = self._feeds_by_part[part_of(namespace)] = Feed(self, namespace)
        return feed

    def _run(self) -> None:
        """Look after the feeds whose turn it is, for a slice of time."""
        self._running = False
        until_s = time.perf_counter() + _SLICE_S
        try:
            while self._queue and not self.stopped:
                feed = self._queue.popleft()
                feed.scheduled = False
                feed.run()
                if time.perf_counter() >= until_s:
                    break
        except Exception as error:
            self._on_failure(error)
            return
        if self._queue and not self.stopped:
            self._running = True
            self._loop.call_soon(self._run)


def _namespace(place: bytes) -> str:
    return place[1:-SUFFIX_BYTES].decode()
