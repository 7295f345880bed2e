"""The system variables clients ask for and set. MySQL manual: Server System Variable Reference (8.0.36)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from z4sql.sql.errors import SqlError
from z4sql.sql.types import Kind, SqlType

Value = str | int | float | None

SELECT_LIMIT_NONE = 2**64 - 1
_FILE: Final = Path(__file__).with_name("system_variables.toml")
_WITHOUT_VALUE: Final = frozenset({"proxy_user", "secure_file_priv"})
"""They are NULL, which the file cannot say."""
_SIGNED: Final = frozenset(
    {
        "innodb_buffer_pool_size",
        "max_digest_length",
        "ngram_token_size",
        "optimizer_trace_limit",
        "optimizer_trace_offset",
        "ssl_session_cache_timeout",
    }
)
"""All other numbers have no sign."""
_TEXT_CHARACTERS_MAX: Final = 1024


class Scope(Enum):
    """Who has a value of a variable, and who may set it: the first sections of the file."""

    BOTH = "both"
    BOTH_SET_GLOBALLY = "both_set_globally"
    GLOBAL = "global"
    GLOBAL_FIXED = "global_fixed"
    SESSION = "session"
    SESSION_FIXED = "session_fixed"

    @property
    def of_session(self) -> bool:
        return self not in (Scope.GLOBAL, Scope.GLOBAL_FIXED)

    @property
    def of_server(self) -> bool:
        return self not in (Scope.SESSION, Scope.SESSION_FIXED)


@dataclass(slots=True, frozen=True)
class Variable:
    """``boolean``: 0 and 1, shown as OFF and ON."""

    name: str
    default: Value
    scope: Scope
    boolean: bool = False

    @property
    def type(self) -> SqlType:
        """Of the column that ``SELECT @@name`` gives."""
        match self.default:
            case int():
                unsigned = not self.boolean and self.name not in _SIGNED
                return SqlType(Kind.UINT if unsigned else Kind.INT)
            case float():
                return SqlType(Kind.DOUBLE)
            case _:
                return SqlType(Kind.STRING, _TEXT_CHARACTERS_MAX)

    def shown(self, value: Value) -> str:
        """As SHOW VARIABLES shows it."""
        if value is None:
            return ""
        if self.boolean:
            return "ON" if value else "OFF"
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    def require_settable(self) -> None:
        """:raises SqlError: a session cannot set it (1229, 1238, 1621)."""
        match self.scope:
            case Scope.GLOBAL:
                message = f"Variable '{self.name}' is a GLOBAL variable and should be set with SET GLOBAL"
                raise SqlError(message, code=1229, state="HY000")
            case Scope.GLOBAL_FIXED | Scope.SESSION_FIXED:
                raise _incorrect(self.name, "read only")
            case Scope.BOTH_SET_GLOBALLY:
                message = f"SESSION variable '{self.name}' is read-only. Use SET GLOBAL to assign the value"
                raise SqlError(message, code=1621, state="HY000")
            case Scope.BOTH | Scope.SESSION:
                pass


def _incorrect(name: str, kind: str) -> SqlError:
    return SqlError(f"Variable '{name}' is a {kind} variable", code=1238, state="HY000")


_SECTIONS: Final = tomllib.loads(_FILE.read_text())


def _variables() -> dict[str, Variable]:
    known = {}
    for scope in Scope:
        for name, value in _SECTIONS[scope.value].items():
            boolean = isinstance(value, bool)
            default = None if name in _WITHOUT_VALUE else int(value) if boolean else value
            known[name] = Variable(name, default, scope, boolean)
    return known


VARIABLES: dict[str, Variable] = _variables()
RANGES: dict[str, tuple[int, int]] = {
    name: (least, greatest) for name, (least, greatest) in _SECTIONS["ranges"].items()
}
"""Least and greatest value of numbers."""
WORDS: dict[str, list[str]] = _SECTIONS["words"]
"""What variables take that are one of some words, in the order of the numbers that mean them."""

SYNONYMS = {
    "tx_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
    "storage_engine": "default_storage_engine",
    "identity": "last_insert_id",
}
"""Older names of the same variable."""


def system_variable(name: str) -> Variable:
    """The variable of that name, synonyms resolved.

    :raises SqlError: unknown (1193).
    """
    wanted = name.lower()
    variable = VARIABLES.get(SYNONYMS.get(wanted, wanted))
    if variable is None:
        raise unknown_variable(name)
    return variable


def unknown_variable(name: str) -> SqlError:
    """Error 1193; ``name`` as it was written, with its scope if that is what is unknown."""
    return SqlError(f"Unknown system variable '{name}'", code=1193, state="HY000")


def variable_in(scope: str, name: str) -> Variable:
    """The variable that ``@@scope.name`` means; ``scope`` in lower case, or empty.

    :raises SqlError: unknown (1193), or of the other scope only (1238).
    """
    variable = system_variable(name)
    if scope in ("session", "local") and not variable.scope.of_session:
        raise _incorrect(variable.name, "GLOBAL")
    if scope == "global" and not variable.scope.of_server:
        raise _incorrect(variable.name, "SESSION")
    return variable
