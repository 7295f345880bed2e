"""Queries that pick columns of rows, run again with other values: only the ranges are worked out anew.

That is done by the planner itself, over the same tree. What was lowered before holds for all values, as
nothing of it is executed: the scan's columns are the answer (`z4sql.sql.projection`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.engine.expansion import require_expandable
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.statement import Lowered, lower
from z4sql.sql.planner.plan import Plan, Planner
from z4sql.sql.plans import Watched
from z4sql.sql.projection import Projection, projection
from z4sql.sql.shapes import Shape, Shaped

_REMEMBERED_MAX: Final = 512


@dataclass(slots=True, frozen=True)
class Repeat:
    """A statement as it is run: what is read, and what of it is shown."""

    planned: Plan
    lowered: Lowered
    picked: Projection


@dataclass(slots=True, frozen=True)
class _Known:
    """``query``: without the order that the scan gives its rows in anyway, if it does (``sorted``)."""

    planner: Planner
    query: exp.Expression
    lowered: Lowered
    sorted: bool


class Repeats:
    """The shapes used last, for sessions that read them alike. Lives on one event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], _Known | None] = OrderedDict()

    def find(self, shaped: Shaped, catalog: Catalog, context: StatementContext) -> Repeat | None:
        """None where the statement has to be planned and lowered by itself, if only for its error."""
        if context.limits.select_limit:
            return None
        key = (shaped.shape, context.database, str(context.time_zone), context.sql_mode)
        try:
            if key not in self._known:
                shaped.shape.fill(shaped.values)
                self._known[key] = _learnt(shaped.shape, catalog, context)
                if len(self._known) > _REMEMBERED_MAX:
                    self._known.popitem(last=False)
            known = self._known[key]
            self._known.move_to_end(key)
            if known is None:
                return None
            shaped.shape.fill(shaped.values)
            planned = known.planner.again(context)
        except SqlError:
            return None
        if planned.sorted != known.sorted:
            return None
        picked = projection(known.query, planned, known.lowered, context)
        return None if picked is None else Repeat(planned, known.lowered, picked)


def _learnt(shape: Shape, catalog: Catalog, context: StatementContext) -> _Known | None:
    """:raises SqlError: the values that are filled in are not good"""
    watched = Watched(context)
    planner = Planner(shape.query, shape.text, catalog, watched.as_context)
    planned = planner.plan()
    query = shape.query.copy()
    if planned.sorted:
        query.set("order", None)
    lowered = lower(query, shape.text, catalog, watched.as_context)
    require_expandable(lowered.sql)
    picked = projection(query, planned, lowered, watched.as_context)
    return _Known(planner, query, lowered, planned.sorted) if picked is not None and watched.keyed else None
