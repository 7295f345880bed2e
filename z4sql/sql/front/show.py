"""SHOW and DESCRIBE. MySQL manual: SHOW Statements; DESCRIBE Statement."""

from __future__ import annotations

import re
from collections.abc import Callable

from z4sql.access.model import User, without_accounts
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.server_view import ServerView
from z4sql.sql.errors import NoDatabase, SqlError, UnknownDatabase, UnknownTable, Unsupported
from z4sql.sql.front.create_table import create_table, quoted
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.grants import show_grants
from z4sql.sql.front.listing import LISTINGS, Filter, filtered, list_rows
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.privileges import access_denied
from z4sql.sql.front.results import INT, LONG_TEXT, TEXT, result_set, text_columns
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.source import Source
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn, TableDefinition

_INFO_MAX = 100
_WHERE_MAX = 8 << 10
"""A condition is worked out once for every row, on the loop that serves everybody."""
_ADMINISTRATION = frozenset(
    {"MASTER", "BINARY", "BINLOG", "SLAVE", "REPLICA", "REPLICAS", "RELAYLOG", "ENGINE"}
)
_WORDS: dict[tuple[str, ...], str] = {
    ("DATABASES",): "DATABASES",
    ("SCHEMAS",): "DATABASES",
    ("ENGINES",): "ENGINES",
    ("STORAGE", "ENGINES"): "ENGINES",
    ("CHARSET",): "CHARACTER SET",
    ("CHARACTER", "SET"): "CHARACTER SET",
    ("COLLATION",): "COLLATION",
    ("PLUGINS",): "PLUGINS",
    ("TRIGGERS",): "TRIGGERS",
    ("EVENTS",): "EVENTS",
    ("PROCEDURE", "STATUS"): "PROCEDURE STATUS",
    ("FUNCTION", "STATUS"): "FUNCTION STATUS",
    ("TABLE", "STATUS"): "TABLE STATUS",
}
_SCHEMA_COLUMNS = {"TABLE STATUS": "TABLE_SCHEMA", "TRIGGERS": "TRIGGER_SCHEMA", "EVENTS": "EVENT_SCHEMA"}
"""Listings of one database, and the column that names it."""

_WHERE_NAMES = re.compile(
    r"\b(charset|table|key|database|trigger|tables|null|default|collation)\b(?=\s*(?:=|<|>|!|in\b|like\b|not\b))",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)", re.DOTALL)


