"""Task ids: one text for each place, in the same order, and nothing else is an id."""

from __future__ import annotations

import re

import numpy as np
import pytest

from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import format_id, format_ids, parse_id
from z4sql.tasks.keys import place
from z4sql.tasks.model import DELIVER_AT_MAX_US

INSTANTS = (-(1 << 63), -1, 0, 1, 1_650_000_000_123_456, DELIVER_AT_MAX_US, (1 << 63) - 1)
SEQUENCES = (0, 1, 31, 32, 1 << 20, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
PLACES = [(instant, sequence) for instant in INSTANTS for sequence in SEQUENCES]


@pytest.mark.parametrize("where", PLACES)
def test_an_id_tells_its_place(where: tuple[int, int]) -> None:
    text = format_id(*where)
    assert len(text) == 26 and text[0] in "01234567"
    assert parse_id(text) == where
    assert parse_id(text.lower()) == where


def test_ids_sort_as_keys_and_as_delivery_order() -> None:
    assert sorted(PLACES) == PLACES
    assert [format_id(*where) for where in PLACES] == sorted(format_id(*where) for where in PLACES)
    assert [place(*where) for where in PLACES] == sorted(place(*where) for where in PLACES)


def test_many_ids_at_once_are_the_same_ids() -> None:
    matrix = format_ids(
        np.array([instant for instant, _ in PLACES], np.int64),
        np.array([sequence for _, sequence in PLACES], np.uint64),
    )
    assert [row.tobytes().decode() for row in matrix] == [format_id(*where) for where in PLACES]
    assert format_ids(np.array([], np.int64), np.array([], np.uint64)).shape == (0, 26)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "26 characters"),
        ("0" * 25, "26 characters"),
        ("0" * 27, "26 characters"),
        ("8" + "0" * 25, "begin with 0 to 7"),
        ("z" * 26, "begin with 0 to 7"),
        ("0" * 25 + "U", "'U' is not"),
        ("0" * 25 + "l", "'l' is not"),
        ("0" * 25 + "I", "'I' is not"),
        ("0" * 25 + "o", "'o' is not"),
        ("0" * 12 + "_" + "0" * 13, "'_' is not"),
        (" " + "0" * 25, "' ' is not"),
        ("0" * 25 + "\n", "is not"),
        ("-" + "0" * 25, "'-' is not"),
        ("+" + "0" * 25, "'+' is not"),
        ("0" * 25 + "é", "'é' is not"),
        ("0" * 25 + "٣", "'٣' is not"),
        ("0" * 25 + "ſ", "'ſ' is not"),
        ("0" * 25 + "\ud800", "is not"),
        ("0" * 25 + "\0", "is not"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(InvalidTask, match=re.escape(problem)) as refused:
        parse_id(text)
    assert refused.value.field == "task_id"
