"""Stored tasks to Arrow columns, without a Python object per row.

Text and bytes become views into the records as they were read; times, lengths and states come out of the
fixed headers by numpy.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raftcore.core.errors import require
from z4sql.tasks.ids import ID_CHARACTERS, format_ids
from z4sql.tasks.keys import BIAS, SUFFIX_BYTES
from z4sql.tasks.record import (
    FLAG_MOVED,
    FLAG_PAYLOAD_APART,
    HEADER_BYTES,
    NONE,
    RECORD_VERSION,
    STATE_NAMES,
    State,
)

_HEADER: Final = np.dtype(
    [
        ("version", "u1"),
        ("state", "u1"),
        ("flags", "<u2"),
        ("attempts", "<u4"),
        ("created_at", "<i8"),
        ("next_attempt_at", "<i8"),
        ("lease_until", "<i8"),
        ("finished_at", "<i8"),
        ("last_attempt_at", "<i8"),
        ("metadata_length", "<u4"),
        ("payload_length", "<u4"),
        ("lease_owner_length", "<u2"),
        ("last_error_length", "<u2"),
        ("request_id_length", "<u2"),
        ("events_length", "<u2"),
        ("lease_token", "<u8"),
        ("expire_at", "<i8"),
    ]
)
assert _HEADER.itemsize == HEADER_BYTES

_FIELDS: Final = {name: (field[0], field[1]) for name, field in (_HEADER.fields or {}).items()}
_JOINED_BYTES: Final = 1_024
"""Of a record, on average; headers are cut out of longer ones before these are joined."""
_FEW: Final = 64
_INSTANT: Final = pa.timestamp("us")
STATES: Final = pa.array(STATE_NAMES, pa.string())
_VIEW_INLINE_BYTES: Final = 12
_PADDING: Final = bytes(16)

KEY_COLUMNS: Final = frozenset({"namespace", "deliver_at"})
"""Columns that need no record."""

TYPES: Final[dict[str, pa.DataType]] = {
    "namespace": pa.string(),
    "id": pa.string(),
    "deliver_at": _INSTANT,
    "created_at": _INSTANT,
    "metadata": pa.string_view(),
    "payload": pa.binary_view(),
    "state": pa.string(),
    "attempts": pa.uint64(),
    "next_attempt_at": _INSTANT,
    "lease_owner": pa.string_view(),
    "lease_until": _INSTANT,
    "last_error": pa.string_view(),
    "last_attempt_at": _INSTANT,
    "finished_at": _INSTANT,
    "request_id": pa.string_view(),
    "expire_at": _INSTANT,
    "lease_token": pa.uint64(),
    "events": pa.binary_view(),
    "lateness_ms": pa.int64(),
}
"""Arrow type of each column; instants are UTC. Of ``events``: as `z4sql.tasks.events` lays them out."""


def joined_places(keys: Sequence[bytes]) -> bytes:
    """The last 16 bytes of the keys of one namespace, which are all of one length."""
    if len(keys) < _FEW:
        return b"".join([key[-SUFFIX_BYTES:] for key in keys])
    return np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)[:, -SUFFIX_BYTES:].tobytes()


class JoinedRecords:
    """Records one behind the other: ``parts`` joined, of the given lengths."""

    __slots__ = ("data", "lengths")

    def __init__(self, parts: Sequence[bytes], lengths: NDArray[np.int64]) -> None:
        self.data = b"".join((*parts, _PADDING))
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)


class _Headers:
    """The fixed parts of records that are joined; of each, only the fields that are asked for."""

    __slots__ = ("_data", "_found", "_starts")

    def __init__(self, data: bytes, starts: NDArray[np.int64]) -> None:
        self._data = data
        self._starts = starts
        self._found: dict[str, NDArray[np.generic]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._found.get(name)
        if found is None:
            kind, offset = _FIELDS[name]
            places = len(self._data) - kind.itemsize + 1
            # Numbers at any address; what is taken from there lies aligned.
            anywhere = np.ndarray((places,), kind, buffer=self._data, strides=(1,))
            found = self._found[name] = anywhere[self._starts + offset]
        return found


class Rows:
    """Some tasks of one namespace. ``places``: the last 16 bytes of their keys, joined.

    ``records`` may be empty if only `KEY_COLUMNS` are asked for.
    """

    def __init__(self, namespace: str, places: bytes, records: Sequence[bytes] | JoinedRecords) -> None:
        self.namespace = namespace
        place = np.frombuffer(places, ">u8").reshape(-1, 2)
        self.count = len(place)
        self._deliver_at = (place[:, 0].astype(np.uint64) ^ np.uint64(BIAS)).view(np.int64)
        self._sequence = place[:, 1].astype(np.uint64)
        if not records:
            return
        self._records: Sequence[bytes] = ()
        self._bytes: bytes | None = None
        if isinstance(records, JoinedRecords):
            lengths, self._bytes = records.lengths, records.data
        else:
            lengths, self._records = np.fromiter(map(len, records), np.int64, self.count), records
        ends = np.cumsum(lengths)
        self._starts = ends - lengths
        self._header: _Headers | NDArray[np.void]
        if self._bytes is not None or int(ends[-1]) <= _JOINED_BYTES * self.count:
            self._header = _Headers(self._joined(), self._starts)
        else:
            self._header = np.frombuffer(
                b"".join([record[:HEADER_BYTES] for record in self._records]), _HEADER
            )
        require(
            bool((self._header["version"] == RECORD_VERSION).all()),
            "records are of the version that this program reads",
        )

    @property
    def payloads_apart(self) -> NDArray[np.int64]:
        """Positions of the rows whose payload has a key of its own."""
        return np.flatnonzero(self._header["flags"] & FLAG_PAYLOAD_APART)

    @property
    def payload_lengths(self) -> NDArray[np.int64]:
        return self._header["payload_length"].astype(np.int64)

    def column(self, name: str, payloads: Sequence[bytes] = ()) -> pa.Array:
        """One column. ``payloads``: those of `payloads_apart`, when ``name`` is ``payload``."""
        match name:
            case "namespace":
                return pa.repeat(pa.scalar(self.namespace, pa.string()), self.count)
            case "id":
                return self._ids()
            case "deliver_at":
                return pa.array(self._deliver_at).view(_INSTANT)
            case "state":
                return STATES.take(pa.array(self._header["state"]))
            case "attempts":
                return pa.array(self._header["attempts"].astype(np.uint64))
            case "lease_token":
                tokens = np.ascontiguousarray(self._header["lease_token"])
                return pa.array(tokens, mask=self._header["state"] != State.LEASED)
            case "lateness_ms":
                began = np.ascontiguousarray(self._header["last_attempt_at"])
                late = np.maximum(began - self._deliver_at, 0) // 1000
                return pa.array(late, mask=began == NONE)
            case "events":
                lengths = self._header["events_length"].astype(np.int64)
                return self._views(pa.binary_view(), self._events_at(), lengths, self._joined(), None)
            case "payload":
                return self._payload(payloads)
            case "metadata" | "lease_owner" | "last_error" | "request_id":
                return self._text(name)
            case _:
                instants = np.ascontiguousarray(self._header[name])
                return pa.array(instants, mask=instants == NONE).view(_INSTANT)

    @property
    def states(self) -> pa.DictionaryArray:
        """The states as numbers into their names."""
        return pa.DictionaryArray.from_arrays(pa.array(self._header["state"].astype(np.int8)), STATES)

    def payload_place(self, row: int) -> bytes:
        """The last 16 bytes of the key of a payload that lies apart: those of the task's id."""
        return struct.pack(">QQ", int(self._made_for[row]) + BIAS, int(self._sequence[row]))

    @cached_property
    def _made_for(self) -> NDArray[np.int64]:
        """The deliver_at that each id carries."""
        made_for = self._deliver_at
        moved = np.flatnonzero(self._header["flags"] & FLAG_MOVED)
        if len(moved):
            # A task that was moved keeps the id of its first time, which its record then holds.
            made_for = made_for.copy()
            at = self._offset_behind("request_id")
            for row in moved.tolist():
                start = int(at[row])
                made_for[row] = int.from_bytes(self._joined()[start : start + 8], "little", signed=True)
        return made_for

    def _ids(self) -> pa.Array:
        text = format_ids(self._made_for, self._sequence)
        offsets = np.arange(0, (self.count + 1) * ID_CHARACTERS, ID_CHARACTERS, dtype=np.int32)
        return pa.StringArray.from_buffers(
            self.count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))
        )

    def _offset_behind(self, name: str) -> NDArray[np.int64]:
        """Where the part of the record behind ``name`` begins, in the joined records."""
        at = self._starts + HEADER_BYTES
        for part in ("metadata", "lease_owner", "last_error", "request_id"):
            at = at + self._header[f"{part}_length"]
            if part == name:
                break
        return at

    def _events_at(self) -> NDArray[np.int64]:
        origin: NDArray[np.int64] = 8 * ((self._header["flags"] & FLAG_MOVED) != 0).astype(np.int64)
        return self._offset_behind("request_id") + origin

    def _text(self, name: str) -> pa.Array:
        lengths = self._header[f"{name}_length"].astype(np.int64)
        starts = self._offset_behind(name) - lengths
        # Metadata is never empty text; of the others, none and empty are the same.
        present = None if name == "metadata" else lengths > 0
        return self._views(pa.string_view(), starts, lengths, self._joined(), present)

    def _payload(self, payloads: Sequence[bytes]) -> pa.Array:
        lengths = self.payload_lengths
        starts = self._events_at() + self._header["events_length"]
        data = self._joined()
        if payloads:
            apart = self.payloads_apart
            sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
            require(bool((sizes == lengths[apart]).all()), "a payload has the length that was written")
            starts[apart] = len(data) - len(_PADDING) + np.cumsum(sizes) - sizes
            data = b"".join((data[: -len(_PADDING)], *payloads, _PADDING))
        return self._views(pa.binary_view(), starts, lengths, data, None)

    def _joined(self) -> bytes:
        if self._bytes is None:
            self._bytes = b"".join((*self._records, _PADDING))
        return self._bytes

    def _views(
        self,
        kind: pa.DataType,
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        data: bytes,
        present: NDArray[np.bool_] | None,
    ) -> pa.Array:
        """Arrow's views: length, four bytes, buffer, offset; up to 12 bytes lie in the view itself."""
        if present is not None and not present.any():
            return pa.nulls(self.count, kind)
        if self.count <= _FEW:
            return _values(kind, starts.tolist(), lengths.tolist(), data, present)
        # Every four bytes of the data, at any address, as a number.
        fours = np.ndarray((len(data) - 3,), "<u4", buffer=data, strides=(1,))
        views = np.zeros((self.count, 4), np.uint32)
        views[:, 0] = lengths
        views[:, 1] = fours[starts]
        views[:, 3] = starts
        small = np.flatnonzero(lengths <= _VIEW_INLINE_BYTES)
        if len(small):
            place, size = starts[small], lengths[small]
            for word in range(3):
                kept = np.clip(size - 4 * word, 0, 4).astype(np.uint64)
                mask = ((np.uint64(1) << (np.uint64(8) * kept)) - np.uint64(1)).astype(np.uint32)
                views[small, word + 1] = fours[place + 4 * word] & mask
        validity = None
        if present is not None and not present.all():
            validity = pa.py_buffer(np.packbits(present, bitorder="little"))
        return pa.Array.from_buffers(kind, self.count, [validity, pa.py_buffer(views), pa.py_buffer(data)])


def _values(
    kind: pa.DataType,
    starts: Sequence[int],
    lengths: Sequence[int],
    data: bytes,
    present: NDArray[np.bool_] | None,
) -> pa.Array:
    """The same of few rows, of which each costs less than numpy's first step."""
    values: list[bytes | None] = [data[at : at + length] for at, length in zip(starts, lengths, strict=True)]
    if present is not None:
        values = [value if there else None for value, there in zip(values, present.tolist(), strict=True)]
    return pa.array(values, kind)
