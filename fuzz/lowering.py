"""Lowering: what is parsed is planned, lowered and run, or is an `SqlError` that says why; none is internal.

The lowered text must be one statement that reads: the client's text may not break out of it.
python -m fuzz.lowering [libFuzzer options]
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import atheris
import duckdb

with atheris.instrument_imports(include=["z4sql.sql.planner", "z4sql.sql.lowering"]):
    from fuzz.grammar import Choices, Grammar
    from fuzz.live import Budget, LiveFront, require_sound
    from fuzz.texts import text_of
    from tests.planner_tables import NOW_US
    from z4sql.sql.catalog.catalog import Z4Catalog
    from z4sql.sql.context import StatementContext
    from z4sql.sql.engine.expansion import require_expandable
    from z4sql.sql.errors import SqlError
    from z4sql.sql.front.parsing import QueryParser
    from z4sql.sql.front.source import read_source
    from z4sql.sql.lowering.statement import lower
    from z4sql.sql.planner.plan import plan

_catalog = Z4Catalog()
_engine = duckdb.connect(":memory:")
_live = LiveFront()
_loop = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """Every second first byte is for the grammar, whose queries are run too; the others are texts."""
    if data[:1] and data[0] & 4:
        text = Grammar(Choices(data[1:])).statement()
        with Budget():
            require_sound(_loop.run_until_complete(_live.run(text)), text)
        return
    try:
        source = read_source(text_of(data))
        query = QueryParser().parse(source)
        context = StatementContext(NOW_US)
    except (SqlError, RecursionError):
        return
    with suppress(SqlError, RecursionError):
        plan(query.copy(), source.text, _catalog, context)
    with suppress(SqlError, RecursionError):
        lowered = lower(query.copy(), source.text, _catalog, context).sql
        require_expandable(lowered)
        _check(lowered)


def _check(sql: str) -> None:
    statements = _engine.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise AssertionError(f"not one query: {sql}")


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
