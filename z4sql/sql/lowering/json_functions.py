"""JSON documents, paths and functions. MySQL manual: JSON Functions.

Paths reach the engine as JSON pointers wherever they consist of names only: a pointer copes with dots,
spaces and quotes in a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.casts import cast_to
from z4sql.sql.lowering.conversion import as_text, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    BOOL,
    INT,
    JSON,
    NUMBERS,
    TEXT_BIN,
    TEXT_BIN_0900,
    Type,
    Typed,
    quoted,
)
from z4sql.sql.types import Collation, Kind

_LEG = re.compile(
    r"""\s*(?:\.\s*(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_$][\w$]*)|(\*))|\[\s*(?:(\d+)|(\*))\s*\])""", re.ASCII
)


def _bad_path(text: str) -> SqlError:
    return SqlError(
        f"Invalid JSON path expression. The error is around character position {len(text)}.",
        code=3143,
        state="42000",
    )


def path_legs(text: str) -> list[str | int | None]:
    """The legs of a path: names, positions, None for a wildcard. :raises SqlError: 3143."""
    stripped = text.strip()
    if not stripped.startswith("$"):
        raise _bad_path(text)
    legs: list[str | int | None] = []
    at = 1
    while at < len(stripped):
        match = _LEG.match(stripped, at)
        if match is None:
            raise _bad_path(text)
        quoted_name, name, _, position, _ = match.groups()
        if quoted_name is not None:
            legs.append(re.sub(r"\\(.)", r"\1", quoted_name))
        elif name is not None:
            legs.append(name)
        else:
            legs.append(None if position is None else int(position))
        at = match.end()
    return legs


def engine_path(legs: Sequence[str | int | None]) -> str:
    """The path as the engine takes it, quoted."""
    if all(isinstance(leg, str) for leg in legs):
        pointer = "".join("/" + str(leg).replace("~", "~0").replace("/", "~1") for leg in legs)
        return quoted(pointer)
    out = "$"
    for leg in legs:
        if isinstance(leg, str):
            escaped = leg.replace('"', '\\"')
            out += f'."{escaped}"'
        else:
            out += "[*]" if leg is None else f"[{leg}]"
    return quoted(out)


def _path_text(node: exp.Expression) -> str:
    """The path as the client wrote it, as far as the parser kept it."""
    if isinstance(node, exp.Literal):
        return str(node.this)
    if not isinstance(node, exp.JSONPath):
        raise unsupported("JSON path that is no constant")
    out = "$"
    for part in node.expressions[1:]:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            name = part.this.replace('\\"', '"')
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            out += f'."{escaped}"'
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
            out += f"[{part.this}]"
        elif isinstance(part, (exp.JSONPathKey, exp.JSONPathSubscript, exp.JSONPathWildcard)):
            out += ".*" if isinstance(part, exp.JSONPathKey) else "[*]"
        else:
            raise unsupported("JSON path")
    return out


def document(value: Typed) -> Typed:
    """A value as a JSON document."""
    if value.kind is Kind.JSON:
        return value
    if value.kind in (Kind.STRING, Kind.BINARY):
        return Typed(f"({as_text(value).sql})::json", JSON)
    if value.kind is Kind.NULL:
        return Typed("null::json", JSON)
    raise SqlError("Invalid data type for JSON data in argument 1 to function json", code=3146, state="22032")


def _legs(node: exp.Expression) -> list[str | int | None]:
    return path_legs(_path_text(node))


def _is_member(value: Typed, legs: Sequence[str | int | None]) -> bool:
    """Whether the path leads to a string, or to nothing, for certain."""
    return value.type.flat and len(legs) == 1 and isinstance(legs[0], str)


def extract(value: Typed, legs: list[str | int | None]) -> Typed:
    """JSON_EXTRACT with one path."""
    value = document(value)
    path = engine_path(legs)
    wildcard = any(leg is None for leg in legs)
    if wildcard and value.type.flat and legs == [None]:
        found = f"json_extract({value.sql},'$.*')::varchar[]"
        return Typed(f"nullif('['||array_to_string({found},', ')||']','[]')::json", JSON)
    if wildcard:
        found = f"json_extract({value.sql},{path})::varchar[]"
        return Typed(f"nullif('['||array_to_string({found},', ')||']','[]')::json", JSON)
    type_ = Type(Kind.JSON, collation=Collation.BIN, string=_is_member(value, legs))
    return Typed(f"json_extract({value.sql},{path})", type_)


def extract_text(value: Typed, legs: list[str | int | None], type_: Type = TEXT_BIN) -> Typed:
    """What ``->>`` gives: the member without quotes."""
    if any(leg is None for leg in legs):
        return Typed(f"({extract(value, legs).sql})::varchar", type_)
    return Typed(f"json_extract_string({document(value).sql},{engine_path(legs)})", type_)


@lowers(exp.JSONExtract, reads="this expression expressions only_json_types variant_extract")
def _json_extract(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if not node.expressions:
        return extract(value, _legs(node.expression))
    parts = [f"({extract(value, _legs(path)).sql})::varchar" for path in (node.expression, *node.expressions)]
    found = f"list_filter([{', '.join(parts)}], lambda each: each is not null)"
    return Typed(f"nullif('['||array_to_string({found},', ')||']','[]')::json", JSON)


@lowers(exp.JSONExtractScalar, reads="this expression only_json_types scalar_only json_type json_query")
def _json_extract_scalar(lowering: Lowering, node: exp.Expression) -> Typed:
    if not isinstance(node.this, exp.Column):
        raise SyntaxProblem(
            "You have an error in your SQL syntax; the operator ->> takes a column on its left side"
        )
    return extract_text(lowering.expression(node.this), _legs(node.expression))


@lowers(exp.JSONValue, reads="this path returning on_condition")
def _json_value(lowering: Lowering, node: exp.Expression) -> Typed:
    found = extract_text(lowering.expression(node.this), _legs(node.args["path"]), TEXT_BIN_0900)
    condition = node.args.get("on_condition")
    if condition is not None and any(
        value and str(value).split(" ")[0] != "NULL" for value in condition.args.values()
    ):
        raise unsupported("JSON_VALUE with DEFAULT or ERROR")
    returning = node.args.get("returning")
    return cast_to(lowering, found, returning, strict=True) if returning else found


@lowers(exp.JSONKeys, reads="this expression expressions")
def _json_keys(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.expression is not None or node.expressions:
        raise unsupported("JSON_KEYS with a path")
    return Typed(f"my_keys({document(lowering.expression(node.this)).sql})::json", JSON)


@lowers(exp.JSONType, reads="this")
def _json_type(lowering: Lowering, node: exp.Expression) -> Typed:
    value = document(lowering.expression(node.this)).sql
    return Typed(
        f"(case json_type({value}) when 'VARCHAR' then 'STRING' when 'UBIGINT' then 'INTEGER'"
        f" when 'BIGINT' then 'INTEGER' else json_type({value}) end)",
        TEXT_BIN,
    )


def json_text(value: Typed) -> str:
    """The JSON text that stands for a value inside a new document."""
    if value.kind is Kind.JSON:
        return f"coalesce(({value.sql})::varchar,'null')"
    if value.kind in NUMBERS:
        return f"coalesce(({as_text(number(value)).sql}),'null')"
    return f"coalesce(to_json({as_text(value).sql})::varchar,'null')"


def _member(lowering: Lowering, node: exp.Expression) -> str:
    """A new member's JSON text. TRUE and FALSE stay booleans there, and only there."""
    if isinstance(node, exp.Boolean):
        return quoted(str(node.this).lower())
    value = lowering.expression(node)
    if value.kind is Kind.BOOL:
        return f"coalesce(({value.sql})::varchar,'null')"
    return json_text(value)


