"""However a bound is written, the planned answer is that of a full scan: functions of constants, either side,
numbers, variables, prepared parameters, in every session's time zone. What is no instant is error 1525.

The tasks lie around the hour that the clocks of Berlin show twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.planner_tables import us
from tests.property.test_planner_answers import NAMES, World
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import BadTemporal, SqlError, Unbounded
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.prepared import bind, counting, placeholders
from z4sql.sql.front.source import read_source

NIGHT = "2022-10-30 00:00:00"
NOW_US = us("2022-10-30 03:30:00")
ZONES: tuple[tzinfo, ...] = (
    UTC,
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("America/New_York"),
    timezone(timedelta(hours=5, minutes=45)),
    timezone(timedelta(hours=-2)),
)
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
BAD_INSTANTS = ("2022-02-30", "garbage", "", "2022-10-30 24:00:00", "2022-13-01", "yesterday")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("constants"), us(NIGHT))
    yield made
    made.close()


def clocks() -> st.SearchStrategy[datetime]:
    """What a clock shows: near the tasks of every zone, often exactly at one."""
    return st.builds(
        lambda minutes, micros: (
            datetime.fromisoformat(NIGHT) + timedelta(minutes=30 * minutes, microseconds=micros)
        ),
        st.integers(-30, 30),
        st.sampled_from([0, 0, 1, -1, 500_000]),
    )


def constants() -> st.SearchStrategy[str]:
    """An instant, in one of the many ways to write it."""
    forms = (
        "'{0}'",
        "TIMESTAMP '{0}'",
        "TIMESTAMP('{0}')",
        "CAST('{0}' AS DATETIME(6))",
        "CAST('{0}' AS DATETIME)",
        "CONCAT('{1}', ' ', '{2}')",
        "('{0}' + INTERVAL 90 MINUTE)",
        "DATE_SUB('{0}', INTERVAL 1 HOUR)",
        "(TIMESTAMP '{0}' - INTERVAL 1 DAY)",
        "DATE('{0}')",
        "'{1}'",
        "DATE '{1}'",
        "{3}",
        "{4}",
        "STR_TO_DATE('{0}', '%Y-%m-%d %H:%i:%s.%f')",
        "FROM_UNIXTIME({5})",
        "IF(1 = 1, TIMESTAMP '{0}', NULL)",
        "COALESCE(NULL, CAST('{0}' AS DATETIME(6)))",
        "LAST_DAY('{0}')",
        "CONVERT_TZ('{0}', '+00:00', '+01:00')",
        "GREATEST(TIMESTAMP '{0}', TIMESTAMP '2022-10-30 01:00:00')",
        "@moment",
    )

    def written(form: str, clock: datetime) -> str:
        text = f"{clock:%Y-%m-%d %H:%M:%S.%f}"
        seconds = int(clock.replace(tzinfo=UTC).timestamp())
        return form.format(text, text[:10], text[11:], f"{clock:%Y%m%d%H%M%S}", f"{clock:%Y%m%d}", seconds)

    others = st.sampled_from(
        ["NOW()", "NOW() - INTERVAL 3 HOUR", "CURDATE()", "UTC_TIMESTAMP(6)", "NULL", "0", "5"]
    )
    return st.one_of(st.builds(written, st.sampled_from(forms), clocks()), others)


def moment_conditions() -> st.SearchStrategy[str]:
    operators = st.sampled_from(sorted(MIRRORED))
    shifted = st.sampled_from(
        ["deliver_at + INTERVAL 1 HOUR", "deliver_at - INTERVAL 30 MINUTE", "DATE(deliver_at)"]
    )
    return st.one_of(
        st.builds(lambda o, c: f"deliver_at {o} {c}", operators, constants()),
        st.builds(lambda o, c: f"{c} {MIRRORED[o]} deliver_at", operators, constants()),
        st.builds(lambda low, high: f"deliver_at BETWEEN {low} AND {high}", constants(), constants()),
        st.builds(lambda one, two: f"deliver_at IN ({one}, {two})", constants(), constants()),
        st.builds(lambda o, c: f"NOT (deliver_at {o} {c})", operators, constants()),
        st.builds(lambda s, o, c: f"{s} {o} {c}", shifted, operators, constants()),
        st.builds(
            lambda o, clock: f"UNIX_TIMESTAMP(deliver_at) {o} {int(clock.replace(tzinfo=UTC).timestamp())}",
            operators,
            clocks(),
        ),
        st.builds(
            lambda one, two: f"({one} OR {two})",
            st.builds(lambda c: f"deliver_at < {c}", constants()),
            st.builds(lambda c: f"deliver_at = {c}", constants()),
        ),
    )


def name_conditions() -> st.SearchStrategy[str]:
    names = st.sampled_from(NAMES)
    forms = (
        "namespace = '{0}'",
        "'{0}' = namespace",
        "namespace IN ('{0}', '{1}')",
        "namespace <=> '{0}'",
        "namespace = CONCAT('{0}', '')",
        "(namespace = '{0}' OR namespace = '{1}')",
        "namespace LIKE '{0}'",
        "namespace = @name",
        "namespace = LOWER(UPPER('{0}'))",
        "queue = '{0}'",
        "NOT (namespace <> '{0}')",
        "namespace BETWEEN '{0}' AND '{0}'",
    )
    return st.builds(lambda form, one, two: form.format(one, two), st.sampled_from(forms), names, names)


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, StatementContext]:
    parts = [draw(name_conditions()), draw(moment_conditions()), draw(moment_conditions())]
    where = " AND ".join(draw(st.permutations(parts)))
    sql = draw(
        st.sampled_from(
            [
                f"SELECT id, deliver_at FROM tasks WHERE {where}",
                f"SELECT COUNT(*), MIN(deliver_at), MAX(deliver_at) FROM tasks WHERE {where}",
                f"SELECT id FROM tasks WHERE {where} ORDER BY deliver_at, id LIMIT 4",
                f"SELECT HOUR(deliver_at) AS h, COUNT(*) FROM tasks WHERE {where} GROUP BY h",
            ]
        )
    )
    variables = {"name": draw(st.sampled_from(NAMES)), "moment": f"{draw(clocks()):%Y-%m-%d %H:%M:%S.%f}"}
    return sql, StatementContext(NOW_US, draw(st.sampled_from(ZONES)), user_variables=variables)


def outcome(
    world: World, sql: str, context: StatementContext, *, planned: bool
) -> list[tuple[object, ...]] | int:
    """Sorted rows, or an error code."""
    try:
        rows = world.rows(sql, planned=planned, context=context)
    except Unbounded:
        raise
    except SqlError as error:
        return error.code
    return rows if "ORDER BY" in sql else sorted(rows, key=repr)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(questions())
def test_however_a_bound_is_written_the_answer_is_that_of_a_full_scan(
    world: World, asked: tuple[str, StatementContext]
) -> None:
    sql, context = asked
    try:
        found = outcome(world, sql, context, planned=True)
    except Unbounded:
        return
    assert found == outcome(world, sql, context, planned=False), (
        sql,
        context.time_zone,
        context.user_variables,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(NAMES),
    clocks(),
    clocks(),
    st.sampled_from(ZONES),
    st.sampled_from(["<", ">=", "BETWEEN"]),
)
def test_bound_parameters_mean_what_the_same_constants_mean(  # noqa: PLR0917 - what a statement is made of
    world: World, name: str, one: datetime, other: datetime, zone: tzinfo, operator: str
) -> None:
    condition = "BETWEEN ? AND ?" if operator == "BETWEEN" else f"{operator} ? AND deliver_at <> ?"
    text = (
        f"SELECT id FROM tasks WHERE deliver_at > '2022-10-01' AND namespace = ? AND deliver_at {condition}"
    )
    source = read_source(text)
    bound = bind(source.text, placeholders(source, QueryParser()), (name, one, other), counting(source))
    written = text.replace("?", f"'{name}'", 1).replace("?", f"'{one}'", 1).replace("?", f"'{other}'", 1)
    context = StatementContext(NOW_US, zone)
    found = sorted(world.rows(bound, planned=True, context=context))
    assert found == sorted(world.rows(written, planned=False, context=context)), (bound, zone)


@pytest.mark.parametrize("bad", BAD_INSTANTS)
@pytest.mark.parametrize(
    "form",
    [
        "deliver_at > '{0}'",
        "'{0}' <= deliver_at",
        "deliver_at BETWEEN '{0}' AND '2022-11-01'",
        "deliver_at = '{0}'",
    ],
)
def test_a_constant_that_is_no_instant_is_an_error_and_never_an_empty_answer(
    world: World, bad: str, form: str
) -> None:
    where = f"namespace = 'a' AND deliver_at > '2022-10-01' AND {form.format(bad)}"
    with pytest.raises(BadTemporal):
        world.rows(f"SELECT id FROM tasks WHERE {where}", planned=True)
