"""Functions of constants bound a scan as their values do, and what is not certain bounds nothing."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner_tables import ranges, us
from z4sql.sql.engine.temporal_text import read_datetime
from z4sql.sql.errors import BadTemporal, Unbounded
from z4sql.sql.temporal import EPOCH, try_temporal

DAY = "deliver_at >= '2022-01-01' AND deliver_at < '2022-01-02'"

NAMES = [
    "= CONCAT('a', 'b')",
    "= 'a' 'b'",
    "= COALESCE(NULL, 'ab', 'c')",
    "= IFNULL(NULL, 'ab')",
    "= IF(1 = 1, 'ab', 'c')",
    "= IF('a' = 'b', 'c', 'ab')",
    "= NULLIF('ab', 'c')",
    "= LOWER('AB')",
    "= UPPER(CONCAT('', _utf8mb4'ab'))",
    "= 'ab' COLLATE utf8mb4_0900_bin",
    "= 0x6162",
    "= x'6162'",
    "= _binary'ab'",
    "= (SELECT 'ab')",
    "IN (SELECT 'ab')",
    "IN ('ab', x'6162')",
]
MOMENTS = [
    "MAKEDATE(2022, 32)",
    "MAKEDATE(22, 32)",
    "TIMESTAMP('2022-01-31', '24:00:00')",
    "TIMESTAMP('2022-01-31 23:00:00', '1:0')",
    "COALESCE(NULL, DATE('2022-02-01'))",
    "GREATEST(DATE('2022-02-01'), DATE('2022-01-01'))",
    "LEAST(DATE('2022-02-01'), TIMESTAMP('2022-03-01 00:00:00'))",
    "IF(NULL, NOW(), DATE('2022-02-01'))",
    "NULLIF(DATE('2022-02-01'), DATE('2022-03-01'))",
    "CONCAT('2022-02', '-01')",
    "(SELECT TIMESTAMP('2022-02-01'))",
    "'22-2-1 0:0:0'",
    "'2022.02.01 00.00.00'",
    "'2022^02%01 00*00*00'",
]


@pytest.mark.parametrize("condition", NAMES)
def test_a_function_of_constants_names_a_namespace(condition: str) -> None:
    found = ranges(f"SELECT id FROM tasks WHERE namespace {condition} AND {DAY}")
    name = "AB" if "UPPER" in condition else "ab"
    assert found == [(name, us("2022-01-01 00:00:00"), us("2022-01-02 00:00:00"))]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Etc/GMT-1")])
def test_a_function_of_constants_bounds_the_time(moment: str, zone: tzinfo) -> None:
    where = f"namespace = 'a' AND deliver_at >= '2022-01-01' AND deliver_at < {moment}"
    ((_, _, to_us),) = ranges(f"SELECT id FROM tasks WHERE {where}", zone=zone)
    assert to_us == us("2022-02-01 00:00:00") - (0 if zone is UTC else 3_600_000_000)


@pytest.mark.parametrize(
    "condition",
    [
        "= 'a' COLLATE utf8mb4_0900_ai_ci",
        "= 'a' COLLATE utf8mb4_bin",
        "= IF('a' = 'ä', 'a', 'b')",
        "= COALESCE('a', 1)",
        "= LOWER('Ä')",
        "= GREATEST('a', 'B')",
        "= (SELECT 'a' WHERE 1 = 0)",
        "= (SELECT 'a' LIMIT 0)",
        "= IF(x'6162' = 'a', 'a', 'b')",
    ],
)
def test_what_only_the_engine_knows_bounds_nothing(condition: str) -> None:
    with pytest.raises(Unbounded):
        ranges(f"SELECT id FROM tasks WHERE namespace {condition} AND {DAY}")


def test_a_null_among_them_leaves_nothing() -> None:
    for none in ("NULLIF('a', 'A')", "CONCAT('a', NULL)", "COALESCE(NULL, NULL)", "LOWER(NULL)"):
        assert ranges(f"SELECT id FROM tasks WHERE namespace = {none} AND {DAY}") == []


@pytest.mark.parametrize(
    "bad", ["0x32303237", "x'3230'", "b'1'", "0xff", "_binary'2027'", "2027", "-1", "1806192000"]
)
def test_bytes_and_numbers_that_are_no_instant_are_refused(bad: str) -> None:
    for condition in (f"deliver_at > {bad}", f"{bad} <= deliver_at AND {DAY}"):
        with pytest.raises(BadTemporal):
            ranges(f"SELECT id FROM tasks WHERE namespace = 'a' AND {condition}")


@pytest.mark.parametrize(
    "same", ["x'323032342D30322D3031'", "20240201", "20240201.0", "TRUE + 20240200", "240201"]
)
def test_bytes_and_numbers_are_instants_as_texts_are(same: str) -> None:
    query = "SELECT id FROM tasks WHERE namespace = 'a' AND deliver_at > "
    assert ranges(query + same) == ranges(query + "'2024-02-01'")


MARKS = st.sampled_from(list("-/.:^@%*_~"))
CLOCK_MARKS = st.sampled_from(list("/.:^@%*_~"))


@given(
    st.sampled_from(["2022", "22", "1999", "5", "70"]),
    st.tuples(MARKS, MARKS, CLOCK_MARKS, CLOCK_MARKS),
    st.lists(st.integers(0, 59), min_size=5, max_size=5),
    st.integers(3, 6),
    st.sampled_from([" ", "T", "  "]),
    st.sampled_from(["", ".5", ".1234567"]),
)
def test_literals_and_computed_texts_are_read_alike(
    year: str, marks: tuple[str, ...], numbers: list[int], parts: int, between: str, fraction: str
) -> None:
    month, day, hour, minute, second = (str(number) for number in numbers)
    text = f"{year}{marks[0]}{month}{marks[1]}{day}"
    clock = [hour, marks[2] + minute, marks[3] + second + fraction]
    text += "" if parts == 3 else between + "".join(clock[: parts - 3])
    found, (moment, _) = try_temporal(text), read_datetime(text)
    if found is None or moment is None:
        assert found is None
        assert moment is None
    else:
        assert (moment - EPOCH).total_seconds() * 1_000_000 == pytest.approx(found.naive_us, abs=1)
