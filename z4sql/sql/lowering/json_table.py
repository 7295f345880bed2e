"""JSON_TABLE: rows of a document. MySQL manual: JSON Table Functions."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.lowering.casts import cast_to
from z4sql.sql.lowering.conversion import as_text
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.json_paths import engine_path, path_legs
from z4sql.sql.lowering.query import column_names
from z4sql.sql.lowering.typed import INT, TEXT, TEXT_BIN_0900, Type, Typed, named, quoted
from z4sql.sql.types import Kind

_Fields = dict[int, str]
"""Values by the position of their column."""


def json_table(lowering: Lowering, node: exp.Expression) -> tuple[str, dict[str, Type]]:
    """A query for the rows, and the types of its columns.

    :raises Unsupported: (1235); :raises SqlError: two columns of one name (1060).
    """
    rows = _Rows(lowering)
    document = f"({as_text(lowering.expression(node.this)).sql})::json"
    listed, _ = rows.level(document, node)
    names, types = column_names([], rows.columns), dict(rows.columns)
    cells = ", ".join(f"one_.c{at} as {named(name)}" for at, name in enumerate(names))
    return f"select {cells} from (select unnest({listed}) as one_)", types


class _Rows:
    """``columns`` of all levels, in the order in which they are written."""

    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering
        self._depth = 0
        self.columns: list[tuple[str, Type]] = []

    def level(self, document: str, node: exp.Expression) -> tuple[str, list[int]]:
        """A list of the rows of one COLUMNS clause, and the columns that they have."""
        row, at, first = f"row{self._depth}_", f"at{self._depth}_", len(self.columns)
        schema = node.args.get("nested_schema") or node.args["schema"]
        own: _Fields = {}
        nested = []
        self._depth += 1
        for column in schema.expressions:
            if column.args.get("nested_schema"):
                nested.append(self.level(row, column))
                continue
            value = (
                Typed(f"({at})::bigint", INT) if column.args.get("ordinality") else self._value(row, column)
            )
            own[len(self.columns)] = value.sql
            self.columns.append((column.name, TEXT if value.kind is Kind.STRING else value.type))
        self._depth -= 1
        here = list(range(first, len(self.columns)))
        rows = _rows(document, _constant(node.args.get("path")))
        if not nested:
            return f"list_transform({rows}, lambda {row}, {at}: {_struct(own)})", here
        return f"flatten(list_transform({rows}, lambda {row}, {at}: {_joined(own, nested, here)}))", here

    def _value(self, row: str, column: exp.Expression) -> Typed:
        kind = column.args.get("kind")
        if kind is None:
            raise unsupported("JSON_TABLE with a column without a type")
        legs = path_legs(_constant(column.args.get("path")))
        inner = f"json_extract({row},{engine_path(legs)})" if legs else row
        if kind.this is not exp.DataType.Type.JSON:
            # NULL ON ERROR: arrays and objects are no values of a column.
            inner = f"list_filter([{inner}], lambda one_: json_type(one_) not in ('ARRAY', 'OBJECT'))[1]"
        return cast_to(self._lowering, Typed(f"({inner}->>'$')", TEXT_BIN_0900), kind, strict=True)


def _rows(document: str, path: str) -> str:
    """A list of what stands at ``path``."""
    legs = path_legs(path)
    if any(isinstance(leg, tuple) for leg in legs[:-1]):
        raise unsupported("JSON_TABLE over several wildcards")
    found = f"json_extract({document},{engine_path(legs)})" if legs else document
    if legs and isinstance(legs[-1], tuple):
        return found
    return f"list_filter([{found}], lambda found_: found_ is not null)"


def _joined(own: _Fields, nested: list[tuple[str, list[int]]], here: list[int]) -> str:
    """A row with the rows of its nested paths, one path after the other; alone where these have none."""
    missing = dict.fromkeys(here, "null") | own
    parts = []
    for listed, columns in nested:
        fields = missing | {at: f"inner_.c{at}" for at in columns}
        parts.append(f"list_transform({listed}, lambda inner_: {_struct(fields)})")
    return (
        f"list_transform([flatten([{', '.join(parts)}])],"
        f" lambda all_: case when len(all_)=0 then [{_struct(missing)}] else all_ end)[1]"
    )


def _struct(fields: _Fields) -> str:
    return "{" + ", ".join(f"c{at}: {fields[at]}" for at in sorted(fields)) + "}"


def _constant(node: exp.Expression | None) -> str:
    if isinstance(node, exp.Literal):
        return str(node.this)
    if isinstance(node, exp.JSONPath):
        return node.sql(dialect="mysql").strip("'")
    if node is None:
        return "$"
    raise unsupported(f"JSON_TABLE with {quoted(node.sql())}")
