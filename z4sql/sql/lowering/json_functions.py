"""JSON functions. MySQL manual: JSON Functions."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.engine.json_columns import Handling
from z4sql.sql.engine.json_values import by_name
from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.conversion import as_text
from z4sql.sql.lowering.expressions import Lowering, wrong_count
from z4sql.sql.lowering.json_columns import Read, described, read_as, value_default
from z4sql.sql.lowering.json_paths import Paths, path_text, paths, pointer
from z4sql.sql.lowering.json_values import (
    binary_refused,
    document,
    json_text,
    member,
    member_text,
    unquoted,
)
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import BOOL, INT, JSON, TEXT_BIN, TEXT_BIN_0900, Type, Typed, quoted
from z4sql.sql.types import Collation, Kind

Arguments = Sequence[exp.Expression]
_ARGUMENTS_MAX = 1000
_ONE_OR_ALL = frozenset({"one", "all"})


def _document(lowering: Lowering, node: exp.Expression, argument: int, function_: str) -> Typed:
    return document(lowering.expression(node), argument, function_)


def _text_of(value: Typed) -> str:
    return f"({value.sql})::varchar"


def extract(value: Typed, found: Paths) -> Typed:
    """JSON_EXTRACT."""
    names = found.names
    if value.type.flat and names is not None:
        # The path leads to a string, or to nothing, for certain.
        type_ = Type(Kind.JSON, collation=Collation.BIN, string=len(names) == 1)
        return Typed(f"json_extract({value.sql},{pointer(names)})", type_)
    if value.type.flat and found.legs == ((("members",),),):
        members = f"json_extract({value.sql},'$.*')::varchar[]"
        return Typed(f"nullif('['||array_to_string({members},', ')||']','[]')::json", JSON)
    return Typed(f"my_json_find({_text_of(value)},{found.sql})::json", JSON)


def extract_text(value: Typed, found: Paths, type_: Type = TEXT_BIN) -> Typed:
    """What ``->>`` gives: the member without quotes."""
    if value.type.flat and found.names:
        return Typed(f"json_extract_string({value.sql},{pointer(found.names)})", type_)
    return unquoted(extract(value, found), type_)


@lowers(exp.JSONExtract, reads="this expression expressions only_json_types variant_extract")
def _json_extract(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _document(lowering, node.this, 1, "json_extract")
    return extract(value, paths(lowering, (node.expression, *node.expressions)))


@lowers(exp.JSONExtractScalar, reads="this expression only_json_types scalar_only json_type json_query")
def _json_extract_scalar(lowering: Lowering, node: exp.Expression) -> Typed:
    return extract_text(
        _document(lowering, node.this, 1, "json_extract"), paths(lowering, (node.expression,))
    )


@lowers(exp.JSONValue, reads="this path returning on_condition")
def _json_value(lowering: Lowering, node: exp.Expression) -> Typed:
    value, condition = lowering.expression(node.this), node.args.get("on_condition")
    returning = node.args.get("returning") or exp.DataType.build("CHAR(512)", dialect="mysql")
    read, path = read_as(returning, column=False), path_text(node.args["path"])
    if path is None:
        raise SyntaxProblem("The path of JSON_VALUE is a constant")
    found = paths(lowering, (node.args["path"],))
    if value.type.flat and found.names and condition is None and not node.args.get("returning"):
        return extract_text(value, found, TEXT_BIN_0900)
    if value.kind is not Kind.STRING:
        value = document(value, 1, "json_value")
    clauses = condition.args if condition is not None else {}
    handled = _handling(clauses.get("empty"), read), _handling(clauses.get("error"), read)
    column = described(read.shown, path, read.target, handled)
    taken = read.of(f"my_json_value({as_text(value).sql},{quoted(json.dumps(column))})")
    return taken if node.args.get("returning") else taken._replace(type=TEXT_BIN_0900)


def _handling(clause: object, read: Read) -> Handling:
    """What ON EMPTY or ON ERROR asks for: words, or a constant of DEFAULT."""
    if isinstance(clause, exp.Expression):
        return value_default(clause, read)
    return Handling(str(clause or "NULL").partition(" ")[0])


@lowers(exp.JSONKeys, reads="this expression expressions")
def _json_keys(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _document(lowering, node.this, 1, "json_keys")
    if node.expression is None:
        return Typed(f"my_keys({value.sql})::json", JSON)
    found = paths(lowering, (node.expression,), one_place=True)
    return Typed(f"my_json_keys({_text_of(value)},{found.sql})::json", JSON)


@lowers(exp.JSONType, reads="this")
def _json_type(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _document(lowering, node.this, 1, "json_type")
    if value.type.string:
        return Typed(f"(case when {value.sql} is not null then 'STRING' end)", TEXT_BIN)
    return Typed(f"my_json_type({_text_of(value)})", TEXT_BIN)


def _name_text(value: Typed) -> str:
    """The JSON text of a member's name. :raises SqlError: bytes (3144)"""
    if value.kind is Kind.BINARY:
        raise binary_refused()
    return json_text(as_text(value))


