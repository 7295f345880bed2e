"""Queries that only pick columns of rows in a range: the scan's batches are the answer, without the engine.

That is the shape in which people look at single tasks, and half of such a query's time is the engine's start.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from z4sql.sql.context import StatementContext
from z4sql.sql.lowering.statement import Lowered
from z4sql.sql.planner.plan import Plan
from z4sql.sql.scan.request import ScanRequest
from z4sql.sql.scan.task_source import TaskSource
from z4sql.sql.temporal import fixed_offset_us
from z4sql.sql.types import Kind, ResultColumn

_REMEMBERED_MAX = 1_000
_VARYING = (exp.Func, exp.Parameter, exp.SessionParameter)
_CLAUSES = frozenset({"expressions", "from_", "where", "limit", "offset", "kind", "hint"})


@dataclass(slots=True, frozen=True)
class Projection:
    """``columns`` of the scan, in the order of the result; rows ``[skip, stop)`` of it (stop None: all)."""

    request: ScanRequest
    columns: tuple[str, ...]
    skip: int
    stop: int | None

    def batches(self, source: TaskSource) -> Iterator[pa.RecordBatch]:
        """The result, as the scan gives it."""
        at = 0
        for batch in source.scan(self.request):
            first = max(0, self.skip - at)
            last = batch.num_rows if self.stop is None else min(batch.num_rows, self.stop - at)
            at += batch.num_rows
            if first < last:
                yield self._shaped(batch.slice(first, last - first))
            if self.stop is not None and at >= self.stop:
                return

    def _shaped(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [batch.column(name) for name in self.columns]
        return pa.RecordBatch.from_arrays(arrays, names=[str(at) for at in range(len(arrays))])


class ProjectionCache:
    """Projections by their text, for what people and dashboards ask again and again.

    Only of queries made of columns and constants: whatever calls a function may depend on the clock or the
    session.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, ...], tuple[Projection, tuple[ResultColumn, ...]]] = (
            OrderedDict()
        )

    def find(
        self, text: str, context: StatementContext
    ) -> tuple[Projection, tuple[ResultColumn, ...]] | None:
        key = _key(text, context)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def remember(
        self,
        query: exp.Expression,
        text: str,
        context: StatementContext,
        picked: Projection,
        columns: tuple[ResultColumn, ...],
    ) -> None:
        if any(isinstance(node, _VARYING) and not isinstance(node, exp.Connector) for node in query.walk()):
            return
        self._known[_key(text, context)] = (picked, columns)
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)


def _key(text: str, context: StatementContext) -> tuple[object, ...]:
    return text, context.database, str(context.time_zone), context.limits.select_limit, context.sql_mode


def projection(
    query: exp.Expression, planned: Plan, lowered: Lowered, context: StatementContext
) -> Projection | None:
    """How to answer ``query`` from the scan alone; None when it takes more than that.

    Its predicate must be TRUE of exactly the planned ranges, and its order, if any, that of the scan.
    """
    if not isinstance(query, exp.Select) or len(planned.references) != 1:
        return None
    if any(value for clause, value in query.args.items() if clause not in _CLAUSES):
        return None
    (name, table), (use,) = next(iter(planned.references.items())), lowered.sources.values()
    if not table.exact or use.name != name or table.needles or table.ids is not None:
        return None
    if any(not column.original_name for column in lowered.columns):
        return None
    if any(column.type.kind is Kind.TIMESTAMP for column in lowered.columns) and (
        fixed_offset_us(context.time_zone) != 0
    ):
        return None
    skip, count = _constant(query.args.get("offset")), _constant(query.args.get("limit"))
    return Projection(
        table.request(use.columns),
        tuple(column.original_name for column in lowered.columns),
        skip or 0,
        None if count is None else (skip or 0) + count,
    )


def _constant(node: exp.Expression | None) -> int | None:
    """The number of a LIMIT or OFFSET; the lowering has refused any that is no constant."""
    return None if node is None else int(str(node.expression.this))
