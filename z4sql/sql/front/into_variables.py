"""SELECT ... INTO @name: the one row of a query. MySQL manual: SELECT ... INTO Statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from z4sql.sql.engine.warnings import Condition
from z4sql.sql.errors import SqlError
from z4sql.sql.front.assigning import user_value
from z4sql.sql.front.diagnostics import Diagnostics
from z4sql.sql.front.session import Session
from z4sql.sql.front.source import Part, Source
from z4sql.sql.result import Ok, ResultSet

_NO_ROW: Final = Condition(1329, "No data - zero rows fetched, selected, or processed")
_NAMES: Final = (Part.WORD, Part.QUOTED, Part.STRING)


@dataclass(slots=True, frozen=True)
class IntoVariables:
    """``query``: the statement without its INTO; ``names``: of the variables, in lower case."""

    query: str
    names: tuple[str, ...]


def read_into(source: Source) -> IntoVariables | None:
    """The parts of a statement that has INTO @name outside of parentheses; None of any other.

    :raises SqlError: INTO twice (3953); :raises SyntaxProblem: no list of variables (1064).
    """
    found = [at for at in range(len(source.pieces)) if source.word(at) == "INTO" and _is_outside(source, at)]
    if not found or _value(source, found[0] + 1) != "@":
        return None
    if len(found) > 1:
        raise SqlError("Multiple INTO clauses in one query block.", code=3953)
    names: list[str] = []
    at = found[0]
    while True:
        name = at + 2
        if _value(source, at + 1) != "@" or name >= len(source.pieces):
            raise source.problem(at + 1)
        if source.pieces[name].part not in _NAMES:
            raise source.problem(name)
        names.append(source.pieces[name].value.lower())
        at = name + 1
        if _value(source, at) != ",":
            break
    text, start = source.text, source.pieces[found[0]].start
    end = source.pieces[at - 1].end
    return IntoVariables(text[:start] + " " * (end - start) + text[end:], tuple(names))


def _value(source: Source, at: int) -> str:
    return source.pieces[at].value if at < len(source.pieces) else ""


def _is_outside(source: Source, at: int) -> bool:
    before = [piece.value for piece in source.pieces[:at] if piece.part is Part.SYMBOL]
    return before.count("(") == before.count(")") and before[-1:] != ["."]


async def assign_row(session: Session, names: tuple[str, ...], result: ResultSet) -> Ok:
    """Take the row of ``result``; without one, the variables stay and there is a warning.

    :raises SqlError: another number of columns (1222), or more rows (1172)
    """
    if len(result.columns) != len(names):
        message = "The used SELECT statements have a different number of columns"
        raise SqlError(message, code=1222, state="21000")
    row: pa.RecordBatch | None = None
    async for batch in result.batches:
        if batch.num_rows > 1 or (row is not None and batch.num_rows):
            raise SqlError("Result consisted of more than one row", code=1172, state="42000")
        row = batch if batch.num_rows else row
    if row is None:
        result.warnings.precede([_NO_ROW])
        session.diagnostics = Diagnostics.of(result.warnings)
        return Ok(session.diagnostics.count)
    for name, column, shown in zip(names, row.columns, result.columns, strict=True):
        session.user_variables[name] = user_value(column, shown)
    return Ok(session.diagnostics.count)
