"""LIKE patterns over Python strings, without regard to case. MySQL manual: String Comparison Functions."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def like_pattern(pattern: str, escape: str = "\\") -> re.Pattern[str]:
    """``%`` is any text, ``_`` any one character, unless behind ``escape``."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            parts.append(re.escape(next(characters, escape)))
        elif character == "%":
            if parts[-1:] != [".*"]:
                parts.append(".*")
        else:
            parts.append("." if character == "_" else re.escape(character))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def is_like(text: str, pattern: str, escape: str = "\\") -> bool:
    return like_pattern(pattern, escape).fullmatch(text) is not None
