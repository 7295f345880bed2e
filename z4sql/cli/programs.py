"""Programs that handle tasks, one process for each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Final

from z4sql.cli.times import format_instant
from z4sql.client import Delivery, Task
from z4sql.client.keeping import Keeping

_KILL_AFTER_S: Final = 2.0
_LAST_LINE_BYTES: Final = 1_000


class Programs:
    """Runs ``command`` by the shell; ``dead_code``: the exit code that means no further attempt."""

    def __init__(self, command: str, dead_code: int | None) -> None:
        self._command = command
        self._dead_code = dead_code

    async def handle(self, delivery: Delivery) -> None:
        """Run it for one task and say how it went; the lease lasts as long as the program runs."""
        running = asyncio.create_task(self._run(delivery.task))
        keeping = Keeping(delivery, running.cancel)
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            raise
        finally:
            keeping.stop()
        if running.cancelled():
            # Said in vain, the lease is lost; but the consumer may take another task.
            await delivery.nack("the lease was lost")
            return
        try:
            code, last_line = running.result()
        except OSError as problem:
            await delivery.nack(f"the program was not started: {problem}")
            return
        if code == 0:
            await delivery.ack()
            return
        error = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        if last_line:
            error += f": {last_line}"
        print(f"z4t: task {delivery.task.id}: {error}", file=sys.stderr)
        if code == self._dead_code:
            await delivery.dead(error)
        else:
            await delivery.nack(error)

    async def _run(self, task: Task) -> tuple[int, str]:
        """Exit code and the last line of what it wrote to its standard error, which is passed on."""
        process = await asyncio.create_subprocess_shell(
            self._command,
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | environment(task),
            start_new_session=True,
        )
        assert process.stdin is not None and process.stderr is not None
        try:
            _, last_line = await asyncio.gather(_feed(process.stdin, task.payload), _pass_on(process.stderr))
            return await process.wait(), last_line
        except asyncio.CancelledError:
            await _end(process)
            raise


def environment(task: Task) -> dict[str, str]:
    """What a program is told about its task."""
    return {
        "Z4_TASK_ID": task.id,
        "Z4_TASK_NAMESPACE": task.namespace,
        "Z4_TASK_ATTEMPT": str(task.attempts),
        "Z4_TASK_DELIVER_AT": format_instant(task.deliver_at),
        "Z4_TASK_METADATA": json.dumps(task.metadata, ensure_ascii=False, sort_keys=True),
    }


async def _feed(stdin: asyncio.StreamWriter, payload: bytes) -> None:
    """A program need not read its input."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(payload)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _pass_on(stderr: asyncio.StreamReader) -> str:
    last = b""
    rest = b""
    while data := await stderr.read(64 << 10):
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
        rest = (rest + data)[-2 * _LAST_LINE_BYTES :]
        lines = [line.strip() for line in rest.splitlines() if line.strip()]
        last = lines[-1] if lines else last
    return last[:_LAST_LINE_BYTES].decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole group: a shell does not pass signals on."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _KILL_AFTER_S)
            return
