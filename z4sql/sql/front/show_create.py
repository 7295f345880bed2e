"""SHOW CREATE of databases and stored programs. MySQL manual: SHOW CREATE DATABASE Statement and others."""

from __future__ import annotations

from collections.abc import Callable

from z4sql.sql.errors import SqlError
from z4sql.sql.front.create_table import quoted
from z4sql.sql.front.results import definition
from z4sql.sql.result import ResultSet

_CHARACTER_SETS = {"information_schema": "utf8mb3"}
_DEFAULT_CHARACTER_SET = "utf8mb4 COLLATE utf8mb4_0900_ai_ci"


def create_database(name: str, *, unless_there: bool) -> ResultSet:
    """``unless_there``: IF NOT EXISTS was asked for."""
    condition = "/*!32312 IF NOT EXISTS*/ " if unless_there else ""
    character_set = _CHARACTER_SETS.get(name, _DEFAULT_CHARACTER_SET)
    text = (
        f"CREATE DATABASE {condition}{quoted(name)} /*!40100 DEFAULT CHARACTER SET {character_set} */ "
        "/*!80016 DEFAULT ENCRYPTION='N' */"
    )
    return definition("Database", name, text)


NO_SUCH_PROGRAM: dict[str, Callable[[str], SqlError]] = {
    "PROCEDURE": lambda name: SqlError(f"PROCEDURE {name} does not exist", code=1305, state="42000"),
    "FUNCTION": lambda name: SqlError(f"FUNCTION {name} does not exist", code=1305, state="42000"),
    "TRIGGER": lambda _name: SqlError("Trigger does not exist", code=1360, state="HY000"),
    "EVENT": lambda name: SqlError(f"Unknown event '{name}'", code=1539, state="HY000"),
}
"""There are no stored programs; what MySQL says of one that does not exist."""
