"""SHOW and DESCRIBE. MySQL manual: SHOW Statements; DESCRIBE Statement."""

from __future__ import annotations

import re
from collections.abc import Callable

from z4sql.access.model import User, without_accounts
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.server_view import ServerView
from z4sql.sql.errors import NoDatabase, SqlError, UnknownDatabase, UnknownTable, Unsupported
from z4sql.sql.front.create_table import create_table
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.grants import show_create_user, show_grants
from z4sql.sql.front.listing import LISTINGS, Filter, filtered, list_rows
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.results import INT, LONG_TEXT, UINT, definition, result_set, text_columns
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.show_administration import FIRST_WORDS as ADMINISTRATION_WORDS
from z4sql.sql.front.show_administration import refuse_administration
from z4sql.sql.front.show_create import NO_SUCH_PROGRAM, create_database
from z4sql.sql.front.show_profile import show_profile, show_profiles
from z4sql.sql.front.source import Source
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn, TableDefinition

_INFO_MAX = 100
_PROCESS_COLUMNS = (
    ResultColumn("Id", UINT, nullable=False),
    *text_columns("User", "Host", nullable=False),
    *text_columns("db"),
    *text_columns("Command", nullable=False),
    ResultColumn("Time", INT, nullable=False),
    *text_columns("State"),
    ResultColumn("Info", LONG_TEXT),
)
_WHERE_MAX = 8 << 10
"""A condition is worked out once for every row, on the loop that serves everybody."""
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
_UNFILTERED = frozenset({"ENGINES", "PLUGINS"})
_COLUMN_WORDS = frozenset({"COLUMNS", "FIELDS"})
_INDEX_WORDS = frozenset({"INDEX", "INDEXES", "KEYS"})
_WITH_FULL = _COLUMN_WORDS | {"TABLES", "PROCESSLIST", "TRIGGERS"}
_WITH_EXTENDED = _COLUMN_WORDS | _INDEX_WORDS | {"TABLES"}

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
        extended, full = cursor.accept("EXTENDED"), cursor.accept("FULL")
        if (extended and cursor.word not in _WITH_EXTENDED) or (full and cursor.word not in _WITH_FULL):
            raise self._source.problem(cursor.at)
        for words, kind in _WORDS.items():
            if cursor.accept(*words):
                return self._listing(kind)
        match cursor.word:
            case "TABLES":
                return self._tables(full=full)
            case word if word in _COLUMN_WORDS:
                return self._of_table("FULL COLUMNS" if full else "COLUMNS")
            case word if word in _INDEX_WORDS:
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
            case "WARNINGS" | "ERRORS" | "COUNT":
                return self._diagnostics()
            case "PROFILES":
                cursor.accept("PROFILES")
                return show_profiles(cursor)
            case "PROFILE":
                cursor.accept("PROFILE")
                return show_profile(cursor)
            case "PROCEDURE" | "FUNCTION":
                raise self._code()
            case word if word in ADMINISTRATION_WORDS:
                raise refuse_administration(cursor)
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
        if kind in _UNFILTERED:
            self._cursor.end()
        chosen = self._filter()
        header = _with_pattern("Database", chosen) if kind == "DATABASES" else None
        return self._listed(kind, equal, chosen, header)

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
        header = _with_pattern(f"Tables_in_{database}", chosen)
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
        rows = [
            (
                *(one.connection_id, one.user, one.host, one.database, one.command, one.time_s, one.state),
                one.info if full or one.info is None else one.info[:_INFO_MAX],
            )
            for one in self._view.processes()
        ]
        return result_set(_PROCESS_COLUMNS, rows)

    def _open_tables(self) -> ResultSet:
        if not self._cursor.accept("OPEN", "TABLES"):
            raise self._source.problem(self._cursor.at + 1)
        self._database(self._from_database() or "z4")
        columns = (
            *text_columns("Database", "Table", nullable=False),
            ResultColumn("In_use", INT, nullable=False),
            ResultColumn("Name_locked", INT, nullable=False),
        )
        return filtered(columns, [], 1, self._filter(), self._names)

    def _variables(self) -> ResultSet:
        scope = self._cursor.accept_any("GLOBAL", "SESSION", "LOCAL")
        kind = self._cursor.accept_any("VARIABLES", "STATUS")
        if not kind:
            raise self._source.problem(self._cursor.at)
        of_session = scope != "GLOBAL"
        shown = self._view.status if kind == "STATUS" else self._view.variables
        rows = shown(of_session=of_session)
        columns = (*text_columns("Variable_name", nullable=False), *text_columns("Value"))
        return filtered(columns, rows, 0, self._filter(), self._names)

    def _privileges(self) -> ResultSet:
        self._cursor.accept("PRIVILEGES")
        self._cursor.end()
        rows = [
            ("Select", "Tables", "To retrieve rows from table"),
            ("Usage", "Server Admin", "No privileges - allow connect only"),
        ]
        return result_set(text_columns("Privilege", "Context", "Comment", nullable=False), rows)

    def _diagnostics(self) -> ResultSet:
        cursor = self._cursor
        if cursor.accept("COUNT"):
            if not (cursor.symbol("(") and cursor.symbol("*") and cursor.symbol(")")):
                raise self._source.problem(cursor.at)
            kind = cursor.accept_any("WARNINGS", "ERRORS")
            cursor.end()
            if not kind:
                raise self._source.problem(cursor.at)
            header = f"@@session.{kind.lower().removesuffix('s')}_count"
            return result_set((ResultColumn(header, UINT),), [(self._session.variable(header[10:]),)])
        diagnostics = self._session.diagnostics
        told = diagnostics.errors if cursor.accept_any("WARNINGS", "ERRORS") == "ERRORS" else diagnostics.rows
        skipped, wanted = cursor.limit()
        rows = [(one.level, one.code, one.message) for one in told]
        level, message = text_columns("Level", "Message", nullable=False)
        columns = (level, ResultColumn("Code", UINT, nullable=False), message)
        return result_set(columns, rows[skipped:] if wanted is None else rows[skipped : skipped + wanted])

    def _code(self) -> SqlError:
        """MySQL manual: SHOW PROCEDURE CODE Statement: only servers built to be debugged have it."""
        cursor = self._cursor
        cursor.accept_any("PROCEDURE", "FUNCTION")
        if not cursor.accept("CODE"):
            return self._source.problem(cursor.at)
        cursor.table_name()
        message = (
            "The 'SHOW PROCEDURE|FUNCTION CODE' feature is disabled; you need MySQL built with "
            "'--with-debug' to have it working"
        )
        return SqlError(message, code=1289, state="HY000")

    def _create(self) -> ResultSet:
        cursor = self._cursor
        cursor.accept("CREATE")
        kind = cursor.accept_any("TABLE", "VIEW", "DATABASE", "SCHEMA", "USER", *NO_SUCH_PROGRAM)
        if not kind:
            raise self._source.problem(cursor.at)
        if kind in ("DATABASE", "SCHEMA"):
            unless_there = cursor.accept("IF", "NOT", "EXISTS")
            name = cursor.name()
            cursor.end()
            return create_database(self._database(name).lower(), unless_there=unless_there)
        if kind == "USER":
            return show_create_user(cursor, self._session)
        database, name = cursor.table_name()
        cursor.end()
        if kind in NO_SUCH_PROGRAM:
            raise NO_SUCH_PROGRAM[kind](name)
        table = self.table(database, name)
        if kind == "VIEW":
            message = f"'{table.database}.{table.name}' is not VIEW"
            raise SqlError(message, code=1347, state="HY000")
        return definition("Table", table.name, create_table(table))


def _with_pattern(header: str, chosen: Filter) -> str:
    return header if chosen.like is None else f"{header} ({chosen.like})"


def _quote_headers(where: str) -> str:
    """Headers that are words of the language stand unquoted in what tools send (``where charset = ..``)."""
    parts = _QUOTES.split(where)
    return "".join(part if index % 2 else _WHERE_NAMES.sub(r"`\1`", part) for index, part in enumerate(parts))
