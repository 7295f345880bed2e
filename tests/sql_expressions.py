"""Generated SELECTs over the tasks of the corpus, in the words that MySQL and MariaDB share.

Of MySQL more is asked: see `tests/sql_wider_expressions.py`. What the two are known to answer differently is
not generated here:

- ``->`` and ``->>`` (MariaDB has none), and comparisons of JSON with JSON, which is text in MariaDB;
- ROUND and TRUNCATE of dates, and TIME_TO_SEC with a fraction (MariaDB keeps the type);
- GREATEST, LEAST and COALESCE that mix dates with numbers, texts or times (other common types);
- dates compared with constants that are none (MySQL: error 1525), or with times (other conversions);
- dates of zeros (MariaDB takes 0 for a date), intervals added to texts with a fraction;
- bits of texts with a fraction (MariaDB rounds), INTERVAL with texts for numbers;
- the order of punctuation in texts without case (here by code point, there by the weights of Unicode);
- GROUP BY that repeats an expression of the select list with dates in it (MariaDB does not recognise it);
- shifts by 4294967296 bits and more (MySQL: all are lost; MariaDB looks at the last 32 bits of the count);
- SUM and AVG of texts made of numbers (MariaDB shows as many digits as the number had);
- UNIX_TIMESTAMP with a fraction where a whole number is wanted (MySQL cuts it, MariaDB rounds);
- LOCATE of an empty text from a position on (MariaDB finds it behind the end of a text too);
- CAST of a number AS CHAR in arithmetic with whole numbers (MySQL: texts count as doubles, 2.5 + 10 is 12.5;
  MariaDB keeps no digit behind the point, 12): the cast always stands inside of a CONCAT;
- decimals that pass through a derived table (either server merges it, or rounds).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hypothesis import strategies as st

from tests.sql_wider_expressions import (
    doubles,
    wider_aggregates,
    wider_conditions,
    wider_numbers,
    wider_texts,
    window_calls,
)
from tests.sql_words import Sql, call, quoted

NAMESPACES = ("welcome_emails", "billing", "Reports", "push-notifs")
_DAYS = ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05", "2026-03-06", "2026-03-08")
_MEMBERS = ("user_id", "attempt", "region", "priority", "note", "amount", "ts", "missing")
_TEXTS = (
    "",
    "a",
    "A",
    "high",
    "HIGH",
    "us-east-1",
    "US-EAST-1 ",
    "5",
    " 5",
    "0",
    "10",
    "1e1",
    "é",
    "x y",
    "%",
    "_",
)
_SOUGHT = tuple(text for text in _TEXTS if text.isascii())
_PATTERNS = ("%", "a%", "%e%", "_igh", "%-1", "%-1 ", "H%", "\\%%", "us\\_%", "%1_", "")
_FORMATS = ("%Y-%m-%d", "%H:%i", "%d.%m.%y %T.%f", "%W %M %e", "%j %U %u", "%a %b %c", "%l %p", "%D", "%%x")


def member(name: str) -> str:
    return f"JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.{name}'))"


whole_numbers: Sql = st.one_of(
    st.sampled_from(["0", "1", "2", "3", "7", "10", "100", "-1", "-7", "12345", "4294967296", "NULL"]),
    st.integers(-50, 50).map(lambda number: f"({number})"),
)
decimal_numbers: Sql = st.sampled_from(
    ["0.5", "1.5", "2.50", "0.001", "3.14159", "10.0", "(-0.25)", "99.995"]
)
double_numbers: Sql = st.sampled_from(["1e0", "2.5e0", "1e3", "(-1.5e1)"])
counts: Sql = st.integers(-3, 8).map(str)
moments: Sql = st.one_of(
    st.sampled_from(["deliver_at", "created_at", "last_retry"]),
    st.sampled_from(["TIMESTAMP '2026-03-03 00:00:00'", "TIMESTAMP '2026-03-02 10:11:12.250000'"]),
    call("CAST({} AS DATETIME(6))", st.sampled_from(["deliver_at", "last_retry", "'2026-03-04 01:02:03.4'"])),
)
days: Sql = st.one_of(call("DATE({})", moments), st.sampled_from([f"DATE '{day}'" for day in _DAYS]))


def _later(base: Sql) -> Sql:
    units = st.sampled_from(
        ["MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]
    )
    return st.one_of(
        call("DATE_ADD({}, INTERVAL {} {})", base, counts, units),
        call("({} - INTERVAL {} {})", base, counts, units),
        call("DATE_ADD({}, INTERVAL CHAR_LENGTH(id) {})", base, units),
        call("TIMESTAMPADD(DAY, {}, {})", counts, base),
    )


def any_moment() -> Sql:
    return st.one_of(moments, days, _later(moments), _later(days), call("LAST_DAY({})", moments))


def _simple_texts(nothing: str) -> Sql:
    return st.one_of(
        st.sampled_from(["namespace", "id", *map(member, _MEMBERS)]), quoted(_TEXTS), st.just(nothing)
    )


def _simple_numbers() -> Sql:
    return st.one_of(
        whole_numbers,
        decimal_numbers,
        double_numbers,
        call("CHAR_LENGTH({})", st.sampled_from(["namespace", "id", member("user_id")])),
        st.just(f"CAST({member('attempt')} AS SIGNED)"),
        st.just(f"CAST({member('amount')} AS DECIMAL(12,2))"),
        st.just("(UNIX_TIMESTAMP(deliver_at) + 0)"),
        st.just("LENGTH(payload)"),
    )


def _deeper_numbers(numbers: Sql, texts: Sql, conditions: Sql, operators: list[str]) -> Sql:
    moment = any_moment()
    parts = st.sampled_from(["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "QUARTER", "YEAR_MONTH"])
    names = st.sampled_from(
        [
            "YEAR",
            "MONTH",
            "DAYOFMONTH",
            "DAYOFWEEK",
            "WEEKDAY",
            "DAYOFYEAR",
            "HOUR",
            "MINUTE",
            "SECOND",
            "WEEK",
        ]
        + ["WEEKOFYEAR", "YEARWEEK", "TO_DAYS", "MICROSECOND", "QUARTER", "TO_SECONDS"]
    )
    return st.one_of(
        call("({} {} {})", numbers, st.sampled_from(operators), numbers),
        call("{}({})", st.sampled_from(["ABS", "SIGN", "FLOOR", "CEIL", "ROUND", "-"]), numbers),
        call("{}({}, {})", st.sampled_from(["ROUND", "TRUNCATE"]), numbers, st.integers(-2, 5).map(str)),
        call(
            "CAST({} AS {})", numbers, st.sampled_from(["SIGNED", "DECIMAL(20,3)", "DECIMAL(6,1)", "DOUBLE"])
        ),
        call(
            "CAST({} AS {})", texts, st.sampled_from(["SIGNED", "UNSIGNED", "DECIMAL(20,3)", "DECIMAL(6,1)"])
        ),
        call("({} + {})", texts, numbers),
        call("{}({})", st.sampled_from(["CHAR_LENGTH", "LENGTH", "ASCII", "CRC32"]), texts),
        call("INSTR({}, {})", texts, quoted(_SOUGHT)),
        call("LOCATE({}, {}, {})", quoted(_SOUGHT[1:]), texts, st.integers(1, 4).map(str)),
        call("EXTRACT({} FROM {})", parts, moment),
        call("{}({})", names, moment),
        call("DATEDIFF({}, {})", moment, moment),
        call(
            "TIMESTAMPDIFF({}, {}, {})",
            st.sampled_from(
                ["MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"]
            ),
            moment,
            moment,
        ),
        call("IF({}, {}, {})", conditions, numbers, numbers),
        call("COALESCE({}, {})", numbers, numbers),
        call("NULLIF({}, {})", numbers, numbers),
        call("{}({}, {})", st.sampled_from(["GREATEST", "LEAST"]), numbers, numbers),
        call("CASE {} WHEN {} THEN {} ELSE {} END", numbers, numbers, numbers, numbers),
        call("CASE WHEN {} THEN {} WHEN {} THEN {} END", conditions, numbers, conditions, numbers),
        call("({} {} {})", whole_numbers, st.sampled_from(["&", "|", "^"]), whole_numbers),
        call("({} {} {})", whole_numbers, st.sampled_from(["<<", ">>"]), st.integers(-1, 70).map(str)),
        conditions,
    )


def _deeper_texts(numbers: Sql, texts: Sql, conditions: Sql, digest: str) -> Sql:
    return st.one_of(
        call("CONCAT({}, {})", texts, texts),
        call("CONCAT({}, {})", texts, numbers),
        call("CONCAT_WS({}, {}, {})", quoted(_TEXTS), texts, texts),
        call(
            "{}({})",
            st.sampled_from(["LOWER", "REVERSE", "TRIM", "LTRIM", "RTRIM", "HEX", digest, "QUOTE"]),
            texts,
        ),
        call("{}({}, {})", st.sampled_from(["LEFT", "RIGHT", "SUBSTRING", "REPEAT"]), texts, counts),
        call("SUBSTRING({}, {}, {})", texts, counts, counts),
        call("{}({}, {}, '*')", st.sampled_from(["LPAD", "RPAD"]), texts, st.integers(0, 9).map(str)),
        call("REPLACE({}, {}, {})", texts, quoted(("a", "e", "1", "-")), quoted(("", "zz"))),
        call(
            "SUBSTRING_INDEX({}, {}, {})",
            texts,
            quoted(("-", "@", "e")),
            st.sampled_from(["1", "2", "-1", "0"]),
        ),
        call("CONCAT(CAST({} AS CHAR), '')", numbers),
        call("CAST({} AS CHAR)", any_moment()),
        call("DATE_FORMAT({}, {})", any_moment(), quoted(_FORMATS)),
        call("{}({})", st.sampled_from(["DAYNAME", "MONTHNAME"]), any_moment()),
        call("IF({}, {}, {})", conditions, texts, texts),
        call("COALESCE({}, {})", texts, texts),
        call("IFNULL({}, {})", texts, numbers),
        call("NULLIF({}, {})", texts, texts),
        call("ELT({}, {}, {})", counts, texts, texts),
        call("CASE WHEN {} THEN {} ELSE {} END", conditions, texts, texts),
        call("INSERT({}, {}, 2, 'Q')", texts, counts),
    )


def _deeper_conditions(numbers: Sql, texts: Sql, conditions: Sql) -> Sql:
    operators = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "<=>"])
    moment = any_moment()
    members = st.sampled_from(["namespace", *map(member, _MEMBERS)])
    return st.one_of(
        call("({} {} {})", numbers, operators, numbers),
        call("({} {} {})", texts, st.sampled_from(["=", "<>", "<=>"]), texts),
        call("({} {} {})", texts, operators, numbers),
        call("({} {} {})", moment, operators, moment),
        call("({} {} '2026-03-03 12:00:00.5')", moments, operators),
        call("({} {} {})", conditions, st.sampled_from(["AND", "OR", "XOR"]), conditions),
        call("(NOT {})", conditions),
        call("({} IS {} NULL)", st.one_of(texts, numbers), st.sampled_from(["", "NOT"])),
        call("({} IS {} {})", conditions, st.sampled_from(["", "NOT"]), st.sampled_from(["TRUE", "FALSE"])),
        call("({} {} IN ({}, {}))", numbers, st.sampled_from(["", "NOT"]), numbers, numbers),
        call("({} {} IN ({}, {}))", texts, st.sampled_from(["", "NOT"]), quoted(_TEXTS), texts),
        call("({} {} BETWEEN {} AND {})", numbers, st.sampled_from(["", "NOT"]), numbers, numbers),
        call("({} BETWEEN {} AND {})", members, quoted(_TEXTS), quoted(_TEXTS)),
        call("({} {} {})", members, operators, texts),
        call("({} BETWEEN {} AND {})", moment, moment, moment),
        call("({} {} LIKE {})", texts, st.sampled_from(["", "NOT"]), quoted(_PATTERNS)),
        call("({} REGEXP {})", texts, quoted(("^a", "[0-9]+", "e|u", "1$"))),
    )


class Words(NamedTuple):
    """Expressions of each kind."""

    numbers: Sql
    texts: Sql
    conditions: Sql


@lru_cache
def words(depth: int, *, of_mysql: bool) -> Words:
    """Nested no deeper than ``depth``."""
    # To MySQL a function of nothing but NULL gives bytes, which do not go with texts.
    numbers, texts = _simple_numbers(), _simple_texts("NULLIF(id, id)" if of_mysql else "NULL")
    conditions = _deeper_conditions(numbers, texts, st.sampled_from(["TRUE", "FALSE", "NULL"]))
    operators = ["+", "-", "*", "DIV", "%"] + ([] if of_mysql else ["/"])
    for _ in range(depth):
        known = (numbers, texts, conditions)
        numbers = st.one_of(numbers, _deeper_numbers(*known, operators))
        texts = st.one_of(texts, _deeper_texts(*known, "TO_BASE64" if of_mysql else "MD5"))
        conditions = st.one_of(conditions, _deeper_conditions(*known))
        if of_mysql:
            numbers = st.one_of(numbers, wider_numbers(*known))
            texts = st.one_of(texts, wider_texts(*known))
            conditions = st.one_of(conditions, wider_conditions(*known[:2]))
    return Words(numbers, texts, conditions)


def bounds(alias: str = "") -> Sql:
    """What the planner wants to see: a namespace and a range."""
    prefix = f"{alias}." if alias else ""
    return st.builds(
        lambda name, first, last: (
            f"{prefix}namespace = '{name}' AND {prefix}deliver_at >= '{first}' "
            f"AND {prefix}deliver_at < '{last}'"
        ),
        st.sampled_from(NAMESPACES),
        st.sampled_from(_DAYS[:3]),
        st.sampled_from(_DAYS[3:]),
    )


def cells(*, of_mysql: bool) -> Sql:
    shared = st.one_of(*words(2, of_mysql=of_mysql), any_moment())
    if not of_mysql:
        return shared
    numbers, texts, _ = words(1, of_mysql=True)
    return st.one_of(shared, doubles(numbers), window_calls(numbers, texts))


def aggregates(*, of_mysql: bool) -> Sql:
    numbers, texts, conditions = words(1, of_mysql=of_mysql)
    shared = st.one_of(
        st.just("COUNT(*)"),
        call("COUNT({}{})", st.sampled_from(["", "DISTINCT "]), st.one_of(numbers, texts, any_moment())),
        call("{}({})", st.sampled_from(["SUM", "AVG", "MIN", "MAX"]), numbers),
        call("{}({})", st.sampled_from(["SUM", "AVG"]), st.sampled_from(list(map(member, _MEMBERS)))),
        call("{}({})", st.sampled_from(["MIN", "MAX"]), any_moment()),
        call("SUM({})", conditions),
        call("(SUM({}) / COUNT(*))", numbers),
        call("ROUND(AVG({}), 3)", numbers),
        call(
            "{}({})",
            st.sampled_from(["STDDEV_POP", "VAR_SAMP", "BIT_AND", "BIT_OR", "BIT_XOR"]),
            whole_numbers,
        ),
        call("GROUP_CONCAT({} ORDER BY id SEPARATOR '|')", st.sampled_from(["id", "deliver_at"])),
        call("IF(COUNT(*) > {}, MAX({}), MIN({}))", counts, numbers, numbers),
    )
    return st.one_of(shared, wider_aggregates(numbers, texts, conditions)) if of_mysql else shared


@st.composite
def queries(draw: st.DrawFn, *, of_mysql: bool = False) -> str:
    where = draw(bounds())
    condition = draw(words(2, of_mysql=of_mysql).conditions)
    one, two = draw(cells(of_mysql=of_mysql)), draw(cells(of_mysql=of_mysql))
    keys = st.one_of(*words(1, of_mysql=of_mysql)[:2], days)
    key = draw(keys.filter(lambda text: not text.strip("()").lstrip("-").isdecimal()))
    total, other = draw(aggregates(of_mysql=of_mysql)), draw(aggregates(of_mysql=of_mysql))
    limit = draw(st.sampled_from(["", "LIMIT 5", "LIMIT 3 OFFSET 2", "LIMIT 0"]))
    direction = draw(st.sampled_from(["", "DESC"]))
    second = draw(bounds("y"))
    joined = where.replace(" AND deliver_at", " AND x.deliver_at")
    window = f"PARTITION BY CHAR_LENGTH(id) ORDER BY deliver_at {direction}, id"
    tasks = f"FROM tasks WHERE {where}"
    shapes = [
        f"SELECT {one} AS a, {two} AS b {tasks}",
        f"SELECT {one} AS a, {two} AS b, id {tasks} AND {condition}",
        f"SELECT id, {one} AS a {tasks} ORDER BY deliver_at {direction}, id {direction} {limit}",
        f"SELECT {total} AS a, {other} AS b {tasks} AND {condition}",
        f"SELECT {key} AS k, {total} AS a, {other} AS b {tasks} GROUP BY k",
        f"SELECT {key} AS k, {total} AS a {tasks} GROUP BY 1 HAVING COUNT(*) > 1",
        f"SELECT DISTINCT {key} AS k {tasks} AND {condition}",
        f"SELECT COUNT(*) AS n {tasks} AND {condition} HAVING n > 0",
        f"SELECT x.id, y.n FROM tasks x JOIN (SELECT CHAR_LENGTH(id) AS c, COUNT(*) AS n {tasks} "
        f"GROUP BY CHAR_LENGTH(id)) y ON CHAR_LENGTH(x.id) = y.c WHERE x.{joined}",
        f"SELECT id {tasks} AND id {draw(st.sampled_from(['', 'NOT']))} IN "
        f"(SELECT y.id FROM tasks y WHERE {second} AND {condition})",
        f"SELECT id, (SELECT COUNT(*) FROM tasks y WHERE {second} AND y.deliver_at > tasks.deliver_at) AS n "
        f"{tasks}",
        f"SELECT {key} AS k {tasks} UNION SELECT {key} {tasks} AND {condition}",
        f"SELECT id, ROW_NUMBER() OVER ({window}) AS r, "
        f"SUM({draw(whole_numbers)}) OVER (ORDER BY deliver_at, id) AS s {tasks}",
    ]
    return draw(st.sampled_from(shapes)).strip()
