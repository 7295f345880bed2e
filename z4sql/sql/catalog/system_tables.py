"""Definitions of the system tables: information_schema, mysql, performance_schema, and a little of sys.

MySQL 8.4 manual: INFORMATION_SCHEMA Tables, Performance Schema Table Descriptions, The mysql System Schema.
A table that clients ask for must exist, be it empty: performance_schema is off here, as its variable tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

from z4sql.sql.catalog.column_types import type_written
from z4sql.sql.types import ColumnDefinition, TableDefinition

_FILE: Final = Path(__file__).with_name("system_tables.txt")
"""A paragraph a table: its name, then a line for each column, as MySQL defines it."""
_VIEWS: Final = ("information_schema", "sys")
_NOT_NULL: Final = " NOT NULL"


def _column(line: str) -> ColumnDefinition:
    name, _, written = line.partition(" ")
    column_type = written.removesuffix(_NOT_NULL)
    return ColumnDefinition(name, type_written(column_type), column_type, nullable=column_type == written)


def _tables() -> Iterator[TableDefinition]:
    for paragraph in _FILE.read_text().strip().split("\n\n"):
        title, *lines = paragraph.split("\n")
        database, name = title.split(".")
        yield TableDefinition(database, name, tuple(map(_column, lines)), view=database in _VIEWS)


SYSTEM_TABLES: dict[str, tuple[TableDefinition, ...]] = {
    database: tuple(tables) for database, tables in groupby(_tables(), attrgetter("database"))
}
"""By database, lower case."""