@lowers(exp.JSONObject, reads="expressions null_handling unique_keys return_type encoding")
def _json_object(lowering: Lowering, node: exp.Expression) -> Typed:
    return _object(lowering, [each for pair in node.expressions for each in (pair.this, pair.expression)])


@function("JSON_OBJECT", least=0, most=_ARGUMENTS_MAX)
def _object(lowering: Lowering, arguments: Arguments) -> Typed:
    if len(arguments) % 2:
        raise wrong_count("JSON_OBJECT")
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    names = [str(name.this) if isinstance(name, exp.Literal) else None for name, _ in pairs]
    cells = [(_name_text(lowering.expression(name)), member_text(lowering, cell)) for name, cell in pairs]
    if None in names or len(set(names)) < len(names):
        listed = "||', '||".join(f"{name}||', '||{cell}" for name, cell in cells)
        return Typed(f"my_json_object('['||{listed}||']')::json", JSON)
    known = {
        str(name): f"{written}||': '||{cell}" for name, (written, cell) in zip(names, cells, strict=True)
    }
    joined = "||', '||".join(known[name] for name in by_name(known)) or "''"
    return Typed(f"('{{'||{joined}||'}}')::json", JSON)


@lowers(exp.JSONArray, reads="expressions null_handling return_type strict")
def _json_array(lowering: Lowering, node: exp.Expression) -> Typed:
    return _array(lowering, node.expressions)


@function("JSON_ARRAY", least=0, most=_ARGUMENTS_MAX)
def _array(lowering: Lowering, members: Arguments) -> Typed:
    joined = "||', '||".join(member_text(lowering, each) for each in members) or "''"
    return Typed(f"('['||{joined}||']')::json", JSON)


def _edited(lowering: Lowering, name: str, mode: str, document_: exp.Expression, edits: Arguments) -> Typed:
    """A document with values put at paths, which come in turn; of a removal, paths alone."""
    step = 1 if mode == "remove" else 2
    if not edits or len(edits) % step:
        raise wrong_count(name)
    changes = []
    for at in range(0, len(edits), step):
        path = paths(lowering, (edits[at],), one_place=True).sql
        new = "'null'" if mode == "remove" else member_text(lowering, edits[at + 1])
        changes.append(f"'['||{path}||','||{new}||']'")
    value = _document(lowering, document_, 1, name.lower())
    listing = "'['||" + "||','||".join(changes) + "||']'"
    return Typed(f"my_json_edit('{mode}',{_text_of(value)},{listing})::json", JSON)


def _edits_node(kind: type[exp.Expression], name: str, mode: str) -> None:
    @lowers(kind, reads="this expressions")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return _edited(lowering, name, mode, node.this, node.expressions)


_edits_node(exp.JSONSet, "JSON_SET", "set")
_edits_node(exp.JSONRemove, "JSON_REMOVE", "remove")
_edits_node(exp.JSONArrayAppend, "JSON_ARRAY_APPEND", "append")
_edits_node(exp.JSONArrayInsert, "JSON_ARRAY_INSERT", "put")


def _edits_function(name: str, mode: str) -> None:
    @function(name, least=3, most=_ARGUMENTS_MAX)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        return _edited(lowering, name, mode, arguments[0], arguments[1:])


