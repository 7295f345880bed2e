"""A terminal in which a client runs, as people use it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType

_TIMEOUT_S = 30


class Terminal:
    """``with``: the program runs; it is killed at the end, should it still."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def __enter__(self) -> Terminal:
        self._terminal, side = pty.openpty()
        self._process = subprocess.Popen(
            self._command,
            stdin=side,
            stdout=side,
            stderr=side,
            env=os.environ | {"TERM": "dumb"},
            start_new_session=True,
        )
        os.close(side)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def say(self, keys: str, *answer: str) -> None:
        """Type ``keys`` and read until all of ``answer`` has come, in any order."""
        os.write(self._terminal, keys.encode())
        self.wait_for(*answer)

    def wait_for(self, *words: str) -> None:
        said, deadline_s = "", time.monotonic() + _TIMEOUT_S
        while any(word not in said for word in words):
            ready, _, _ = select.select([self._terminal], [], [], max(0, deadline_s - time.monotonic()))
            assert ready, f"{words!r} are not all in {said!r}"
            said += os.read(self._terminal, 65_536).decode(errors="replace").replace("\r\n", "\n")

    def wait_for_end(self) -> int:
        """The program's exit code."""
        return self._process.wait(_TIMEOUT_S)
