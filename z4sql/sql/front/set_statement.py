"""SET: variables of the session, character sets, transactions. MySQL manual: SET Statements.

All values are worked out and checked before the first one is assigned.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from z4sql.sql.catalog.charsets import default_collation
from z4sql.sql.engine.warnings import Condition
from z4sql.sql.errors import ReadOnly, SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.privileges import access_denied
from z4sql.sql.front.scalar import Scalar, evaluate
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.set_values import brought_in, checked, known_character_set, known_collation
from z4sql.sql.front.source import Part, Source, read_source
from z4sql.sql.front.variables import system_variable, unknown_variable

_SESSION_SCOPES = frozenset({"SESSION", "LOCAL"})
_GLOBAL_SCOPES = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY"})
_SCOPES = _SESSION_SCOPES | _GLOBAL_SCOPES
_ASSIGNS = frozenset({"=", ":="})
_QUERIES = frozenset({"SELECT", "TABLE", "VALUES"})

_LEVEL = re.compile(r"ISOLATION LEVEL (READ UNCOMMITTED|READ COMMITTED|REPEATABLE READ|SERIALIZABLE)")
_CHARACTERISTIC = rf"(?:{_LEVEL.pattern}|READ (?:ONLY|WRITE))"
_TRANSACTION = re.compile(rf"(?:\w+ )?TRANSACTION {_CHARACTERISTIC}(?: , {_CHARACTERISTIC})?")

Assignment = Callable[[], None]


def set_statement(source: Source, session: Session, parser: QueryParser) -> list[Condition]:
    """Run a SET; what it warns of.

    :raises SqlError: unknown (1193), read-only (1238) or wrongly set (1231, 1232) variables; and others.
    """
    word = source.word(1)
    if word in ("PASSWORD", "RESOURCE") or (word == "DEFAULT" and source.word(2) == "ROLE"):
        raise ReadOnly()
    if word == "ROLE":
        return []
    if word == "TRANSACTION" or (word in _SCOPES and source.word(2) == "TRANSACTION"):
        _transaction(source, session)
        return []
    assignments: list[Assignment] = []
    warned: list[Condition] = []
    for start, end in _items(source):
        item = _Item(source, start, end, session, parser)
        assignments += item.assignments()
        warned += item.warned
    for assign in assignments:
        assign()
    return warned


def reads_tables(source: Source) -> bool:
    return any(source.word(at) in _QUERIES for at in range(len(source.pieces)))


def as_query(source: Source) -> str | None:
    """``SELECT @n := ...``, which does the same, of a SET of user variables; else None."""
    assigned = []
    for start, end in _items(source):
        if (
            end - start < 4
            or source.pieces[start].value != "@"
            or source.pieces[start + 2].value not in _ASSIGNS
        ):
            return None
        name = source.text[source.pieces[start].start : source.pieces[start + 1].end]
        expression = source.text[source.pieces[start + 3].start : source.pieces[end - 1].end]
        assigned.append(f"{name} := {expression}")
    return "SELECT " + ", ".join(assigned)


def only_for(source: Source) -> tuple[Source, Source]:
    """The settings of ``SET STATEMENT settings FOR statement``, as a SET of their own, and the statement.

    :raises SyntaxProblem: (1064).
    """
    pieces = source.pieces
    at = next((index for index in range(2, len(pieces)) if source.word(index) == "FOR"), len(pieces))
    if not 2 < at < len(pieces) - 1 or source.word(at + 1) == "SET":
        raise source.problem(min(at, len(pieces)))
    settings = source.text[pieces[2].start : pieces[at].start]
    statement = source.text[pieces[at + 1].start :]
    return read_source("SET SESSION " + settings), read_source(statement)


def _items(source: Source) -> list[tuple[int, int]]:
    items, depth, start = [], 0, 1
    for index in range(1, len(source.pieces)):
        piece = source.pieces[index]
        if piece.part is not Part.SYMBOL:
            continue
        if piece.value in "()":
            depth += 1 if piece.value == "(" else -1
        elif piece.value == "," and depth == 0:
            items.append((start, index))
            start = index + 1
    items.append((start, len(source.pieces)))
    return items


def _transaction(source: Source, session: Session) -> None:
    """MySQL manual: SET TRANSACTION Statement. Access modes change nothing: all is read-only."""
    if source.word(1) in _GLOBAL_SCOPES:
        raise access_denied("SUPER or SYSTEM_VARIABLES_ADMIN")
    found = _TRANSACTION.fullmatch(" ".join(piece.value for piece in source.pieces[1:]))
    if found is None:
        raise source.problem(2)
    level = _LEVEL.search(found[0])
    if level is not None:
        session.set_variable("transaction_isolation", level[1].replace(" ", "-"))


class _Item:
    """One assignment: ``pieces[start:end]``."""

    def __init__(self, source: Source, start: int, end: int, session: Session, parser: QueryParser) -> None:
        self._source = source
        self._start = start
        self._end = end
        self._session = session
        self._parser = parser
        self.warned: list[Condition] = []

    def assignments(self) -> list[Assignment]:
        if self._start >= self._end:
            raise self._source.problem(self._start)
        word = self._source.word(self._start)
        if self._value(self._start + 1) in _ASSIGNS:
            return self._system(self._start, "")
        if word == "NAMES":
            return self._names()
        if word == "CHARSET" or (word == "CHARACTER" and self._source.word(self._start + 1) == "SET"):
            return self._character_set(self._start + (1 if word == "CHARSET" else 2))
        if word in _SCOPES:
            return self._system(self._start + 1, word)
        match self._value(self._start):
            case "@@":
                return self._marked()
            case "@":
                return self._user()
            case _:
                raise self._source.problem(self._start + (1 if self._end > self._start + 1 else 0))

    def _value(self, index: int) -> str:
        return self._source.pieces[index].value if index < self._end else ""

    def _name(self, index: int) -> str:
        if index >= self._end:
            raise self._source.problem(index)
        piece = self._source.pieces[index]
        if piece.part not in (Part.WORD, Part.QUOTED):
            raise self._source.problem(index)
        return piece.value.lower()

    def _marked(self) -> list[Assignment]:
        """``@@name`` and ``@@scope.name``."""
        first = self._start + 1
        if self._value(first + 1) == ".":
            scope = self._name(first).upper()
            if scope not in _SCOPES:
                raise unknown_variable(f"{scope.lower()}.{self._name(first + 2)}")
            return self._system(first + 2, scope)
        return self._system(first, "")

    def _system(self, at: int, scope: str) -> list[Assignment]:
        variable = system_variable(self._name(at))
        if scope in _GLOBAL_SCOPES:
            raise access_denied("SUPER or SYSTEM_VARIABLES_ADMIN")
        expression = self._assigned(at + 1)
        variable.require_settable()
        if self._value(expression) == "DEFAULT" and expression + 1 == self._end:
            return [lambda: self._session.unset_variable(variable.name)]
        asked = self._evaluated(expression)
        value = checked(variable, asked)
        self.warned += brought_in(variable, asked, value)
        return [lambda: self._session.set_variable(variable.name, value)]

    def _user(self) -> list[Assignment]:
        name_at = self._start + 1
        if name_at < self._end and self._source.pieces[name_at].part is Part.STRING:
            name = self._value(name_at).lower()
        else:
            name = self._name(name_at)
        value = self._evaluated(self._assigned(name_at + 1), words=False)

        def assign() -> None:
            self._session.user_variables[name] = value

        return [assign]

    def _assigned(self, at: int) -> int:
        """Where the expression behind the ``=`` at ``at`` begins."""
        if self._value(at) not in _ASSIGNS or at + 1 >= self._end:
            raise self._source.problem(at if self._value(at) not in _ASSIGNS else at + 1)
        return at + 1

    def _evaluated(self, at: int, *, words: bool = True) -> Scalar:
        """``words``: whether a name alone is a value, as ON is of a system variable."""
        pieces = self._source.pieces
        if at + 1 == self._end and pieces[at].part in (Part.WORD, Part.QUOTED):
            word = self._source.text[pieces[at].start : pieces[at].end].strip("`")
            match word.upper():
                case "NULL":
                    return None
                case "TRUE":
                    return 1
                case "FALSE":
                    return 0
                case _ if words:
                    return word
                case _:
                    pass
        text = self._source.text[pieces[at].start : pieces[self._end - 1].end]
        parsed = self._parser.expression(text, self._source, pieces[at].start)
        return evaluate(parsed, SessionNames(self._session))

    def _names(self) -> list[Assignment]:
        """MySQL manual: SET NAMES Statement."""
        name_at = self._start + 1
        if name_at >= self._end:
            raise self._source.problem(name_at)
        wanted = self._value(name_at).lower()
        chosen = "utf8mb4" if wanted == "default" else known_character_set(wanted)
        collation = default_collation(chosen)
        after = name_at + 1
        if self._source.word(after) == "COLLATE" and after + 1 < self._end:
            collation, of = known_collation(self._value(after + 1).lower())
            if of != chosen:
                message = f"COLLATION '{collation}' is not valid for CHARACTER SET '{chosen}'"
                raise SqlError(message, code=1253, state="42000")
            after += 2
        if after != self._end:
            raise self._source.problem(after)
        names = ("character_set_client", "character_set_connection", "character_set_results")
        return [
            *(self._assign(name, chosen) for name in names),
            self._assign("collation_connection", collation),
        ]

    def _character_set(self, at: int) -> list[Assignment]:
        if at >= self._end or at + 1 != self._end:
            raise self._source.problem(at)
        wanted = self._value(at).lower()
        chosen = "utf8mb4" if wanted == "default" else known_character_set(wanted)
        return [self._assign(name, chosen) for name in ("character_set_client", "character_set_results")]

    def _assign(self, name: str, value: str) -> Assignment:
        return lambda: self._session.set_variable(name, value)
