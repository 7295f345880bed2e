"""Regular expressions. MySQL manual: Regular Expressions."""

from __future__ import annotations

import re

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import as_text
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import BOOL, INT, TEXT, TEXT_BIN, Typed, quoted
from z4sql.sql.types import Collation, Kind


def _flags(value: Typed, flag: exp.Expression | None) -> str:
    if flag is not None:
        text = str(flag.this)
        if set(text) - {"i", "c"}:
            raise unsupported(f"regular expression flags '{text}'")
        return "i" if "i" in text else "c"
    return "i" if value.type.collation is Collation.AI_CI else "c"


def _operands(lowering: Lowering, node: exp.Expression) -> tuple[Typed, str]:
    """The text that is looked at, and the pattern.

    :raises SqlError: (3995) one of them is bytes, or (3685) there is no pattern.
    """
    if isinstance(node.expression, exp.Literal):
        text = str(node.expression.this)
        if not text:
            raise SqlError("Illegal argument to a regular expression.", code=3685)
        if any(token in text for token in ("(?=", "(?!", "(?<")):
            raise unsupported("look-around in a regular expression")
    value, pattern = lowering.expression(node.this), lowering.expression(node.expression)
    if Kind.BINARY in (value.kind, pattern.kind) and Kind.STRING in (value.kind, pattern.kind):
        message = (
            "Character set 'binary' cannot be used in conjunction with 'utf8mb4_0900_ai_ci' in call to "
            "regexp_like."
        )
        raise SqlError(message, code=3995)
    return as_text(value), as_text(pattern).sql


def _from_position(lowering: Lowering, value: Typed, node: exp.Expression) -> tuple[str, int]:
    """The text from where the search begins, which is a constant, and how many characters stand before."""
    at = _whole_argument(lowering, node, "position", 1)
    return (value.sql, 0) if at == 1 else (f"substr({value.sql},{at})", at - 1)


def _whole_argument(lowering: Lowering, node: exp.Expression, name: str, default: int) -> int:
    given = node.args.get(name)
    if given is None:
        return default
    if not isinstance(given, exp.Literal) or not str(given.this).isdecimal():
        raise unsupported(f"regular expressions with a {name} that is no constant")
    if name == "position" and not int(str(given.this)):
        raise SqlError("Index out of bounds in regular expression search.", code=3686)
    return int(str(given.this))


@lowers(exp.RegexpLike, reads="this expression flag full_match")
def _regexp_like(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern = _operands(lowering, node)
    flag = _flags(value, node.args.get("flag"))
    return Typed(f"regexp_matches({value.sql},{pattern},'{flag}')", BOOL)


@lowers(exp.RegexpReplace, reads="this expression replacement position occurrence modifiers single_replace")
def _regexp_replace(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern = _operands(lowering, node)
    new = _replacement(lowering, node.args["replacement"])
    occurrence = _whole_argument(lowering, node, "occurrence", 0)
    if occurrence > 1:
        raise unsupported("REGEXP_REPLACE of a later occurrence alone")
    rest, before = _from_position(lowering, value, node)
    flags = _flags(value, node.args.get("modifiers")) + ("" if occurrence else "g")
    replaced = f"regexp_replace({rest},{pattern},{new},'{flags}')"
    return Typed(f"(left({value.sql},{before})||{replaced})" if before else replaced, TEXT)


def _replacement(lowering: Lowering, node: exp.Expression) -> str:
    """Groups are ``$1`` to MySQL; to the engine they are ``\\1``."""
    if not isinstance(node, exp.Literal):
        return as_text(lowering.expression(node)).sql
    text = re.sub(
        r"\\(.)|\$(\d)",
        lambda found: (
            f"\\{found[2]}" if found[2] else re.escape(found[1]) if found[1] == chr(92) else found[1]
        ),
        str(node.this),
    )
    return quoted(text)


@lowers(
    exp.RegexpExtract,
    exp.RegexpSubstr,
    reads="this expression position occurrence parameters group null_if_pos_overflow null_if_no_match",
)
def _regexp_substr(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern = _operands(lowering, node)
    flag = _flags(value, node.args.get("parameters"))
    type_ = TEXT_BIN if flag == "c" else TEXT
    rest, _ = _from_position(lowering, value, node)
    occurrence = max(1, _whole_argument(lowering, node, "occurrence", 1))
    if occurrence > 1:
        return Typed(f"regexp_extract_all({rest},{pattern},0,'{flag}')[{occurrence}]", type_)
    return Typed(
        f"(case when regexp_matches({rest},{pattern},'{flag}')"
        f" then regexp_extract({rest},{pattern},0,'{flag}') end)",
        type_,
    )


@lowers(exp.RegexpInstr, reads="this expression position occurrence option parameters group")
def _regexp_instr(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern = _operands(lowering, node)
    flag = _flags(value, node.args.get("parameters"))
    rest, before = _from_position(lowering, value, node)
    nth = max(1, _whole_argument(lowering, node, "occurrence", 1))
    behind = min(1, _whole_argument(lowering, node, "option", 0))
    found = f"regexp_extract_all({rest},{pattern},0,'{flag}')"
    parts = f"string_split_regex({rest},{pattern},'{flag}')"
    lengths = (
        f"len(array_to_string({texts}[1:{count}],''))"
        for texts, count in ((parts, nth), (found, nth - 1 + behind))
    )
    at = f"{before + 1}+" + "+".join(lengths)
    absent = f"when ({value.sql}) is null or {pattern} is null then null"
    return Typed(f"(case {absent} when len({found})<{nth} then 0 else {at} end)::bigint", INT)
