"""Statements: whatever the text, the front end answers or raises an `SqlError` that is not internal.

Through the whole front end over a store of a few tasks: queries run, SHOW shows, SET sets, names prepared
before are executed. python -m fuzz.statements [libFuzzer options]
"""

from __future__ import annotations

import asyncio
import sys

import atheris

with atheris.instrument_imports(include=["z4sql.sql.front"]):
    from fuzz.live import Budget, LiveFront, require_sound
    from fuzz.texts import text_of

_VALUES = ("it's \\ ' ?", 7, None, 1.5e300, b"\0'")
_AFTER = ("SHOW WARNINGS", "SELECT @@sql_mode, @@time_zone, DATABASE(), FOUND_ROWS(), NOW(6)", "EXECUTE p")
_live = LiveFront()
_loop = asyncio.new_event_loop()


async def _run(text: str) -> None:
    with Budget():
        require_sound(await _live.run(text), text)
    with Budget():
        # Whatever it did to its session, the session can be used.
        require_sound(await _live.run("PREPARE p FROM 'SELECT 1'", text, *_AFTER[:2]), text)
        require_sound(await _live.run(f"PREPARE p FROM {_quoted(text)}", _AFTER[2]), text)
        require_sound(await _live.run_prepared(text, _VALUES), text)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def one_input(data: bytes) -> None:
    _loop.run_until_complete(_run(text_of(data)))


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
