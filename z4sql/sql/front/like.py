"""LIKE patterns over Python strings, without regard to case. MySQL manual: String Comparison Functions."""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def like_pattern(pattern: str, escape: str = "\\") -> re.Pattern[str]:
    """``%`` is any text, ``_`` any one character, unless behind ``escape``.

    The first place where a part between two ``%`` fits is as good as any later one, so the parts are atomic:
    matching takes time in proportion to text times pattern, whatever the pattern.
    """
    parts = [""]
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            parts[-1] += re.escape(next(characters, escape))
        elif character == "%":
            parts.append("")
        else:
            parts[-1] += "." if character == "_" else re.escape(character)
    if len(parts) == 1:
        return re.compile(parts[0], re.IGNORECASE | re.DOTALL)
    first, *middle, last = parts
    searched = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{searched}.*{last}", re.IGNORECASE | re.DOTALL)


def is_like(text: str, pattern: str, escape: str = "\\") -> bool:
    return like_pattern(pattern, escape).fullmatch(text) is not None
