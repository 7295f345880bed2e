"""Statements: whatever the text, the front end answers or raises `SqlError`, and nothing is ever written.

python -m fuzz.statements [libFuzzer options]
"""

from __future__ import annotations

import asyncio
import sys

import atheris

with atheris.instrument_imports(include=["z4sql.sql.front"]):
    from fuzz.texts import text_of
    from tests.front_driver import FrontDriver
    from z4sql.sql.errors import SqlError

_loop = asyncio.new_event_loop()


async def _run(text: str) -> None:
    driver = FrontDriver()
    try:
        async with asyncio.timeout(0.2):  # SELECT SLEEP(1)
            await driver.run(text)
    except (SqlError, TimeoutError):
        pass
    try:
        prepared = await driver.front.prepare(driver.session, text)
        values = ("it's \\ ' ?",) * prepared.parameter_count
        async with asyncio.timeout(0.2):
            await driver.front.execute_prepared(driver.session, prepared, values)
    except (SqlError, TimeoutError):
        pass


def one_input(data: bytes) -> None:
    _loop.run_until_complete(_run(text_of(data)))


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
