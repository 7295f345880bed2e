"""SHOW of what only administrators see: logs, replication, engines. MySQL manual: SHOW Statements.

A user who may only SELECT is refused by MySQL with the same privileges.
"""

from __future__ import annotations

from z4sql.sql.errors import SqlError
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.privileges import access_denied

_CLIENT = "SUPER, REPLICATION CLIENT"
_REPLICA = "REPLICATION SLAVE"
_PRIVILEGES: dict[tuple[str, ...], str] = {
    ("BINARY", "LOGS"): _CLIENT,
    ("BINARY", "LOG", "STATUS"): _CLIENT,
    ("MASTER", "LOGS"): _CLIENT,
    ("MASTER", "STATUS"): _CLIENT,
    ("REPLICA", "STATUS"): _CLIENT,
    ("SLAVE", "STATUS"): _CLIENT,
    ("BINLOG", "EVENTS"): _REPLICA,
    ("RELAYLOG", "EVENTS"): _REPLICA,
    ("REPLICAS",): _REPLICA,
    ("SLAVE", "HOSTS"): _REPLICA,
}
_ENGINES = frozenset({"ALL", "INNODB", "PERFORMANCE_SCHEMA"})
FIRST_WORDS = frozenset({words[0] for words in _PRIVILEGES} | {"ENGINE"})


def refuse_administration(cursor: Cursor) -> SqlError:
    """The error for the statement at ``cursor``: 1227, or 1064 and 1286 for what MySQL does not know."""
    if cursor.accept("ENGINE"):
        name = cursor.name()
        if cursor.accept_any("STATUS", "MUTEX", "LOGS"):
            if name.upper() not in _ENGINES:
                return SqlError(f"Unknown storage engine '{name}'", code=1286, state="42000")
            return access_denied("PROCESS")
    for words, privileges in _PRIVILEGES.items():
        if cursor.accept(*words):
            return access_denied(privileges)
    return cursor.source.problem(cursor.at)
