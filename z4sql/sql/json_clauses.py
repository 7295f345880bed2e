"""The clauses of a JSON_TABLE column that the parser does not know: they travel inside its path.

MySQL manual: JSON_TABLE(): ``[EXISTS] PATH '..' [.. ON EMPTY] [.. ON ERROR]``, CHARACTER SET and COLLATE.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlglot import exp

NOTHING = ("NULL", "")


class Clauses(NamedTuple):
    """``empty`` and ``error``: NULL, ERROR or DEFAULT, and the text behind DEFAULT."""

    path: str
    exists: bool = False
    empty: tuple[str, str] = NOTHING
    error: tuple[str, str] = NOTHING

    def written(self) -> str:
        """All of it in the place of the path, as a constant; a path alone stays as it is."""
        if self == Clauses(self.path):
            return _quoted(self.path)
        return _quoted(json.dumps([self.path, self.exists, self.empty, self.error], ensure_ascii=False))


def clauses_of(node: exp.Expression | None) -> Clauses:
    """What stands in the place of a column's path. No path begins with a bracket."""
    text = str(node.this) if isinstance(node, exp.Literal) else "$"
    if not text.startswith("["):
        return Clauses(text)
    try:
        path, exists, empty, error = json.loads(text)
    except ValueError:
        return Clauses(text)
    return Clauses(path, exists, tuple(empty), tuple(error))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
