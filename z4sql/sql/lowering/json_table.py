"""JSON_TABLE: rows of a document. MySQL manual: JSON Table Functions."""

from __future__ import annotations

import json

from sqlglot import exp

from z4sql.sql.engine.json_columns import Handling, Target, converted
from z4sql.sql.engine.json_reading import argument_of
from z4sql.sql.engine.refusals import Refused, refusal
from z4sql.sql.errors import SqlError
from z4sql.sql.json_clauses import clauses_of
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.json_columns import Read, described, read_as
from z4sql.sql.lowering.json_paths import path_legs
from z4sql.sql.lowering.json_values import document
from z4sql.sql.lowering.query import column_names
from z4sql.sql.lowering.typed import UINT, Type, named, quoted

_ORDINALITY = Read(UINT, Target("INTEGER", most=2**64 - 1))


def json_table(lowering: Lowering, node: exp.Expression) -> tuple[str, dict[str, Type]]:
    """A query for the rows, and the types of its columns.

    :raises Unsupported: (1235); :raises SqlError: two columns of one name (1060), a wrong path (3143).
    """
    columns: list[tuple[str, Read]] = []
    level = quoted(json.dumps(_level(node, columns)))
    value = document(lowering.expression(node.this), 1, "json_table")
    names = column_names([], [(name, read.type) for name, read in columns])
    cells = ", ".join(
        f"{read.of(f'one_[{at}]').sql} as {named(name)}"
        for at, (name, (_, read)) in enumerate(zip(names, columns, strict=True), 1)
    )
    rows = f"select unnest(my_json_rows(({value.sql})::varchar,{level})) as one_"
    types = {name: read.type for name, (_, read) in zip(names, columns, strict=True)}
    return f"select {cells} from ({rows})", types


def _level(node: exp.Expression, columns: list[tuple[str, Read]]) -> dict[str, object]:
    """A COLUMNS clause as `z4sql.sql.engine.json_columns` reads it; ``columns`` gets those of all levels."""
    schema = node.args.get("nested_schema") or node.args["schema"]
    items: list[dict[str, object]] = []
    for column in schema.expressions:
        if column.args.get("nested_schema"):
            items.append(_level(column, columns))
            continue
        items.append(_column(column, columns))
    return {"path": _checked(clauses_of(node.args.get("path")).path), "items": items}


def _column(node: exp.Expression, columns: list[tuple[str, Read]]) -> dict[str, object]:
    ordinality = bool(node.args.get("ordinality"))
    clauses = clauses_of(node.args.get("path"))
    read = _ORDINALITY if ordinality else read_as(node.args["kind"], column=True)
    columns.append((node.name, read))
    takes = "ordinality" if ordinality else "exists" if clauses.exists else "value"
    handled = _handling(node.name, read, *clauses.empty), _handling(node.name, read, *clauses.error)
    return described(node.name, _checked(clauses.path), read.target, handled, takes)


def _checked(path: str) -> str:
    """:raises SqlError: 3143"""
    path_legs(path)
    return path


def _handling(name: str, read: Read, action: str, default: str) -> Handling:
    """DEFAULT is a JSON text. :raises SqlError: it is none (3141), or no value of the type (3156)"""
    if action != "DEFAULT":
        return Handling(action)
    try:
        found = converted(argument_of(default, 1, "JSON_TABLE"), read.target)
    except Refused as error:
        raise refusal(str(error)) or error from error
    if found is None:
        message = f"Invalid JSON value for CAST to {read.target.kind} from column {name} at row 1"
        raise SqlError(message, code=3156, state="22018")
    return Handling(action, found)
