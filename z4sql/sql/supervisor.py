"""Keeps a peer's SQL process running, and never goes down with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

_PAUSE_FIRST_S: Final = 0.2
_PAUSE_MAX_S: Final = 10.0
_STABLE_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 5.0
GIVING_BACK: Final = {"DUCKDB_JE_MALLOC_CONF": "retain:false,dirty_decay_ms:1000,muzzy_decay_ms:0"}
"""The engine's allocator would keep all memory that a query ever took, and so the process reach its limits
for good: jemalloc(3), ``opt.retain``."""

_log = structlog.get_logger()


class SqlSupervisor:
    """Starts ``python -m z4sql.sql`` and starts it again, with growing pauses, whenever it ends."""

    def __init__(
        self,
        socket_path: Path,
        host: str,
        port: int,
        *,
        debug: bool = False,
        security: Sequence[str] = (),
        command: Sequence[str] | None = None,
        on_counts: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """``security``: the process's flags for users and TLS.

        ``on_counts``: what clients did since the last time; see `z4sql.sql.metering.Meter.take`.
        """
        self._on_counts = on_counts
        self._command = [
            *(command or (sys.executable, "-m", "z4sql.sql")),
            *("--feed", str(socket_path), "--host", host, "--port", str(port)),
            *(("--debug",) if debug else ()),
            *(("--report",) if on_counts else ()),
            *security,
        ]
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self.port = port
        """Where it listens; known when 0 was asked for as soon as it is `running`."""
        self.restarts = 0

    @property
    def running(self) -> bool:
        """Whether clients are served."""
        return self._ready.is_set()

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run(), name="sql supervisor")

    async def wait_ready(self, timeout_s: float) -> int:
        """The port, once clients are served. :raises TimeoutError:"""
        await asyncio.wait_for(self._ready.wait(), timeout_s)
        return self.port

    async def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._ready.clear()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
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
                code: int | str = await self._run_once()
            except OSError as error:
                code = str(error)
            self._ready.clear()
            if self._on_counts is not None:
                self._on_counts({"connections": 0})
            if loop.time() - started_s > _STABLE_S:
                pause_s = _PAUSE_FIRST_S
            _log.warning("sql_process_ended", code=code, restart_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            self.restarts += 1

    async def _run_once(self) -> int:
        # The process ends when its standard input does: it cannot outlive this one.
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | GIVING_BACK,
        )
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._note(line)
        return await process.wait()

    def _note(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            event, port = said["event"], int(said["port"])
        except (ValueError, TypeError, KeyError):
            _log.info("sql_process_said", line=line.decode(errors="replace").rstrip())
            return
        if event == "sql_ready":
            self.port = port
            self._ready.set()
            _log.info("sql_process_ready", port=port)
        elif event == "sql_counts" and self._on_counts is not None:
            self._on_counts(said)