@lowers(exp.JSONObject, reads="expressions null_handling unique_keys return_type encoding")
def _json_object(lowering: Lowering, node: exp.Expression) -> Typed:
    members: list[tuple[str, str]] = []
    for pair in node.expressions:
        name = pair.this
        if not isinstance(name, exp.Literal):
            raise unsupported("JSON_OBJECT with a name that is no constant")
        text = str(name.this)
        name_text = f"to_json({quoted(text)})::varchar"
        members.append((text, f"{name_text}||': '||{_member(lowering, pair.expression)}"))
    members.sort(key=lambda member: (len(member[0].encode()), member[0].encode()))
    joined = "||', '||".join(member for _, member in members) if members else "''"
    return Typed(f"('{{'||{joined}||'}}')::json", JSON)


@lowers(exp.JSONArray, reads="expressions null_handling return_type strict")
def _json_array(lowering: Lowering, node: exp.Expression) -> Typed:
    return _array(lowering, node.expressions)


def _array(lowering: Lowering, members: Sequence[exp.Expression]) -> Typed:
    joined = "||', '||".join(_member(lowering, each) for each in members) or "''"
    return Typed(f"('['||{joined}||']')::json", JSON)


@lowers(exp.JSONSet, reads="this expressions")
def _json_set(lowering: Lowering, node: exp.Expression) -> Typed:
    if len(node.expressions) != 2:
        raise unsupported("JSON_SET with several paths")
    path, member = node.expressions
    legs = path_legs(_path_text(path))
    if len(legs) != 1 or not isinstance(legs[0], str):
        raise unsupported("JSON_SET below the first level")
    text = _member(lowering, member)
    return Typed(
        f"my_json_set({document(lowering.expression(node.this)).sql},{quoted(legs[0])},{text})::json", JSON
    )


