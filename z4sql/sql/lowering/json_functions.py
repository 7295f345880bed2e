"""JSON documents and functions. MySQL manual: JSON Functions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.casts import cast_to
from z4sql.sql.lowering.conversion import as_text, number
from z4sql.sql.lowering.expressions import Lowering, unsupported, wrong_count
from z4sql.sql.lowering.json_paths import Leg, engine_path, is_plain, listed, path_legs, path_text
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


def document(value: Typed) -> Typed:
    """A value as a JSON document."""
    if value.kind is Kind.JSON:
        return value
    if value.kind in (Kind.STRING, Kind.BINARY):
        return Typed(f"({as_text(value).sql})::json", JSON)
    if value.kind is Kind.NULL:
        return Typed("null::json", JSON)
    raise SqlError("Invalid data type for JSON data in argument 1 to function json", code=3146, state="22032")


def _legs(node: exp.Expression) -> list[Leg]:
    return path_legs(path_text(node))


def _is_member(value: Typed, legs: Sequence[Leg]) -> bool:
    """Whether the path leads to a string, or to nothing, for certain."""
    return value.type.flat and len(legs) == 1 and isinstance(legs[0], str)


def extract(value: Typed, legs: list[Leg]) -> Typed:
    """JSON_EXTRACT with one path."""
    value = document(value)
    if value.type.flat and legs == [("members",)]:
        found = f"json_extract({value.sql},'$.*')::varchar[]"
        return Typed(f"nullif('['||array_to_string({found},', ')||']','[]')::json", JSON)
    if not is_plain(legs):
        return _found(value, [legs])
    type_ = Type(Kind.JSON, collation=Collation.BIN, string=_is_member(value, legs))
    return Typed(f"json_extract({value.sql},{engine_path(legs)})", type_)


def _found(value: Typed, paths: Sequence[Sequence[Leg]]) -> Typed:
    return Typed(f"my_json_find(({value.sql})::varchar,{listed(paths)})::json", JSON)


def extract_text(value: Typed, legs: list[Leg], type_: Type = TEXT_BIN) -> Typed:
    """What ``->>`` gives: the member without quotes."""
    if not is_plain(legs):
        return Typed(f"(({extract(value, legs).sql})->>'$')", type_)
    return Typed(f"json_extract_string({document(value).sql},{engine_path(legs)})", type_)


@lowers(exp.JSONExtract, reads="this expression expressions only_json_types variant_extract")
def _json_extract(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if not node.expressions:
        return extract(value, _legs(node.expression))
    return _found(document(value), [_legs(path) for path in (node.expression, *node.expressions)])


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
    legs = [] if node.expression is None else _one_place(_legs(node.expression))
    value = document(lowering.expression(node.this)).sql
    if not legs:
        return Typed(f"my_keys({value})::json", JSON)
    return Typed(f"my_json_keys(({value})::varchar,{listed([legs])})::json", JSON)


def _one_place(legs: list[Leg]) -> list[Leg]:
    """:raises SqlError: (3149) the path may lead to several places."""
    if any(isinstance(leg, tuple) for leg in legs):
        message = "In this situation, path expressions may not contain the * and ** tokens or an array range."
        raise SqlError(message, code=3149, state="42000")
    return legs


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
    constant = True
    for pair in node.expressions:
        constant = constant and isinstance(pair.this, exp.Literal)
        text = str(pair.this.this) if isinstance(pair.this, exp.Literal) else ""
        name_text = (
            f"to_json({quoted(text) if text else as_text(lowering.expression(pair.this)).sql})::varchar"
        )
        members.append((text, f"{name_text}||': '||{_member(lowering, pair.expression)}"))
    members.sort(key=lambda member: (len(member[0].encode()), member[0].encode()))
    joined = "||', '||".join(member for _, member in members) if members else "''"
    whole = f"'{{'||{joined}||'}}'"
    return Typed(f"({whole})::json" if constant else f"my_json_sorted({whole})::json", JSON)


@lowers(exp.JSONArray, reads="expressions null_handling return_type strict")
def _json_array(lowering: Lowering, node: exp.Expression) -> Typed:
    return _array(lowering, node.expressions)


def _array(lowering: Lowering, members: Sequence[exp.Expression]) -> Typed:
    joined = "||', '||".join(_member(lowering, each) for each in members) or "''"
    return Typed(f"('['||{joined}||']')::json", JSON)


def _edited(
    lowering: Lowering, mode: str, document_: exp.Expression, edits: Sequence[exp.Expression]
) -> Typed:
    """A document with values put at paths, which come in turn; of a removal, paths alone."""
    step = 1 if mode == "remove" else 2
    if not edits or len(edits) % step:
        raise wrong_count(f"JSON_{mode.upper()}")
    pairs = []
    for at in range(0, len(edits), step):
        legs = _one_place(_legs(edits[at]))
        if mode == "remove" and not legs:
            message = "The path expression '$' is not allowed in this context."
            raise SqlError(message, code=3153, state="42000")
        if mode == "put" and (not legs or isinstance(legs[-1], str)):
            message = "A path expression is not a path to a cell in an array."
            raise SqlError(message, code=3165, state="42000")
        new = "'null'" if mode == "remove" else _member(lowering, edits[at + 1])
        pairs.append(f"'['||{listed(legs)}||','||{new}||']'")
    value = document(lowering.expression(document_)).sql
    listing = "'['||" + "||','||".join(pairs) + "||']'"
    return Typed(f"my_json_edit('{mode}',({value})::varchar,{listing})::json", JSON)


def _edits_node(kind: type[exp.Expression], mode: str) -> None:
    @lowers(kind, reads="this expressions")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return _edited(lowering, mode, node.this, node.expressions)


_edits_node(exp.JSONSet, "set")
_edits_node(exp.JSONRemove, "remove")
_edits_node(exp.JSONArrayAppend, "append")
_edits_node(exp.JSONArrayInsert, "put")


def _edits_function(name: str, mode: str) -> None:
    @function(name, least=3, most=1000)
    def handler(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
        return _edited(lowering, mode, arguments[0], arguments[1:])


_edits_function("JSON_INSERT", "insert")
_edits_function("JSON_REPLACE", "replace")


@function("JSON_UNQUOTE", least=1)
def _json_unquote(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    argument = arguments[0]
    if isinstance(argument, exp.JSONExtract) and not argument.expressions:
        return extract_text(lowering.expression(argument.this), _legs(argument.expression))
    value = lowering.expression(argument)
    if value.kind is Kind.JSON:
        return Typed(f"(({value.sql})->>'$')", TEXT_BIN)
    return Typed(f"my_json_unquote({as_text(value).sql})", TEXT_BIN)


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
    if value.type.flat:
        return Typed(f"json_contains({value.sql},({candidate})::json)", BOOL)
    return Typed(f"my_json_contains(({value.sql})::varchar,({candidate})::json::varchar)", BOOL)


@function("JSON_CONTAINS_PATH", least=3, most=20)
def _json_contains_path(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0])).sql
    mode = str(arguments[1].this).lower()
    if mode not in ("one", "all"):
        raise SqlError(
            "The oneOrAll argument to json_contains_path may take these values: 'one' or 'all'.", code=3154
        )
    paths = [_legs(path) for path in arguments[2:]]
    if not all(map(is_plain, paths)):
        return Typed(f"my_json_exists(({value})::varchar,'{mode}',{listed(paths)})", BOOL)
    word = " or " if mode == "one" else " and "
    return Typed("(" + word.join(f"json_exists({value},{engine_path(legs)})" for legs in paths) + ")", BOOL)


@function("JSON_SEARCH", least=3, most=20)
def _json_search(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = document(lowering.expression(arguments[0])).sql
    mode, pattern = (as_text(lowering.expression(argument)).sql for argument in arguments[1:3])
    if isinstance(arguments[1], exp.Literal) and str(arguments[1].this).lower() not in ("one", "all"):
        message = "The oneOrAll argument to json_search may take these values: 'one' or 'all'."
        raise SqlError(message, code=3154, state="42000")
    escape = "''"
    if len(arguments) > 3:
        escape = f"coalesce({as_text(lowering.expression(arguments[3])).sql},'')"
    paths = listed([_legs(path) for path in arguments[4:]])
    return Typed(f"my_json_search(({value})::varchar,{mode},{pattern},{escape},{paths})::json", JSON)


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


def _merges(names: Sequence[str], merge: str) -> None:
    @function(*names, least=2, most=1000)
    def handler(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
        first, *others = (f"({document(lowering.expression(one)).sql})::varchar" for one in arguments)
        merged = first
        for other in others:
            merged = f"{merge}({merged},{other})"
        return Typed(f"({merged})::json", JSON)


_merges(("JSON_MERGE_PATCH",), "my_json_merge_patch")
_merges(("JSON_MERGE_PRESERVE", "JSON_MERGE"), "my_json_merge_preserve")


@function("JSON_OVERLAPS", least=2)
def _json_overlaps(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    one, other = (f"({document(lowering.expression(argument)).sql})::varchar" for argument in arguments)
    return Typed(f"my_json_overlaps({one},{other})", BOOL)


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
