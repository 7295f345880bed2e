"""Queries that only pick columns of rows in a range: the scan's batches are the answer, without the engine.

That is the shape in which people look at single tasks, and half of such a query's time is the engine's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from sqlglot import exp

from z4sql.sql.context import StatementContext
from z4sql.sql.lowering.statement import Lowered
from z4sql.sql.planner.plan import Plan, TablePlan
from z4sql.sql.scan.request import ScanRequest
from z4sql.sql.scan.task_source import TaskSource
from z4sql.sql.temporal import fixed_offset_us
from z4sql.sql.types import Kind

_CLOSED = re.compile(r'"\w(?:[^"\\]|\\.)*": "(?:[^"\\]|\\.)*"')
_BRIEF_ROWS: Final = 128
"""So many rows are read in less than half a millisecond."""
_BRIEF_RANGES: Final = 4
_CLAUSES = frozenset({"expressions", "from_", "where", "limit", "offset", "kind", "hint"})


@dataclass(slots=True, frozen=True)
class Projection:
    """``columns`` of the scan, in the order of the result; rows ``[skip, stop)`` of it (stop None: all).

    Of the rows, those whose metadata have all ``needles``; each of them closes its value's quotes.
    """

    request: ScanRequest
    columns: tuple[str, ...]
    skip: int
    stop: int | None
    needles: tuple[str, ...] = ()

    @property
    def is_brief(self) -> bool:
        """Whether its first batches take little time, however many rows follow."""
        return not self.needles and len(self.request.ranges) <= _BRIEF_RANGES

    def batches(self, source: TaskSource) -> Iterator[pa.RecordBatch]:
        """The result, as the scan gives it."""
        at = 0
        for read in source.scan(self.request):
            batch = self._filtered(read) if self.needles else read
            first = max(0, self.skip - at)
            last = batch.num_rows if self.stop is None else min(batch.num_rows, self.stop - at)
            at += batch.num_rows
            if first < last:
                whole = last - first == batch.num_rows
                yield self._shaped(batch if whole else batch.slice(first, last - first))
            if self.stop is not None and at >= self.stop:
                return

    def _filtered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found = [
            at
            for at, metadata in enumerate(batch.column("metadata").to_pylist())
            if all(needle in metadata for needle in self.needles)
        ]
        if len(found) == batch.num_rows:
            return batch
        # Runs of rows are slices: views, in which most text stands, cannot be taken by position.
        runs = [batch.slice(at, 1) for at in found]
        return pa.concat_batches(runs) if runs else batch.slice(0, 0)

    def _shaped(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.columns == self.request.columns and not any(map(pa.types.is_dictionary, batch.schema.types)):
            return batch
        arrays = [_plain(batch.column(name)) for name in self.columns]
        return pa.RecordBatch.from_arrays(arrays, names=[str(at) for at in range(len(arrays))])


def projection(
    query: exp.Expression, planned: Plan, lowered: Lowered, context: StatementContext
) -> Projection | None:
    """How to answer ``query`` from the scan alone; None when it takes more than that.

    Its predicate must be TRUE of exactly the planned ranges, and its order, if any, that of the scan.
    """
    if not isinstance(query, exp.Select) or len(planned.references) != 1 or len(lowered.sources) != 1:
        return None
    from_ = query.args.get("from_")
    if from_ is None or not isinstance(from_.this, exp.Table):
        return None
    if any(value for clause, value in query.args.items() if clause not in _CLAUSES):
        return None
    (name, table), (use,) = next(iter(planned.references.items())), lowered.sources.values()
    if not table.table.one_row_a_key or use.name != name or table.ids is not None:
        return None
    needles = _closed(table)
    if needles is None:
        return None
    if any(not column.original_name for column in lowered.columns):
        return None
    if any(column.type.kind is Kind.TIMESTAMP for column in lowered.columns) and (
        fixed_offset_us(context.time_zone) != 0
    ):
        return None
    skip, count = _constant(query.args.get("offset")), _constant(query.args.get("limit"))
    columns = use.columns if not needles else tuple(dict.fromkeys((*use.columns, "metadata")))
    stop = None if count is None else (skip or 0) + count
    request = table.request(columns)
    if not needles:
        # All that is read is shown: nothing is read in vain.
        request = replace(request, batch_rows=max(1, min(_BRIEF_ROWS, _BRIEF_ROWS if stop is None else stop)))
    return Projection(
        request,
        tuple(column.original_name for column in lowered.columns),
        skip or 0,
        stop,
        needles,
    )


def _closed(table: TablePlan) -> tuple[str, ...] | None:
    """The needles whose presence in the metadata is all that the predicate asks; None when it asks more.

    A needle ``"k": "v"`` is found in a flat document just where ``k`` is ``v``, as ``k`` begins with a letter
    or digit: what stands behind a quote that closes is a colon, a comma or a brace.
    """
    if table.exact:
        return ()
    texts = tuple(needle.decode() for needle in table.needles)
    if not table.exact_with_needles or not all(_CLOSED.fullmatch(text) for text in texts):
        return None
    return texts


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _constant(node: exp.Expression | None) -> int | None:
    """The number of a LIMIT or OFFSET; the lowering has refused any that is no constant."""
    return None if node is None else int(str(node.expression.this))
