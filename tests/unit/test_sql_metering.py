"""What clients of SQL ask is counted once each, by how it ended; whatever goes through is left as it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pyarrow as pa
import pytest

from z4sql.sql.errors import ReadOnly, SqlError, TimedOut
from z4sql.sql.metering import Meter, Metered
from z4sql.sql.result import Ok, Result, ResultSet


class Answers:
    """A front end that does as the text says."""

    async def execute(self, session: object, sql: str) -> Result:
        match sql.rsplit(maxsplit=1)[-1]:
            case "refused":
                raise ReadOnly
            case "wrong":
                raise SqlError("no")
            case "ok":
                return Ok()
        return ResultSet((), self._rows(sql.rsplit(maxsplit=1)[-1]), scanned_rows=lambda: 9)

    async def _rows(self, how: str) -> AsyncIterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1, 2, 3]})
        if how == "late":
            raise TimedOut
        yield pa.record_batch({"n": [4]})


async def taken(meter: Meter, texts: list[str], *, stop_early: bool = False) -> dict[str, object]:
    front = Metered(Answers(), meter)  # type: ignore[arg-type]  # as much of one as is used
    for text in texts:
        try:
            result = await front.execute(None, text)  # type: ignore[arg-type]
            if isinstance(result, ResultSet):
                async for _ in result.batches:
                    if stop_early:
                        await result.batches.aclose()  # type: ignore[attr-defined]
                        break
        except SqlError:
            continue
    found = meter.take()
    assert found is not None and meter.take() is None
    assert json.loads(json.dumps(found)) == {
        **found,
        "statements": [[*one] for one in found["statements"]],  # type: ignore[attr-defined]
        "took_ms": [[*one] for one in found["took_ms"]],  # type: ignore[attr-defined]
    }
    return found


@pytest.mark.parametrize(
    ("text", "verb", "outcome", "rows"),
    [
        ("SELECT all", "select", "ok", 4),
        ("  /* a */ sElEcT late", "select", "timeout", 3),
        ("INSERT refused", "other", "refused", 0),
        ("SHOW wrong", "show", "error", 0),
        ("SET ok", "set", "ok", 0),
        ("-- ok", "other", "ok", 0),
    ],
)
async def test_each_is_counted_once(text: str, verb: str, outcome: str, rows: int) -> None:
    found = await taken(Meter(), [text, text])
    assert found["statements"] == [[verb, outcome, 2]]
    assert found["rows"] == 2 * rows
    assert found["scanned_rows"] == (18 if rows else 0)
    assert sum(count for _, count in found["took_ms"]) == 2  # type: ignore[attr-defined]


async def test_whoever_stops_reading_ends_the_statement() -> None:
    found = await taken(Meter(), ["SELECT all"], stop_early=True)
    assert found["statements"] == [["select", "killed", 1]] and found["rows"] == 3
