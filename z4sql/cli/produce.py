"""``z4t produce``: tasks from JSON lines."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import IO, TYPE_CHECKING, Final, TypeVar

from z4sql.cli.command import (
    FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    CommandError,
    Commands,
    add_command,
    asynchronous,
    counted,
    positive,
    print_json,
    reached,
)
from z4sql.cli.times import parse_duration, parse_instant

if TYPE_CHECKING:
    import asyncio
    import threading

    from z4sql.client import AsyncClient, NewTask

T = TypeVar("T")

_EXAMPLES: Final = {
    "delay": ', for example "90s"',
    "deliver_at": ', for example "2022-04-16T10:00:00Z"',
    "expire_at": ', for example "2022-04-16T10:00:00Z"',
}
BATCH: Final = 500
_BATCH_BYTES: Final = 4 << 20
_IN_FLIGHT_MAX: Final = 4
_TIMEOUT_S: Final = 30.0
FIELDS: Final = (
    "namespace",
    "payload",
    "payload_base64",
    "metadata",
    "deliver_at",
    "delay",
    "tts_seconds",
    "expire_at",
    "request_id",
)
_OF_STORED_TASKS: Final = frozenset(
    {
        *("id", "state", "created_at", "attempts", "last_attempt_at", "next_attempt_at", "lease_owner"),
        *("lease_until", "finished_at", "last_error", "etag", "events"),
    }
)
"""What ``task get`` prints beside these: a printed task can be created again."""


def add(commands: Commands) -> None:
    """Register ``produce``."""
    parser = add_command(
        commands, "produce", _produce, "create tasks from JSON lines, in batches",
        example="z4t produce - -ns welcome_emails < tasks.jsonl",
    )  # fmt: skip
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="- or nothing: standard input")
    parser.add_argument("--batch", type=positive, default=BATCH, metavar="N", help="tasks in a batch at most")
    parser.add_argument(
        "--request-ids",
        metavar="PREFIX",
        help="request id PREFIX:LINE for lines without one: a repeated run creates nothing twice",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the lines, create nothing")


def read_line(text: bytes, namespace: str | None, now: datetime) -> NewTask:
    """The task of one line. :raises ValueError: naming the field that is wrong."""
    from z4sql.client import NewTask

    try:
        given = json.loads(text)
    except ValueError as problem:
        raise ValueError(f"is no JSON: {problem}") from None
    if not isinstance(given, dict):
        raise ValueError("is no JSON object")
    for name in given:
        if name not in FIELDS and name not in _OF_STORED_TASKS:
            near = get_close_matches(name, FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FIELDS)}"
            raise ValueError(f"unknown field {name!r}; {hint}")
    name = given.get("namespace") or namespace
    if not name:
        raise ValueError("namespace: is required, in the line or with -ns")
    if not isinstance(name, str):
        raise ValueError("namespace: must be a string")
    tts_seconds = given.get("tts_seconds")
    delay = _read(given, "delay", parse_duration)
    if tts_seconds is not None:
        if not isinstance(tts_seconds, int) or isinstance(tts_seconds, bool) or tts_seconds < 0:
            raise ValueError("tts_seconds: must be a number of whole seconds")
        if tts_seconds and delay is not None:
            raise ValueError("tts_seconds: give it or delay, not both")
        delay = parse_duration(str(tts_seconds)) if tts_seconds else delay
    elif delay is not None and given.get("deliver_at") is not None:
        raise ValueError("delay: give it or deliver_at, not both")
    return NewTask(
        name,
        None if delay is not None else _read(given, "deliver_at", lambda at: parse_instant(at, now)),
        delay,
        _metadata(given.get("metadata")),
        _payload(given),
        _read(given, "request_id", str) or "",
        _read(given, "expire_at", lambda at: parse_instant(at, now)),
    )


def _read(given: dict[str, object], name: str, reader: Callable[[str], T]) -> T | None:
    text = given.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"{name}: must be a string{_EXAMPLES.get(name, '')}")
    try:
        return reader(text)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None


def _metadata(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError('metadata: must be an object of strings, for example {"user_id": "42"}')
    return given


def _payload(given: dict[str, object]) -> bytes:
    """Text as UTF-8; any other JSON as compact JSON."""
    encoded, payload = given.get("payload_base64"), given.get("payload")
    if encoded is not None:
        if payload is not None:
            raise ValueError("payload_base64: give it or payload, not both")
        try:
            return base64.b64decode(str(encoded), validate=True)
        except binascii.Error as problem:
            raise ValueError(f"payload_base64: {problem}") from None
    if payload is None:
        return b""
    text = (
        payload
        if isinstance(payload, str)
        else json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    )
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("payload: is not valid Unicode") from None


def _produce(options: argparse.Namespace) -> int:
    import asyncio

    file = _opened(options.file)
    endpoints = [] if options.dry_run else reached(options)
    producer = _Producer(options)
    try:
        asyncio.run(producer.run(file, endpoints))
    except KeyboardInterrupt:
        print(f"z4t: interrupted: {producer.counts()} for certain", file=sys.stderr)
        return INTERRUPTED
    if options.output == "table":
        print(producer.counts())
    return FAILED if producer.failed else OK


def _opened(name: str) -> IO[bytes]:
    """Whoever reads it closes it. Not `sys.stdin`, whose lock the interpreter wants at its end."""
    try:
        return open(0, "rb", closefd=False) if name == "-" else open(name, "rb")
    except OSError as problem:
        raise CommandError(f"{name}: {problem.strerror}", USAGE) from None


class _Producer:
    """Reads lines in a thread, sends what is there as a batch, some batches at a time."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._namespace = options.namespace or options.queue
        self._created = 0
        self.failed = 0

    async def run(self, file: IO[bytes], endpoints: list[str]) -> None:
        """Until the end of ``file``."""
        import asyncio
        import threading

        lines: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        room = threading.Semaphore(self._options.batch * (_IN_FLIGHT_MAX + 2))
        loop = asyncio.get_running_loop()

        def read() -> None:
            # RuntimeError: the loop is closed, the command was interrupted.
            with file, suppress(RuntimeError):
                number = 0
                try:
                    for number, line in enumerate(file, start=1):
                        room.acquire()
                        loop.call_soon_threadsafe(lines.put_nowait, (number, line))
                except OSError as problem:
                    loop.call_soon_threadsafe(self._fail, number + 1, f"not read: {problem.strerror}")
                loop.call_soon_threadsafe(lines.put_nowait, None)

        threading.Thread(target=read, daemon=True).start()
        if self._options.dry_run:
            await self._send_all(lines, room, None)
            return
        async with asynchronous(self._options, endpoints, _TIMEOUT_S) as client:
            await self._send_all(lines, room, client)

    def counts(self) -> str:
        """How many were created, and how many failed if any did."""
        done = "would be created" if self._options.dry_run else "created"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{counted(self._created, 'task')} {done}{failed}"

    async def _send_all(
        self,
        lines: asyncio.Queue[tuple[int, bytes] | None],
        room: threading.Semaphore,
        client: AsyncClient | None,
    ) -> None:
        import asyncio

        sending: set[asyncio.Task[None]] = set()
        ended = False
        while not ended:
            batch: list[tuple[int, NewTask]] = []
            size = 0
            line = await lines.get()
            while True:
                if line is None:
                    ended = True
                    break
                room.release()
                number, text = line
                task = self._read(number, text)
                if task is not None:
                    batch.append((number, task))
                    size += len(task.payload)
                if len(batch) >= self._options.batch or size >= _BATCH_BYTES or lines.empty():
                    break
                line = lines.get_nowait()
            if batch:
                sending.add(asyncio.create_task(self._send(client, batch)))
            if len(sending) >= _IN_FLIGHT_MAX:
                sent, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*sent)
        await asyncio.gather(*sending)

    def _read(self, number: int, text: bytes) -> NewTask | None:
        if not text.strip():
            return None
        try:
            task = read_line(text, self._namespace, datetime.now(UTC))
        except (ValueError, RecursionError) as problem:
            too_deep = isinstance(problem, RecursionError)
            self._fail(number, "is nested too deeply" if too_deep else str(problem))
            return None
        if self._options.request_ids and not task.request_id:
            from dataclasses import replace

            return replace(task, request_id=f"{self._options.request_ids}:{number}")
        return task

    async def _send(self, client: AsyncClient | None, batch: list[tuple[int, NewTask]]) -> None:
        """Failures are reported by line. :raises BrokenPipeError: when nobody reads what is printed."""
        from z4sql.client import Z4Error

        if client is None:
            self._created += len(batch)
            return
        try:
            results = await client.create_many([task for _, task in batch])
        except (Z4Error, ValueError) as problem:
            results = [problem if isinstance(problem, Z4Error) else Z4Error(str(problem))] * len(batch)
        for (number, task), result in zip(batch, results, strict=True):
            if isinstance(result, Z4Error):
                self._fail(number, str(result))
                continue
            self._created += 1
            if self._options.output == "json":
                print_json({"line": number, "namespace": task.namespace, "id": result}, lines=True)

    def _fail(self, number: int, problem: str) -> None:
        self.failed += 1
        print(f"z4t: line {number}: {' '.join(problem.split())}", file=sys.stderr)
