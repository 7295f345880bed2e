"""The tables of database `z4`, and what of them clients see as keys."""

from __future__ import annotations

from z4sql.sql.types import Collation, ColumnDefinition, Kind, SqlType, TableDefinition

DATABASE = "z4"

_NAME = SqlType(Kind.STRING, 255, collation=Collation.BIN_0900)
_TASK_ID = SqlType(Kind.STRING, 26, collation=Collation.BIN_0900)
_TEXT_255 = SqlType(Kind.STRING, 255)
_INSTANT = SqlType(Kind.TIMESTAMP, scale=6)
_INT = SqlType(Kind.INT, 11)


def _instant(name: str, comment: str = "", *, nullable: bool = True, key: str = "") -> ColumnDefinition:
    return ColumnDefinition(name, _INSTANT, "timestamp(6)", nullable, key, comment)


def _address(name: str) -> ColumnDefinition:
    return ColumnDefinition(name, _TEXT_255, "varchar(255)")


def _number(name: str) -> ColumnDefinition:
    return ColumnDefinition(name, _INT, "int")


TASKS = TableDefinition(
    DATABASE,
    "tasks",
    (
        ColumnDefinition("namespace", _NAME, "varchar(255)", False, "PRI", "the queue of the task"),
        ColumnDefinition("id", _TASK_ID, "varchar(26)", False, "PRI"),
        _instant("deliver_at", "not delivered before", nullable=False),
        ColumnDefinition("metadata", SqlType(Kind.JSON), "json"),
        ColumnDefinition("payload", SqlType(Kind.BINARY), "longblob"),
        ColumnDefinition("state", SqlType(Kind.STRING, 16), "varchar(16)"),
        _instant("created_at", nullable=False),
        ColumnDefinition("attempts", SqlType(Kind.UINT, 10), "int unsigned"),
        _instant("next_attempt_at"),
        ColumnDefinition("lease_owner", _TEXT_255, "varchar(255)"),
        _instant("lease_until"),
        ColumnDefinition("last_error", SqlType(Kind.STRING, 65535), "text"),
        _instant("finished_at"),
        _instant("last_attempt_at"),
        ColumnDefinition("request_id", _TEXT_255, "varchar(255)"),
    ),
    bounded=True,
    comment="z4 tasks (read-only)",
    aliases={"queue": "namespace"},
)

NAMESPACES = TableDefinition(
    DATABASE,
    "namespaces",
    (
        ColumnDefinition("name", _TEXT_255, "varchar(255)", False, "PRI"),
        _instant("created_at"),
        _number("ack_deadline_seconds"),
        _number("attempts_max"),
        _number("backoff_min_ms"),
        _number("backoff_max_ms"),
        ColumnDefinition("backoff_multiplier", SqlType(Kind.DOUBLE), "double"),
        _number("retention_seconds"),
        ColumnDefinition("paused", SqlType(Kind.BOOL), "tinyint(1)"),
    ),
    comment="z4 namespaces (read-only)",
)

MEMBERS = TableDefinition(
    DATABASE,
    "members",
    (
        ColumnDefinition("id", _TEXT_255, "varchar(255)", False, "PRI"),
        _address("peer_address"),
        _address("service_address"),
        _address("sql_address"),
        _address("metrics_address"),
    ),
    comment="z4 cluster members (read-only)",
)

TABLES = (TASKS, NAMESPACES, MEMBERS)
TABLE_ALIASES = {"task": "tasks"}

KEYS: dict[str, tuple[tuple[str, bool, tuple[str, ...]], ...]] = {
    "tasks": (("PRIMARY", True, ("namespace", "id")), ("deliver", False, ("namespace", "deliver_at"))),
    "namespaces": (("PRIMARY", True, ("name",)),),
    "members": (("PRIMARY", True, ("id",)),),
}
"""Keys by table: name, whether unique, columns."""
