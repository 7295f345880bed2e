"""What SHOW lists: which columns of which system table, under which headers.

MySQL manual: SHOW Statements, and Extensions to SHOW Statements for LIKE and WHERE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from sqlglot import exp

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.rows import static_rows
from z4sql.sql.catalog.server_view import ServerView
from z4sql.sql.front.like import is_like
from z4sql.sql.front.results import result_set
from z4sql.sql.front.scalar import Names, RowNames, Scalar, evaluate, truth
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn

Row = Sequence[Scalar]


@dataclass(slots=True, frozen=True)
class Listing:
    """Columns of an information_schema table: pairs of header and source column. LIKE tests ``tested``."""

    table: str
    columns: tuple[tuple[str, str], ...]
    tested: int = 0


@dataclass(slots=True, frozen=True)
class Filter:
    """LIKE or WHERE behind a SHOW, or neither."""

    like: str | None = None
    where: exp.Expression | None = None


def _same(*pairs: str) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in pairs:
        header, _, source = pair.partition("=")
        found.append((header, source or header.upper()))
    return tuple(found)


_CONNECTION = ("character_set_client", "collation_connection", "Database Collation=DATABASE_COLLATION")
_ROUTINE = Listing(
    "ROUTINES",
    _same(
        *("Db=ROUTINE_SCHEMA", "Name=ROUTINE_NAME", "Type=ROUTINE_TYPE", "Definer"),
        *("Modified=LAST_ALTERED", "Created", "Security_type", "Comment=ROUTINE_COMMENT"),
        *_CONNECTION,
    ),
    1,
)
_COLUMN_TAIL = ("Null=IS_NULLABLE", "Key=COLUMN_KEY", "Default=COLUMN_DEFAULT", "Extra")

LISTINGS: dict[str, Listing] = {
    "DATABASES": Listing("SCHEMATA", _same("Database=SCHEMA_NAME")),
    "TABLES": Listing("TABLES", _same("Tables=TABLE_NAME")),
    "FULL TABLES": Listing("TABLES", _same("Tables=TABLE_NAME", "Table_type")),
    "COLUMNS": Listing("COLUMNS", _same("Field=COLUMN_NAME", "Type=COLUMN_TYPE", *_COLUMN_TAIL)),
    "FULL COLUMNS": Listing(
        "COLUMNS",
        _same(
            *("Field=COLUMN_NAME", "Type=COLUMN_TYPE", "Collation=COLLATION_NAME", *_COLUMN_TAIL),
            *("Privileges", "Comment=COLUMN_COMMENT"),
        ),
    ),
    "INDEX": Listing(
        "STATISTICS",
        _same(
            *("Table=TABLE_NAME", "Non_unique", "Key_name=INDEX_NAME", "Seq_in_index", "Column_name"),
            *("Collation", "Cardinality", "Sub_part", "Packed", "Null=NULLABLE", "Index_type", "Comment"),
            *("Index_comment", "Visible=IS_VISIBLE", "Expression"),
        ),
    ),
    "TABLE STATUS": Listing(
        "TABLES",
        _same(
            *("Name=TABLE_NAME", "Engine", "Version", "Row_format", "Rows=TABLE_ROWS", "Avg_row_length"),
            *("Data_length", "Max_data_length", "Index_length", "Data_free", "Auto_increment"),
            *("Create_time", "Update_time", "Check_time", "Collation=TABLE_COLLATION", "Checksum"),
            *("Create_options", "Comment=TABLE_COMMENT"),
        ),
    ),
    "ENGINES": Listing("ENGINES", _same("Engine", "Support", "Comment", "Transactions", "XA", "Savepoints")),
    "CHARACTER SET": Listing(
        "CHARACTER_SETS",
        _same(
            *("Charset=CHARACTER_SET_NAME", "Description", "Default collation=DEFAULT_COLLATE_NAME"), "Maxlen"
        ),
    ),
    "COLLATION": Listing(
        "COLLATIONS",
        _same(
            *("Collation=COLLATION_NAME", "Charset=CHARACTER_SET_NAME", "Id", "Default=IS_DEFAULT"),
            *("Compiled=IS_COMPILED", "Sortlen", "Pad_attribute"),
        ),
    ),
    "PLUGINS": Listing(
        "PLUGINS",
        _same(
            *("Name=PLUGIN_NAME", "Status=PLUGIN_STATUS", "Type=PLUGIN_TYPE", "Library=PLUGIN_LIBRARY"),
            "License=PLUGIN_LICENSE",
        ),
    ),
    "TRIGGERS": Listing(
        "TRIGGERS",
        _same(
            *("Trigger=TRIGGER_NAME", "Event=EVENT_MANIPULATION", "Table=EVENT_OBJECT_TABLE"),
            *("Statement=ACTION_STATEMENT", "Timing=ACTION_TIMING", "Created", "sql_mode", "Definer"),
            *_CONNECTION,
        ),
        2,
    ),
    "EVENTS": Listing(
        "EVENTS",
        _same(
            *("Db=EVENT_SCHEMA", "Name=EVENT_NAME", "Definer", "Time zone=TIME_ZONE", "Type=EVENT_TYPE"),
            *("Execute at=EXECUTE_AT", "Interval value=INTERVAL_VALUE", "Interval field=INTERVAL_FIELD"),
            *("Starts", "Ends", "Status", "Originator", *_CONNECTION),
        ),
        1,
    ),
    "PROCEDURE STATUS": _ROUTINE,
    "FUNCTION STATUS": _ROUTINE,
}


def list_rows(
    listing: Listing,
    catalog: Z4Catalog,
    view: ServerView,
    *,
    equal: dict[str, str],
    chosen: Filter,
    names: Names,
    first_header: str | None = None,
) -> ResultSet:
    """Rows whose source columns have the values of ``equal`` (without case) and that pass the filter."""
    definition = catalog.table("information_schema", listing.table)
    assert definition is not None
    table = static_rows(definition, view)
    sources = [definition.column(source) for _, source in listing.columns]
    columns = [
        ResultColumn(header, source.type, source.nullable, listing.table, listing.table, source.name)
        for (header, _), source in zip(listing.columns, sources, strict=True)
        if source is not None
    ]
    if first_header is not None:
        columns[0] = replace(columns[0], name=first_header)
    for name, value in equal.items():
        table = table.filter(pc.equal(pc.utf8_lower(table.column(name)), value.lower()))
    shown = table.select([source for _, source in listing.columns])
    rows = list(zip(*(column.to_pylist() for column in shown.columns), strict=True))
    return filtered(columns, rows, listing.tested, chosen, names)


def filtered(
    columns: Sequence[ResultColumn], rows: Sequence[Row], tested: int, chosen: Filter, names: Names
) -> ResultSet:
    """Those rows that match LIKE in the column ``tested``, or WHERE."""
    if chosen.like is not None:
        rows = [row for row in rows if is_like(str(row[tested] or ""), chosen.like)]
    if chosen.where is not None:
        headers = [column.name.lower() for column in columns]
        where = chosen.where
        evaluate(where, RowNames(dict.fromkeys(headers), names))  # unknown columns, even without rows
        rows = [
            row
            for row in rows
            if truth(evaluate(where, RowNames(dict(zip(headers, row, strict=True)), names)))
        ]
    return result_set(columns, rows)
