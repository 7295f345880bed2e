"""The checker of client histories finds what is known to be wrong, and agrees with the definition."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.sim.linearizability import Kind, Operation, Undecided, check


def write(value: object, invoked_at: float, returned_at: float | None, process: str = "w") -> Operation:
    return Operation(process, Kind.WRITE, "x", value, invoked_at, returned_at)


def read(result: object, invoked_at: float, returned_at: float, process: str = "r") -> Operation:
    return Operation(process, Kind.READ, "x", None, invoked_at, returned_at, result)


GOOD = {
    "nothing": [],
    "absent, then written": [read(None, 0, 1), write(1, 2, 3), read(1, 4, 5)],
    "a write is seen before it returns": [write(1, 0, 10), read(1, 1, 2), read(1, 3, 4)],
    "an unknown write takes effect late": [write(1, 0, None), read(None, 1, 2), read(1, 50, 51)],
    "an unknown write never takes effect": [write(1, 0, None), write(2, 1, 2), read(2, 3, 4)],
    "an unanswered read proves nothing": [Operation("r", Kind.READ, "x", None, 0, None), write(1, 1, 2)],
    "touching calls are concurrent": [write(1, 0, 1), read(None, 1, 2)],
    "keys are apart": [write(1, 0, 1), Operation("r", Kind.READ, "y", None, 2, 3, None)],
    "one of two swaps wins": [
        write(1, 0, 1),
        Operation("a", Kind.SWAP, "x", (1, 2), 2, 5, True),
        Operation("b", Kind.SWAP, "x", (1, 3), 3, 4, False),
        read(2, 6, 7),
    ],
    "a create is refused because of an unknown write that nobody read": [
        write(1, 0, None),
        Operation("a", Kind.CREATE, "x", 2, 1, 2, False),
        Operation("b", Kind.DELETE, "x", None, 3, 4, True),
        read(None, 5, 6),
    ],
}

BAD = {
    "stale read": [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
    "lost update": [
        write(0, 0, 1),
        Operation("a", Kind.SWAP, "x", (0, 1), 2, 4, True),
        Operation("b", Kind.SWAP, "x", (0, 2), 3, 5, True),
    ],
    "lost write": [write(1, 0, 1), read(None, 2, 3)],
    "invented value": [write(1, 0, 1), read(7, 2, 3)],
    "two readers see two orders": [
        write(1, 0, 20),
        write(2, 0, 20),
        read(1, 1, 2, "a"),
        read(2, 3, 4, "a"),
        read(1, 5, 6, "b"),
    ],
    "a value comes back": [write(1, 0, None), write(2, 1, 2), read(1, 3, 4), read(2, 5, 6), read(1, 7, 8)],
    "read before its write began": [read(1, 0, 1), write(1, 2, None)],
    "created twice": [
        Operation("a", Kind.CREATE, "x", 1, 0, 1, True),
        Operation("b", Kind.CREATE, "x", 2, 2, 3, True),
    ],
    "deleted what was not there": [Operation("a", Kind.DELETE, "x", None, 0, 1, True)],
    "one bad key among good ones": [
        *(Operation("w", Kind.WRITE, f"k{number}", number, number, number + 1) for number in range(20)),
        Operation("r", Kind.READ, "k7", None, 50, 51, None),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_linearizable_history_is_accepted(name: str) -> None:
    assert check(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_is_not_linearizable_is_found(name: str) -> None:
    violation = check(BAD[name])
    assert violation is not None
    assert violation.stuck, "the report names the calls that do not fit"
    assert repr(violation.key) in str(violation)


def test_a_report_shows_the_value_and_the_call_that_denies_it() -> None:
    violation = check(BAD["stale read"])
    assert violation is not None
    assert violation.value == 2
    assert violation.stuck == (read(1, 4, 5),)
    assert "r: read None -> 1" in str(violation)


def test_a_long_history_with_unknown_writes_is_quick() -> None:
    """Most unknown writes are seen by nobody; they must not multiply the search."""
    history = []
    for number in range(2_000):
        at = number * 10.0
        is_known = number % 3 != 0
        history.append(write(number, at, at + 5 if is_known else None))
        if is_known:
            history.append(read(number, at + 6, at + 12))
    assert check(history, steps_max=10_000) is None


def test_many_concurrent_calls_on_a_register_are_decided() -> None:
    """A history that the search gives up: any write may come first, and no read tells until the end."""
    many = [write(number, number / 100, 100 + number / 100) for number in range(60)]
    many += [read(number, 40 + number / 100, 101 + number) for number in range(0, 60, 7)]
    assert check(many, steps_max=1) is None
    assert check([*many, read(59, 300, 301), read(58, 302, 303)]) is not None


def test_a_search_without_end_is_given_up() -> None:
    swaps = [Operation(n, Kind.SWAP, "x", (n, n + 1), 0, None) for n in range(30)]
    swaps += [Operation(n, Kind.SWAP, "x", (n + 1, n), 0, None) for n in range(30)]
    with pytest.raises(Undecided):
        check([write(0, 0, 1), *swaps, read("never", 2, 3)], steps_max=20)


def test_a_call_cannot_return_before_it_began() -> None:
    with pytest.raises(ValueError, match="before"):
        write(1, 2, 1)


KINDS = st.sampled_from(list(Kind))


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    operations = []
    for process in range(draw(st.integers(1, 5))):
        kind = draw(KINDS)
        small = st.integers(0, 2)
        value: object = {
            Kind.READ: None,
            Kind.DELETE: None,
            Kind.SWAP: (draw(st.none() | small), draw(small)),
        }.get(kind, draw(small))
        invoked_at = draw(st.integers(0, 6))
        lasts = draw(st.none() | st.integers(0, 6))
        result: object = draw(st.none() | small) if kind is Kind.READ else draw(st.booleans())
        returned_at = None if lasts is None else invoked_at + lasts
        operations.append(Operation(process, kind, "x", value, invoked_at, returned_at, result))
    return operations


def effect(operation: Operation, value: object) -> tuple[object, object]:
    """The value after the call, and its result: the specification once more, as plainly as it can be said."""
    if operation.kind is Kind.READ:
        return value, value
    if operation.kind is Kind.WRITE:
        return operation.value, operation.result
    if operation.kind is Kind.CREATE:
        return (operation.value, True) if value is None else (value, False)
    if operation.kind is Kind.DELETE:
        return None, value is not None
    expected, new = operation.value  # type: ignore[misc,has-type]  # a swap's value is a pair
    return (new, True) if value == expected else (value, False)


def fits(order: tuple[Operation, ...]) -> bool:
    value: object = None
    for place, operation in enumerate(order):
        for later in order[place + 1 :]:
            if later.returned_at is not None and later.returned_at < operation.invoked_at:
                return False
        value, result = effect(operation, value)
        if operation.returned_at is not None and result != operation.result:
            return False
    return True


def is_linearizable(history: list[Operation]) -> bool:
    """By definition: some choice of the unknown calls, in some order, explains everything."""
    unknown = [operation for operation in history if operation.returned_at is None]
    for mask in range(1 << len(unknown)):
        left_out = {id(operation) for bit, operation in enumerate(unknown) if mask >> bit & 1}
        kept = [operation for operation in history if id(operation) not in left_out]
        if any(fits(order) for order in permutations(kept)):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_search_agrees_with_the_definition(history: list[Operation]) -> None:
    assert (check(history) is None) is is_linearizable(history)


@st.composite
def registers(draw: st.DrawFn) -> list[Operation]:
    """Unique writes, and reads of what is written, so that many are linearizable."""
    operations: list[Operation] = []
    count = draw(st.integers(1, 7))
    for process in range(count):
        invoked_at = draw(st.integers(0, 8))
        lasts = draw(st.integers(0, 8) | st.none())
        returned_at = None if lasts is None else invoked_at + lasts
        if draw(st.booleans()):
            operations.append(Operation(process, Kind.WRITE, "x", process, invoked_at, returned_at))
        else:
            seen = draw(st.none() | st.integers(0, count - 1))
            operations.append(Operation(process, Kind.READ, "x", None, invoked_at, returned_at, seen))
    return operations


@settings(max_examples=600, deadline=None)
@given(registers())
def test_the_zones_of_a_register_agree_with_the_search(history: list[Operation]) -> None:
    # A create that nobody saw, after everything, keeps the key from being taken for a plain register.
    searched = check([*history, Operation("c", Kind.CREATE, "x", "late", 99, None)])
    assert (check(history) is None) is (searched is None)
