"""Few stored tasks to Arrow columns: of some rows, each costs less than numpy's first step over a column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raftcore.core.errors import require
from z4sql.sql.scan.columns import STATES, TYPES
from z4sql.tasks.ids import format_id
from z4sql.tasks.keys import SUFFIX_BYTES, place, unpack_place
from z4sql.tasks.record import (
    FLAG_MOVED,
    FLAG_PAYLOAD_APART,
    HEADER,
    HEADER_BYTES,
    NONE,
    RECORD_VERSION,
    STATE_NAMES,
    State,
)

FEW_ROWS_MAX: Final = 48

_ORIGIN_BYTES: Final = 8
_TEXTS: Final = ("metadata", "lease_owner", "last_error", "request_id")


class FewRows:
    """As `z4sql.sql.scan.columns.Rows`, of at least one and at most `FEW_ROWS_MAX` (key, record)."""

    def __init__(self, namespace: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        self.namespace = namespace
        self.count = len(items)
        self._records = [record for _, record in items]
        self._at, self._sequences = zip(*[unpack_place(key[-SUFFIX_BYTES:]) for key, _ in items], strict=True)
        (
            versions,
            self._states,
            self._flags,
            self._attempts,
            created_at,
            next_attempt_at,
            lease_until,
            finished_at,
            self._began,
            metadata_lengths,
            self._payload_lengths,
            owner_lengths,
            error_lengths,
            request_lengths,
            self._events_lengths,
            self._tokens,
            expire_at,
        ) = zip(*map(HEADER.unpack_from, self._records), strict=True)
        require(
            all(version == RECORD_VERSION for version in versions),
            "records are of the version that this program reads",
        )
        self._instants = {
            "created_at": created_at,
            "next_attempt_at": next_attempt_at,
            "lease_until": lease_until,
            "finished_at": finished_at,
            "last_attempt_at": self._began,
            "expire_at": expire_at,
        }
        self._text_lengths = (metadata_lengths, owner_lengths, error_lengths, request_lengths)

    @property
    def payloads_apart(self) -> NDArray[np.int64]:
        """Positions of the rows whose payload has a key of its own."""
        return np.array([row for row in range(self.count) if self._is_apart(row)], np.int64)

    @property
    def payload_lengths(self) -> NDArray[np.int64]:
        return np.array(self._payload_lengths, np.int64)

    @property
    def states(self) -> pa.DictionaryArray:
        """The states as numbers into their names."""
        return pa.DictionaryArray.from_arrays(pa.array(self._states, pa.int8()), STATES)

    def payload_place(self, row: int) -> bytes:
        """The last 16 bytes of the key of a payload that lies apart: those of the task's id."""
        return place(self._made_for[row], self._sequences[row])

    def column(self, name: str, payloads: Sequence[bytes] = ()) -> pa.Array:
        """One column. ``payloads``: those of `payloads_apart`, when ``name`` is ``payload``."""
        return pa.array(self._values(name, payloads), TYPES[name])

    def batch(self, columns: tuple[str, ...], payloads: Sequence[bytes] = ()) -> pa.RecordBatch:
        """Several columns, in one conversion, which costs half of as many."""
        cells = [self._values(name, payloads if name == "payload" else ()) for name in columns]
        rows = list(zip(*cells, strict=True)) if cells else [()] * self.count
        return pa.RecordBatch.from_struct_array(pa.array(rows, _struct(columns)))

    def _values(self, name: str, payloads: Sequence[bytes]) -> Sequence[object]:
        match name:
            case "namespace":
                return [self.namespace] * self.count
            case "id":
                return list(map(format_id, self._made_for, self._sequences))
            case "deliver_at":
                return self._at
            case "state":
                return [STATE_NAMES[state] for state in self._states]
            case "attempts":
                return self._attempts
            case "lease_token":
                return [
                    token if state == State.LEASED else None
                    for token, state in zip(self._tokens, self._states, strict=True)
                ]
            case "lateness_ms":
                return [
                    None if began == NONE else max(began - at, 0) // 1000
                    for began, at in zip(self._began, self._at, strict=True)
                ]
            case "events":
                return [
                    record[at : at + length]
                    for record, at, length in zip(
                        self._records, self._events_at, self._events_lengths, strict=True
                    )
                ]
            case "payload":
                return self._payloads(payloads)
            case "metadata" | "lease_owner" | "last_error" | "request_id":
                return self._texts(_TEXTS.index(name))
            case _:
                return [None if us == NONE else us for us in self._instants[name]]

    def _texts(self, part: int) -> list[bytes | None]:
        found = [
            record[ends[part] - length : ends[part]]
            for record, ends, length in zip(
                self._records, self._text_ends, self._text_lengths[part], strict=True
            )
        ]
        # Metadata is never empty text; of the others, none and empty are the same.
        return [text or None for text in found] if part else list(found)

    def _payloads(self, payloads: Sequence[bytes]) -> list[bytes]:
        found, apart = [], iter(payloads)
        for row, length in enumerate(self._payload_lengths):
            if payloads and self._is_apart(row):
                payload = next(apart)
            else:
                at = self._events_at[row] + self._events_lengths[row]
                payload = self._records[row][at : at + length]
            require(len(payload) == length, "a payload has the length that was written")
            found.append(payload)
        return found

    def _is_apart(self, row: int) -> bool:
        return bool(self._flags[row] & FLAG_PAYLOAD_APART)

    @cached_property
    def _text_ends(self) -> list[tuple[int, ...]]:
        """Where each text of each record ends."""
        return [
            tuple(accumulate(lengths, initial=HEADER_BYTES))[1:]
            for lengths in zip(*self._text_lengths, strict=True)
        ]

    @cached_property
    def _events_at(self) -> list[int]:
        return [
            ends[-1] + (_ORIGIN_BYTES if flags & FLAG_MOVED else 0)
            for ends, flags in zip(self._text_ends, self._flags, strict=True)
        ]

    @cached_property
    def _made_for(self) -> Sequence[int]:
        """The deliver_at that each id carries: a task that was moved keeps the id of its first time."""
        if not any(flags & FLAG_MOVED for flags in self._flags):
            return self._at
        return [
            int.from_bytes(record[ends[-1] : ends[-1] + _ORIGIN_BYTES], "little", signed=True)
            if flags & FLAG_MOVED
            else at
            for record, ends, flags, at in zip(
                self._records, self._text_ends, self._flags, self._at, strict=True
            )
        ]


@lru_cache(256)
def _struct(columns: tuple[str, ...]) -> pa.StructType:
    return pa.struct([(name, TYPES[name]) for name in columns])
