"""Constants that name their character set are the same text without it, in every part of a statement."""

from __future__ import annotations

import pytest

from tests.compared_answers import Ours, rows_of_corpus
from tests.front_driver import FrontDriver
from tests.planner_tables import ranges
from z4sql.sql.errors import SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import read_source
from z4sql.sql.lowering.names import shown_name

TEXTS = [
    ("_utf8mb4'a'", "a"),
    ("_UTF8MB4 'é'", "é"),
    ("_utf8'a' 'b'", "ab"),
    ("_utf8mb3'x'", "x"),
    ("_ascii'a'", "a"),
    ("_latin1'a'", "a"),
    ("_utf8mb4 0x61", "a"),
    ("_utf8mb4 x'C3A9'", "é"),
    ("_utf8mb4 b'1100001'", "a"),
]
ROWS = rows_of_corpus(5)
REFUSED = [("_ascii'é'", 1300), ("_utf8mb4 0xff", 1300), ("_latin1'é'", 1235), ("_koi8r'a'", 1235)]


@pytest.mark.parametrize(("written", "text"), TEXTS)
async def test_the_text_is_the_same_in_bounds_in_the_engine_and_alone(
    ours: Ours, written: str, text: str
) -> None:
    where = "deliver_at >= '2022-01-01' AND deliver_at < '2022-01-02'"
    for condition in (f"namespace = {written}", f"{written} = namespace", f"namespace IN ({written})"):
        (only,) = ranges(f"SELECT id FROM tasks WHERE {condition} AND {where}")
        assert only[0] == text
    assert ours.answer(f"SELECT {written}, CONCAT({written}, 'z')") == [
        (text.encode(), (text + "z").encode())
    ]
    assert ours.answer(f"SELECT DISTINCT {written} = '{text}' FROM tasks") == [(b"1",)]
    driver = FrontDriver()
    await driver.run(f"SET @a = {written}")
    assert driver.session.user_variables["a"] == text


def test_binary_gives_bytes(ours: Ours) -> None:
    assert ours.answer("SELECT _binary'é', HEX(_binary 0xff), _binary'a' = 'A'") == [
        ("é".encode(), b"FF", b"0")
    ]


@pytest.mark.parametrize(("written", "code"), REFUSED)
def test_what_is_no_such_text_is_refused(ours: Ours, written: str, code: int) -> None:
    assert ours.answer(f"SELECT {written}") == "error"
    assert ours.error is not None
    assert ours.error.code == code
    with pytest.raises(SqlError) as caught:
        ranges(f"SELECT id FROM tasks WHERE namespace = {written} AND deliver_at = '2022-01-01'")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("written", "header"),
    [
        ("_utf8mb4'a'", "a"),
        ("_binary'c'", "c"),
        ("_utf8mb4 0x61", "_utf8mb4 0x61"),
        ("_utf8mb4'a' COLLATE utf8mb4_bin", "_utf8mb4'a' COLLATE utf8mb4_bin"),
    ],
)
def test_the_header_of_a_text_is_the_text(written: str, header: str) -> None:
    query = QueryParser().parse(read_source(f"SELECT {written}"))
    assert shown_name(query.expressions[0], written) == header
