"""Keeps a peer's SQL process running, and never goes down with it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

_PAUSE_FIRST_S = 0.2
_PAUSE_MAX_S = 10.0
_STABLE_S = 30.0
_STOP_TIMEOUT_S = 5.0

_log = structlog.get_logger()


class SqlSupervisor:
    """Starts ``python -m z4sql.sql`` and starts it again, with growing pauses, whenever it ends."""

    def __init__(self, socket_path: Path, host: str, port: int, *, debug: bool = False) -> None:
        self._command = [
            *(sys.executable, "-m", "z4sql.sql", "--feed", str(socket_path)),
            *("--host", host, "--port", str(port)),
            *(("--debug",) if debug else ()),
        ]
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sql supervisor")

    async def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _run(self) -> None:
        pause_s = _PAUSE_FIRST_S
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            try:
                # The process ends when its standard input does: it cannot outlive this one.
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, stdin=asyncio.subprocess.PIPE
                )
                code: int | str = await self._process.wait()
            except OSError as error:
                code = str(error)
            if loop.time() - started_s > _STABLE_S:
                pause_s = _PAUSE_FIRST_S
            _log.warning("sql_process_ended", code=code, restart_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
