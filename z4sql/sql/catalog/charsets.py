"""Character sets and collations that clients may name.

MySQL manual: Supported Character Sets and Collations.
"""

from __future__ import annotations

CHARACTER_SETS: tuple[tuple[str, str, str, int], ...] = (
    ("ascii", "ascii_general_ci", "US ASCII", 1),
    ("binary", "binary", "Binary pseudo charset", 1),
    ("latin1", "latin1_swedish_ci", "cp1252 West European", 1),
    ("utf8mb3", "utf8mb3_general_ci", "UTF-8 Unicode", 3),
    ("utf8mb4", "utf8mb4_0900_ai_ci", "UTF-8 Unicode", 4),
)
"""Name, default collation, description, bytes of the longest character."""

COLLATIONS: tuple[tuple[str, str, int, str, str, int, str], ...] = (
    ("ascii_bin", "ascii", 65, "", "Yes", 1, "PAD SPACE"),
    ("ascii_general_ci", "ascii", 11, "Yes", "Yes", 1, "PAD SPACE"),
    ("binary", "binary", 63, "Yes", "Yes", 1, "NO PAD"),
    ("latin1_bin", "latin1", 47, "", "Yes", 1, "PAD SPACE"),
    ("latin1_general_ci", "latin1", 48, "", "Yes", 1, "PAD SPACE"),
    ("latin1_swedish_ci", "latin1", 8, "Yes", "Yes", 1, "PAD SPACE"),
    ("utf8mb3_bin", "utf8mb3", 83, "", "Yes", 1, "PAD SPACE"),
    ("utf8mb3_general_ci", "utf8mb3", 33, "Yes", "Yes", 1, "PAD SPACE"),
    ("utf8mb3_unicode_ci", "utf8mb3", 192, "", "Yes", 8, "PAD SPACE"),
    ("utf8mb4_0900_ai_ci", "utf8mb4", 255, "Yes", "Yes", 0, "NO PAD"),
    ("utf8mb4_0900_as_ci", "utf8mb4", 305, "", "Yes", 0, "NO PAD"),
    ("utf8mb4_0900_as_cs", "utf8mb4", 278, "", "Yes", 0, "NO PAD"),
    ("utf8mb4_0900_bin", "utf8mb4", 309, "", "Yes", 1, "NO PAD"),
    ("utf8mb4_bin", "utf8mb4", 46, "", "Yes", 1, "PAD SPACE"),
    ("utf8mb4_general_ci", "utf8mb4", 45, "", "Yes", 1, "PAD SPACE"),
    ("utf8mb4_unicode_520_ci", "utf8mb4", 246, "", "Yes", 8, "PAD SPACE"),
    ("utf8mb4_unicode_ci", "utf8mb4", 224, "", "Yes", 8, "PAD SPACE"),
)
"""Name, character set, id, whether its default, whether compiled in, sort length, padding."""

_SPELLINGS = {"utf8": "utf8mb3"}


def character_set(name: str) -> str | None:
    """The character set called ``name``, None when unknown."""
    wanted = _SPELLINGS.get(name.lower(), name.lower())
    return wanted if any(wanted == known for known, *_ in CHARACTER_SETS) else None


def default_collation(name: str) -> str:
    """Of a known character set."""
    return next(collation for known, collation, *_ in CHARACTER_SETS if known == name)


def collation(name: str) -> tuple[str, str] | None:
    """A collation and its character set, None when unknown."""
    wanted = name.lower()
    if wanted.startswith("utf8_"):
        wanted = "utf8mb3_" + wanted.removeprefix("utf8_")
    return next(((known, of) for known, of, *_ in COLLATIONS if known == wanted), None)