_edits_function("JSON_INSERT", "insert")
_edits_function("JSON_REPLACE", "replace")


def _only_text(value: Typed, function_: str) -> str:
    """:raises SqlError: bytes (3144), or no text (3064)"""
    if value.kind is Kind.BINARY:
        raise binary_refused()
    if value.kind not in (Kind.STRING, Kind.NULL):
        raise SqlError(f"Incorrect type for argument 1 in function {function_}.", code=3064)
    return as_text(value).sql


@function("JSON_UNQUOTE", least=1)
def _json_unquote(lowering: Lowering, arguments: Arguments) -> Typed:
    value = lowering.expression(arguments[0])
    if value.kind is Kind.JSON:
        return unquoted(value)
    return Typed(f"my_json_unquote({_only_text(value, 'json_unquote')})", TEXT_BIN)


@function("JSON_QUOTE", least=1)
def _json_quote(lowering: Lowering, arguments: Arguments) -> Typed:
    text = _only_text(lowering.expression(arguments[0]), "json_quote")
    return Typed(f"to_json({text})::varchar", TEXT_BIN)


@function("JSON_LENGTH", least=1, most=2)
def _json_length(lowering: Lowering, arguments: Arguments) -> Typed:
    value = _document(lowering, arguments[0], 1, "json_length")
    if len(arguments) == 2:
        value = extract(value, paths(lowering, arguments[1:]))
    return Typed(f"my_json_length({value.sql})", INT)


@function("JSON_CONTAINS", least=2, most=3)
def _json_contains(lowering: Lowering, arguments: Arguments) -> Typed:
    value = _document(lowering, arguments[0], 1, "json_contains")
    candidate = _document(lowering, arguments[1], 2, "json_contains")
    if value.type.flat and len(arguments) == 2:
        return Typed(f"json_contains({value.sql},{candidate.sql})", BOOL)
    text = _text_of(value)
    if len(arguments) == 3:
        text = f"my_json_only({text},{paths(lowering, arguments[2:], one_place=True).sql})"
    return Typed(f"my_json_contains({text},{_text_of(candidate)})", BOOL)


def _one_or_all(lowering: Lowering, node: exp.Expression, function_: str) -> str:
    """:raises SqlError: a constant that is neither (3154)"""
    if isinstance(node, exp.Literal) and str(node.this).lower() not in _ONE_OR_ALL:
        message = f"The oneOrAll argument to {function_} may take these values: 'one' or 'all'."
        raise SqlError(message, code=3154, state="42000")
    return as_text(lowering.expression(node)).sql


@function("JSON_CONTAINS_PATH", least=3, most=_ARGUMENTS_MAX)
def _json_contains_path(lowering: Lowering, arguments: Arguments) -> Typed:
    value = _document(lowering, arguments[0], 1, "json_contains_path")
    mode = _one_or_all(lowering, arguments[1], "json_contains_path")
    each = [paths(lowering, (path,)) for path in arguments[2:]]
    if value.type.flat and isinstance(arguments[1], exp.Literal) and all(path.names for path in each):
        word = " or " if mode.lower() == "'one'" else " and "
        known = (f"json_exists({value.sql},{pointer(path.names or ())})" for path in each)
        return Typed("(" + word.join(known) + ")", BOOL)
    found = paths(lowering, arguments[2:])
    return Typed(f"my_json_exists({_text_of(value)},{mode},{found.sql})", BOOL)


@function("JSON_SEARCH", least=3, most=_ARGUMENTS_MAX)
def _json_search(lowering: Lowering, arguments: Arguments) -> Typed:
    value = _document(lowering, arguments[0], 1, "json_search")
    mode = _one_or_all(lowering, arguments[1], "json_search")
    pattern = as_text(lowering.expression(arguments[2])).sql
    escape = "''"
    if len(arguments) > 3:
        if isinstance(arguments[3], exp.Literal) and len(arguments[3].name) > 1:
            raise SqlError("Incorrect arguments to ESCAPE", code=1210)
        escape = f"coalesce({as_text(lowering.expression(arguments[3])).sql},'')"
    inside = paths(lowering, arguments[4:]).sql
    return Typed(f"my_json_search({_text_of(value)},{mode},{pattern},{escape},{inside})::json", JSON)