class Show:
    """One SHOW or DESCRIBE of one session."""

    def __init__(
        self,
        source: Source,
        session: Session,
        catalog: Z4Catalog,
        view: ServerView,
        parser: QueryParser,
        *,
        user: Callable[[str], User | None] = without_accounts,
    ) -> None:
        """``user``: everybody's rights."""
        self._source = source
        self._user = user
        self._session = session
        self._catalog = catalog
        self._view = view
        self._parser = parser
        self._names = SessionNames(session)
        self._cursor = Cursor(source, 1)

    def show(self) -> ResultSet:
        """:raises SqlError: syntax (1064), unknown tables (1146) or databases (1049), privileges (1227)."""
        cursor = self._cursor
        cursor.accept("EXTENDED")
        full = cursor.accept("FULL")
        for words, kind in _WORDS.items():
            if cursor.accept(*words):
                return self._listing(kind)
        match cursor.word:
            case "TABLES":
                return self._tables(full=full)
            case "COLUMNS" | "FIELDS":
                return self._of_table("FULL COLUMNS" if full else "COLUMNS")
            case "INDEX" | "INDEXES" | "KEYS":
                return self._of_table("INDEX")
            case "PROCESSLIST":
                return self._processlist(full=full)
            case "OPEN":
                return self._open_tables()
            case "CREATE":
                return self._create()
            case "GLOBAL" | "SESSION" | "LOCAL" | "VARIABLES" | "STATUS":
                return self._variables()
            case "GRANTS":
                cursor.accept("GRANTS")
                return show_grants(cursor, self._session, self._user)
            case "PRIVILEGES":
                return self._privileges()
            case "WARNINGS" | "ERRORS" | "COUNT" | "PROFILES" | "PROFILE":
                return self._diagnostics()
            case word if word in _ADMINISTRATION:
                raise access_denied("SUPER, REPLICATION CLIENT")
            case _:
                raise self._source.problem(cursor.at)

    def describe(self) -> ResultSet:
        """DESCRIBE table [column | 'pattern']."""
        cursor = self._cursor
        database, name = cursor.table_name()
        table = self.table(database, name)
        like = None
        if not cursor.finished:
            like = cursor.string() if cursor.word == "" and not self._quoted_here() else cursor.name()
        cursor.end()
        return self._table_listing("COLUMNS", table, Filter(like=like))

    def _quoted_here(self) -> bool:
        return self._source.text[self._source.pieces[self._cursor.at].start] == "`"

    def table(self, database: str | None, name: str) -> TableDefinition:
        """:raises NoDatabase: (1046); :raises UnknownDatabase: (1049); :raises UnknownTable: (1146)"""
        where = self._database(database)
        found = self._catalog.table(where, name)
        if found is None:
            raise UnknownTable(f"Table '{where}.{name}' doesn't exist")
        return found

    def _database(self, name: str | None) -> str:
        chosen = name if name is not None else self._session.database
        if chosen is None:
            raise NoDatabase()
        if chosen.lower() not in self._catalog.databases():
            raise UnknownDatabase(f"Unknown database '{chosen}'")
        return chosen

    def _from_database(self) -> str | None:
        return self._cursor.name() if self._cursor.accept_any("FROM", "IN") else None

    def _filter(self) -> Filter:
        cursor = self._cursor
        if cursor.accept("LIKE"):
            pattern = cursor.string()
            cursor.end()
            return Filter(like=pattern)
        if not cursor.accept("WHERE"):
            cursor.end()
            return Filter()
        at = len(self._source.text) if cursor.finished else self._source.pieces[cursor.at].start
        if len(self._source.text) - at > _WHERE_MAX:
            raise Unsupported("This version of MySQL doesn't yet support longer conditions in SHOW")
        return Filter(where=self._parser.expression(_quote_headers(cursor.rest()), self._source, at))

    def _listing(self, kind: str) -> ResultSet:
        equal = {}
        schema = _SCHEMA_COLUMNS.get(kind)
        if schema is not None:
            equal[schema] = self._database(self._from_database())
        if kind in ("PROCEDURE STATUS", "FUNCTION STATUS"):
            equal["ROUTINE_TYPE"] = kind.removesuffix(" STATUS")
        return self._listed(kind, equal, self._filter())

    def _listed(
        self, kind: str, equal: dict[str, str], chosen: Filter, first_header: str | None = None
    ) -> ResultSet:
        return list_rows(
            LISTINGS[kind],
            self._catalog,
            self._view,
            equal=equal,
            chosen=chosen,
            names=self._names,
            first_header=first_header,
        )

    def _tables(self, *, full: bool) -> ResultSet:
        self._cursor.accept("TABLES")
        database = self._database(self._from_database())
        chosen = self._filter()
        header = f"Tables_in_{database}" + (f" ({chosen.like})" if chosen.like is not None else "")
        kind = "FULL TABLES" if full else "TABLES"
        return self._listed(kind, {"TABLE_SCHEMA": database}, chosen, header)

    def _of_table(self, kind: str) -> ResultSet:
        cursor = self._cursor
        cursor.at += 1
        if not cursor.accept_any("FROM", "IN"):
            raise self._source.problem(cursor.at)
        database, name = cursor.table_name()
        outer = self._from_database()
        table = self.table(outer if outer is not None else database, name)
        return self._table_listing(kind, table, self._filter())

    def _table_listing(self, kind: str, table: TableDefinition, chosen: Filter) -> ResultSet:
        return self._listed(kind, {"TABLE_SCHEMA": table.database, "TABLE_NAME": table.name}, chosen)

    def _processlist(self, *, full: bool) -> ResultSet:
        self._cursor.accept("PROCESSLIST")
        self._cursor.end()
        columns = [
            ResultColumn(name, INT if name in ("Id", "Time") else TEXT)
            for name, _ in LISTINGS["PROCESSLIST"].columns
        ]
        rows = [
            (
                *(one.connection_id, one.user, one.host, one.database, one.command, one.time_s, one.state),
                one.info if full or one.info is None else one.info[:_INFO_MAX],
            )
            for one in self._view.processes()
        ]
        return result_set(columns, rows)

    def _open_tables(self) -> ResultSet:
        if not self._cursor.accept("OPEN", "TABLES"):
            raise self._source.problem(self._cursor.at + 1)
        self._database(self._from_database() or "z4")
        columns = (
            *text_columns("Database", "Table"),
            ResultColumn("In_use", INT),
            ResultColumn("Name_locked", INT),
        )
        return filtered(columns, [], 1, self._filter(), self._names)

    def _variables(self) -> ResultSet:
        scope = self._cursor.accept_any("GLOBAL", "SESSION", "LOCAL")
        kind = self._cursor.accept_any("VARIABLES", "STATUS")
        if not kind:
            raise self._source.problem(self._cursor.at)
        of_session = scope != "GLOBAL"
        rows = self._view.status() if kind == "STATUS" else self._view.variables(of_session=of_session)
        return filtered(text_columns("Variable_name", "Value"), rows, 0, self._filter(), self._names)

    def _privileges(self) -> ResultSet:
        rows = [
            ("Select", "Tables", "To retrieve rows from table"),
            ("Usage", "Server Admin", "No privileges - allow connect only"),
        ]
        return result_set(text_columns("Privilege", "Context", "Comment"), rows)

    def _diagnostics(self) -> ResultSet:
        cursor = self._cursor
        if cursor.accept_any("PROFILES", "PROFILE"):
            columns = (ResultColumn("Query_ID", INT), *text_columns("Duration", "Query"))
            return result_set(columns, [])
        if cursor.accept("COUNT"):
            if not (cursor.symbol("(") and cursor.symbol("*") and cursor.symbol(")")):
                raise self._source.problem(cursor.at)
            kind = cursor.accept_any("WARNINGS", "ERRORS")
            cursor.end()
            if not kind:
                raise self._source.problem(cursor.at)
            header = f"@@session.{kind.lower().removesuffix('s')}_count"
            return result_set((ResultColumn(header, INT),), [(self._session.variable(header[10:]),)])
        diagnostics = self._session.diagnostics
        told = diagnostics.errors if cursor.accept_any("WARNINGS", "ERRORS") == "ERRORS" else diagnostics.rows
        skipped, wanted = self._limit()
        rows = [(one.level, one.code, one.message) for one in told]
        level, message = text_columns("Level", "Message")
        columns = (level, ResultColumn("Code", INT), message)
        return result_set(columns, rows[skipped:] if wanted is None else rows[skipped : skipped + wanted])

    def _limit(self) -> tuple[int, int | None]:
        """``LIMIT [offset,] count``, or nothing."""
        cursor = self._cursor
        if not cursor.accept("LIMIT"):
            cursor.end()
            return 0, None
        first = cursor.number()
        bounds = (first, cursor.number()) if cursor.symbol(",") else (0, first)
        cursor.end()
        return bounds

    def _create(self) -> ResultSet:
        cursor = self._cursor
        cursor.accept("CREATE")
        kind = cursor.accept_any(
            "TABLE", "VIEW", "DATABASE", "SCHEMA", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "USER"
        )
        if not kind:
            raise self._source.problem(cursor.at)
        cursor.accept("IF", "NOT", "EXISTS")
        if kind in ("DATABASE", "SCHEMA"):
            return self._create_database(cursor.name())
        if kind == "USER":
            raise access_denied("CREATE USER")
        database, name = cursor.table_name()
        cursor.end()
        if kind not in ("TABLE", "VIEW"):
            raise SqlError(f"{kind} {name} does not exist", code=1305, state="42000")
        table = self.table(database, name)
        if kind == "VIEW":
            message = f"'{table.database}.{table.name}' is not VIEW"
            raise SqlError(message, code=1347, state="HY000")
        columns = (ResultColumn("Table", TEXT), ResultColumn("Create Table", LONG_TEXT))
        return result_set(columns, [(table.name, create_table(table))])

    def _create_database(self, name: str) -> ResultSet:
        self._cursor.end()
        database = self._database(name).lower()
        text = (
            f"CREATE DATABASE {quoted(database)} /*!40100 DEFAULT CHARACTER SET utf8mb4 "
            "COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */"
        )
        columns = (ResultColumn("Database", TEXT), ResultColumn("Create Database", LONG_TEXT))
        return result_set(columns, [(database, text)])


def _quote_headers(where: str) -> str:
    """Headers that are words of the language stand unquoted in what tools send (``where charset = ..``)."""
    parts = _QUOTES.split(where)
    return "".join(part if index % 2 else _WHERE_NAMES.sub(r"`\1`", part) for index, part in enumerate(parts))
