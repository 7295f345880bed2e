"""What is wrong with a regular expression: the engine's words, and MySQL's errors (manual: ER_REGEXP_*)."""

from __future__ import annotations

import re
from typing import Final

from z4sql.sql.errors import SqlError, Unsupported

_MISMATCHED: Final = (3691, "Mismatched parenthesis in regular expression.")
_SYNTAX: Final = (3688, "Syntax error in regular expression.")
_ILLEGAL: Final = (3685, "Illegal argument to a regular expression.")

_PROBLEMS: Final = tuple(
    (re.compile(pattern), code, message)
    for pattern, (code, message) in (
        (r"missing \): |unexpected \): |missing closing \)", _MISMATCHED),
        (r"missing \]: ", (3696, "The regular expression contains an unclosed bracket expression.")),
        (r"trailing \\", (3689, "Unrecognized escape sequence in regular expression.")),
        (r"invalid escape sequence: \\\D", (3689, "Unrecognized escape sequence in regular expression.")),
        (
            r"invalid character class range: (?!\[:|\\[pP])",
            (3697, "The regular expression contains an [x-y] character range where x comes after y."),
        ),
        (r"invalid character class range: |invalid UTF-8|invalid named capture", _ILLEGAL),
        (r"repetition operator: |invalid perl operator: ", _SYNTAX),
        (
            r"pattern too large|expression nesting depth exceeded|program size",
            (3700, "The regular expression pattern exceeds limits on size or complexity."),
        ),
        (
            r"Rewrite schema requests \d+ matches",
            (3686, "Index out of bounds in regular expression search."),
        ),
        (r"Rewrite schema error|Invalid replacement string", _ILLEGAL),
    )
)
_REPETITION: Final = re.compile(r"invalid repetition size: \{(\d+)(?:,(\d*))?\}")
_REFERENCE: Final = re.compile(r"invalid escape sequence: \\\d")


def regexp_problem(text: str) -> SqlError | None:
    """The error that the engine means with a pattern or a replacement; None where it means another."""
    repetition = _REPETITION.search(text)
    if repetition is not None:
        least, most = repetition[1], repetition[2] or repetition[1]
        if (len(most), most) < (len(least), least):
            return SqlError("The maximum is less than the minumum in a {min,max} interval.", code=3693)
        return Unsupported("This version of z4 doesn't yet support 'more than 1000 repetitions in a pattern'")
    if _REFERENCE.search(text):
        return Unsupported("This version of z4 doesn't yet support 'back-references in a pattern'")
    for pattern, code, message in _PROBLEMS:
        if pattern.search(text):
            return SqlError(message, code=code)
    return None
