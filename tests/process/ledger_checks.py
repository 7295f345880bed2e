"""Does a history keep what is promised of tasks? Pure: a history in, violations out.

The rules, by their numbers:

- I1 *Nothing is lost.* A task whose creation was acknowledged is on every peer in the end. If it is finished
  there is somebody who finished it: done needs an ack, dead a last attempt or a consumer who said so,
  canceled a cancel, expired an expire_at that has passed. And what was acknowledged stays: after a confirmed
  ack it is done, after a confirmed dead or cancel it is that.
- I2 *Nothing is invented.* What is delivered, or there in the end, was asked for, with that content.
- I3 *A request id gives one task*, however often it was sent and whoever answered.
- I4 *Done is done.* After an end of a lease was confirmed (ack, dead, nack, cancel) that lease is worth
  nothing: no later lease of a finished task, no second confirmed end of one lease, and no end confirmed for a
  lease that a later one had replaced.
- I5 *Never early.* No lease before deliver_at, before the delay of a confirmed nack is over, or at or after
  expire_at; by the leader's stamps and by the clock of whoever receives it.
- I6 *One owner at a time.* A task is leased again only when the former lease ran out (with its confirmed
  extensions), was given up by its consumer, or the cluster saw the consumer leave; a recorded reason is there
  for each. Tokens never repeat, and attempts count up with them.
- I7 *In order.* Tasks that one command leased to a consumer come by their time; and of two fresh tasks that
  both had long been there, the one due clearly earlier is leased first.
- I8 *Nothing gets stuck.* After the faults everything due is finished within the patience.
- I9 *SQL counts the same* tasks in each state on every peer.
- I10 *Replicas agree*: one hash, one list of tasks, and no store contradicts itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.process.ledger import NEVER_US, Created, Delivered, Ending, Final, History, Outcome, Said, Word
from z4sql.tasks.keys import SEQUENCE_BITS

GIVEN_BACK = "the consumer left without an answer"
"""What the cluster records when it takes a lease back from a consumer whose stream ended."""
_FINISHED = {"done", "dead", "canceled", "expired"}
_ENDS = {Word.ACK: "done", Word.DEAD: "dead"}


@dataclass(slots=True, frozen=True)
class Limits:
    """``skew_us``: how far any two clocks may be apart. ``aftermath_us``: how long after a fault streams may
    still break. ``order_us``: what "clearly earlier" is. ``patience_us``: see I8.
    """

    skew_us: int = 1_000
    aftermath_us: int = 1_000_000
    order_us: int = 1_000_000
    patience_us: int = 20_000_000


def violations(history: History, ending: Ending, limits: Limits | None = None) -> list[str]:
    """Every broken rule, in words that begin with its number; none for a good history."""
    ledger = _Ledger(history, ending, limits or Limits())
    return [
        *ledger.lost(),
        *ledger.invented(),
        *ledger.doubled(),
        *ledger.done_again(),
        *ledger.early(),
        *ledger.shared(),
        *ledger.lives(),
        *ledger.disordered(),
        *ledger.stuck(),
        *ledger.miscounted(),
        *ledger.apart(),
    ]


class _Ledger:
    """A history, by tasks and leases."""

    def __init__(self, history: History, ending: Ending, limits: Limits) -> None:
        self._history = history
        self._ending = ending
        self._limits = limits
        self._requests: dict[str, list[Created]] = defaultdict(list)
        for create in history.creates:
            self._requests[create.request_id].append(create)
        self._deliveries: dict[str, list[Delivered]] = defaultdict(list)
        for delivery in sorted(history.deliveries, key=lambda one: one.token):
            self._deliveries[delivery.task_id].append(delivery)
        self._said: dict[int, list[Said]] = defaultdict(list)
        for said in sorted(history.sayings, key=lambda one: one.invoked_us):
            self._said[said.token].append(said)
        self._left = {one.consumer: one.invoked_us for one in history.leavings}
        self._finals = {
            peer: {final.task_id: final for final in tasks} for peer, tasks in ending.tasks.items()
        }
        self._one_peer = next(iter(self._finals.values()), {})

    def lost(self) -> Iterator[str]:
        for create in self._history.creates:
            if create.outcome is not Outcome.OK:
                continue
            for peer, finals in self._finals.items():
                if create.task_id not in finals:
                    yield f"I1: {peer} lost {create.task_id}, acknowledged for {create.request_id}"
        said = defaultdict(list)
        for one in self._history.sayings:
            said[one.task_id].append(one)
        canceled = {one.task_id: one.outcome for one in self._history.cancels if one.outcome != Outcome.FAIL}
        for task_id, final in self._one_peer.items():
            words = {one.word for one in said[task_id] if one.outcome is not Outcome.FAIL}
            kept = {
                _ENDS[one.word] for one in said[task_id] if one.word in _ENDS and one.outcome is Outcome.OK
            }
            if canceled.get(task_id) is Outcome.OK:
                kept.add("canceled")
            if kept - {final.state}:
                yield f"I1: {task_id} is {final.state}, and was confirmed as {', '.join(sorted(kept))}"
            if not self._explained(final, words, task_id in canceled):
                yield f"I1: {task_id} is {final.state}, and nobody did that"

    def _explained(self, final: Final, words: set[Word], canceled: bool) -> bool:
        match final.state:
            case "done":
                return Word.ACK in words
            case "dead":
                return Word.DEAD in words or final.attempts >= self._history.attempts_max
            case "canceled":
                return canceled
            case "expired":
                tries = self._requests.get(final.request_id, [])
                return any((one.expire_at_us or NEVER_US) <= self._ending.ended_us for one in tries)
            case _:
                return True

    def invented(self) -> Iterator[str]:
        for delivery in self._history.deliveries:
            tries = self._requests.get(delivery.request_id, [])
            if not any(one.payload == delivery.payload for one in tries):
                yield f"I2: {delivery.task_id} was delivered, and nobody asked for it ({delivery.request_id})"
        for peer, finals in self._finals.items():
            for final in finals.values():
                tries = self._requests.get(final.request_id, [])
                if not any(one.payload == final.payload for one in tries):
                    yield f"I2: {peer} holds {final.task_id}, and nobody asked for it ({final.request_id})"

    def doubled(self) -> Iterator[str]:
        found: dict[str, set[str]] = defaultdict(set)
        for create in self._history.creates:
            if create.outcome is Outcome.OK:
                found[create.request_id].add(create.task_id)
        for delivery in self._history.deliveries:
            found[delivery.request_id].add(delivery.task_id)
        for finals in self._finals.values():
            for final in finals.values():
                found[final.request_id].add(final.task_id)
        for request_id, task_ids in found.items():
            if len(task_ids) > 1:
                yield f"I3: {request_id} gave {', '.join(sorted(task_ids))}"

    def done_again(self) -> Iterator[str]:
        for task_id, deliveries in self._deliveries.items():
            for delivery in deliveries:
                ends = [
                    one
                    for one in self._said[delivery.token]
                    if one.word is not Word.EXTEND and one.outcome is Outcome.OK
                ]
                if len(ends) > 1:
                    yield f"I4: lease {delivery.token} of {task_id} was ended twice"
                name = f"lease {delivery.token} of {task_id}"
                for end in ends:
                    later = [one for one in deliveries if one.token > delivery.token]
                    if end.word in _ENDS and later:
                        yield f"I4: {name} came back ({later[0].token}) after a confirmed {end.word}"
                    if any(one.received_us + self._limits.skew_us < end.invoked_us for one in later):
                        yield f"I4: {name}: {end.word} was taken, and a later lease was there"
        for cancel in self._history.cancels:
            if cancel.outcome is not Outcome.OK:
                continue
            for delivery in self._deliveries.get(cancel.task_id, []):
                if delivery.leased_us > cancel.ended_us + self._limits.skew_us:
                    yield f"I4: {cancel.task_id} was leased after it was canceled"

    def early(self) -> Iterator[str]:
        skew_us = self._limits.skew_us
        for delivery in self._history.deliveries:
            tries = self._requests.get(delivery.request_id, [])
            # Whichever of the tries made the task: none of them allows less.
            due_us = max(min((one.due_us for one in tries), default=0), delivery.task_due_us)
            for name, at_us in (("leased", delivery.leased_us), ("received", delivery.received_us)):
                if at_us + skew_us < due_us:
                    yield f"I5: {delivery.task_id} was {name} {due_us - at_us} us before it was due"
            exact = {one.deliver_at_us for one in tries if one.tts_s <= 0}
            if tries and exact and None not in exact and delivery.task_due_us not in exact:
                yield f"I5: {delivery.task_id} has another deliver_at than was asked for"
            expiries = [one.expire_at_us for one in tries if one.expire_at_us is not None]
            if expiries and delivery.leased_us >= max(expiries):
                yield f"I5: {delivery.task_id} was leased after it had expired"
        for task_id, deliveries in self._deliveries.items():
            for former, later in _pairs(deliveries):
                for said in self._said.get(former.token, []):
                    if said.word is Word.NACK and said.outcome is Outcome.OK:
                        wait_us = said.invoked_us + said.span_us - later.leased_us - skew_us
                        if wait_us > 0:
                            yield f"I5: {task_id} came again {wait_us} us before its delay was over"

    def shared(self) -> Iterator[str]:
        tokens = Counter(one.token for one in self._history.deliveries)
        for token, times in tokens.items():
            if times > 1:
                yield f"I6: lease {token} was delivered {times} times"
        for task_id, deliveries in self._deliveries.items():
            for former, later in _pairs(deliveries):
                if later.attempt <= former.attempt:
                    yield f"I6: {task_id}: attempt {later.attempt} came after attempt {former.attempt}"
                if not self._may_follow(former, later):
                    yield (
                        f"I6: {task_id} was leased to {later.consumer} ({later.token})"
                        f" while {former.consumer} held it ({former.token})"
                    )
            final = self._one_peer.get(task_id)
            if final is not None and final.attempts < deliveries[-1].attempt:
                yield f"I6: {task_id} has {final.attempts} attempts, and was delivered at a later one"

    def _held_until_us(self, delivery: Delivered) -> int:
        """When its lease ended, if nobody ended it: at the earliest."""
        until_us = delivery.lease_until_us
        for said in self._said.get(delivery.token, []):
            if said.word is Word.EXTEND and said.outcome is Outcome.OK:
                until_us = said.invoked_us + said.span_us
            elif said.word is Word.EXTEND and said.outcome is Outcome.UNKNOWN:
                until_us = min(until_us, said.invoked_us + said.span_us)
        return until_us

    def _may_follow(self, former: Delivered, later: Delivered) -> bool:
        """Whether the former lease can have been over when the later one was given."""
        at_us = later.leased_us + self._limits.skew_us
        if self._held_until_us(former) <= at_us or self._left.get(former.consumer, NEVER_US) <= at_us:
            return True
        if any(
            said.word is Word.NACK and said.outcome is not Outcome.FAIL and said.invoked_us <= at_us
            for said in self._said[former.token]
        ):
            return True
        return self._gave_back(former, later)

    def _gave_back(self, former: Delivered, later: Delivered) -> bool:
        """Whether the cluster saw the consumer's stream break, for which there was a cause."""
        final = self._one_peer.get(former.task_id)
        recorded = (
            final is None
            or not final.whole_life
            or any(
                step.kind == "nacked" and step.attempt == former.attempt and step.detail == GIVEN_BACK
                for step in final.steps
            )
        )
        return recorded and self._history.disturbed(
            former.leased_us, later.leased_us, self._limits.aftermath_us
        )

    def lives(self) -> Iterator[str]:
        """I6 by what the cluster recorded: each lease has an end, and each end a reason."""
        for task_id, final in self._one_peer.items():
            if not final.whole_life:
                continue
            by_attempt = {one.attempt: one for one in self._deliveries.get(task_id, [])}
            leases: dict[int, int] = {}
            leased = 0
            """The attempt under way."""
            over = ""
            for step in final.steps:
                if over and step.kind != "redriven":
                    yield f"I6: {task_id}: {step.kind} was recorded after {over}"
                if step.kind == "leased":
                    if leased:
                        yield f"I6: {task_id}: lease {step.attempt} was recorded within lease {leased}"
                    leased = step.attempt
                    leases[leased] = step.at_us
                elif step.kind in {"nacked", "released", "lease_expired", "acked"}:
                    if not leased:
                        yield f"I6: {task_id}: {step.kind} was recorded without a lease"
                    delivery = by_attempt.get(leased)
                    # The same number may stand for a lease that was given back unseen.
                    if delivery is not None and delivery.leased_us == leases.get(leased):
                        yield from self._end_without_reason(step.kind, step.at_us, step.detail, delivery)
                    leased = 0
                if step.kind in {"acked", "dead", "canceled", "expired"}:
                    over, leased = step.kind, 0
            for attempt, delivery in by_attempt.items():
                if leases.get(attempt) != delivery.leased_us:
                    yield f"I6: {task_id}: delivery {delivery.token} (attempt {attempt}) is not recorded"

    def _end_without_reason(self, kind: str, at_us: int, detail: str, delivery: Delivered) -> Iterator[str]:
        skew_us = self._limits.skew_us
        said = {one.word for one in self._said.get(delivery.token, []) if one.outcome is not Outcome.FAIL}
        name = f"I6: {delivery.task_id}: lease {delivery.token} of {delivery.consumer}"
        if kind == "lease_expired" and at_us + skew_us < self._held_until_us(delivery):
            yield f"{name} was ended {self._held_until_us(delivery) - at_us} us before its time"
        elif kind == "released":
            yield f"{name} was taken back as if nobody had seen it"
        elif kind == "acked" and Word.ACK not in said:
            yield f"{name} was recorded as acknowledged, and nobody did"
        elif kind == "nacked" and detail != GIVEN_BACK and Word.NACK not in said:
            yield f"{name} was recorded as refused, and nobody did"
        elif kind == "nacked" and detail == GIVEN_BACK:
            left = self._left.get(delivery.consumer, NEVER_US) <= at_us + skew_us
            if not left and not self._history.disturbed(delivery.leased_us, at_us, self._limits.aftermath_us):
                yield f"{name} was taken away, and it had not left"

    def disordered(self) -> Iterator[str]:
        # An entry of the log may hold several commands: each has its own stamp.
        commands: dict[tuple[int, str, int], list[Delivered]] = defaultdict(list)
        for delivery in self._history.deliveries:
            if delivery.attempt == 1:
                entry = delivery.token >> SEQUENCE_BITS
                commands[entry, delivery.consumer, delivery.leased_us].append(delivery)
        for together in commands.values():
            together.sort(key=lambda one: one.token)
            for former, later in zip(together, together[1:], strict=False):
                if later.task_due_us < former.task_due_us:
                    yield f"I7: {former.task_id} was leased before {later.task_id}, which was due earlier"
        yield from self._overtaken()

    def _overtaken(self) -> Iterator[str]:
        """Fresh tasks, long there and long due, that were passed over."""
        order_us = self._limits.order_us
        there = {one.task_id: one.ended_us for one in self._history.creates if one.outcome is Outcome.OK}
        fresh = sorted(
            (one for one in self._history.deliveries if one.attempt == 1 and one.task_id in there),
            key=lambda one: one.leased_us,
        )
        for position, former in enumerate(fresh):
            for later in fresh[position + 1 :]:
                waited = later.task_due_us + order_us < former.task_due_us
                known = there[later.task_id] + order_us < former.leased_us
                apart = later.leased_us > former.leased_us + order_us
                if (
                    waited
                    and known
                    and apart
                    and not self._history.disturbed(
                        later.task_due_us, later.leased_us, self._limits.aftermath_us
                    )
                ):
                    yield f"I7: {former.task_id} overtook {later.task_id}, which was due long before"

    def stuck(self) -> Iterator[str]:
        until_us = self._ending.ended_us
        if self._history.calm_us + self._limits.patience_us <= until_us:
            until_us -= self._limits.patience_us
        for task_id, final in self._one_peer.items():
            due_us = final.due_us if final.next_attempt_us is None else final.next_attempt_us
            if final.state not in _FINISHED and due_us <= until_us:
                late_us = self._ending.ended_us - due_us
                yield f"I8: {task_id} is still {final.state}, and was due {late_us} us ago"

    def miscounted(self) -> Iterator[str]:
        for peer, finals in self._finals.items():
            there = Counter(final.state for final in finals.values())
            counted = Counter(self._ending.counts.get(peer, {}))
            if there != counted:
                yield f"I9: {peer} counts {dict(counted)} by SQL and holds {dict(there)}"

    def apart(self) -> Iterator[str]:
        if len(set(self._ending.hashes.values())) > 1 or set(self._ending.hashes) != set(self._finals):
            yield f"I10: the peers' states differ: {self._ending.hashes}"
        for peer, finals in self._finals.items():
            if finals != self._one_peer:
                every = finals.keys() | self._one_peer.keys()
                different = {key for key in every if finals.get(key) != self._one_peer.get(key)}
                yield f"I10: {peer} holds other tasks: {sorted(different)[:5]}"
        for peer, found in self._ending.audits.items():
            for difference in found:
                yield f"I10: {peer}: {difference}"


def _pairs(deliveries: list[Delivered]) -> Iterator[tuple[Delivered, Delivered]]:
    """Former and later lease of one task, every combination."""
    for position, former in enumerate(deliveries):
        for later in deliveries[position + 1 :]:
            yield former, later
