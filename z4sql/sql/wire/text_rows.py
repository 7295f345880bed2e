"""Rows of the text protocol (MySQL manual: Text Resultset Row)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from z4sql.sql.render import few_texts, render_text
from z4sql.sql.types import SqlType
from z4sql.sql.wire.codec import str_len
from z4sql.sql.wire.framing import Frames
from z4sql.sql.wire.rows import FEW_ROWS, TEXT_NULL, Parts, as_binary, frame_one_by_one

_VERY_FEW_ROWS: Final = 32


def encode_text_rows(batch: pa.RecordBatch, types: Sequence[SqlType], sequence: int) -> list[Frames]:
    """All rows of ``batch`` as packets, in one pass over its columns where the cells allow."""
    columns = list(zip(batch.columns, types, strict=True))
    if batch.num_rows <= _VERY_FEW_ROWS:
        return frame_one_by_one(_rows([few_texts(*column) for column in columns]), sequence)
    cells = [as_binary(render_text(column, sql_type)) for column, sql_type in columns]
    if batch.num_rows > FEW_ROWS:
        parts = Parts(batch.num_rows)
        if all(parts.add_cells(column, TEXT_NULL) for column in cells):
            frames = parts.frames(sequence)
            if frames is not None:
                return frames
    return frame_one_by_one(_rows([column.to_pylist() for column in cells]), sequence)


def _rows(cells: Sequence[Sequence[bytes | None]]) -> Iterator[bytes]:
    for row in zip(*cells, strict=True):
        yield b"".join([TEXT_NULL if value is None else str_len(value) for value in row])
