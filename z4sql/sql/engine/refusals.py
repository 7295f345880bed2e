"""What a function of ours refuses, on its way through the engine."""

from __future__ import annotations

import json

from z4sql.sql.errors import SqlError

_MARK = "refused by z4: "


class Refused(Exception):
    """An error that ends the query. The engine passes on nothing of it but its text."""

    def __init__(self, code: int, message: str, state: str = "HY000") -> None:
        super().__init__(_MARK + json.dumps([code, state, message]))


def refusal(text: str) -> SqlError | None:
    """The error of a function inside what the engine says; None where it is another error."""
    _, mark, told = text.partition(_MARK)
    if not mark:
        return None
    try:
        (code, state, message), _ = json.JSONDecoder().raw_decode(told)
        return SqlError(str(message), code=int(code), state=str(state))
    except (TypeError, ValueError):
        # A client's own text, which another error quotes.
        return None
