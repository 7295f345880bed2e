"""A prepared query that was parsed once gives the tree that its text with the values would be parsed to."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.front_driver import FrontDriver
from z4sql.sql.errors import SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import read_source
from z4sql.sql.result import Parameter

VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(-2, 1e20, allow_nan=False),
    st.decimals(-2, 10**6, places=2),
    st.text(alphabet="ab%_'\\\" 1-?$.", max_size=6),
    st.binary(max_size=4),
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),
    st.dates(date(2000, 1, 1), date(2040, 1, 1)),
    st.timedeltas(timedelta(hours=-40), timedelta(hours=40)),
)
COUNT = st.integers(0, 10**6)
FORMS = {
    "id = ?": (VALUE,),
    "namespace = ? AND deliver_at BETWEEN ? AND ?": (VALUE, VALUE, VALUE),
    "attempts - ? > -? OR id IN (?, ?)": (VALUE, VALUE, VALUE, VALUE),
    "metadata->>'$.a' LIKE ? AND id <> 'z4 hole 0'": (VALUE,),
    "JSON_EXTRACT(metadata, ?) = ?": (VALUE, VALUE),
    "deliver_at > NOW() - INTERVAL ? DAY AND DATE_FORMAT(deliver_at, ?) = ?": (VALUE, VALUE, VALUE),
    "CASE WHEN ? THEN CONCAT('x', ?) ELSE CAST(? AS CHAR) END = 'a' '?'": (VALUE, VALUE, VALUE),
    "id IN (SELECT id FROM tasks WHERE id = ? ORDER BY ? LIMIT ?)": (VALUE, VALUE, COUNT),
    "id > ? /* ? */ LIMIT ? OFFSET ?": (VALUE, COUNT, COUNT),
    "id > ? LIMIT ?, ?": (VALUE, COUNT, COUNT),
}


async def _run(form: str, rows: list[tuple[Parameter, ...]]) -> None:
    driver = FrontDriver()
    try:
        statement = await driver.front.prepare(driver.session, f"SELECT ?, id FROM tasks WHERE {form}")
    except SqlError:
        return
    for values in rows:
        ran = len(driver.runner.texts)
        try:
            await driver.front.execute_prepared(driver.session, statement, ("first", *values))
        except SqlError:
            continue
        assert len(driver.runner.texts) == ran + 1
        text, tree = driver.runner.texts[-1], driver.runner.queries[-1]
        assert tree == QueryParser().parse(read_source(text)), text


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_filled_tree_is_the_tree_of_the_filled_text(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(sorted(FORMS)))
    rows = data.draw(st.lists(st.tuples(*FORMS[form]), min_size=2, max_size=6))
    asyncio.run(_run(form, rows))


async def test_a_path_is_parsed_whatever_was_no_path_before() -> None:
    await _run("JSON_EXTRACT(metadata, ?) = ?", [("no path", None), ("", None), ("$.a", None)])
    await _run("JSON_VALUE(metadata, ?) = 'x'", [("no path",), ("",), ("$.a",)])
    await _run("JSON_UNQUOTE(JSON_EXTRACT(metadata, ?)) = 'x'", [("no path",), ("",), ("$.a",)])


async def test_a_format_is_read_whatever_format_came_before() -> None:
    for form in ("DATE_FORMAT(deliver_at, ?)", "STR_TO_DATE('1', ?)", "TIME_FORMAT(deliver_at, ?)"):
        await _run(f"{form} = 'x'", [("x",), ("%M %i",), ("%h:%s",), ("%Y",)])
    await _run("EXTRACT(DAY FROM ?) = 1 AND TIMESTAMP(?) = 1", [("x", "y"), ("2022-01-01", "2022-01-01")])
    await _run(
        "CAST(? AS DATETIME) = DATE(?) AND DATE_ADD(?, INTERVAL 1 DAY) = 1",
        [("a", "b", "c"), ("", "%Y", "d")],
    )


async def test_values_of_known_kinds_are_not_parsed_again() -> None:
    driver = FrontDriver()
    parser = driver.front._parser  # what it remembers is the subject here
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks WHERE id = ? LIMIT ?")
    await driver.front.execute_prepared(driver.session, statement, ("a", 1))
    asked = []
    parse = parser._parse_text
    parser._parse_text = lambda text, *more: asked.append(text) or parse(text, *more)  # type: ignore[method-assign,func-returns-value]
    await driver.front.execute_prepared(driver.session, statement, ("b", "7"))
    assert asked == []
    assert driver.runner.queries[-1].sql("mysql") == "SELECT id FROM tasks WHERE id = 'b' LIMIT 7"
    await driver.front.execute_prepared(driver.session, statement, ("it's", 2))
    assert len(asked) == 1
