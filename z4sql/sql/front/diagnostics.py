"""What went wrong with the last statement, for SHOW WARNINGS. MySQL manual: The MySQL Diagnostics Area."""

from __future__ import annotations

from dataclasses import dataclass

from z4sql.sql.errors import SqlError
from z4sql.sql.front.source import Source

_SHOWN = frozenset({"WARNINGS", "ERRORS", "COUNT"})
_COUNTED = frozenset({"ERROR_COUNT", "WARNING_COUNT"})


@dataclass(slots=True, frozen=True)
class Diagnostic:
    """An error, as SHOW WARNINGS and SHOW ERRORS list it; this server gives no mere warnings."""

    code: int
    message: str

    @classmethod
    def of(cls, error: SqlError) -> Diagnostic:
        return cls(error.code, error.message)


def asks_for_diagnostics(source: Source) -> bool:
    """Whether a statement reads the diagnostics, and so must not clear them."""
    match source.word(0):
        case "SHOW":
            return source.word(1) in _SHOWN
        case "SELECT":
            return any(piece.value in _COUNTED for piece in source.pieces[1:16])
        case _:
            return False
