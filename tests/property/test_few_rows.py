"""Rows that are read one by one give the columns that rows in bulk give."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from z4sql.sql.scan.columns import TYPES, Rows, joined_places
from z4sql.sql.scan.few_rows import FEW_ROWS_MAX, FewRows
from z4sql.tasks.keys import task_key
from z4sql.tasks.record import FLAG_MOVED, FLAG_PAYLOAD_APART, HEADER, NONE, RECORD_VERSION, State

INSTANT = st.integers(-(1 << 62), 1 << 62)
INSTANT_OR_NONE = st.one_of(st.just(NONE), INSTANT)
TEXT = st.text(max_size=20).map(str.encode)
BYTES = st.binary(max_size=20)


@st.composite
def _task(draw: st.DrawFn) -> tuple[bytes, bytes, bytes | None]:
    """(key, record, the payload if it lies apart)"""
    at, origin = draw(INSTANT), draw(st.none() | INSTANT)
    metadata = draw(TEXT.filter(bool))
    texts = [metadata, draw(TEXT), draw(TEXT), draw(TEXT)]
    events, payload, apart = draw(BYTES), draw(BYTES), draw(st.booleans())
    header = HEADER.pack(
        RECORD_VERSION,
        draw(st.sampled_from(list(State))),
        (FLAG_PAYLOAD_APART if apart else 0) | (0 if origin is None else FLAG_MOVED),
        draw(st.integers(0, (1 << 32) - 1)),
        *(draw(INSTANT_OR_NONE) for _ in range(4)),
        # Lateness is a difference of two of them.
        draw(st.one_of(st.just(NONE), st.integers(at, at + 10**9), st.integers(at - 10**9, at))),
        len(metadata),
        len(payload),
        *(len(text) for text in texts[1:]),
        len(events),
        draw(st.integers(0, (1 << 64) - 1)),
        draw(INSTANT_OR_NONE),
    )
    moved = b"" if origin is None else origin.to_bytes(8, "little", signed=True)
    inside = b"" if apart else payload
    key = task_key(b"shop", at, draw(st.integers(0, (1 << 64) - 1)))
    return key, b"".join((header, *texts, moved, events, inside)), payload if apart else None


@settings(max_examples=150, deadline=None)
@given(st.lists(_task(), min_size=1, max_size=FEW_ROWS_MAX))
def test_every_column_is_the_same(tasks: list[tuple[bytes, bytes, bytes | None]]) -> None:
    keys, records = [key for key, _, _ in tasks], [record for _, record, _ in tasks]
    payloads = [payload for _, _, payload in tasks if payload is not None]
    bulk = Rows("shop", joined_places(keys), records)
    few = FewRows("shop", list(zip(keys, records, strict=True)))
    assert few.payloads_apart.tolist() == bulk.payloads_apart.tolist()
    assert few.payload_lengths.tolist() == bulk.payload_lengths.tolist()
    assert few.states.equals(bulk.states)
    for row in range(len(tasks)):
        assert few.payload_place(row) == bulk.payload_place(row)
    for name, kind in TYPES.items():
        of_task = payloads if name == "payload" else []
        one, other = few.column(name, of_task), bulk.column(name, of_task)
        assert one.type == other.type == kind
        assert one.equals(other), name
