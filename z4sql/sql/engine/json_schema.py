"""Documents checked against a schema of draft 4. MySQL manual: JSON Schema Validation Functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from z4sql.sql.engine.json_order import JsonValue, json_key
from z4sql.sql.engine.json_reading import argument_of
from z4sql.sql.engine.json_values import canonical, loaded
from z4sql.sql.engine.refusals import Refused

_Object = dict[str, JsonValue]
_NUMBERS: Final = (int, float, Decimal)


class Failure(NamedTuple):
    """What a document does not fulfil: a keyword of the schema at ``schema``, at ``document``."""

    keyword: str
    schema: str
    document: str


def json_schema_valid(schema: str, document: str) -> bool:
    """JSON_SCHEMA_VALID. :raises Refused: the schema is no object (3853)"""
    return _failure(schema, document, "json_schema_valid") is None


def json_schema_report(schema: str, document: str) -> str:
    """JSON_SCHEMA_VALIDATION_REPORT. :raises Refused: the schema is no object (3853)"""
    failure = _failure(schema, document, "json_schema_validation_report")
    if failure is None:
        return canonical({"valid": True})
    reason = (
        f"The JSON document location '{failure.document}' failed requirement '{failure.keyword}'"
        f" at JSON Schema location '{failure.schema}'"
    )
    told: _Object = {"valid": False, "reason": reason, "schema-location": failure.schema}
    return canonical(told | {"document-location": failure.document, "schema-failed-keyword": failure.keyword})


def _failure(schema: str, document: str, function: str) -> Failure | None:
    known = _schema(schema, function)
    return next(_failures(loaded(document), known, "#", "#"), None)


@lru_cache(maxsize=32)
def _schema(text: str, function: str) -> _Object:
    schema = argument_of(text, 1, function)
    if not isinstance(schema, dict):
        told = f"Invalid JSON type in argument 1 to function {function}; an object is required."
        raise Refused(3853, told, "22032")
    return schema


def _failures(value: JsonValue, schema: _Object, where: str, at: str) -> Iterator[Failure]:
    """``where`` in the schema, ``at`` in the document; members and cells come before what holds them."""
    wanted = schema.get("type")
    types = wanted if isinstance(wanted, list) else [wanted]
    if wanted is not None and not any(_is_type(value, str(one)) for one in types):
        yield Failure("type", where, at)
        return
    if isinstance(value, dict):
        yield from _of_members(value, schema, where, at)
    elif isinstance(value, list):
        yield from _of_cells(value, schema, where, at)
    for keyword, holds in _CHECKS.items():
        if keyword in schema and not holds(value, schema):
            yield Failure(keyword, where, at)
    yield from _of_schemas(value, schema, where, at)


def _is_type(value: JsonValue, name: str) -> bool:
    match name:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, _NUMBERS) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds.get(name, ()))


def _of_members(value: _Object, schema: _Object, where: str, at: str) -> Iterator[Failure]:
    properties, patterns = (schema.get(name) or {} for name in ("properties", "patternProperties"))
    others = schema.get("additionalProperties", True)
    for name, member in value.items():
        inside, known = f"{at}/{name}", False
        if isinstance(properties, dict) and isinstance(one := properties.get(name), dict):
            known = True
            yield from _failures(member, one, f"{where}/properties/{name}", inside)
        for pattern, one in patterns.items() if isinstance(patterns, dict) else ():
            if re.search(pattern, name) and isinstance(one, dict):
                known = True
                yield from _failures(member, one, f"{where}/patternProperties/{pattern}", inside)
        if not known and isinstance(others, dict):
            yield from _failures(member, others, f"{where}/additionalProperties", inside)
        elif not known and others is False:
            yield Failure("additionalProperties", where, inside)


def _of_cells(value: list[JsonValue], schema: _Object, where: str, at: str) -> Iterator[Failure]:
    items, others = schema.get("items"), schema.get("additionalItems", True)
    seen: set[bytes] = set()
    for position, cell in enumerate(value):
        inside = f"{at}/{position}"
        if schema.get("uniqueItems") is True and (key := json_key(canonical(cell))) in seen:
            yield Failure("uniqueItems", where, inside)
        elif schema.get("uniqueItems") is True:
            seen.add(key)
        if isinstance(items, dict):
            yield from _failures(cell, items, f"{where}/items", inside)
        elif isinstance(items, list) and position < len(items):
            if isinstance(one := items[position], dict):
                yield from _failures(cell, one, f"{where}/items/{position}", inside)
        elif isinstance(items, list) and others is False:
            yield Failure("additionalItems", where, inside)


def _of_schemas(value: JsonValue, schema: _Object, where: str, at: str) -> Iterator[Failure]:
    """allOf, anyOf, oneOf and not."""

    def fit(keyword: str) -> list[bool]:
        every = schema.get(keyword)
        listed = every if isinstance(every, list) else [every]
        return [
            next(_failures(value, one, where, at), None) is None for one in listed if isinstance(one, dict)
        ]

    wrong = {"allOf": not all(fit("allOf")), "anyOf": not any(fit("anyOf"))}
    wrong |= {"oneOf": sum(fit("oneOf")) != 1, "not": any(fit("not"))}
    for keyword, is_wrong in wrong.items():
        if keyword in schema and is_wrong:
            yield Failure(keyword, where, at)


def _bound(keyword: str, holds: Callable[[Decimal, Decimal], bool], exclusive: str = "") -> _Check:
    """A check of numbers; with ``exclusive`` the bound itself is outside where the schema says so."""

    def check(value: JsonValue, schema: _Object) -> bool:
        bound = schema[keyword]
        if not isinstance(value, _NUMBERS) or isinstance(value, bool) or not isinstance(bound, _NUMBERS):
            return True
        exact, limit = Decimal(str(value)), Decimal(str(bound))
        return holds(exact, limit) and not (schema.get(exclusive) is True and exact == limit)

    return check


def _count(kind: type[str | list[JsonValue] | _Object], keyword: str, *, most: bool) -> _Check:
    def check(value: JsonValue, schema: _Object) -> bool:
        bound = schema[keyword]
        if not isinstance(value, kind) or not isinstance(bound, int):
            return True
        return len(value) <= bound if most else len(value) >= bound

    return check


def _has_required(value: JsonValue, schema: _Object) -> bool:
    names = schema["required"]
    return not isinstance(value, dict) or not isinstance(names, list) or all(name in value for name in names)


def _is_listed(value: JsonValue, schema: _Object) -> bool:
    listed = schema["enum"]
    return not isinstance(listed, list) or any(canonical(value) == canonical(one) for one in listed)


def _matches(value: JsonValue, schema: _Object) -> bool:
    return not isinstance(value, str) or re.search(str(schema["pattern"]), value) is not None


_Check = Callable[[JsonValue, _Object], bool]
_CHECKS: Final[dict[str, _Check]] = {
    "minProperties": _count(dict, "minProperties", most=False),
    "maxProperties": _count(dict, "maxProperties", most=True),
    "required": _has_required,
    "minItems": _count(list, "minItems", most=False),
    "maxItems": _count(list, "maxItems", most=True),
    "minLength": _count(str, "minLength", most=False),
    "maxLength": _count(str, "maxLength", most=True),
    "pattern": _matches,
    "minimum": _bound("minimum", Decimal.__ge__, "exclusiveMinimum"),
    "maximum": _bound("maximum", Decimal.__le__, "exclusiveMaximum"),
    "multipleOf": _bound("multipleOf", lambda value, step: step == 0 or value % step == 0),
    "enum": _is_listed,
}
