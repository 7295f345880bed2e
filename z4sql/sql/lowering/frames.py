"""Which rows around its own a window function sees. MySQL manual: Window Function Frame Specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.intervals import constant_interval
from z4sql.sql.lowering.typed import INSTANTS, NUMBERS, Typed
from z4sql.sql.types import Kind

_DATES: Final = INSTANTS | {Kind.DATE}
_PLACES: Final = {"PRECEDING": 0, "CURRENT ROW": 1, "FOLLOWING": 2}


def frame_text(lowering: Lowering, name: str, frame: exp.Expression, keys: Sequence[Typed]) -> str:
    """The frame of the window ``name``, whose rows are in the order of ``keys``.

    :raises SqlError: bounds that are none (3584-3586), or none for that order (3587-3589, 3596).
    """
    kind = str(frame.args.get("kind") or "").upper()
    if kind not in ("ROWS", "RANGE") or frame.args.get("exclude"):
        what = "EXCLUDE" if kind in ("ROWS", "RANGE") else kind
        raise unsupported(what)
    bounds = [(frame.args.get(which), _side(frame, which)) for which in ("start", "end")]
    if bounds[1][0] is None:
        bounds[1] = ("CURRENT ROW", "CURRENT ROW")
    _check_sides(name, bounds)
    offsets = [value for value, _ in bounds if isinstance(value, exp.Expression)]
    if kind == "RANGE" and offsets:
        _check_order(name, offsets, keys)
    if kind == "ROWS" and any(isinstance(value, exp.Interval) for value in offsets):
        raise SqlError(f"Window '{name}': INTERVAL can only be used with RANGE frames.", code=3596)
    start, end = (_bound(lowering, name, kind, *bound) for bound in bounds)
    return f"{kind} between {start} and {end}"


def _side(frame: exp.Expression, which: str) -> str:
    own = str(frame.args.get(f"{which}_side") or "").upper()
    return own or "CURRENT ROW"


def _check_sides(name: str, bounds: Sequence[tuple[object, str]]) -> None:
    (start, before), (end, behind) = bounds
    if start == "UNBOUNDED" and before == "FOLLOWING":
        raise SqlError(f"Window '{name}': frame start cannot be UNBOUNDED FOLLOWING.", code=3584)
    if end == "UNBOUNDED" and behind == "PRECEDING":
        raise SqlError(f"Window '{name}': frame end cannot be UNBOUNDED PRECEDING.", code=3585)
    if _PLACES[before] > _PLACES[behind]:
        raise _no_bound(name)


def _no_bound(name: str) -> SqlError:
    message = f"Window '{name}': frame start or end is negative, NULL or of non-integral type"
    return SqlError(message, code=3586)


def _check_order(name: str, offsets: Sequence[exp.Expression], keys: Sequence[Typed]) -> None:
    kinds = [key.kind for key in keys]
    if len(kinds) != 1 or kinds[0] not in NUMBERS | _DATES | {Kind.TIME}:
        message = (
            f"Window '{name}' with RANGE N PRECEDING/FOLLOWING frame requires exactly one deterministic"
            " ORDER BY expression, of numeric or temporal type"
        )
        raise SqlError(message, code=3587)
    intervals = [isinstance(offset, exp.Interval) for offset in offsets]
    if kinds[0] in NUMBERS and any(intervals):
        message = (
            f"Window '{name}' with RANGE frame has ORDER BY expression of numeric type,"
            " INTERVAL bound value not allowed."
        )
        raise SqlError(message, code=3589)
    if kinds[0] not in NUMBERS and not all(intervals):
        message = (
            f"Window '{name}' with RANGE frame has ORDER BY expression of datetime type. Only INTERVAL bound"
            " value allowed."
        )
        raise SqlError(message, code=3588)


def _bound(lowering: Lowering, name: str, kind: str, value: object, side: str) -> str:
    if not isinstance(value, exp.Expression):
        return "CURRENT ROW" if side == "CURRENT ROW" else f"UNBOUNDED {side}"
    if isinstance(value, exp.Interval):
        amount = value.this
        if isinstance(amount, exp.Neg) or str(amount.this).lstrip().startswith("-"):
            raise _no_bound(name)
        return f"{constant_interval(lowering, amount, value.args['unit'])} {side}"
    text = str(value.this) if isinstance(value, exp.Literal) and not value.is_string else ""
    whole = text.isdecimal()
    if not whole and (kind == "ROWS" or not text):
        raise _no_bound(name)
    return f"{text} {side}"