@function("JSON_VALID", least=1)
def _json_valid(lowering: Lowering, arguments: Arguments) -> Typed:
    value = lowering.expression(arguments[0])
    if value.kind is Kind.STRING:
        return Typed(f"my_json_valid({value.sql})", BOOL)
    valid = "true" if value.kind is Kind.JSON else "false"
    return Typed(f"(case when ({value.sql}) is not null then {valid} end)", BOOL)


def _of_document(name: str, implementation: str, type_: Type) -> None:
    @function(name, least=1)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        return Typed(
            f"{implementation}({_text_of(_document(lowering, arguments[0], 1, name.lower()))})", type_
        )


_of_document("JSON_PRETTY", "my_json_pretty", TEXT_BIN)
_of_document("JSON_DEPTH", "my_json_depth", INT)
_of_document("JSON_STORAGE_SIZE", "my_json_size", INT)
_of_document("JSON_STORAGE_FREE", "my_json_free", INT)


def _merges(names: Sequence[str], merge: str) -> None:
    @function(*names, least=2, most=_ARGUMENTS_MAX)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        name = names[0].lower()
        merged, *others = (
            _text_of(_document(lowering, one, at, name)) for at, one in enumerate(arguments, 1)
        )
        for other in others:
            merged = f"{merge}({merged},{other})"
        return Typed(f"({merged})::json", JSON)


_merges(("JSON_MERGE_PATCH",), "my_json_merge_patch")
_merges(("JSON_MERGE_PRESERVE", "JSON_MERGE"), "my_json_merge_preserve")


@function("JSON_OVERLAPS", least=2)
def _json_overlaps(lowering: Lowering, arguments: Arguments) -> Typed:
    one, other = (
        _text_of(_document(lowering, argument, at, "json_overlaps"))
        for at, argument in enumerate(arguments, 1)
    )
    return Typed(f"my_json_overlaps({one},{other})", BOOL)


def _of_schema(name: str, implementation: str, type_: Type) -> None:
    @function(name, least=2)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        schema, value = (
            _text_of(_document(lowering, argument, at, name.lower()))
            for at, argument in enumerate(arguments, 1)
        )
        checked = f"{implementation}({schema},{value})"
        return Typed(f"{checked}::json" if type_.kind is Kind.JSON else checked, type_)


_of_schema("JSON_SCHEMA_VALID", "my_json_schema_valid", BOOL)
_of_schema("JSON_SCHEMA_VALIDATION_REPORT", "my_json_schema_report", JSON)


@lowers(exp.JSONArrayContains, reads="this expression json_type")
def _member_of(lowering: Lowering, node: exp.Expression) -> Typed:
    """MySQL manual: MEMBER OF()."""
    value = member(lowering, node.this)
    cells = _text_of(_document(lowering, node.expression, 2, "member of"))
    known = f"case when ({value.sql}) is not null then {json_text(value)} end"
    return Typed(f"my_json_member_of({known},{cells})", BOOL)


@function("JSON_ARRAYAGG", least=1)
def _json_array_aggregate(lowering: Lowering, arguments: Arguments) -> Typed:
    over = lowering.taken_over()
    with lowering.within_aggregate():
        text = member_text(lowering, arguments[0])
    return Typed(f"('['||string_agg({text},', '){over}||']')::json", JSON)


@lowers(exp.JSONObjectAgg, reads="expressions null_handling unique_keys return_type encoding")
def _json_object_aggregate(lowering: Lowering, node: exp.Expression) -> Typed:
    (pair,) = node.expressions
    return _object_aggregate(lowering, (pair.this, pair.expression))


@function("JSON_OBJECTAGG", least=2)
def _object_aggregate(lowering: Lowering, arguments: Arguments) -> Typed:
    name, cell = arguments
    over = lowering.taken_over()
    with lowering.within_aggregate():
        name_text, text = _name_text(lowering.expression(name)), member_text(lowering, cell)
    members = f"string_agg({name_text}||', '||{text},', '){over}"
    return Typed(f"my_json_object('['||{members}||']')::json", JSON)
