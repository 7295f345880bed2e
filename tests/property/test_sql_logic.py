"""Logic and exact arithmetic get the answers of plain Python: three-valued logic, comparisons, decimals.

Needs no server; the differential test asks a real one.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compared_answers import Ours, rows_of_corpus

Written = tuple[str, Decimal | None]
"""SQL, and its value."""
ROWS = rows_of_corpus(200)[:2]
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


numbers: st.SearchStrategy[Written] = st.one_of(
    st.just(("NULL", None)),
    st.integers(-20, 20).map(lambda number: (f"({number})", Decimal(number))),
    st.decimals(-9, 9, places=2).map(lambda number: (f"({number})", number)),
)


def calculated(one: Written, operator: str, other: Written) -> Written:
    sql = f"({one[0]} {operator} {other[0]})"
    if one[1] is None or other[1] is None:
        return sql, None
    results = {"+": one[1] + other[1], "-": one[1] - other[1], "*": one[1] * other[1]}
    return sql, results[operator]


def compared(one: Written, operator: str, other: Written) -> Written:
    sql = f"({one[0]} {operator} {other[0]})"
    left, right = one[1], other[1]
    if left is None or right is None:
        return sql, None
    outcomes = (left == right, left != right, left < right, left <= right, left > right, left >= right)
    return sql, Decimal(outcomes[COMPARISONS.index(operator)])


def combined(one: Written, operator: str, other: Written) -> Written:
    sql = f"({one[0]} {operator} {other[0]})"
    values = {one[1], other[1]}
    deciding = Decimal(operator == "OR")
    if deciding in values:
        return sql, deciding
    return sql, None if None in values else 1 - deciding


sums = st.recursive(
    numbers, lambda inner: st.builds(calculated, inner, st.sampled_from("+-*"), inner), max_leaves=4
)
conditions = st.recursive(
    st.builds(compared, sums, st.sampled_from(COMPARISONS), sums),
    lambda inner: st.one_of(
        st.builds(combined, inner, st.sampled_from(["AND", "OR"]), inner),
        inner.map(lambda one: (f"(NOT {one[0]})", None if one[1] is None else 1 - one[1])),
        inner.map(lambda one: (f"({one[0]} IS NULL)", Decimal(one[1] is None))),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(sums, conditions))
def test_logic_and_exact_arithmetic_are_those_of_python(ours: Ours, written: Written) -> None:
    sql, expected = written
    found = ours.answer(f"SELECT {sql} FROM tasks LIMIT 1")
    assert isinstance(found, list), (sql, ours.error)
    ((cell,),) = found
    assert (None if cell is None else Decimal(cell.decode())) == expected, sql
