"""Row packets made column by column are, byte for byte, those made row by row."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire_peer import EVERY_KIND, batch_of
from z4sql.sql import render
from z4sql.sql.types import Collation, Kind, ResultColumn, SqlType
from z4sql.sql.wire import binary_rows, text_rows
from z4sql.sql.wire.binary_rows import encode_binary_rows
from z4sql.sql.wire.codec import ColumnType
from z4sql.sql.wire.columns import column_definition, wire_type
from z4sql.sql.wire.framing import Frames, frame
from z4sql.sql.wire.text_rows import encode_text_rows


def at_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


ARROW: dict[Kind, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    Kind.BOOL: (pa.int64(), st.integers(0, 1)),
    Kind.INT: (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    Kind.UINT: (pa.uint64(), st.integers(0, 2**64 - 1)),
    Kind.DECIMAL: (pa.decimal128(38, 3), st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-3))),
    Kind.DOUBLE: (pa.float64(), st.floats()),
    Kind.STRING: (pa.string(), st.text(max_size=300)),
    Kind.BINARY: (pa.binary(), st.binary(max_size=300)),
    Kind.JSON: (pa.large_string(), st.just('{"a": 1}')),
    Kind.DATE: (pa.date32(), st.dates(date(1000, 1, 1))),
    Kind.DATETIME: (
        pa.timestamp("us"),
        st.datetimes(datetime(1000, 1, 1))
        | st.datetimes(datetime(1000, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    ),
    Kind.TIME: (pa.int64(), st.integers(-838 * 3600 * 10**6, 838 * 3600 * 10**6) | st.just(0)),
}


def lenenc(value: bytes) -> bytes:
    length = len(value)
    if length < 251:
        return bytes((length,)) + value
    if length < 1 << 16:
        return b"\xfc" + struct.pack("<H", length) + value
    if length < 1 << 24:
        return b"\xfd" + struct.pack("<I", length)[:3] + value
    return b"\xfe" + struct.pack("<Q", length) + value


def expected(payloads: Sequence[bytes], sequence: int) -> bytes:
    out = b""
    for payload in payloads:
        while True:
            piece, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
            out += struct.pack("<I", len(piece) | sequence << 24) + piece
            sequence = (sequence + 1) % 256
            if len(piece) < 0xFFFFFF:
                break
    return out


def joined(frames: list[Frames]) -> bytes:
    return b"".join(bytes(piece.data) for piece in frames)


def text_payloads(batch: pa.RecordBatch, types: Sequence[SqlType]) -> list[bytes]:
    cells = [render.render_text(c, t).to_pylist() for c, t in zip(batch.columns, types, strict=True)]
    return [b"".join(b"\xfb" if v is None else lenenc(v) for v in row) for row in zip(*cells, strict=True)]


def binary_value(value: Any, rendered: bytes, kind: Kind) -> bytes:
    if kind is Kind.BOOL:
        return struct.pack("<b", value)
    if kind is Kind.INT:
        return struct.pack("<q", value)
    if kind is Kind.UINT:
        return struct.pack("<Q", value)
    if kind is Kind.DOUBLE:
        return struct.pack("<d", value)
    if kind is Kind.DATE:
        return struct.pack("<BHBB", 4, value.year, value.month, value.day)
    if kind is Kind.DATETIME:
        full = struct.pack("<HBBBBBI", *value.timetuple()[:6], value.microsecond)
        length = 11 if value.microsecond else 7 if value.hour or value.minute or value.second else 4
        return bytes((length,)) + full[:length]
    if kind is Kind.TIME:
        size = abs(value)
        full = struct.pack(
            "<BIBBBI", value < 0, size // 86_400_000_000, size // 3_600_000_000 % 24,
            size // 60_000_000 % 60, size // 1_000_000 % 60, size % 1_000_000,
        )  # fmt: skip
        length = 12 if size % 1_000_000 else 8 if size else 0
        return bytes((length,)) + full[:length]
    return lenenc(rendered)


def binary_payloads(batch: pa.RecordBatch, types: Sequence[SqlType]) -> list[bytes]:
    rendered = [render.render_text(c, t).to_pylist() for c, t in zip(batch.columns, types, strict=True)]
    values = [column.to_pylist() for column in batch.columns]
    payloads = []
    for row in range(batch.num_rows):
        bitmap = 0
        body = b""
        for place, sql_type in enumerate(types):
            value = values[place][row]
            if value is None or (isinstance(value, float) and not abs(value) < float("inf")):
                bitmap |= 1 << place + 2
            else:
                body += binary_value(value, rendered[place][row], sql_type.kind)
        payloads.append(b"\0" + bitmap.to_bytes((len(types) + 9) // 8, "little") + body)
    return payloads


@st.composite
def batches(draw: st.DrawFn) -> tuple[pa.RecordBatch, list[SqlType]]:
    kinds = draw(st.lists(st.sampled_from(list(ARROW)), min_size=1, max_size=12))
    rows = draw(st.integers(0, 12))
    arrays = []
    for kind in kinds:
        arrow, values = ARROW[kind]
        column = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        arrays.append(pa.array(column, arrow))
    start = draw(st.integers(0, rows))
    batch = pa.RecordBatch.from_arrays(arrays, [f"c{i}" for i in range(len(kinds))])
    return batch.slice(start), [SqlType(kind, scale=6) for kind in kinds]


@pytest.fixture(autouse=True, params=[0, 128], ids=["by columns", "by rows when few"])
def few_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (text_rows, binary_rows):
        monkeypatch.setattr(module, "FEW_ROWS", request.param)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=batches(), sequence=st.integers(0, 255))
def test_text_rows_are_those_of_a_plain_encoder(drawn: tuple[Any, list[SqlType]], sequence: int) -> None:
    batch, types = drawn
    assert joined(encode_text_rows(batch, types, sequence)) == expected(text_payloads(batch, types), sequence)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=batches(), sequence=st.integers(0, 255))
def test_binary_rows_are_those_of_a_plain_encoder(drawn: tuple[Any, list[SqlType]], sequence: int) -> None:
    batch, types = drawn
    got = joined(encode_binary_rows(batch, types, sequence))
    assert got == expected(binary_payloads(batch, types), sequence)


LENGTHS = (0, 1, 250, 251, 65_535, 65_536, 1 << 20, (1 << 24) - 5, (1 << 24) - 4, 17 << 20)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("encode", [encode_text_rows, encode_binary_rows])
def test_long_cells_are_framed_right(encode: Any, length: int) -> None:
    batch = batch_of(a=pa.array(["x" * length, None, "y"]), n=pa.array([1, 2, 3], pa.int64()))
    types = [SqlType(Kind.STRING), SqlType(Kind.INT)]
    payloads = text_payloads if encode is encode_text_rows else binary_payloads
    assert joined(encode(batch, types, 254)) == expected(payloads(batch, types), 254)


@pytest.mark.parametrize("encode", [encode_text_rows, encode_binary_rows])
def test_pieces_end_where_packets_end_and_count_them(encode: Any) -> None:
    batch = batch_of(a=pa.array([f"{i:0{i % 500}}" for i in range(5000)]))
    pieces = encode(batch, [SqlType(Kind.STRING)], 7)
    assert len(pieces) > 5
    sequence = 7
    for piece in pieces:
        data, position = bytes(piece.data), 0
        for _ in range(piece.packets):
            assert data[position + 3] == sequence
            sequence = (sequence + 1) % 256
            position += 4 + int.from_bytes(data[position : position + 3], "little")
        assert position == len(data)


@pytest.mark.parametrize("encode", [encode_text_rows, encode_binary_rows])
def test_every_kind_with_nulls_encodes(encode: Any) -> None:
    batch = batch_of(**{name: array for name, _, array in EVERY_KIND})
    types = [sql_type for _, sql_type, _ in EVERY_KIND]
    assert sum(piece.packets for piece in encode(batch, types, 0)) == 3


@pytest.mark.parametrize("length", [0, 0xFFFFFE, 0xFFFFFF, 0x1000000, 2 * 0xFFFFFF])
def test_payloads_split_at_16_mib_and_end_short(length: int) -> None:
    framed = frame(bytes(length), 255)
    assert bytes(framed.data) == expected([bytes(length)], 255)
    assert framed.packets == length // 0xFFFFFF + 1


@pytest.mark.parametrize(
    ("sql_type", "wire", "charset", "length", "decimals", "flags"),
    [
        (SqlType(Kind.STRING, 255), 253, 255, 1020, 0, 0),
        (SqlType(Kind.STRING, 26, collation=Collation.BIN_0900), 253, 255, 104, 0, 0),
        (SqlType(Kind.STRING, 65_535), 252, 255, 262_140, 0, 16),
        (SqlType(Kind.BINARY), 252, 63, 0xFFFFFFFF, 0, 144),
        (SqlType(Kind.JSON), 245, 63, 0xFFFFFFFF, 0, 144),
        (SqlType(Kind.BOOL), 1, 63, 1, 0, 0),
        (SqlType(Kind.INT), 8, 63, 20, 0, 0),
        (SqlType(Kind.UINT), 8, 63, 20, 0, 32),
        (SqlType(Kind.DOUBLE), 5, 63, 22, 31, 0),
        (SqlType(Kind.DECIMAL, 10, 2), 246, 63, 12, 2, 0),
        (SqlType(Kind.DATE), 10, 63, 10, 0, 128),
        (SqlType(Kind.TIME, scale=6), 11, 63, 17, 6, 128),
        (SqlType(Kind.DATETIME, scale=6), 12, 63, 26, 6, 128),
        (SqlType(Kind.TIMESTAMP), 7, 63, 19, 0, 128),
    ],
    ids=lambda value: value.kind.name if isinstance(value, SqlType) else "",
)
def test_columns_are_described_as_mysql_does(
    sql_type: SqlType, wire: int, charset: int, length: int, decimals: int, flags: int
) -> None:
    got = wire_type(sql_type)
    assert (got.type, got.charset, got.length, got.decimals, got.flags) == (
        wire,
        charset,
        length,
        decimals,
        flags,
    )


def test_a_definition_names_its_origin_and_keys() -> None:
    column = ResultColumn("n", SqlType(Kind.INT), False, "t", "tasks", "namespace", "z4", "PRI")
    packet = column_definition(column)
    assert packet.startswith(b"\x03def\x02z4\x01t\x05tasks\x01n\x09namespace\x0c\x3f\x00")
    assert struct.unpack("<H", packet[-5:-3])[0] == 0x4000 | 0x1000 | 2 | 1


@pytest.mark.parametrize(
    ("sql_type", "charset", "decimals", "flags"),
    [
        (SqlType(Kind.STRING, 255), 255, 31, 0),
        (SqlType(Kind.STRING, 26, collation=Collation.BIN_0900), 255, 31, 0),
        (SqlType(Kind.JSON), 255, 31, 128),
        (SqlType(Kind.INT), 63, 0, 128),
        (SqlType(Kind.UINT), 63, 0, 160),
        (SqlType(Kind.DOUBLE), 63, 31, 128),
        (SqlType(Kind.DECIMAL, 10, 2), 63, 2, 128),
        (SqlType(Kind.DATETIME, scale=6), 63, 6, 128),
    ],
    ids=lambda value: value.kind.name if isinstance(value, SqlType) else "",
)
def test_an_expression_is_described_otherwise_than_a_column(
    sql_type: SqlType, charset: int, decimals: int, flags: int
) -> None:
    tail = column_definition(ResultColumn("n", sql_type))[-13:]
    found = struct.unpack("<BHIBHBH", tail)
    assert (found[1], found[5], found[4]) == (charset, decimals, flags)


def test_json_is_text_for_libmariadb() -> None:
    assert wire_type(SqlType(Kind.JSON), json_as_text=True).type is ColumnType.BLOB
