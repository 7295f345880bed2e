"""Long lists, and conversions inside conversions: answered, or refused by an error that names the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.tool_answers import drained, filled_machine, front_over
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front

BOUND = "namespace = 'other' AND deliver_at >= '2022-04-16' AND deliver_at < '2022-04-17'"
ZONES = ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Sydney")
CHAIN = 9


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    with filled_machine(tmp_path) as machine:
        async with front_over(machine) as opened:
            yield opened


async def rows(front: Front, sql: str) -> list[list[str | int | None]]:
    found = await drained(await front.execute(front.open_session(1, "root", "localhost", "z4", {}), sql))
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ("attempts", "0"),
        ("SECOND(deliver_at)", "0"),
    ],
)
async def test_a_list_of_twenty_thousand_is_looked_up(front: Front, value: str, inside: str) -> None:
    many = ", ".join(map(str, range(1_000, 21_000)))
    counted = f"SELECT COUNT(*) FROM tasks WHERE {BOUND} AND {value}"
    ((some,),) = await rows(front, f"{counted} IN ({many}, {inside})")
    ((all_others,),) = await rows(front, f"{counted} NOT IN ({many})")
    ((equal,),) = await rows(front, f"{counted} = {inside}")
    assert (some, all_others) == (equal, 24)
    assert equal


async def test_a_list_with_null_is_true_or_unknown(front: Front) -> None:
    many = ", ".join(map(str, range(1, 20)))
    assert await rows(front, f"SELECT 5 IN ({many}, NULL), 0 IN ({many}, NULL), 0 NOT IN ({many})") == [
        [1, None, 1]
    ]
    assert await rows(front, f"SELECT '5x' IN ({many}), NULL IN ({many}), '0' IN ({many})") == [[1, None, 0]]


async def test_a_longer_list_is_refused_by_its_limit(front: Front) -> None:
    with pytest.raises(SqlError) as refused:
        await rows(front, f"SELECT 1 IN ({', '.join(['1'] * 30_000)})")
    assert refused.value.code == 3170
    assert "50000 words" in refused.value.message


async def test_conversions_between_zones_may_be_nested(front: Front) -> None:
    """Each link of the chain moves the clock from one zone to the next."""
    sql, expected = "deliver_at", datetime(2022, 4, 16, 0, 0)
    for link in range(CHAIN):
        here, there = (ZONES[(link + step) % len(ZONES)] for step in (0, 1))
        sql = f"CONVERT_TZ({sql}, '{here}', '{there}')"
        expected = (
            expected.replace(tzinfo=ZoneInfo(here)).astimezone(UTC).astimezone(ZoneInfo(there))
        ).replace(tzinfo=None)
    ((shown,),) = await rows(front, f"SELECT {sql} FROM tasks WHERE {BOUND} ORDER BY deliver_at LIMIT 1")
    assert str(shown) == f"{expected:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Kolkata", "UTC", "Europe/Berlin", "America/Sao_Paulo"])
async def test_a_long_expression_is_converted_as_a_short_one(front: Front, zone: str) -> None:
    short = f"CONVERT_TZ(deliver_at, 'UTC', '{zone}')"
    long = f"CONVERT_TZ({'COALESCE(' * 20}deliver_at{', deliver_at)' * 20}, 'UTC', '{zone}')"
    back = f"CONVERT_TZ({long}, '{zone}', 'UTC') = deliver_at"
    found = await rows(front, f"SELECT {short} = {long}, {back} FROM tasks WHERE {BOUND}")
    assert found == [[1, 1]] * 24
