"""Small answers, kept for as long as the tasks they were made of stay as they are.

People look at the same panels, many of them at the same ones. What is asked for the second time is kept, and
given to whoever asks the same with the same settings; whether one may see it is asked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from z4sql.sql.context import StatementContext
from z4sql.sql.result import Packets, ResultSet, size_bytes
from z4sql.sql.scan.basis import Basis
from z4sql.sql.types import ResultColumn

_TEXT_MAX: Final = 2 << 10
_ANSWER_BYTES_MAX: Final = 32 << 10
"""More is not written much faster than it is read."""
_HELD_BYTES_MAX: Final = 32 << 20
_WRITTEN_SHARE: Final = 4
"""How often an answer may be there: as columns, and as packets in the manners of its clients."""
_ANSWER_BYTES: Final = 4 << 10
"""About what an answer costs besides its rows."""
_SIGHTED_MAX: Final = 4_096
"""Texts; what comes again after so many others is nobody's panel."""
_SETTINGS: Final = ("character_set_results", "group_concat_max_len")
"""What a query's rows depend on besides what its plan does (`z4sql.sql.plans`)."""

_OWNING: Final = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


@dataclass(slots=True, frozen=True, eq=False)
class Answer:
    """All rows of a query that gave no warnings."""

    columns: tuple[ResultColumn, ...]
    batches: tuple[pa.RecordBatch, ...]
    basis: Basis
    packets: Packets = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    @property
    def held_bytes(self) -> int:
        return _ANSWER_BYTES + _WRITTEN_SHARE * sum(size_bytes(batch) for batch in self.batches)

    def result(self) -> ResultSet:
        return ResultSet(self.columns, _given(self.batches), packets=self.packets)


class Answers:
    """The answers used last. Lives on one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._sighted: OrderedDict[str, bool] = OrderedDict()
        """Texts whose answers could have been kept, and whether any was."""
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, text: str) -> bool:
        """Whether there may be an answer to ``text``, for somebody's settings."""
        return self._sighted.get(text, False)

    def find(self, text: str, context: StatementContext) -> Answer | None:
        """What ``text`` gave last, if it was kept: it may not hold any more."""
        key = _key(text, context)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def forget(self, text: str, context: StatementContext) -> None:
        """An answer that does not hold any more."""
        found = self._kept.pop(_key(text, context), None)
        if found is not None:
            self._held_bytes -= found.held_bytes

    def watch(self, text: str, context: StatementContext, result: ResultSet) -> None:
        """Keep the rows of ``result`` as they pass, if ``text`` was asked before and they are few."""
        if result.basis is None or len(text) > _TEXT_MAX:
            return
        if text not in self._sighted:
            self._sighted[text] = False
            if len(self._sighted) > _SIGHTED_MAX:
                self._sighted.popitem(last=False)
            return
        result.batches = _Recorded(self, text, context, result, result.basis)

    def keep(self, text: str, context: StatementContext, answer: Answer) -> None:
        """Keep ``answer`` in place of any other that ``text`` had."""
        self.forget(text, context)
        self._kept[_key(text, context)] = answer
        self._sighted[text] = True
        self._sighted.move_to_end(text)
        self._held_bytes += answer.held_bytes
        while self._held_bytes > _HELD_BYTES_MAX:
            _, dropped = self._kept.popitem(last=False)
            self._held_bytes -= dropped.held_bytes


class _Recorded:
    """Batches on their way; when all have passed, and are few, they are kept."""

    def __init__(
        self, answers: Answers, text: str, context: StatementContext, result: ResultSet, basis: Basis
    ) -> None:
        self._answers = answers
        self._text = text
        self._context = context
        self._result = result
        self._basis = basis
        self._batches = result.batches
        self._passed: list[pa.RecordBatch] | None = []
        self._passed_bytes = 0

    def __aiter__(self) -> AsyncIterator[pa.RecordBatch]:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await anext(self._batches)
        except StopAsyncIteration:
            self._ended()
            raise
        if self._passed is not None:
            self._passed_bytes += size_bytes(batch)
            if self._passed_bytes > _ANSWER_BYTES_MAX:
                self._passed = None
            else:
                self._passed.append(batch)
        return batch

    async def aclose(self) -> None:
        close = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()

    def _ended(self) -> None:
        passed, self._passed = self._passed, None
        if passed is None or self._result.warnings.count or not self._basis.holds:
            return
        batches = tuple(_apart(batch) for batch in passed if batch.num_rows)
        self._answers.keep(self._text, self._context, Answer(self._result.columns, batches, self._basis))


def _key(text: str, context: StatementContext) -> Hashable:
    variable = context.variable
    settings = tuple(variable(name) for name in _SETTINGS) if variable is not None else ()
    return (
        text,
        context.database,
        str(context.time_zone),
        context.sql_mode,
        context.limits.select_limit,
        settings,
    )


async def _given(batches: tuple[pa.RecordBatch, ...]) -> AsyncIterator[pa.RecordBatch]:
    for batch in batches:
        yield batch


def _apart(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows alone, without the records or the segment that their columns are views into."""
    everyone = pa.array(range(batch.num_rows), pa.int64())
    # Views cannot be taken by position.
    columns = [column.cast(_OWNING.get(column.type, column.type)).take(everyone) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
