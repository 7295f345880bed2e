"""SHOW PROFILES and SHOW PROFILE: nothing is profiled. MySQL manual: SHOW PROFILE Statement."""

from __future__ import annotations

from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.results import INT, LONG_TEXT, TEXT, result_set
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind, ResultColumn, SqlType

_SECONDS = SqlType(Kind.DECIMAL, 9, 6)
_PARTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("CPU",): ("CPU_user", "CPU_system"),
    ("CONTEXT", "SWITCHES"): ("Context_voluntary", "Context_involuntary"),
    ("BLOCK", "IO"): ("Block_ops_in", "Block_ops_out"),
    ("IPC",): ("Messages_sent", "Messages_received"),
    ("MEMORY",): (),
    ("PAGE", "FAULTS"): ("Page_faults_major", "Page_faults_minor"),
    ("SWAPS",): ("Swaps",),
    ("SOURCE",): ("Source_function", "Source_file", "Source_line"),
}
"""What may be asked for, and the columns that it shows, in their order."""
_TYPES = dict.fromkeys(("CPU_user", "CPU_system"), _SECONDS) | dict.fromkeys(
    ("Source_function", "Source_file"), TEXT
)


def show_profiles(cursor: Cursor) -> ResultSet:
    """``cursor`` stands behind PROFILES."""
    cursor.end()
    columns = (
        ResultColumn("Query_ID", INT, nullable=False),
        ResultColumn("Duration", SqlType(Kind.DOUBLE), nullable=False),
        ResultColumn("Query", LONG_TEXT, nullable=False),
    )
    return result_set(columns, [])


def show_profile(cursor: Cursor) -> ResultSet:
    """``cursor`` stands behind PROFILE. :raises SyntaxProblem: (1064)."""
    names = _asked(cursor)
    if cursor.accept("FOR"):
        if not cursor.accept("QUERY"):
            raise cursor.source.problem(cursor.at)
        cursor.number()
    cursor.limit()
    shown = [ResultColumn(name, _TYPES.get(name, INT)) for name in names]
    fixed = (
        ResultColumn("Status", TEXT, nullable=False),
        ResultColumn("Duration", _SECONDS, nullable=False),
    )
    return result_set((*fixed, *shown), [])


def _asked(cursor: Cursor) -> list[str]:
    found: set[str] = set()
    while not cursor.finished and cursor.word not in ("FOR", "LIMIT"):
        words = next((words for words in (*_PARTS, ("ALL",)) if cursor.accept(*words)), None)
        if words is None:
            raise cursor.source.problem(cursor.at)
        for part, names in _PARTS.items():
            if words in (part, ("ALL",)):
                found.update(names)
        if not cursor.symbol(","):
            break
    return [name for names in _PARTS.values() for name in names if name in found]
