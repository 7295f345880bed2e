"""The tables of database `z4`, and what of them clients see as keys."""

from __future__ import annotations

from z4sql.sql.types import Collation, ColumnDefinition, Kind, SqlType, TableDefinition
from z4sql.tasks.record import STATE_NAMES

DATABASE = "z4"

_NAME = SqlType(Kind.STRING, 255, collation=Collation.BIN_0900)
_TASK_ID = SqlType(Kind.STRING, 26, collation=Collation.BIN_0900)
_TEXT_255 = SqlType(Kind.STRING, 255)
_INSTANT = SqlType(Kind.TIMESTAMP, scale=6)
_INT = SqlType(Kind.INT, 11)
_BIGINT = SqlType(Kind.INT, 20)
_UNSIGNED = SqlType(Kind.UINT, 20)


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
        _instant("expire_at", "not delivered at or after"),
        ColumnDefinition(
            "lateness_ms", _BIGINT, "bigint", comment="from deliver_at to the start of the last attempt"
        ),
        ColumnDefinition("lease_token", _UNSIGNED, "bigint unsigned", comment="names the present lease"),
    ),
    bounded=True,
    comment="z4 tasks (read-only)",
    aliases={"queue": "namespace"},
)

TASK_EVENTS = TableDefinition(
    DATABASE,
    "task_events",
    (
        ColumnDefinition("namespace", _NAME, "varchar(255)", False, "MUL"),
        ColumnDefinition("task_id", _TASK_ID, "varchar(26)", False, "MUL"),
        _instant("deliver_at", "of the task", nullable=False),
        _instant("at", "when it happened", nullable=False),
        ColumnDefinition("kind", SqlType(Kind.STRING, 16), "varchar(16)", False),
        ColumnDefinition("attempt", SqlType(Kind.UINT, 10), "int unsigned"),
        ColumnDefinition("detail", _TEXT_255, "varchar(255)", comment="the lease's owner, or an error"),
    ),
    bounded=True,
    one_row_a_key=False,
    comment="the newest events of each task (read-only)",
    aliases={"queue": "namespace", "id": "task_id"},
)

NAMESPACES = TableDefinition(
    DATABASE,
    "namespaces",
    (
        ColumnDefinition("name", _NAME, "varchar(255)", False, "PRI"),
        _instant("created_at"),
        _number("ack_deadline_seconds"),
        _number("attempts_max"),
        _number("backoff_min_ms"),
        _number("backoff_max_ms"),
        ColumnDefinition("backoff_multiplier", SqlType(Kind.DOUBLE), "double"),
        _number("retention_seconds"),
        ColumnDefinition("paused", SqlType(Kind.BOOL), "tinyint(1)"),
        _instant("paused_until"),
        *(
            ColumnDefinition(
                f"tasks_{state}", _UNSIGNED, "bigint unsigned", False, comment=f"tasks {state} now"
            )
            for state in STATE_NAMES
        ),
    ),
    comment="z4 namespaces (read-only)",
)

MEMBERS = TableDefinition(
    DATABASE,
    "members",
    (
        ColumnDefinition("id", _TEXT_255, "varchar(255)", False, "PRI"),
        ColumnDefinition(
            "role", SqlType(Kind.STRING, 16), "varchar(16)", comment="leader, follower, learner"
        ),
        ColumnDefinition("term", _UNSIGNED, "bigint unsigned"),
        ColumnDefinition("match_index", _UNSIGNED, "bigint unsigned", comment="log known to be there"),
        ColumnDefinition(
            "applied_index",
            _UNSIGNED,
            "bigint unsigned",
            comment="as the member says; NULL when it is silent",
        ),
        ColumnDefinition(
            "lag_entries", _UNSIGNED, "bigint unsigned", comment="entries behind the leader's log"
        ),
        _address("peer_address"),
        _address("service_address"),
        _address("sql_address"),
        _address("metrics_address"),
    ),
    live=True,
    comment="z4 cluster members (read-only)",
)

CONSUMERS = TableDefinition(
    DATABASE,
    "consumers",
    (
        ColumnDefinition("name", _TEXT_255, "varchar(255)", False),
        ColumnDefinition("namespace", _NAME, "varchar(255)", False),
        ColumnDefinition("credit", _BIGINT, "bigint", comment="tasks that it would still take"),
        ColumnDefinition("leases", _BIGINT, "bigint", comment="tasks that it holds"),
        ColumnDefinition("draining", SqlType(Kind.BOOL), "tinyint(1)"),
    ),
    live=True,
    comment="consumers that are connected now (read-only)",
)

LEASES = TableDefinition(
    DATABASE,
    "leases",
    (
        ColumnDefinition("namespace", _NAME, "varchar(255)", False, "MUL"),
        ColumnDefinition("task_id", _TASK_ID, "varchar(26)", False, "MUL"),
        _instant("deliver_at", "of the task", nullable=False),
        ColumnDefinition("owner", _TEXT_255, "varchar(255)", comment="the consumer that it was given to"),
        _instant("lease_until", "delivered again then, unless it is settled or extended"),
        ColumnDefinition("lease_token", _UNSIGNED, "bigint unsigned", False),
        ColumnDefinition("attempts", SqlType(Kind.UINT, 10), "int unsigned"),
        ColumnDefinition(
            "connected", SqlType(Kind.BOOL), "tinyint(1)", comment="whether its consumer still is"
        ),
    ),
    live=True,
    comment="tasks that are leased now, the oldest 5000 leases (read-only)",
)

METRICS = TableDefinition(
    DATABASE,
    "metrics",
    (
        ColumnDefinition("peer", _TEXT_255, "varchar(255)", False),
        ColumnDefinition("name", _TEXT_255, "varchar(255)", False),
        ColumnDefinition(
            "labels", SqlType(Kind.STRING, 1024), "varchar(1024)", False, comment="a JSON object"
        ),
        ColumnDefinition("value", SqlType(Kind.DOUBLE), "double"),
        ColumnDefinition("help", SqlType(Kind.STRING, 1024), "varchar(1024)"),
    ),
    live=True,
    comment="metrics of the peer that answers (read-only)",
)

TABLES = (TASKS, TASK_EVENTS, NAMESPACES, MEMBERS, CONSUMERS, LEASES, METRICS)
TABLE_ALIASES = {"task": "tasks"}

KEYS: dict[str, tuple[tuple[str, bool, tuple[str, ...]], ...]] = {
    "tasks": (("PRIMARY", True, ("namespace", "id")), ("deliver", False, ("namespace", "deliver_at"))),
    "task_events": (
        ("task", False, ("namespace", "task_id")),
        ("deliver", False, ("namespace", "deliver_at")),
    ),
    "namespaces": (("PRIMARY", True, ("name",)),),
    "members": (("PRIMARY", True, ("id",)),),
    "consumers": (),
    "leases": (("task", False, ("namespace", "task_id")),),
    "metrics": (),
}
"""Keys by table: name, whether unique, columns."""
