"""Statements under names: PREPARE, EXECUTE, DEALLOCATE PREPARE. MySQL manual: Prepared Statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.source import Part, Source
from z4sql.sql.front.templates import Placed
from z4sql.sql.result import Parameter
from z4sql.sql.wire.errors import UnknownStatement
from z4sql.sql.wire.statements import require_room

STATEMENTS_MAX: Final = 1024
"""Of a session, as of those of the binary protocol."""


class NamedStatements:
    """Of one session. Case does not matter in names."""

    def __init__(self) -> None:
        self._statements: dict[str, Placed] = {}

    def forget(self, name: str) -> None:
        """Make room for another statement of that name, if there is one."""
        self._statements.pop(name.lower(), None)

    def require_room(self, text: str) -> None:
        """:raises TooManyStatements: (1461); :raises StatementsTooLong: (3170)"""
        require_room([len(one.sql) for one in self._statements.values()], len(text), STATEMENTS_MAX)

    def add(self, name: str, statement: Placed) -> None:
        self._statements[name.lower()] = statement

    def remove(self, name: str) -> None:
        """:raises UnknownStatement: (1243)"""
        if self._statements.pop(name.lower(), None) is None:
            raise UnknownStatement(name, "DEALLOCATE PREPARE")

    def get(self, name: str) -> Placed:
        """:raises UnknownStatement: (1243)"""
        statement = self._statements.get(name.lower())
        if statement is None:
            raise UnknownStatement(name, "EXECUTE")
        return statement

    def meant(self, source: Source) -> Source:
        """What EXECUTE of a known statement runs; any other statement itself."""
        name = source.pieces[1].value.lower() if source.word(0) == "EXECUTE" and source.pieces[1:] else ""
        statement = self._statements.get(name)
        return source if statement is None else statement.templates.source

    def clear(self) -> None:
        self._statements.clear()


def read_prepare(source: Source, variables: Mapping[str, Parameter]) -> tuple[str, str]:
    """The name and the text of ``PREPARE name FROM 'text' | @variable``. :raises SyntaxProblem: (1064)"""
    cursor = Cursor(source, 1)
    name = cursor.name()
    if not cursor.accept("FROM"):
        raise source.problem(cursor.at)
    text = _value(cursor, variables) if cursor.symbol("@") else cursor.string()
    cursor.end()
    return name, "NULL" if text is None else str(text)


def read_execute(source: Source, variables: Mapping[str, Parameter]) -> tuple[str, list[Parameter]]:
    """The name and the values of ``EXECUTE name [USING @variable, ...]``. :raises SyntaxProblem: (1064)"""
    cursor = Cursor(source, 1)
    name = cursor.name()
    values: list[Parameter] = []
    if cursor.accept("USING"):
        while True:
            if not cursor.symbol("@"):
                raise source.problem(cursor.at)
            values.append(_value(cursor, variables))
            if not cursor.symbol(","):
                break
    cursor.end()
    return name, values


def read_deallocate(source: Source) -> str:
    """The name behind DEALLOCATE PREPARE or DROP PREPARE. :raises SyntaxProblem: (1064)"""
    cursor = Cursor(source, 1)
    if not cursor.accept("PREPARE"):
        raise source.problem(1)
    name = cursor.name()
    cursor.end()
    return name


def _value(cursor: Cursor, variables: Mapping[str, Parameter]) -> Parameter:
    """Of the variable whose name stands behind an ``@``; NULL when it was never set."""
    quoted = not cursor.finished and cursor.source.pieces[cursor.at].part is Part.STRING
    return variables.get((cursor.string() if quoted else cursor.name()).lower())
