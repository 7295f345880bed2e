"""Variables that users set, ``@name``, as long as there is room. MySQL manual: User-Defined Variables."""

from __future__ import annotations

from collections import UserDict
from decimal import Decimal
from typing import Final

from z4sql.sql.errors import SqlError

UserValue = str | int | float | Decimal | None

BYTES_MAX: Final = 16 << 20
"""Of the names and values of one session. MySQL has no such limit; here one process serves everybody."""
_NUMBER_BYTES: Final = 32
_VARIABLE_BYTES: Final = 100


class UserVariables(UserDict[str, UserValue]):
    """Of one session, by name in lower case."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def __setitem__(self, name: str, value: UserValue) -> None:
        """:raises SqlError: there would be too much of them (3170); what was set stays"""
        added = _size(name, value) - (_size(name, self.data[name]) if name in self.data else 0)
        if added > 0 and self._bytes + added > BYTES_MAX:
            message = f"Variables of a session may have {BYTES_MAX} bytes: set some to NULL before @{name}"
            raise SqlError(message, code=3170)
        self._bytes += added
        self.data[name] = value

    def __delitem__(self, name: str) -> None:
        self._bytes -= _size(name, self.data[name])
        del self.data[name]


def _size(name: str, value: UserValue) -> int:
    # A text takes up to four bytes a character, as the interpreter keeps it.
    held = _NUMBER_BYTES if not isinstance(value, str) else len(value) if value.isascii() else 4 * len(value)
    return _VARIABLE_BYTES + len(name) + held
