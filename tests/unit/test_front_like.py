"""LIKE of SHOW: what it matches, and that no pattern can hold up the server."""

from __future__ import annotations

import random
import time

import pytest

from z4sql.sql.front.like import is_like


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("version", "VERSION", True),
        ("version_comment", "version", False),
        ("version_comment", "version%", True),
        ("tasks", "t_sks", True),
        ("a_b", r"a\_b", True),
        ("axb", r"a\_b", False),
        ("100%", r"100\%", True),
        ("", "%", True),
        ("", "_", False),
        ("a\nb", "a%b", True),
        ("aXbXc", "a%x%c", True),
        ("abcabd", "%ab_", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
    ],
)
def test_patterns(text: str, pattern: str, matches: bool) -> None:
    assert is_like(text, pattern) is matches


def reference(text: str, pattern: str) -> bool:
    """All ends that a prefix of the pattern can reach, one character of it at a time."""
    reached = {0}
    characters = iter(pattern.lower())
    for character in characters:
        if character == "%":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
            continue
        anything = character == "_"
        wanted = next(characters, "\\") if character == "\\" else character
        reached = {
            at + 1 for at in reached if text[at : at + 1].lower() == wanted or (anything and at < len(text))
        }
    return len(text) in reached


def test_random_patterns_match_what_they_should() -> None:
    chance = random.Random(11)
    for _ in range(20_000):
        text = "".join(chance.choices("aB_%\\", k=chance.randint(0, 8)))
        pattern = "".join(chance.choices("ab_%\\", k=chance.randint(0, 7)))
        assert is_like(text, pattern) is reference(text, pattern), (text, pattern)


@pytest.mark.parametrize("piece", ["%_", "%a", "%a_", "_%"])
def test_no_pattern_takes_long(piece: str) -> None:
    started = time.perf_counter()
    assert not is_like("a" * 500, piece * 100 + "!")
    assert time.perf_counter() - started < 1