@lowers(exp.JSONRemove, reads="this expressions")
def _json_remove(lowering: Lowering, node: exp.Expression) -> Typed:
    if len(node.expressions) != 1:
        raise unsupported("JSON_REMOVE with several paths")
    legs = path_legs(_path_text(node.expressions[0]))
    if len(legs) != 1 or not isinstance(legs[0], str):
        raise unsupported("JSON_REMOVE below the first level")
    return Typed(
        f"my_json_remove({document(lowering.expression(node.this)).sql},{quoted(legs[0])})::json", JSON
    )


@function("JSON_UNQUOTE", least=1)
def _json_unquote(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    argument = arguments[0]
    if isinstance(argument, exp.JSONExtract) and not argument.expressions:
        return extract_text(lowering.expression(argument.this), _legs(argument.expression))
    value = lowering.expression(argument)
    if value.kind is Kind.JSON:
        return Typed(f"(({value.sql})->>'$')", TEXT_BIN)
    return Typed(as_text(value).sql, TEXT_BIN)


@function("JSON_ARRAY", least=0, most=1000)
def _json_array_function(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return _array(lowering, arguments)


@function("JSON_LENGTH", least=1, most=2)
def _json_length(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0]))
    if len(arguments) == 2:
        value = extract(value, _legs(arguments[1]))
    return Typed(f"my_json_length({value.sql})", INT)


@function("JSON_CONTAINS", least=2, most=3)
def _json_contains(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0]))
    if len(arguments) == 3:
        value = extract(value, _legs(arguments[2]))
    candidate = as_text(lowering.expression(arguments[1])).sql
    return Typed(f"json_contains({value.sql},({candidate})::json)", BOOL)


@function("JSON_CONTAINS_PATH", least=3, most=20)
def _json_contains_path(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0])).sql
    mode = str(arguments[1].this).lower()
    if mode not in ("one", "all"):
        raise SqlError(
            "The oneOrAll argument to json_contains_path may take these values: 'one' or 'all'.", code=3154
        )
    word = " or " if mode == "one" else " and "
    return Typed(
        "(" + word.join(f"json_exists({value},{engine_path(_legs(path))})" for path in arguments[2:]) + ")",
        BOOL,
    )


@function("JSON_SEARCH", least=3)
def _json_search(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0])).sql
    mode, pattern = (as_text(lowering.expression(argument)).sql for argument in arguments[1:])
    return Typed(f"my_json_search({value},{mode},{pattern})::json", JSON)


@function("JSON_VALID", least=1)
def _json_valid(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"json_valid({as_text(lowering.expression(arguments[0])).sql})", BOOL)


@function("JSON_PRETTY", least=1)
def _json_pretty(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"my_json_pretty({document(lowering.expression(arguments[0])).sql})", TEXT_BIN)


@function("JSON_QUOTE", least=1)
def _json_quote(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"to_json({as_text(lowering.expression(arguments[0])).sql})::varchar", TEXT_BIN)


@function("JSON_DEPTH", least=1)
def _json_depth(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"my_json_depth({document(lowering.expression(arguments[0])).sql})", INT)


@function("JSON_MERGE_PATCH", least=2)
def _json_merge_patch(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    one, other = (document(lowering.expression(argument)).sql for argument in arguments)
    return Typed(f"my_json_merge_patch({one},{other})::json", JSON)


@function("JSON_OVERLAPS", least=2)
def _json_overlaps(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    one, other = (
        f"json_extract({document(lowering.expression(argument)).sql},'$[*]')::varchar[]"
        for argument in arguments
    )
    return Typed(f"list_has_any({one},{other})", BOOL)


@function("JSON_ARRAYAGG", least=1)
def _json_array_aggregate(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    with lowering.within_aggregate():
        text = json_text(lowering.expression(arguments[0]))
    return Typed(f"('['||string_agg({text},', ')||']')::json", JSON)


@lowers(exp.JSONObjectAgg, reads="expressions null_handling unique_keys return_type encoding")
def _json_object_aggregate(lowering: Lowering, node: exp.Expression) -> Typed:
    if len(node.expressions) != 2:
        pair = node.expressions[0]
        name, member = pair.this, pair.expression
    else:
        name, member = node.expressions
    with lowering.within_aggregate():
        name_text = as_text(lowering.expression(name)).sql
        member_text = json_text(lowering.expression(member))
    members = f"string_agg(to_json({name_text})::varchar||': '||{member_text},', ')"
    return Typed(f"my_json_sorted('{{'||{members}||'}}')::json", JSON)
