"""Values as JSON documents, and JSON as text.

MySQL manual: The JSON Data Type, Converting between JSON and non-JSON Values. A document is, in the engine,
the text that MySQL prints for it.
"""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import as_text, number
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.typed import BOOL, INSTANTS, JSON, NUMBERS, TEXT_BIN, Type, Typed, quoted
from z4sql.sql.types import Kind

_RANKS = {Kind.DATE: "07", Kind.TIME: "08", Kind.DATETIME: "09", Kind.TIMESTAMP: "09"}


def document(value: Typed, argument: int, function: str) -> Typed:
    """A function's argument that is, or is read as, a JSON document.

    :raises SqlError: it is bytes (3144), or something else (3146)
    """
    match value.kind:
        case Kind.JSON:
            return value
        case Kind.STRING:
            return Typed(f"my_json({value.sql},{argument},{quoted(function)})::json", JSON)
        case Kind.NULL:
            return Typed("null::json", JSON)
        case Kind.BINARY:
            raise binary_refused()
    message = f"Invalid data type for JSON data in argument {argument} to function {function}"
    raise SqlError(f"{message}; a JSON string or JSON type is required.", code=3146, state="22032")


def binary_refused() -> SqlError:
    message = "Cannot create a JSON value from a string with CHARACTER SET 'binary'."
    return SqlError(message, code=3144, state="22032")


def unquoted(value: Typed, type_: Type = TEXT_BIN) -> Typed:
    """What ``->>`` gives: a JSON string without quotes, all else as it is printed."""
    if value.type.string:
        return Typed(f"json_extract_string({value.sql},'$')", type_)
    return Typed(f"my_json_text({value.sql})", type_)


def json_text(value: Typed) -> str:
    """The JSON text that stands for a value inside a new document, that of null for NULL."""
    return f"coalesce({_scalar_text(value)},'null')"


def _scalar_text(value: Typed) -> str:
    sql = value.sql
    match value.kind:
        case Kind.JSON | Kind.BOOL:
            return f"({sql})::varchar"
        case Kind.DOUBLE:
            return f"my_json(({sql})::varchar,1,'json')"
        case kind if kind in NUMBERS:
            return as_text(number(value)).sql
        case kind if kind in INSTANTS:
            return f"strftime({sql},'\"%Y-%m-%d %H:%M:%S.%f\"')"
        case Kind.TIME:
            return f"'\"'||my_time_text({sql},6)||'\"'"
        case Kind.BINARY:
            return f"'\"base64:type15:'||my_base64({sql})||'\"'"
        case _:
            return f"to_json({as_text(value).sql})::varchar"


def member_text(lowering: Lowering, node: exp.Expression) -> str:
    """A new member's JSON text."""
    return json_text(member(lowering, node))


def member(lowering: Lowering, node: exp.Expression) -> Typed:
    """What becomes JSON: TRUE and FALSE stay booleans there."""
    return truth_of(node) or lowering.expression(node)


def truth_of(node: exp.Expression) -> Typed | None:
    """TRUE or FALSE as a boolean, which is a number everywhere else; None for all other expressions."""
    return Typed(str(node.this).lower(), BOOL) if isinstance(node, exp.Boolean) else None


def as_json(value: Typed) -> Typed:
    """CAST(.. AS JSON)."""
    if value.kind in (Kind.JSON, Kind.STRING, Kind.NULL):
        return document(value, 1, "cast_as_json")
    return Typed(f"(case when ({value.sql}) is not null then {json_text(value)} end)::json", JSON)


def order_key(value: Typed) -> str:
    """What JSON documents, and values compared with them, are compared by."""
    if value.kind in _RANKS:
        # Above all that a document of z4's holds.
        return f"(case when ({value.sql}) is not null then unhex('{_RANKS[value.kind]}') end)"
    if value.kind is not Kind.JSON:
        return f"my_json_key({_scalar_text(value)})"
    return f"my_json_key(({value.sql})::varchar)"


def json_string(value: Typed) -> str | None:
    """The text of a value that is a string, and of JSON a string or nothing; None for all others."""
    if value.kind is Kind.STRING:
        return value.sql
    return f"json_extract_string({value.sql},'$')" if value.type.string else None
