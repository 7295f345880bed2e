"""What the engine's failures become, before the first batch and behind it."""

from __future__ import annotations

import pytest

from z4sql.sql.engine.engine import Engine
from z4sql.sql.errors import LimitExceeded, SqlError

OVERFLOW = "select 9223372036854770000 + range as n from range({rows})"


def run(engine: Engine, sql: str) -> int:
    query = engine.run(sql, {})
    try:
        return sum(batch.num_rows for batch in query.batches())
    finally:
        query.close()


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("select 9223372036854775807 + a from (select 1::bigint as a)", 1690),
        ("select 9223372036854740000 + range from range(100000)", 1690),
        ("select cast(case when range = 90000 then 'x' else '1' end as int) from range(100000)", 1690),
        (
            "select json_extract(case when range = 90000 then '{' else '{}' end, '$.a') from range(100000)",
            3141,
        ),
    ],
)
def test_a_value_out_of_range_is_told_wherever_in_the_result_it_stands(sql: str, code: int) -> None:
    engine = Engine()
    with pytest.raises(SqlError) as refused:
        run(engine, sql)
    assert refused.value.code == code
    assert run(engine, "select 1") == 1


def test_an_expression_too_deep_for_the_engine_is_told_so() -> None:
    with pytest.raises(SqlError) as refused:
        run(Engine(), "select " + " || ".join(["'a'"] * 2_000))
    assert refused.value.code == 1436


def test_a_query_that_takes_too_much_memory_is_told_so_behind_the_first_batch_too() -> None:
    engine = Engine(memory_limit_mb=60)
    for sql in (
        "select list(range) over (order by range) from range(100000)",
        "select string_agg(range::varchar, ',') from range(100000000)",
    ):
        with pytest.raises(LimitExceeded):
            run(engine, sql)
    assert run(engine, "select 1") == 1


def test_sorting_by_a_column_that_is_always_null_changes_nothing() -> None:
    """Connector/J sorts the columns of a table by a schema that is NULL."""
    assert (
        run(Engine(), "select range, null as nothing from range(3) order by null::varchar, null, range") == 3
    )
