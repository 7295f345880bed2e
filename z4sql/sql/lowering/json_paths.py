"""JSON paths in a query. MySQL manual: JSON Path Syntax.

Paths that consist of names only reach the engine as JSON pointers, where a document is one of z4's own: a
pointer copes with dots, spaces and quotes in a name. All others go to our own functions as they are written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlglot import exp

from z4sql.sql.engine import json_path_text
from z4sql.sql.engine.json_path_text import BadPath, Leg
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import as_text
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.typed import quoted


class Paths(NamedTuple):
    """``sql``: a JSON list of the paths, for our functions. ``legs``: of each, where all are constants."""

    sql: str
    legs: tuple[tuple[Leg, ...], ...] | None

    @property
    def names(self) -> tuple[Leg, ...] | None:
        """The legs of one constant path that consists of names only."""
        if self.legs is None or len(self.legs) != 1 or not all(isinstance(leg, str) for leg in self.legs[0]):
            return None
        return self.legs[0]


def path_legs(text: str) -> tuple[Leg, ...]:
    """The legs of a path. :raises SqlError: 3143."""
    try:
        return json_path_text.path_legs(text)
    except BadPath as error:
        raise SqlError(str(error), code=3143, state="42000") from error


def paths(lowering: Lowering, nodes: Sequence[exp.Expression], *, one_place: bool = False) -> Paths:
    """The paths of a call.

    :raises SqlError: no path (3143); with ``one_place`` one that may lead to several places (3149)
    """
    texts = [path_text(node) for node in nodes]
    constants = [text for text in texts if text is not None]
    if len(constants) == len(texts):
        legs = tuple(map(path_legs, constants))
        if one_place and any(isinstance(leg, tuple) for path in legs for leg in path):
            raise SqlError(json_path_text.SEVERAL_PLACES, code=3149, state="42000")
        return Paths(quoted(json.dumps(constants, ensure_ascii=False)), legs)
    written = (
        f"to_json({as_text(lowering.expression(node)).sql if text is None else quoted(text)})::varchar"
        for node, text in zip(nodes, texts, strict=True)
    )
    return Paths("'['||" + "||','||".join(written) + "||']'", None)


def pointer(names: Sequence[Leg]) -> str:
    """The path of these names as the engine takes it, quoted."""
    return quoted("".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in names))


def path_text(node: exp.Expression) -> str | None:
    """A constant path as the client wrote it, as far as the parser kept it; None for what is worked out."""
    if isinstance(node, exp.Literal):
        return str(node.this)
    if not isinstance(node, exp.JSONPath):
        return None
    out = "$"
    for part in node.expressions[1:]:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            out += "." + json.dumps(part.this.replace('\\"', '"'), ensure_ascii=False)
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
            out += f"[{part.this}]"
        elif isinstance(part, exp.JSONPathWildcard):
            # The parser sees each star of ** by itself.
            out += "*"
        elif isinstance(part, (exp.JSONPathKey, exp.JSONPathSubscript)):
            out += ".*" if isinstance(part, exp.JSONPathKey) else "[*]"
        else:
            raise unsupported("JSON path")
    return out
