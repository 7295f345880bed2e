"""The checker of histories: a good one passes, and each violation planted in it is found and named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.process.ledger import (
    Canceled,
    Created,
    Delivered,
    Ending,
    Fault,
    Final,
    History,
    Left,
    Outcome,
    Said,
    Step,
    Word,
)
from tests.process.ledger_checks import GIVEN_BACK, Limits, violations

S = 1_000_000
T0 = 1_700_000_000 * S
LIMITS = Limits(skew_us=1_000, aftermath_us=2 * S, order_us=S, patience_us=10 * S)


@dataclass
class Case:
    history: History
    ending: Ending

    @property
    def found(self) -> list[str]:
        return violations(self.history, self.ending, LIMITS)

    def finals(self, task_id: str) -> list[Final]:
        """The task on every peer."""
        return [one for tasks in self.ending.tasks.values() for one in tasks if one.task_id == task_id]

    def add_everywhere(self, final: Final) -> None:
        for peer, tasks in self.ending.tasks.items():
            tasks.append(copy.deepcopy(final))
            self.ending.counts[peer][final.state] = self.ending.counts[peer].get(final.state, 0) + 1

    def drop(self, task_id: str) -> None:
        """The task from every peer and its counts."""
        for peer, tasks in self.ending.tasks.items():
            (gone,) = [one for one in tasks if one.task_id == task_id]
            tasks.remove(gone)
            self.ending.counts[peer][gone.state] -= 1
            if not self.ending.counts[peer][gone.state]:
                del self.ending.counts[peer][gone.state]

    def become(self, task_id: str, state: str) -> None:
        """Its state on every peer; what it went through is not told."""
        for peer in self.ending.tasks:
            counts = self.ending.counts[peer]
            (final,) = [one for one in self.ending.tasks[peer] if one.task_id == task_id]
            counts[final.state] -= 1
            if not counts[final.state]:
                del counts[final.state]
            counts[state] = counts.get(state, 0) + 1
            final.state, final.steps = state, []


def at(seconds: float) -> int:
    return T0 + round(seconds * S)


def created(name: str, due_s: float, *, asked_s: float = 0.0, expire_s: float | None = None) -> Created:
    return Created(
        request_id=f"r-{name}",
        payload=f"p-{name}",
        deliver_at_us=at(due_s),
        tts_s=0,
        expire_at_us=None if expire_s is None else at(expire_s),
        invoked_us=at(asked_s),
        ended_us=at(asked_s + 0.1),
        outcome=Outcome.OK,
        task_id=name,
    )


def delivered(
    name: str, token: int, due_s: float, leased_s: float, attempt: int, who: str = "a"
) -> Delivered:
    return Delivered(
        consumer=who,
        task_id=name,
        request_id=f"r-{name}",
        payload=f"p-{name}",
        token=token,
        attempt=attempt,
        received_us=at(leased_s + 0.01),
        leased_us=at(leased_s),
        lease_until_us=at(leased_s + 2),
        task_due_us=at(due_s),
    )


def said(name: str, token: int, word: Word, at_s: float, *, span_s: float = 0.0, who: str = "a") -> Said:
    return Said(who, name, token, word, at(at_s), round(span_s * S), at(at_s + 0.05), Outcome.OK)


def final(name: str, due_s: float, state: str, attempts: int, *steps: tuple[str, float, int, str]) -> Final:
    return Final(
        task_id=name,
        request_id=f"r-{name}",
        payload=f"p-{name}",
        state=state,
        attempts=attempts,
        due_us=at(due_s),
        next_attempt_us=None,
        steps=[Step("created", at(0), 0, ""), *(Step(kind, at(s), n, text) for kind, s, n, text in steps)],
    )


def token(index: int, ordinal: int = 0) -> int:
    return index << 20 | ordinal


def good() -> Case:
    """One task for each way that a life can go; consumers a and b, and c, who leaves."""
    history = History(attempts_max=5)
    for name, due_s in (("plain", 1), ("beside", 1), ("again", 1), ("slow", 1), ("held", 1), ("poison", 1)):
        history.creates.append(created(name, due_s))
    history.creates += [
        created("known", 0.95),
        created("new", 0.9, asked_s=0.85),
        created("left", 1),
        created("broken", 20),
        created("stopped", 30),
        created("stale", 1, expire_s=3),
    ]
    # A second try with the same request id, whose answer was lost.
    history.creates.append(
        replace(created("plain", 1), invoked_us=at(0.2), outcome=Outcome.UNKNOWN, task_id="")
    )
    history.deliveries = [
        delivered("plain", token(10), 1, 1.0, 1),
        delivered("beside", token(10, 1), 1, 1.0, 1),
        # Two commands in one entry: the second task came to be known after the first was chosen.
        delivered("known", token(9), 0.95, 0.98, 1),
        delivered("new", token(9, 1), 0.9, 0.99, 1),
        delivered("again", token(11), 1, 1.1, 1),
        delivered("again", token(30), 1, 2.0, 2, "b"),
        delivered("slow", token(12), 1, 1.1, 1),
        delivered("slow", token(31), 1, 3.2, 2, "b"),
        delivered("held", token(13), 1, 1.1, 1),
        delivered("poison", token(14), 1, 1.1, 1, "b"),
        delivered("left", token(15), 1, 1.1, 1, "c"),
        delivered("left", token(20), 1, 1.5, 2, "b"),
        delivered("broken", token(40), 20, 20.0, 1),
        delivered("broken", token(41), 20, 20.5, 2, "b"),
    ]
    history.sayings = [
        said("plain", token(10), Word.ACK, 1.2),
        said("known", token(9), Word.ACK, 1.2),
        said("new", token(9, 1), Word.ACK, 1.2),
        said("beside", token(10, 1), Word.ACK, 1.2),
        said("again", token(11), Word.NACK, 1.2, span_s=0.5),
        said("again", token(30), Word.ACK, 2.2, who="b"),
        replace(said("slow", token(12), Word.ACK, 3.3), outcome=Outcome.FAIL),
        said("slow", token(31), Word.ACK, 3.3, who="b"),
        said("held", token(13), Word.EXTEND, 2.0, span_s=4),
        said("held", token(13), Word.ACK, 5.0),
        said("poison", token(14), Word.DEAD, 1.2, who="b"),
        said("left", token(20), Word.ACK, 1.7, who="b"),
        replace(said("broken", token(40), Word.ACK, 20.2), outcome=Outcome.UNKNOWN, ended_us=at(23)),
        said("broken", token(41), Word.ACK, 20.8, who="b"),
    ]
    history.leavings = [Left("c", at(1.3))]
    history.cancels = [Canceled("stopped", at(2), at(2.1), Outcome.OK)]
    history.faults = [Fault("kill of the leader", at(19.9), at(20.6))]
    history.calm_us = at(20.6)
    tasks = [
        final("known", 0.95, "done", 1, ("leased", 0.98, 1, "a"), ("acked", 1.21, 1, "")),
        final("new", 0.9, "done", 1, ("leased", 0.99, 1, "a"), ("acked", 1.21, 1, "")),
        final("plain", 1, "done", 1, ("leased", 1.0, 1, "a"), ("acked", 1.21, 1, "")),
        final("beside", 1, "done", 1, ("leased", 1.0, 1, "a"), ("acked", 1.21, 1, "")),
        final(
            "again",
            1,
            "done",
            2,
            ("leased", 1.1, 1, "a"),
            ("nacked", 1.21, 1, "no"),
            ("leased", 2.0, 2, "b"),
            ("acked", 2.21, 2, ""),
        ),
        final(
            "slow",
            1,
            "done",
            2,
            ("leased", 1.1, 1, "a"),
            ("lease_expired", 3.15, 1, ""),
            ("leased", 3.2, 2, "b"),
            ("acked", 3.31, 2, ""),
        ),
        final("held", 1, "done", 1, ("leased", 1.1, 1, "a"), ("acked", 5.01, 1, "")),
        final("poison", 1, "dead", 1, ("leased", 1.1, 1, "b"), ("dead", 1.21, 1, "poison")),
        final(
            "left",
            1,
            "done",
            2,
            ("leased", 1.1, 1, "c"),
            ("nacked", 1.31, 1, GIVEN_BACK),
            ("leased", 1.5, 2, "b"),
            ("acked", 1.71, 2, ""),
        ),
        final(
            "broken",
            20,
            "done",
            2,
            ("leased", 20.0, 1, "a"),
            ("nacked", 20.4, 1, GIVEN_BACK),
            ("leased", 20.5, 2, "b"),
            ("acked", 20.81, 2, ""),
        ),
        final("stopped", 30, "canceled", 0, ("canceled", 2.05, 0, "")),
        final("stale", 1, "expired", 0, ("expired", 3.0, 0, "")),
    ]
    counts = {"done": 9, "dead": 1, "canceled": 1, "expired": 1}
    peers = ("peer1", "peer2", "peer3")
    ending = Ending(
        ended_us=at(40),
        tasks={peer: copy.deepcopy(tasks) for peer in peers},
        counts={peer: dict(counts) for peer in peers},
        hashes=dict.fromkeys(peers, "cafe"),
        audits={peer: [] for peer in peers},
    )
    return Case(history, ending)


def test_a_good_history_has_no_violation() -> None:
    assert good().found == []


def one(case: Case, name: str, number: int = 0) -> Delivered:
    return [delivery for delivery in case.history.deliveries if delivery.task_id == name][number]


def word_of(case: Case, name: str, word: Word) -> Said:
    return next(said for said in case.history.sayings if said.task_id == name and said.word is word)


def lost_everywhere(case: Case) -> None:
    case.drop("plain")


def lost_on_one_peer(case: Case) -> None:
    tasks = case.ending.tasks["peer3"]
    tasks.remove(tasks[0])
    case.ending.counts["peer3"]["done"] -= 1


def done_by_nobody(case: Case) -> None:
    case.history.sayings.remove(word_of(case, "plain", Word.ACK))


def done_by_a_refused_ack(case: Case) -> None:
    word_of(case, "plain", Word.ACK).outcome = Outcome.FAIL


def dead_by_nobody(case: Case) -> None:
    case.history.sayings.remove(word_of(case, "poison", Word.DEAD))


def canceled_by_nobody(case: Case) -> None:
    case.history.cancels.clear()


def expired_without_a_time(case: Case) -> None:
    for create in case.history.creates:
        create.expire_at_us = None


def confirmed_and_undone(case: Case) -> None:
    case.become("plain", "canceled")
    case.history.cancels.append(Canceled("plain", at(1.1), at(1.3), Outcome.UNKNOWN))


def delivered_from_nowhere(case: Case) -> None:
    case.history.deliveries.append(delivered("ghost", token(50), 1, 25.0, 1))


def delivered_with_other_content(case: Case) -> None:
    one(case, "plain").payload = "p-beside"


def stored_from_nowhere(case: Case) -> None:
    case.add_everywhere(final("ghost", 100, "canceled", 0))
    case.history.cancels.append(Canceled("ghost", at(1), at(2), Outcome.OK))


def two_answers_for_a_request(case: Case) -> None:
    case.history.creates[-1].outcome = Outcome.OK
    case.history.creates[-1].task_id = "plain-twin"


def two_tasks_of_a_request(case: Case) -> None:
    twin = replace(final("twin", 1, "canceled", 0), request_id="r-plain", payload="p-plain")
    case.add_everywhere(twin)
    case.history.cancels.append(Canceled("twin", at(1), at(2), Outcome.OK))


def leased_after_an_ack(case: Case) -> None:
    case.history.deliveries.append(delivered("plain", token(50), 1, 25.0, 2, "b"))


def leased_after_dead(case: Case) -> None:
    case.history.deliveries.append(delivered("poison", token(50), 1, 25.0, 2, "a"))


def leased_after_a_cancel(case: Case) -> None:
    case.history.deliveries.append(delivered("stopped", token(50), 30, 30.0, 1))


def two_ends_of_a_lease(case: Case) -> None:
    case.history.sayings.append(said("plain", token(10), Word.NACK, 1.3))


def a_late_ack_is_taken(case: Case) -> None:
    word_of(case, "slow", Word.ACK).outcome = Outcome.OK


def received_a_millisecond_early(case: Case) -> None:
    one(case, "plain").received_us = at(1) - 1_001


def leased_a_millisecond_early(case: Case) -> None:
    one(case, "plain").leased_us = at(1) - 1_001


def stored_with_another_time(case: Case) -> None:
    one(case, "again").task_due_us += 100


def back_before_its_delay(case: Case) -> None:
    word_of(case, "again", Word.NACK).span_us = 2 * S


def leased_after_its_expiry(case: Case) -> None:
    case.history.deliveries.append(delivered("stale", token(50), 1, 3.0, 1))


def a_token_comes_twice(case: Case) -> None:
    case.history.deliveries.append(replace(one(case, "plain"), consumer="b"))


def attempts_stand_still(case: Case) -> None:
    one(case, "again", 1).attempt = 1


def attempts_fall_in_the_end(case: Case) -> None:
    for found in case.finals("again"):
        found.attempts = 1


def two_owners_at_a_time(case: Case) -> None:
    one(case, "slow", 1).leased_us = at(2.9)


def an_extension_is_ignored(case: Case) -> None:
    case.history.sayings.append(said("slow", token(12), Word.EXTEND, 2.5, span_s=2))


def taken_away_without_a_fault(case: Case) -> None:
    case.history.faults.clear()


def taken_away_without_leaving(case: Case) -> None:
    case.history.leavings.clear()


def expired_before_its_time(case: Case) -> None:
    for found in case.finals("slow"):
        found.steps[2].at_us = at(3.0)


def leased_within_a_lease(case: Case) -> None:
    for found in case.finals("slow"):
        del found.steps[2]


def ended_without_a_lease(case: Case) -> None:
    for found in case.finals("beside"):
        del found.steps[1]


def acknowledgements_nobody_gave(case: Case) -> None:
    word_of(case, "beside", Word.ACK).word = Word.EXTEND


def acknowledged_then_leased(case: Case) -> None:
    for found in case.finals("beside"):
        found.steps.append(Step("leased", at(9), 2, "b"))


def an_unrecorded_delivery(case: Case) -> None:
    for found in case.finals("plain"):
        found.steps[1].at_us += 5


def refused_by_nobody(case: Case) -> None:
    for found in case.finals("left"):
        found.steps[2].detail = "no"


def seen_and_taken_back_as_unseen(case: Case) -> None:
    for found in case.finals("left"):
        found.steps[2].kind = "released"


def unordered_in_a_command(case: Case) -> None:
    one(case, "beside").task_due_us -= 1
    beside = next(create for create in case.history.creates if create.task_id == "beside")
    beside.deliver_at_us = one(case, "beside").task_due_us


def overtaken(case: Case) -> None:
    case.history.creates.append(created("early", 2))
    case.history.creates.append(created("late", 8))
    for name, due_s, leased_s, number in (("late", 8, 8.0, 50), ("early", 2, 9.5, 51)):
        case.history.deliveries.append(delivered(name, token(number), due_s, leased_s, 1))
        case.history.sayings.append(said(name, token(number), Word.ACK, 9.9))
        steps = (("leased", leased_s, 1, "a"), ("acked", 9.91, 1, ""))
        case.add_everywhere(final(name, due_s, "done", 1, *steps))


def stuck(case: Case) -> None:
    case.history.creates.append(created("stuck", 2))
    case.add_everywhere(final("stuck", 2, "scheduled", 0))


def stuck_under_a_lease(case: Case) -> None:
    case.history.creates.append(created("stuck", 2))
    case.add_everywhere(replace(final("stuck", 2, "leased", 1), next_attempt_us=at(2), steps=[]))


def sql_counts_one_less(case: Case) -> None:
    case.ending.counts["peer2"]["done"] -= 1


def hashes_differ(case: Case) -> None:
    case.ending.hashes["peer2"] = "beef"


def a_peer_was_not_compared(case: Case) -> None:
    del case.ending.hashes["peer2"]


def an_attempt_differs(case: Case) -> None:
    case.finals("again")[1].attempts = 3


def a_store_contradicts_itself(case: Case) -> None:
    case.ending.audits["peer2"].append("ledger 1 2: it is unfinished, and not in the due index")


PLANTED: dict[str, list[Callable[[Case], None]]] = {
    "I1": [
        lost_everywhere,
        lost_on_one_peer,
        done_by_nobody,
        done_by_a_refused_ack,
        dead_by_nobody,
        canceled_by_nobody,
        expired_without_a_time,
        confirmed_and_undone,
    ],
    "I2": [delivered_from_nowhere, delivered_with_other_content, stored_from_nowhere],
    "I3": [two_answers_for_a_request, two_tasks_of_a_request],
    "I4": [
        leased_after_an_ack,
        leased_after_dead,
        leased_after_a_cancel,
        two_ends_of_a_lease,
        a_late_ack_is_taken,
    ],
    "I5": [
        received_a_millisecond_early,
        leased_a_millisecond_early,
        stored_with_another_time,
        back_before_its_delay,
        leased_after_its_expiry,
    ],
    "I6": [
        a_token_comes_twice,
        attempts_stand_still,
        attempts_fall_in_the_end,
        two_owners_at_a_time,
        an_extension_is_ignored,
        taken_away_without_a_fault,
        taken_away_without_leaving,
        expired_before_its_time,
        leased_within_a_lease,
        ended_without_a_lease,
        acknowledgements_nobody_gave,
        acknowledged_then_leased,
        an_unrecorded_delivery,
        refused_by_nobody,
        seen_and_taken_back_as_unseen,
    ],
    "I7": [unordered_in_a_command, overtaken],
    "I8": [stuck, stuck_under_a_lease],
    "I9": [sql_counts_one_less],
    "I10": [hashes_differ, a_peer_was_not_compared, an_attempt_differs, a_store_contradicts_itself],
}


@pytest.mark.parametrize(
    ("rule", "plant"),
    [pytest.param(rule, plant, id=plant.__name__) for rule in PLANTED for plant in PLANTED[rule]],
)
def test_a_planted_violation_is_found(rule: str, plant: Callable[[Case], None]) -> None:
    case = good()
    plant(case)
    assert any(found.startswith(f"{rule}: ") for found in case.found), case.found
