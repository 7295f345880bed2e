"""Whether a history of client calls on a key-value store is linearizable.

Wing and Gong's search with Lowe's memory of visited configurations ("Testing for linearizability", 2017), one
key at a time, since linearizability is local (Herlihy and Wing 1990). Nothing here knows the simulator: any
test that records `Operation` calls `check`. Times may be of any one clock; only their order counts.

What to record:

- a call that surely had no effect (refused) is left out;
- a call whose outcome is unknown has ``returned_at=None``: it may take effect at any time, or never;
- a read without an answer is left out, or recorded as unknown: it proves nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from raftcore.sim import zones

STEPS_MAX = 2_000_000
"""Configurations that one check may visit: a minute at most, and the same verdict on every machine."""


class Kind(StrEnum):
    """What a call does to its key; an absent key has the value None."""

    READ = "read"
    """The result is the value."""
    WRITE = "write"
    """Set ``value``; the result is not looked at."""
    CREATE = "create"
    """Set ``value`` if the key is absent; the result is whether it was."""
    SWAP = "swap"
    """``value`` is (expected, new): set new if the key holds expected; the result is whether it did."""
    DELETE = "delete"
    """Remove the key; the result is whether it was there, or None when the store does not tell."""


@dataclass(slots=True, frozen=True)
class Operation:
    """One call as its client saw it.

    ``process`` names the client and is for people only. Written values are best unique per key: the search is
    then almost linear, and a violation can be read.
    """

    process: Hashable
    kind: Kind
    key: Hashable
    value: Hashable
    invoked_at: float
    returned_at: float | None
    """None when the outcome is unknown."""
    result: Hashable = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))
        if self.returned_at is not None and self.returned_at < self.invoked_at:
            raise ValueError(f"{self} returned before it was invoked")


@dataclass(slots=True, frozen=True)
class Violation:
    """A key whose calls fit no order: the longest order found, and the calls of which none can come next."""

    key: Hashable
    order: tuple[Operation, ...]
    value: Hashable
    stuck: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [
            f"key {self.key!r} is not linearizable: after {len(self.order)} calls, the last of which are"
        ]
        lines += [f"    {_formatted(operation)}" for operation in self.order[-10:]]
        lines += [f"  its value is {self.value!r}, and none of these can come next:"]
        lines += [f"    {_formatted(operation)}" for operation in self.stuck]
        return "\n".join(lines)


class Undecided(Exception):
    """The search was given up: the history has too many concurrent or unknown calls on one key."""


def check(history: Iterable[Operation], steps_max: int = STEPS_MAX) -> Violation | None:
    """None when every key's calls can be put in an order that respects time and explains each result.

    :raises Undecided: when ``steps_max`` configurations did not decide it.
    """
    by_key: dict[Hashable, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key, operations in by_key.items():
        if _is_register(operations):
            violation = _register_violation(key, operations)
            if violation is not None:
                return violation
            continue
        search = _Search(key, operations, steps_max)
        violation = search.run()
        if violation is not None:
            return violation
        steps_max -= search.steps
    return None


_EXPLAINED_STEPS_MAX = 20_000
"""Configurations that are visited for the sake of a message, when the verdict is known."""


def _is_register(operations: list[Operation]) -> bool:
    written = [operation.value for operation in operations if operation.kind is Kind.WRITE]
    is_plain = all(operation.kind in (Kind.READ, Kind.WRITE) for operation in operations)
    return is_plain and None not in written and len(set(written)) == len(written)


def _register_violation(key: Hashable, operations: list[Operation]) -> Violation | None:
    seen = {operation.result for operation in operations if operation.kind is Kind.READ}
    accesses = [
        zones.Access(
            is_write := operation.kind is Kind.WRITE,
            operation.value if is_write else operation.result,
            operation.invoked_at,
            float("inf") if operation.returned_at is None else operation.returned_at,
            position,
        )
        for position, operation in enumerate(operations)
        if operation.returned_at is not None or (operation.kind is Kind.WRITE and operation.value in seen)
    ]
    conflict = zones.conflict(accesses, initial=None)
    if conflict is None:
        return None
    try:
        explained = _Search(key, operations, _EXPLAINED_STEPS_MAX).run()
    except Undecided:
        explained = None
    return explained or Violation(key, (), None, tuple(operations[access.position] for access in conflict))


_ILLEGAL = object()


def _value_after(operation: Operation, before: Hashable) -> Hashable:
    """The key's value when ``operation`` has taken effect; `_ILLEGAL` when its result denies that."""
    is_known = operation.returned_at is not None
    result, value = operation.result, operation.value
    match operation.kind:
        case Kind.READ:
            return before if not is_known or result == before else _ILLEGAL
        case Kind.WRITE:
            return value
        case Kind.CREATE:
            if is_known and bool(result) is not (before is None):
                return _ILLEGAL
            return value if before is None else before
        case Kind.SWAP:
            if not isinstance(value, tuple) or len(value) != 2:
                raise ValueError(f"the value of a swap is (expected, new), not {value!r}")
            expected, new = value
            if is_known and bool(result) is not (before == expected):
                return _ILLEGAL
            return new if before == expected else before
        case Kind.DELETE:
            if is_known and result is not None and bool(result) is not (before is not None):
                return _ILLEGAL
            return None
        case _:
            assert_never(operation.kind)


