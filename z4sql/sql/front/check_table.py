"""CHECK TABLE and CHECKSUM TABLE; tables are always well here. MySQL manual: CHECK TABLE Statement."""

from __future__ import annotations

from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.results import INT, TEXT, result_set, text_columns
from z4sql.sql.front.show import Show
from z4sql.sql.front.source import Source
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn


def check_table(source: Source, show: Show) -> ResultSet:
    """``show`` knows the tables. :raises UnknownTable: (1146); :raises SyntaxProblem: (1064)"""
    cursor = Cursor(source, 1)
    if not cursor.accept_any("TABLE", "TABLES"):
        raise source.problem(1)
    names = []
    while True:
        table = show.table(*cursor.table_name())
        names.append(f"{table.database}.{table.name}")
        if not cursor.symbol(","):
            break
    while cursor.accept_any("QUICK", "FAST", "MEDIUM", "EXTENDED", "CHANGED", "FOR", "UPGRADE"):
        pass
    cursor.end()
    if source.word(0) == "CHECKSUM":
        sums = (ResultColumn("Table", TEXT), ResultColumn("Checksum", INT))
        return result_set(sums, [(name, None) for name in names])
    columns = text_columns("Table", "Op", "Msg_type", "Msg_text")
    return result_set(columns, [(name, "check", "status", "OK") for name in names])
