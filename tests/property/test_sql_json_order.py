"""JSON values sort as MySQL sorts them: by kind first, then by value; equal values have equal keys."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from z4sql.sql.engine.json_order import JsonValue, json_key

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
RANKS = (type(None), int, str, dict, list, bool)


def rank(value: JsonValue) -> int:
    return RANKS.index(int if isinstance(value, float) else type(value))


def less(one: JsonValue, other: JsonValue) -> bool | None:
    """Whether ``one`` sorts before ``other``; None where MySQL does not say."""
    if rank(one) != rank(other):
        return rank(one) < rank(other)
    match one, other:
        case str(), str():
            return one.encode() < other.encode()
        case list(), list():
            for left, right in zip(one, other, strict=False):
                if json_key(json.dumps(left)) != json_key(json.dumps(right)):
                    return less(left, right)
            return len(one) < len(other)
        case (bool(), bool()) | (int() | float(), int() | float()):
            return one < other
        case None, None:
            return False
    return None


def tagged(value: JsonValue) -> object:
    """The value with kinds told apart, so that true is not 1."""
    match value:
        case list():
            return [tagged(each) for each in value]
        case dict():
            return {name: tagged(each) for name, each in value.items()}
    return rank(value), value


@given(VALUES, VALUES)
def test_keys_compare_as_the_values_do(one: JsonValue, other: JsonValue) -> None:
    first, second = json_key(json.dumps(one)), json_key(json.dumps(other))
    expected = less(one, other)
    if expected is not None:
        assert (first < second) == expected
    if rank(one) == rank(other):
        assert (first == second) == (tagged(one) == tagged(other))