@dataclass(slots=True)
class _Configuration:
    """Part of an order: all answered calls below ``low`` and those in ``done``, unknown ones in ``taken``."""

    low: int
    done: int
    """Bit 0 is the answered call at ``low``, which is never set."""
    taken: int
    value: Hashable
    order: tuple[Operation, object] | None
    """The last call and what came before it, as a linked list."""
    length: int


class _Search:
    def __init__(self, key: Hashable, operations: list[Operation], steps_max: int) -> None:
        answered = [operation for operation in operations if operation.returned_at is not None]
        self.steps = 0
        self._key = key
        self._answered = sorted(answered, key=lambda operation: operation.invoked_at)
        self._unknown = _telling(operations)
        self._steps_max = steps_max

    def run(self) -> Violation | None:
        """Depth first; a configuration that was met before leads nowhere new."""
        answered = self._answered
        start = self._settle(_Configuration(0, 0, 0, None, None, 0))
        best = start
        stack, met = [start], set[tuple[int, int, int, Hashable]]()
        while stack:
            at = stack.pop()
            if at.low == len(answered):
                return None
            if at.length > best.length:
                best = at
            self.steps += 1
            if self.steps > self._steps_max:
                raise Undecided(f"key {self._key!r}: {len(answered)} answered, {len(self._unknown)} unknown")
            for after in self._next(at):
                mark = (after.low, after.done, after.taken, after.value)
                if mark not in met:
                    met.add(mark)
                    stack.append(after)
        candidates, unknown = self._candidates(best)
        stuck = [answered[index] for index in candidates] + [self._unknown[index] for index in unknown]
        return Violation(self._key, _listed(best.order), best.value, tuple(stuck))

    def _candidates(self, at: _Configuration) -> tuple[list[int], list[int]]:
        """Calls that may come next: none that is still missing had returned before they were invoked."""
        answered, first_return = self._answered, float("inf")
        candidates = []
        done, index = at.done, at.low
        while index < len(answered):
            operation = answered[index]
            if operation.invoked_at > first_return:
                break
            if not done & 1:
                candidates.append(index)
                if operation.returned_at is not None and operation.returned_at < first_return:
                    first_return = operation.returned_at
            done >>= 1
            index += 1
        may_come = [index for index in candidates if answered[index].invoked_at <= first_return]
        unknown = [
            index
            for index, operation in enumerate(self._unknown)
            if not at.taken >> index & 1 and operation.invoked_at <= first_return
        ]
        return may_come, unknown

    def _next(self, at: _Configuration) -> list[_Configuration]:
        """What may follow, the likeliest last: the answered call that returned first."""
        candidates, unknown = self._candidates(at)
        following = []
        for index in reversed(unknown):
            operation = self._unknown[index]
            value = _value_after(operation, at.value)
            if value is not _ILLEGAL and value != at.value:
                order = (operation, at.order)
                after = _Configuration(at.low, at.done, at.taken | 1 << index, value, order, at.length + 1)
                following.append(self._settle(after))
        answered = self._answered
        candidates.sort(key=lambda index: answered[index].returned_at or 0.0, reverse=True)
        for index in candidates:
            value = _value_after(answered[index], at.value)
            if value is not _ILLEGAL:
                following.append(self._settle(self._with(at, index, value)))
        return following

    def _settle(self, at: _Configuration) -> _Configuration:
        """Take every call at once that explains its result and changes nothing: waiting could not help it."""
        while True:
            for index in self._candidates(at)[0]:
                if _value_after(self._answered[index], at.value) == at.value:
                    at = self._with(at, index, at.value)
                    break
            else:
                return at

    def _with(self, at: _Configuration, index: int, value: Hashable) -> _Configuration:
        low, done = at.low, at.done | 1 << (index - at.low)
        while done & 1:
            done >>= 1
            low += 1
        return _Configuration(low, done, at.taken, value, (self._answered[index], at.order), at.length + 1)


def _telling(operations: list[Operation]) -> list[Operation]:
    """The unknown calls that the search needs.

    A plain write whose value nobody saw may as well not have happened, unless some call tells of the value by
    having had no effect: a refused create or swap.
    """
    seen: set[Hashable] = set()
    is_told = False
    for operation in operations:
        if operation.kind is Kind.READ:
            if operation.returned_at is not None:
                seen.add(operation.result)
        elif operation.kind in (Kind.CREATE, Kind.SWAP, Kind.DELETE):
            is_told = True
    return [
        operation
        for operation in operations
        if operation.returned_at is None
        and operation.kind is not Kind.READ
        and (is_told or operation.kind is not Kind.WRITE or operation.value in seen)
    ]


def _listed(order: object) -> tuple[Operation, ...]:
    listed = []
    while isinstance(order, tuple):
        operation, order = order
        listed.append(operation)
    return tuple(reversed(listed))


def _formatted(operation: Operation) -> str:
    returned = "?" if operation.returned_at is None else f"{operation.returned_at:.6f}"
    result = "unknown" if operation.returned_at is None else repr(operation.result)
    return (
        f"[{operation.invoked_at:.6f}, {returned}] {operation.process}: "
        f"{operation.kind} {operation.value!r} -> {result}"
    )
