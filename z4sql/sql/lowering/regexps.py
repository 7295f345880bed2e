"""Regular expressions. MySQL manual: Regular Expressions."""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import as_text
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import BOOL, INT, TEXT, Typed, quoted, without_literal
from z4sql.sql.planner.fold import Folder
from z4sql.sql.types import Collation, Kind

_WHOLE_MAX = 2**31 - 1
"""Of positions and occurrences: no text is as long."""


class _Search(NamedTuple):
    """What is looked for. ``flag``: ``i`` or ``c``, with case; ``is_null``: an argument is NULL."""

    value: Typed
    pattern: str
    flag: str
    is_null: bool


def _search(lowering: Lowering, node: exp.Expression, flags: str, name: str) -> _Search:
    """``flags``: which argument has them. :raises SqlError: unknown flags (1210), and as `_operands`"""
    value, pattern = _operands(lowering, node)
    is_null = any(isinstance(each, exp.Null) for each in node.args.values())
    given = node.args.get(flags)
    text = "" if given is None or is_null else given.name
    if set(text) - set("cimnu"):
        raise SqlError(f"Incorrect arguments to {name}", code=1210)
    # The last one counts; line ends of Unix, which u means, are all that the engine knows.
    cases = [letter for letter in text if letter in "ci"]
    flag = cases[-1] if cases else "i" if value.type.collation is Collation.AI_CI else "c"
    inline = "".join(ours for theirs, ours in (("m", "m"), ("n", "s")) if theirs in text)
    return _Search(value, f"('(?{inline})'||{pattern})" if inline else pattern, flag, is_null)


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


def _from_position(lowering: Lowering, value: Typed, node: exp.Expression, behind: int) -> tuple[str, int]:
    """The text from where the search begins, which is a constant, and how many characters stand before.

    ``behind``: how far behind the end of the text it may begin.
    """
    at = _whole_argument(lowering, node, "position", 1)
    if at == 1:
        return value.sql, 0
    return f"substr(my_reaching({value.sql},{at - behind}),{at})", at - 1


def _whole_argument(lowering: Lowering, node: exp.Expression, name: str, default: int) -> int:
    given = node.args.get(name)
    if given is None or isinstance(given, exp.Null):
        return default
    folder = Folder(lowering.context)
    constant = folder.number(folder.fold(given))
    if constant is None:
        raise unsupported(f"regular expressions with a {name} that is no constant")
    return max(-_WHOLE_MAX, min(int(constant), _WHOLE_MAX))


def _out_of_bounds() -> SqlError:
    return SqlError("Index out of bounds in regular expression search.", code=3686)


def _wrong_parameters(name: str) -> SqlError:
    message = f"Incorrect parameters in the call to native function '{name}'"
    return SqlError(message, code=1583, state="42000")


@lowers(exp.RegexpLike, reads="this expression flag full_match")
def _regexp_like(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern, flag, is_null = _search(lowering, node, "flag", "regexp_like")
    if is_null:
        return Typed("null::boolean", BOOL)
    return Typed(f"regexp_matches({value.sql},{pattern},'{flag}')", BOOL)


@lowers(exp.RegexpReplace, reads="this expression replacement position occurrence modifiers single_replace")
def _regexp_replace(lowering: Lowering, node: exp.Expression) -> Typed:
    value, pattern, flag, is_null = _search(lowering, node, "modifiers", "regexp_replace")
    if is_null:
        return Typed("null::varchar", TEXT)
    if _whole_argument(lowering, node, "position", 1) < 1:
        raise _wrong_parameters("regexp_replace")
    new = _replacement(lowering, node.args["replacement"])
    occurrence = _whole_argument(lowering, node, "occurrence", 0)
    rest, before = _from_position(lowering, value, node, 1)
    if occurrence in (0, 1):
        replaced = f"regexp_replace({rest},{pattern},{new},'{flag}{'' if occurrence else 'g'}')"
    elif occurrence < 0:
        replaced = f"regexp_replace({rest},{pattern},{new},'{flag}')"
    else:
        replaced = _with_one_replaced(rest, pattern, new, flag, occurrence)
    type_ = without_literal(value.type)
    return Typed(f"(left({value.sql},{before})||{replaced})" if before else replaced, type_)


def _with_one_replaced(rest: str, pattern: str, new: str, flag: str, occurrence: int) -> str:
    """``rest`` with what matches ``pattern`` there for that time replaced."""
    found = f"regexp_extract_all({rest},{pattern},0,'{flag}')"
    parts = f"string_split_regex({rest},{pattern},'{flag}')"
    before, piece = _length_before(parts, found, occurrence, 0), f"{found}[{occurrence}]"
    changed = f"regexp_replace({piece},{pattern},{new},'{flag}')"
    behind = f"substr({rest},{before}+length({piece})+1)"
    whole = f"left({rest},{before})||{changed}||{behind}"
    return f"(case when len({found})<{occurrence} then {rest} else {whole} end)"


def _length_before(parts: str, found: str, occurrence: int, behind: int) -> str:
    """Characters before a match, or before its end."""
    counted = ((parts, occurrence), (found, occurrence - 1 + behind))
    return "+".join(f"len(array_to_string({texts}[1:{count}],''))" for texts, count in counted)


def _replacement(lowering: Lowering, node: exp.Expression) -> str:
    """Groups are ``$1`` to MySQL; to the engine they are ``\\1``."""
    if not isinstance(node, exp.Literal):
        return as_text(lowering.expression(node)).sql
    if re.fullmatch(r"(?:[^\\$]|\\.|\$\d|\\$)*", str(node.this), re.DOTALL) is None:
        raise SqlError("A capture group has an invalid name.", code=3887)
    text = re.sub(
        r"\\(.|$)|\$(\d)",
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
    value, pattern, flag, is_null = _search(lowering, node, "parameters", "regexp_substr")
    if is_null:
        return Typed("null::varchar", TEXT)
    if _whole_argument(lowering, node, "position", 1) < 1:
        raise _wrong_parameters("regexp_substr")
    type_ = without_literal(value.type)
    rest, _ = _from_position(lowering, value, node, 1)
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
    value, pattern, flag, is_null = _search(lowering, node, "parameters", "regexp_instr")
    if is_null:
        return Typed("null::bigint", INT)
    if _whole_argument(lowering, node, "position", 1) < 1:
        raise _out_of_bounds()
    rest, before = _from_position(lowering, value, node, 0)
    nth = max(1, _whole_argument(lowering, node, "occurrence", 1))
    behind = _whole_argument(lowering, node, "option", 0)
    if behind not in (0, 1):
        raise SqlError("Incorrect arguments to regexp_instr: return_option must be 1 or 0.", code=1210)
    found = f"regexp_extract_all({rest},{pattern},0,'{flag}')"
    parts = f"string_split_regex({rest},{pattern},'{flag}')"
    at = f"{before + 1}+{_length_before(parts, found, nth, behind)}"
    absent = f"when ({value.sql}) is null or {pattern} is null then null"
    return Typed(f"(case {absent} when len({found})<{nth} then 0 else {at} end)::bigint", INT)
