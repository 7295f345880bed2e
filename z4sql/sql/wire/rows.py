"""Row packets from columns of encoded cells: all rows of a batch at once, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.types import SqlType
from z4sql.sql.wire.framing import PAYLOAD_MAX, Frames, frame

Lengths = npt.NDArray[np.int64]
RowEncoder = Callable[[pa.RecordBatch, Sequence[SqlType], int], list[Frames]]
"""(batch, types of its columns, sequence number of the first packet) -> packets, some 64 KiB at a time."""

TEXT_NULL: Final = b"\xfb"
BINARY_NULL: Final = b""

FEW_ROWS: Final = 128
"""So many rows are encoded faster one by one: a pass over a column costs as much as some hundred cells."""

_CELL_BYTES_MAX: Final = 65_535
_BATCH_BYTES_MAX: Final = 1 << 30  # the offsets of a binary array have 31 bits
_FRAMES_BYTES: Final = 64 * 1024
_NULL_INDEX: Final = _CELL_BYTES_MAX + 1


def _prefixes(null: bytes) -> pa.Array:
    short = [bytes((length,)) for length in range(251)]
    long = [b"\xfc" + length.to_bytes(2, "little") for length in range(251, _CELL_BYTES_MAX + 1)]
    return pa.array([*short, *long, null], pa.binary())


_PREFIXES: Final = {null: _prefixes(null) for null in (TEXT_NULL, BINARY_NULL)}
_PREFIX_LENGTHS: Final = {
    null: np.array([1] * 251 + [3] * (_CELL_BYTES_MAX + 1 - 251) + [len(null)], np.int64)
    for null in _PREFIXES
}


class Parts:
    """What the rows of a batch consist of, column after column."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._arrays: list[pa.Array] = []
        self._lengths: Lengths = np.zeros(rows, np.int64)

    def add_cells(self, cells: pa.Array, null: bytes) -> bool:
        """A column of values behind their lengths; false when a cell is too long for this road."""
        cells = as_binary(cells)
        lengths = pc.binary_length(cells)
        if (pc.max(lengths).as_py() or 0) > _CELL_BYTES_MAX:
            return False
        value_lengths = pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
        indexes = value_lengths
        if cells.null_count:
            indexes = pc.fill_null(lengths, _NULL_INDEX).to_numpy(zero_copy_only=False)
            cells = pc.fill_null(cells, b"")
        self._arrays += (_PREFIXES[null].take(pa.array(indexes)), cells)
        self._lengths += _PREFIX_LENGTHS[null][indexes]
        self._lengths += value_lengths
        return True

    def add_fixed(self, cells: npt.NDArray[np.uint8], lengths: Lengths) -> None:
        """A column (rows x width) of which each row shows its first ``lengths[row]`` bytes."""
        width = cells.shape[1]
        shown = cells[np.arange(width) < lengths[:, None]]
        offsets = np.zeros(self._rows + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        self._arrays.append(_binary_array(offsets, shown))
        self._lengths += lengths

    def frames(self, sequence: int) -> list[Frames] | None:
        """One packet a row; none when a row needs several packets or the batch is too large."""
        if not self._rows:
            return []
        if int(self._lengths.max()) >= PAYLOAD_MAX or int(self._lengths.sum()) > _BATCH_BYTES_MAX:
            return None
        sequences = (np.arange(self._rows) + sequence & 0xFF) << 24
        headers = (self._lengths | sequences).astype("<u4")
        header_offsets = np.arange(self._rows + 1, dtype=np.int32) * 4
        rows = pc.binary_join_element_wise(_binary_array(header_offsets, headers), *self._arrays, b"")
        _, offsets_buffer, data_buffer = rows.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int32, self._rows + 1, rows.offset * 4)
        return _cut(memoryview(data_buffer), offsets)


def as_binary(cells: pa.Array) -> pa.Array:
    return cells if cells.type == pa.binary() else cells.cast(pa.binary())


def _binary_array(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.generic]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _cut(data: memoryview, offsets: npt.NDArray[np.int32]) -> list[Frames]:
    """Pieces of about 64 KiB that end where a row ends."""
    pieces: list[Frames] = []
    row, rows = 0, len(offsets) - 1
    while row < rows:
        end = int(np.searchsorted(offsets, offsets[row] + _FRAMES_BYTES, side="left"))
        end = min(max(end, row + 1), rows)
        pieces.append(Frames(data[int(offsets[row]) : int(offsets[end])], end - row))
        row = end
    return pieces


def frame_one_by_one(rows: Iterable[bytes], sequence: int) -> list[Frames]:
    """Packets of rows of any length."""
    pieces: list[Frames] = []
    data = bytearray()
    packets = 0
    for row in rows:
        framed = frame(row, sequence)
        sequence = sequence + framed.packets & 0xFF
        data += framed.data
        packets += framed.packets
        if len(data) >= _FRAMES_BYTES:
            pieces.append(Frames(data, packets))
            data, packets = bytearray(), 0
    if packets:
        pieces.append(Frames(data, packets))
    return pieces
