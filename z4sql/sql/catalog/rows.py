"""Rows of the system tables, generated from the definitions and the running server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import assert_never
from zoneinfo import available_timezones

import pyarrow as pa

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.charsets import CHARACTER_SETS, COLLATIONS
from z4sql.sql.catalog.column_types import type_written
from z4sql.sql.catalog.keywords import KEYWORDS, RESERVED_KEYWORDS
from z4sql.sql.catalog.server_view import ServerView
from z4sql.sql.catalog.z4_tables import DATABASE, KEYS
from z4sql.sql.types import Collation, ColumnDefinition, Kind, SqlType, TableDefinition

Row = Sequence[object]
"""Values of the leading columns; columns without one are NULL."""

_ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.NULL: pa.null(),
    Kind.BOOL: pa.int64(),
    Kind.INT: pa.int64(),
    Kind.UINT: pa.uint64(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.JSON: pa.string(),
    Kind.BINARY: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.DATETIME: pa.timestamp("us"),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIME: pa.int64(),
}
"""Of every kind but DECIMAL, which has a scale."""


def arrow_type(sql_type: SqlType) -> pa.DataType:
    """Of a column of any kind."""
    return pa.decimal128(38, sql_type.scale) if sql_type.kind is Kind.DECIMAL else _ARROW_TYPES[sql_type.kind]


_CREATED = datetime(2025, 1, 1)
_SYSTEM_COLLATION = "utf8mb3_general_ci"
_WITH_UTF8MB4 = frozenset({DATABASE, "performance_schema"})
_TABLE_COLLATIONS = {"mysql": "utf8mb3_bin"}
_CATALOG = Z4Catalog()


def static_rows(definition: TableDefinition, view: ServerView) -> pa.Table:
    """The rows of a system table, columns typed as `z4sql.sql.types` says.

    :raises KeyError: for tables of database `z4`: their rows come from the store.
    """
    if definition.database == DATABASE:
        raise KeyError(definition.name)
    if (definition.database, definition.name.lower()) in _OF_THE_SERVER:
        return _rows(definition, view)
    return _fixed_rows(definition)


@cache
def _fixed_rows(definition: TableDefinition) -> pa.Table:
    return _rows(definition, None)


def _rows(definition: TableDefinition, view: ServerView | None) -> pa.Table:
    generate = _FIXED.get((definition.database, definition.name.lower()))
    rows = list(generate()) if generate is not None else []
    if view is not None:
        rows = list(_OF_THE_SERVER[definition.database, definition.name.lower()](view))
    columns = [
        pa.array([row[index] if index < len(row) else None for row in rows], arrow_type(column.type))
        for index, column in enumerate(definition.columns)
    ]
    return pa.Table.from_arrays(columns, names=[column.name for column in definition.columns])


def collation_of(column: ColumnDefinition, table: TableDefinition) -> str | None:
    """The collation DESCRIBE shows; None for what is no text."""
    if column.type.kind is not Kind.STRING:
        return None
    return column.type.collation.value if table.database in _WITH_UTF8MB4 else _SYSTEM_COLLATION


def _every_table() -> Iterator[TableDefinition]:
    for database in _CATALOG.databases():
        yield from _CATALOG.tables(database)


def _character_sets() -> Iterator[Row]:
    yield from CHARACTER_SETS


def _collations() -> Iterator[Row]:
    yield from COLLATIONS


def _applicability() -> Iterator[Row]:
    for name, character_set, *_ in COLLATIONS:
        yield name, character_set


def _schemata() -> Iterator[Row]:
    for database in _CATALOG.databases():
        system = database == "information_schema"
        character_set = "utf8mb3" if system else "utf8mb4"
        collation = _SYSTEM_COLLATION if system else Collation.AI_CI.value
        yield "def", database, character_set, collation, None, "NO"


_ENGINES_OF_SYSTEM = {"information_schema": None, "performance_schema": "PERFORMANCE_SCHEMA"}
_ROW_FORMATS = {"InnoDB": "Dynamic", "PERFORMANCE_SCHEMA": "Dynamic", None: None}
_NO_VOLUME = (0, 0, 0, 0, 0, 0)


def _tables() -> Iterator[Row]:
    for table in _every_table():
        named = ("def", table.database, table.name)
        if table.view and table.database != "information_schema":
            yield *named, "VIEW", *(None,) * 10, _CREATED, *(None,) * 5, "VIEW"
            continue
        engine = _ENGINES_OF_SYSTEM.get(table.database, "InnoDB")
        collation = None if table.view else _TABLE_COLLATIONS.get(table.database, Collation.AI_CI.value)
        yield (
            *(*named, "SYSTEM VIEW" if table.view else "BASE TABLE", engine, 10, _ROW_FORMATS[engine]),
            *(*_NO_VOLUME, None, _CREATED, None, None, collation, None, "", table.comment),
        )


def _partitions() -> Iterator[Row]:
    """MySQL manual: The INFORMATION_SCHEMA PARTITIONS Table; a table without partitions has one row."""
    for table in _every_table():
        if not table.view:
            times = (_CREATED, None, None)
            yield "def", table.database, table.name, *(None,) * 9, *_NO_VOLUME, *times, None, "", "", None


_DIGITS = {"tinyint": 3, "smallint": 5, "mediumint": 7, "int": 10, "bigint": 19, "double": 22, "float": 12}
_COUNTED_IN_CHARACTERS = frozenset({"char", "varchar", "enum", "set"})


def _columns() -> Iterator[Row]:
    for table in _every_table():
        for position, column in enumerate(table.columns, 1):
            yield _column_row(table, column, position)


def _column_row(table: TableDefinition, column: ColumnDefinition, position: int) -> Row:
    data_type = column.column_type.partition("(")[0].partition(" ")[0]
    characters = octets = digits = scale = fraction = None
    collation = collation_of(column, table)
    # The length that the definition writes; a result's column may tell another.
    written = type_written(column.column_type)
    match written.kind:
        case Kind.STRING:
            characters = octets = written.length
            if data_type in _COUNTED_IN_CHARACTERS:
                octets *= 3 if collation == _SYSTEM_COLLATION else 4
        case Kind.BINARY:
            characters = octets = written.length
        case Kind.BOOL | Kind.INT | Kind.UINT:
            digits, scale = _DIGITS[data_type] + (column.column_type == "bigint unsigned"), 0
        case Kind.DOUBLE:
            digits = _DIGITS[data_type]
        case Kind.DECIMAL:
            digits, scale = written.length, written.scale
        case Kind.DATETIME | Kind.TIMESTAMP | Kind.TIME:
            fraction = written.scale
        case Kind.NULL | Kind.JSON | Kind.DATE:
            pass
        case _ as unknown:
            assert_never(unknown)
    return (
        *("def", table.database, table.name, column.name, position, None),
        *("YES" if column.nullable else "NO", data_type, characters, octets, digits, scale, fraction),
        *(None if collation is None else collation.partition("_")[0], collation, column.column_type),
        *(key_of(table, column.name), "", "select", column.comment, "", None),
    )


def key_of(table: TableDefinition, column: str) -> str:
    """PRI for columns of the primary key, MUL for the first one of another key, else nothing."""
    if table.database != DATABASE:
        return ""
    for name, unique, columns in KEYS[table.name]:
        if name == "PRIMARY" and column in columns:
            return "PRI"
        if not unique and columns[0] == column:
            return "MUL"
    return ""


def _statistics() -> Iterator[Row]:
    for table in _CATALOG.tables(DATABASE):
        for name, unique, columns in KEYS[table.name]:
            for position, column in enumerate(columns, 1):
                yield (
                    *("def", DATABASE, table.name, int(not unique), DATABASE, name, position, column),
                    *("A", 0, None, None, "", "BTREE", "", "", "YES", None),
                )


def _key_column_usage() -> Iterator[Row]:
    for table in _CATALOG.tables(DATABASE):
        for name, unique, columns in KEYS[table.name]:
            if unique:
                for position, column in enumerate(columns, 1):
                    yield "def", DATABASE, name, "def", DATABASE, table.name, column, position


def _columns_extensions() -> Iterator[Row]:
    for table in _every_table():
        for column in table.columns:
            yield "def", table.database, table.name, column.name


def _tables_extensions() -> Iterator[Row]:
    for table in _every_table():
        yield "def", table.database, table.name


def _schemata_extensions() -> Iterator[Row]:
    for database in _CATALOG.databases():
        yield "def", database, ""


def _table_constraints_extensions() -> Iterator[Row]:
    for table in _CATALOG.tables(DATABASE):
        for name, *_ in KEYS[table.name]:
            yield "def", DATABASE, name, table.name


def _table_constraints() -> Iterator[Row]:
    for table in _CATALOG.tables(DATABASE):
        for name, unique, _ in KEYS[table.name]:
            if unique:
                yield "def", DATABASE, name, DATABASE, table.name, "PRIMARY KEY", "YES"


def _engines() -> Iterator[Row]:
    yield "InnoDB", "DEFAULT", "z4 task store (read-only)", "NO", "NO", "NO"


def _plugins() -> Iterator[Row]:
    for name in ("mysql_native_password", "caching_sha2_password"):
        yield name, "1.0", "ACTIVE", "AUTHENTICATION", "2.1", None, None, "z4", "", "GPL", "FORCE"


def _keywords() -> Iterator[Row]:
    for word in KEYWORDS:
        yield word, int(word in RESERVED_KEYWORDS)


def _time_zone_names() -> Iterator[Row]:
    for number, name in enumerate(sorted(available_timezones()), 1):
        yield name, number


def _processlist(view: ServerView) -> Iterator[Row]:
    for one in view.processes():
        yield (
            *(one.connection_id, one.user, one.host, one.database),
            *(one.command, one.time_s, one.state, one.info, "PRIMARY"),
        )


def _threads(view: ServerView) -> Iterator[Row]:
    for one in view.processes():
        yield (
            *(one.connection_id, "thread/sql/one_connection", "FOREGROUND", one.connection_id),
            *(one.user, one.host, one.database, one.command, one.time_s, one.state, one.info),
            *(None, None, "YES", "YES", "TCP/IP", None, None, "PRIMARY", 0, 0, 0, 0, "NO"),
        )


def _sys_processlist(view: ServerView) -> Iterator[Row]:
    for one in view.processes():
        yield (
            *(one.connection_id, one.connection_id, f"{one.user}@{one.host}", one.database),
            *(one.command, one.state, one.time_s, one.info, "PRIMARY", *(None,) * 9, "NO"),
        )


def grantee(user: str) -> str:
    """The account as privilege tables spell it."""
    doubled = user.replace("'", "''")
    return f"'{doubled}'@'%'"


def _user_privileges(view: ServerView) -> Iterator[Row]:
    yield grantee(view.user), "def", "USAGE", "NO"


def _user_attributes(view: ServerView) -> Iterator[Row]:
    yield view.user, "%", None


def _schema_privileges(view: ServerView) -> Iterator[Row]:
    yield grantee(view.user), "def", DATABASE, "SELECT", "NO"


def _user(view: ServerView) -> Iterator[Row]:
    refused = ("N",) * 28
    limits = (0, 0, 0, 0)
    password = ("caching_sha2_password", "", "N", None, None, "N")
    yield "%", view.user, "Y", *refused, *("",) * 4, *limits, *password, "N", "N", None, None, None, None


def _db(view: ServerView) -> Iterator[Row]:
    yield "%", DATABASE, view.user, "Y", *("N",) * 18


def _session_variables(view: ServerView) -> Iterator[Row]:
    yield from view.variables(of_session=True)


def _global_variables(view: ServerView) -> Iterator[Row]:
    yield from view.variables(of_session=False)


def _session_status(view: ServerView) -> Iterator[Row]:
    yield from view.status(of_session=True)


def _global_status(view: ServerView) -> Iterator[Row]:
    yield from view.status(of_session=False)


def _user_variables(view: ServerView) -> Iterator[Row]:
    for name, value in view.user_variables():
        yield 1, name, value


_FIXED: dict[tuple[str, str], Callable[[], Iterator[Row]]] = {
    ("information_schema", "character_sets"): _character_sets,
    ("information_schema", "collations"): _collations,
    ("information_schema", "collation_character_set_applicability"): _applicability,
    ("information_schema", "columns"): _columns,
    ("information_schema", "engines"): _engines,
    ("information_schema", "keywords"): _keywords,
    ("information_schema", "key_column_usage"): _key_column_usage,
    ("information_schema", "partitions"): _partitions,
    ("information_schema", "plugins"): _plugins,
    ("information_schema", "schemata"): _schemata,
    ("information_schema", "statistics"): _statistics,
    ("information_schema", "tables"): _tables,
    ("information_schema", "columns_extensions"): _columns_extensions,
    ("information_schema", "schemata_extensions"): _schemata_extensions,
    ("information_schema", "tables_extensions"): _tables_extensions,
    ("information_schema", "table_constraints"): _table_constraints,
    ("information_schema", "table_constraints_extensions"): _table_constraints_extensions,
    ("mysql", "time_zone_name"): _time_zone_names,
}
_OF_THE_SERVER: dict[tuple[str, str], Callable[[ServerView], Iterator[Row]]] = {
    ("information_schema", "processlist"): _processlist,
    ("information_schema", "schema_privileges"): _schema_privileges,
    ("information_schema", "user_attributes"): _user_attributes,
    ("information_schema", "user_privileges"): _user_privileges,
    ("mysql", "user"): _user,
    ("mysql", "db"): _db,
    ("performance_schema", "processlist"): _processlist,
    ("performance_schema", "threads"): _threads,
    ("performance_schema", "user_variables_by_thread"): _user_variables,
    ("performance_schema", "session_variables"): _session_variables,
    ("performance_schema", "global_variables"): _global_variables,
    ("performance_schema", "session_status"): _session_status,
    ("performance_schema", "global_status"): _global_status,
    ("sys", "processlist"): _sys_processlist,
}
"""Tables by who asks and when; all others never change."""
