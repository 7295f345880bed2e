"""IF, CASE, COALESCE and their kin. MySQL manual: Flow Control Functions."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from z4sql.sql.lowering.comparison import compare, order_text
from z4sql.sql.lowering.conversion import alike, as_text, convert, instant, truth, unify
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.precision import carried, unrounded, unrounded_type
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import DATE, INSTANTS, NULL, TEXT, Type, Typed, datetime
from z4sql.sql.types import Kind

_NOTHING = Typed("null", NULL)
_DATED = INSTANTS | {Kind.DATE}
_FIRST = "timestamp '0001-01-01 00:00:00'"


def _optional(lowering: Lowering, node: exp.Expression | None) -> Typed:
    return _NOTHING if node is None else lowering.expression(node)


def _chosen(type_: Type, values: list[Typed], built: Callable[[list[str]], str]) -> Typed:
    """One of ``values`` as ``type_``; decimals stay unrounded behind what is shown."""
    chosen = Typed(built([convert(value, type_) for value in values]), type_)
    if type_.kind is not Kind.DECIMAL:
        return chosen
    wide = unrounded_type(type_, values)
    return carried(chosen, values, built([convert(unrounded(value), wide) for value in values]))


@lowers(exp.If, reads="this true false")
def _if(lowering: Lowering, node: exp.Expression) -> Typed:
    condition = truth(lowering.expression(node.this))
    yes, no = lowering.expression(node.args["true"]), _optional(lowering, node.args.get("false"))
    type_ = unify([yes.type, no.type])
    return _chosen(
        type_, [yes, no], lambda texts: f"(case when {condition} then {texts[0]} else {texts[1]} end)"
    )


@lowers(exp.Case, reads="this ifs default")
def _case(lowering: Lowering, node: exp.Expression) -> Typed:
    whens = node.args["ifs"]
    tested = [lowering.expression(branch.this) for branch in whens]
    if node.this is None:
        conditions = [truth(value) for value in tested]
    else:
        base, *others = alike([lowering.expression(node.this), *tested])
        conditions = [compare(lowering, "=", base, other).sql for other in others]
    values = [lowering.expression(branch.args["true"]) for branch in whens]
    otherwise = _optional(lowering, node.args.get("default"))
    type_ = unify([*(value.type for value in values), otherwise.type])

    def built(texts: list[str]) -> str:
        branches = " ".join(
            f"when {condition} then {text}" for condition, text in zip(conditions, texts[:-1], strict=True)
        )
        return f"(case {branches} else {texts[-1]} end)"

    return _chosen(type_, [*values, otherwise], built)


@lowers(exp.Coalesce, reads="this expressions is_nvl is_null")
def _coalesce(lowering: Lowering, node: exp.Expression) -> Typed:
    values = [lowering.expression(each) for each in (node.this, *node.expressions)]
    type_ = unify([value.type for value in values])
    return _chosen(type_, values, lambda texts: f"coalesce({', '.join(texts)})")


@lowers(exp.Nullif, reads="this expression")
def _nullif(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    same = compare(lowering, "=", value, lowering.expression(node.expression)).sql
    return Typed(f"(case when {same} then null else {value.sql} end)", value.type)


def _extreme(lowering: Lowering, node: exp.Expression, word: str) -> Typed:
    """GREATEST and LEAST: NULL when any is; the engine's own skip NULLs.

    MySQL manual: Comparison Functions: with a text among them all compare as texts, with a date as dates.
    """
    values = [lowering.expression(each) for each in (node.this, *node.expressions)]
    type_ = unify([value.type for value in values])
    if type_.kind is Kind.STRING and any(value.kind in _DATED for value in values):
        values = _dated(lowering, values)
    texts = [convert(value, type_) for value in values]
    missing = " or ".join(f"({text}) is null" for text in texts)
    if type_.kind is not Kind.STRING:
        return _chosen(
            type_,
            values,
            lambda texts: f"(case when {missing} then null else {word}({', '.join(texts)}) end)",
        )
    operator = "<" if word == "least" else ">="
    chosen, chosen_key = texts[0], order_text(Typed(texts[0], type_))
    for text in texts[1:]:
        text_key = order_text(Typed(text, type_))
        chosen = f"(case when {text_key} {operator} {chosen_key} then {text} else {chosen} end)"
        chosen_key = f"{word}({chosen_key},{text_key})"
    return Typed(f"(case when {missing} then null else {chosen} end)", type_)


def _dated(lowering: Lowering, values: list[Typed]) -> list[Typed]:
    """Dates as texts, and all else as the texts of dates; what is none counts as the first of all."""
    moments = [instant(value, lowering.day_of(value)) for value in values]
    whole_days = all(value.kind is Kind.DATE for value in values if value.kind in _DATED)
    type_ = DATE if whole_days else datetime(max(moment.type.scale for moment in moments))
    texts = []
    for value, moment in zip(values, moments, strict=True):
        sql = moment.sql if value.kind in _DATED else f"coalesce({moment.sql},{_FIRST})"
        text = as_text(Typed(f"({sql})::date" if whole_days else sql, type_)).sql
        texts.append(Typed(f"(case when ({value.sql}) is not null then {text} end)", TEXT))
    return texts


@lowers(exp.Greatest, reads="this expressions ignore_nulls")
def _greatest(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "greatest")


@lowers(exp.Least, reads="this expressions ignore_nulls")
def _least(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "least")
