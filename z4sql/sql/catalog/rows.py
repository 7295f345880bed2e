"""Rows of the system tables, generated from the definitions and the running server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

import pyarrow as pa

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.charsets import CHARACTER_SETS, COLLATIONS
from z4sql.sql.catalog.keywords import KEYWORDS, RESERVED_KEYWORDS
from z4sql.sql.catalog.server_view import ServerView
from z4sql.sql.catalog.z4_tables import DATABASE, KEYS
from z4sql.sql.types import Collation, ColumnDefinition, Kind, TableDefinition

Row = Sequence[object]
"""Values of the leading columns; columns without one are NULL."""

ARROW_TYPES: dict[Kind, pa.DataType] = {
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

_CREATED = datetime(2025, 1, 1)
_SYSTEM_COLLATION = "utf8mb3_general_ci"
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
        pa.array([row[index] if index < len(row) else None for row in rows], ARROW_TYPES[column.type.kind])
        for index, column in enumerate(definition.columns)
    ]
    return pa.Table.from_arrays(columns, names=[column.name for column in definition.columns])


def collation_of(column: ColumnDefinition, table: TableDefinition) -> str | None:
    """The collation DESCRIBE shows; None for what is no text."""
    if column.type.kind is not Kind.STRING:
        return None
    return column.type.collation.value if table.database == DATABASE else _SYSTEM_COLLATION


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


def _tables() -> Iterator[Row]:
    for table in _every_table():
        kind = "BASE TABLE"
        if table.view:
            kind = "SYSTEM VIEW" if table.database == "information_schema" else "VIEW"
        engine = None if table.view else "InnoDB"
        collation = Collation.AI_CI.value if table.database == DATABASE else _SYSTEM_COLLATION
        row_format = None if table.view else "Dynamic"
        volume = (0, 0, 0, 0, 0, 0, None)
        times = (_CREATED, None, None)
        yield (
            *("def", table.database, table.name, kind, engine, 10, row_format),
            *(*volume, *times, None if table.view else collation, None, "", table.comment),
        )


def _partitions() -> Iterator[Row]:
    """MySQL manual: The INFORMATION_SCHEMA PARTITIONS Table; a table without partitions has one row."""
    for table in _every_table():
        if not table.view:
            volume = (0, 0, 0, 0, 0, 0)
            times = (_CREATED, None, None)
            yield "def", table.database, table.name, *(None,) * 9, *volume, *times, None, "", "", None


_DIGITS = {"tinyint": 3, "int": 10, "bigint": 19}


def _columns() -> Iterator[Row]:
    for table in _every_table():
        for position, column in enumerate(table.columns, 1):
            yield _column_row(table, column, position)


def _column_row(table: TableDefinition, column: ColumnDefinition, position: int) -> Row:
    data_type = column.column_type.partition("(")[0].partition(" ")[0]
    characters = octets = digits = scale = fraction = None
    match column.type.kind:
        case Kind.STRING:
            characters = column.type.length
            octets = min(characters * 4, 4_294_967_295) if data_type == "varchar" else characters
        case Kind.BINARY:
            characters = octets = 4_294_967_295
        case Kind.BOOL | Kind.INT | Kind.UINT:
            digits, scale = _DIGITS[data_type], 0
        case Kind.DOUBLE:
            digits = 22
        case Kind.DATETIME | Kind.TIMESTAMP | Kind.TIME:
            fraction = column.type.scale
        case Kind.NULL | Kind.DECIMAL | Kind.JSON | Kind.DATE:
            pass
    collation = collation_of(column, table)
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


def _table_constraints() -> Iterator[Row]:
    for table in _CATALOG.tables(DATABASE):
        yield "def", DATABASE, "PRIMARY", DATABASE, table.name, "PRIMARY KEY", "YES"


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
            *(one.command, one.time_s, one.state, one.info),
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
            *(one.command, one.state, one.time_s, one.info),
        )


def grantee(user: str) -> str:
    """The account as privilege tables spell it."""
    doubled = user.replace("'", "''")
    return f"'{doubled}'@'%'"


def _user_privileges(view: ServerView) -> Iterator[Row]:
    yield grantee(view.user), "def", "USAGE", "NO"


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


def _status(view: ServerView) -> Iterator[Row]:
    yield from view.status()


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
    ("information_schema", "table_constraints"): _table_constraints,
    ("mysql", "time_zone_name"): _time_zone_names,
}
_OF_THE_SERVER: dict[tuple[str, str], Callable[[ServerView], Iterator[Row]]] = {
    ("information_schema", "processlist"): _processlist,
    ("information_schema", "schema_privileges"): _schema_privileges,
    ("information_schema", "user_privileges"): _user_privileges,
    ("mysql", "user"): _user,
    ("mysql", "db"): _db,
    ("performance_schema", "processlist"): _processlist,
    ("performance_schema", "threads"): _threads,
    ("performance_schema", "user_variables_by_thread"): _user_variables,
    ("performance_schema", "session_variables"): _session_variables,
    ("performance_schema", "global_variables"): _global_variables,
    ("performance_schema", "session_status"): _status,
    ("performance_schema", "global_status"): _status,
    ("sys", "processlist"): _sys_processlist,
}
"""Tables by who asks and when; all others never change."""
