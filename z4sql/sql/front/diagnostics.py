"""What the last statement warned of, and what went wrong, for SHOW WARNINGS. MySQL manual: SHOW WARNINGS."""

from __future__ import annotations

from dataclasses import dataclass

from z4sql.sql.engine.warnings import Condition, Warnings
from z4sql.sql.errors import SqlError
from z4sql.sql.front.source import Source

_SHOWN = frozenset({"WARNINGS", "ERRORS", "COUNT"})
_COUNTED = frozenset({"ERROR_COUNT", "WARNING_COUNT"})
_ERROR = "Error"
_WARNING = "Warning"
_NOTE = "Note"
_NOTES = frozenset({1003})
"""What is no reason to worry: the statement as EXPLAIN rewrote it."""


@dataclass(slots=True, frozen=True)
class Diagnostic:
    """A row of SHOW WARNINGS."""

    level: str
    code: int
    message: str


@dataclass(slots=True, frozen=True)
class Diagnostics:
    """``count``: of all that happened; ``rows`` are the first of them (max_error_count)."""

    rows: tuple[Diagnostic, ...] = ()
    count: int = 0

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(row for row in self.rows if row.level == _ERROR)

    @classmethod
    def of(cls, warnings: Warnings) -> Diagnostics:
        rows = tuple(
            Diagnostic(_NOTE if code in _NOTES else _WARNING, code, message)
            for code, message in warnings.conditions
        )
        return cls(rows, warnings.count)

    @classmethod
    def of_conditions(cls, conditions: list[Condition]) -> Diagnostics:
        """Of a statement that raised nothing but these."""
        warnings = Warnings()
        warnings.precede(conditions)
        return cls.of(warnings)

    def ended_by(self, error: SqlError) -> Diagnostics:
        """These, and the error that ended the statement."""
        return Diagnostics((*self.rows, Diagnostic(_ERROR, error.code, error.message)), self.count + 1)


NO_DIAGNOSTICS = Diagnostics()


def asks_for_diagnostics(source: Source) -> bool:
    """Whether a statement reads the diagnostics, and so must not clear them."""
    match source.word(0):
        case "SHOW":
            return source.word(1) in _SHOWN
        case "SELECT":
            return any(piece.value in _COUNTED for piece in source.pieces[1:16])
        case _:
            return False
