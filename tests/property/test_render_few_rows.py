"""Few cells are printed one by one, many by the column: the client cannot tell."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from z4sql.sql.render import few_texts, render_text
from z4sql.sql.types import Kind, SqlType

FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999


def optional(values: st.SearchStrategy[object]) -> st.SearchStrategy[list[object | None]]:
    return st.lists(st.none() | values, max_size=8)


COLUMNS = st.one_of(
    st.tuples(
        optional(st.integers(FIRST_US, LAST_US)).map(lambda cells: pa.array(cells, pa.timestamp("us"))),
        st.integers(0, 6).map(lambda fsp: SqlType(Kind.DATETIME, scale=fsp)),
    ),
    st.tuples(
        optional(st.integers(-(2**63), 2**63 - 1)).map(lambda cells: pa.array(cells, pa.int64())),
        st.just(SqlType(Kind.INT)),
    ),
    st.tuples(
        optional(st.integers(0, 2**64 - 1)).map(lambda cells: pa.array(cells, pa.uint64())),
        st.just(SqlType(Kind.UINT)),
    ),
    st.tuples(
        optional(st.text(max_size=20)).map(lambda cells: pa.array(cells, pa.string())),
        st.sampled_from((SqlType(Kind.STRING), SqlType(Kind.JSON))),
    ),
    st.tuples(
        optional(st.text(max_size=20)).map(lambda cells: pa.array(cells, pa.string_view())),
        st.just(SqlType(Kind.STRING)),
    ),
    st.tuples(
        optional(st.binary(max_size=20)).map(lambda cells: pa.array(cells, pa.binary_view())),
        st.just(SqlType(Kind.BINARY)),
    ),
    st.tuples(
        optional(st.floats(allow_nan=False, allow_infinity=False)).map(lambda c: pa.array(c, pa.float64())),
        st.just(SqlType(Kind.DOUBLE)),
    ),
    st.tuples(
        optional(st.booleans()).map(lambda cells: pa.array(cells, pa.bool_())), st.just(SqlType(Kind.INT))
    ),
)


@given(COLUMNS)
def test_few_cells_are_printed_as_many_are(column: tuple[pa.Array, SqlType]) -> None:
    array, kind = column
    assert few_texts(array, kind) == render_text(array, kind).to_pylist()


@given(COLUMNS, st.integers(0, 4))
def test_a_part_of_a_column_is_printed_as_that_part(column: tuple[pa.Array, SqlType], start: int) -> None:
    array, kind = column
    assert few_texts(array.slice(start), kind) == render_text(array, kind).to_pylist()[start:]
