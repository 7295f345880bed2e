"""EXPLAIN of queries: what is asked, and how plans are shown. MySQL manual: EXPLAIN Statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlglot import exp

from z4sql.sql.engine.warnings import Condition
from z4sql.sql.errors import SqlError, Unsupported
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.results import INT, LONG_TEXT, TEXT, result_set
from z4sql.sql.front.source import Source, read_source
from z4sql.sql.front.verbs import QUERY_WORDS, refuse
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind, ResultColumn, SqlType


class PlanFormat(Enum):
    TRADITIONAL = "TRADITIONAL"
    JSON = "JSON"
    TREE = "TREE"


@dataclass(slots=True, frozen=True)
class Explain:
    query: Source
    format: PlanFormat
    analyze: bool


_HEADERS = (
    *("id", "select_type", "table", "partitions", "type", "possible_keys", "key", "key_len", "ref"),
    *("rows", "filtered", "Extra"),
)
_TYPES = {"id": INT, "rows": INT, "filtered": SqlType(Kind.DOUBLE), "Extra": LONG_TEXT}


def read_explain(source: Source) -> Explain | None:
    """What to explain; None when it is DESCRIBE of a table.

    :raises ReadOnly: EXPLAIN of a write (1290); :raises SyntaxProblem: (1064).
    """
    cursor = Cursor(source, 1)
    chosen, analyze = None, False
    while True:
        if cursor.accept("ANALYZE"):
            analyze = True
        elif cursor.accept("FORMAT"):
            if not cursor.symbol("="):
                raise source.problem(cursor.at)
            chosen = _format(cursor.name())
        elif not cursor.accept_any("EXTENDED", "PARTITIONS"):
            break
    if cursor.finished:
        raise source.problem(cursor.at)
    if source.pieces[cursor.at].value == "(" or cursor.word in QUERY_WORDS:
        default = PlanFormat.TREE if analyze else PlanFormat.TRADITIONAL
        return Explain(read_source(cursor.rest()), chosen or default, analyze)
    if source.word(cursor.at + 1) not in ("", "LIKE") or cursor.at > 1:
        refuse(source, cursor.at)
    if cursor.accept("FOR", "CONNECTION"):
        raise Unsupported("This version of MySQL doesn't yet support 'EXPLAIN FOR CONNECTION'")
    if cursor.at > 1:
        raise source.problem(cursor.at)
    return None


def _format(name: str) -> PlanFormat:
    try:
        return PlanFormat(name.upper())
    except ValueError:
        raise SqlError(f"Unknown EXPLAIN format name: '{name}'", code=1791, state="HY000") from None


def rewritten(query: exp.Expression) -> Condition:
    """The note with the statement as it was understood. MySQL manual: Extended EXPLAIN Output Format."""
    return Condition(1003, "/* select#1 */ " + query.sql("mysql", identify=True))


def shown_plan(steps: Sequence[tuple[str, str]], asked: PlanFormat) -> ResultSet:
    """The plan as the format wants it. The classic table has steps as tables, details as Extra."""
    explain = (ResultColumn("EXPLAIN", LONG_TEXT),)
    match asked:
        case PlanFormat.JSON:
            described = [{"step": step, "detail": detail} for step, detail in steps]
            block = {"query_block": {"select_id": 1, "steps": described}}
            return result_set(explain, [(json.dumps(block, indent=2),)])
        case PlanFormat.TREE:
            lines = "\n".join(f"-> {step}: {detail}" for step, detail in steps)
            return result_set(explain, [(lines + "\n",)])
        case PlanFormat.TRADITIONAL:
            columns = [ResultColumn(name, _TYPES.get(name, TEXT)) for name in _HEADERS]
            return result_set(columns, _classic(steps))


def _classic(steps: Sequence[tuple[str, str]]) -> list[tuple[object, ...]]:
    """One row for each table that is scanned or filtered, then one for each other step."""
    tables: dict[str, list[str]] = {}
    others: list[str] = []
    for step, detail in steps:
        kind, _, table = step.partition(" ")
        if kind in ("scan", "filter") and table:
            tables.setdefault(table, []).append(detail if kind == "scan" else f"filter: {detail}")
        else:
            others.append(f"{step}: {detail}")
    read: list[tuple[object, ...]] = [
        (1, "SIMPLE", table, None, "range", "deliver", "deliver", None, None, None, None, "; ".join(details))
        for table, details in tables.items()
    ]
    return read + [(1, "SIMPLE", *[None] * 9, other) for other in others]
