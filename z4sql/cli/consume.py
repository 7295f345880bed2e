"""``z4t consume``: print due tasks, or run a program for each, and acknowledge them."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from z4sql.cli.command import (
    INTERRUPTED,
    OK,
    TIMEOUT_S,
    USAGE,
    CommandError,
    Commands,
    add_command,
    asynchronous,
    duration,
    namespace_of,
    positive,
    reached,
)

if TYPE_CHECKING:
    import asyncio

    from z4sql.client import AsyncClient, Delivery, Task

_CREDIT = 100
_GRACE_S = 30.0
_LOOK_AGAIN_S = 1.0


def add(commands: Commands) -> None:
    """Register ``consume``."""
    parser = add_command(
        commands, "consume", _consume, "print due tasks, or run a program for each, and acknowledge them",
        example="z4t consume welcome_emails --exec 'sendmail -t' --concurrency 4",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAMESPACE")
    parser.add_argument(
        "--exec",
        dest="program",
        metavar="CMD",
        help="run this by the shell for each task: the payload on its standard input, Z4_TASK_ID, "
        "Z4_TASK_NAMESPACE, Z4_TASK_ATTEMPT, Z4_TASK_DELIVER_AT and Z4_TASK_METADATA (JSON) in its "
        "environment; exit code 0 acknowledges, any other gives the task back",
    )
    parser.add_argument("--concurrency", type=positive, default=1, metavar="N", help="programs at once")
    parser.add_argument("--dead-on", type=positive, metavar="CODE", help="this exit code: no further attempt")
    parser.add_argument("--count", type=positive, metavar="N", help="end after so many tasks")
    parser.add_argument("--lease", type=duration, metavar="DURATION", help="instead of the ack deadline")
    parser.add_argument("--consumer", default="", metavar="NAME", help="shown as lease owner")
    parser.add_argument(
        "--no-ack",
        action="store_true",
        help="look only: every task is given back, and the attempt does not count",
    )


def _consume(options: argparse.Namespace) -> int:
    import asyncio

    namespace = namespace_of(options, options.name)
    if options.program is None and options.dead_on is not None:
        raise CommandError("--dead-on goes with --exec", USAGE)
    if options.program is not None and options.no_ack:
        raise CommandError("--no-ack does not go with --exec", USAGE)
    return asyncio.run(_run(options, namespace, reached(options)))


async def _run(options: argparse.Namespace, namespace: str, endpoints: list[str]) -> int:
    """Until the count is reached or a signal comes; a second one does not wait for programs.

    What was not acknowledged is given back.
    """
    import asyncio
    import signal

    stopping = asyncio.Event()
    interrupted = False

    def on_signal(number: int) -> None:
        nonlocal interrupted
        interrupted = interrupted or number == signal.SIGINT
        if stopping.is_set():
            taking.cancel()
        stopping.set()

    loop = asyncio.get_running_loop()
    async with asynchronous(options, endpoints, TIMEOUT_S) as client:
        taking = asyncio.create_task(_take(options, namespace, client, stopping))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        await asyncio.wait([taking])
    if not taking.cancelled():
        taking.result()
    return INTERRUPTED if interrupted else OK


async def _take(
    options: argparse.Namespace, namespace: str, client: AsyncClient, stopping: asyncio.Event
) -> None:
    """Handle every delivery beside the others; the credit bounds how many."""
    import asyncio

    from z4sql.cli.programs import Programs

    programs = None if options.program is None else Programs(options.program, options.dead_on)
    open_ones: set[asyncio.Task[None]] = set()
    looked = asyncio.Event()
    async with client.consume(
        namespace,
        credit=_CREDIT if programs is None else options.concurrency,
        lease=options.lease,
        limit=options.count,
        name=options.consumer,
    ) as deliveries:

        async def watch() -> None:
            await stopping.wait()
            looked.set()
            await deliveries.drain()

        watching = asyncio.create_task(watch())
        try:
            await _announce(client, namespace)
            async for delivery in deliveries:
                if programs is not None:
                    if _nobody_reads():
                        await deliveries.drain()
                        await delivery.release()
                        raise BrokenPipeError
                    handling = programs.handle(delivery)
                else:
                    print(_text(options, delivery.task), flush=True)
                    handling = _give_back(delivery, looked) if options.no_ack else _acknowledge(delivery)
                handled = asyncio.create_task(handling)
                open_ones.add(handled)
                handled.add_done_callback(open_ones.discard)
            looked.set()
            if open_ones:
                await asyncio.wait(open_ones, timeout=_GRACE_S if stopping.is_set() else None)
        finally:
            watching.cancel()
            for handled in open_ones:
                handled.cancel()
            if open_ones:
                await asyncio.wait(open_ones)


async def _announce(client: AsyncClient, namespace: str) -> None:
    """Say that a namespace is not there yet: who misspelt its name would wait for ever."""
    from z4sql.client import NotFound, Z4Error

    try:
        await client.namespaces.get(namespace)
    except NotFound:
        print(f"z4t: {namespace!r} is a new namespace: waiting for its first task", file=sys.stderr)
    except Z4Error:
        # Not allowed to know, or not now: nothing to say.
        return


def _nobody_reads() -> bool:
    """Is standard output a pipe that was closed? Each program would fail for it, and use up an attempt."""
    import select

    watched = select.poll()
    watched.register(1, 0)
    return any(events & select.POLLERR for _, events in watched.poll(0))


async def _acknowledge(delivery: Delivery) -> None:
    await delivery.ack()


async def _give_back(delivery: Delivery, looked: asyncio.Event) -> None:
    """Untouched, and not at once: it would come back at once."""
    import asyncio

    with suppress(TimeoutError):
        await asyncio.wait_for(looked.wait(), min(_LOOK_AGAIN_S, delivery.lease_s / 2))
    await delivery.release()


def _text(options: argparse.Namespace, task: Task) -> str:
    if options.output == "json":
        from z4sql.cli.showing import task_json

        return json.dumps(task_json(task), separators=(",", ":"), ensure_ascii=False)
    return json.dumps(first_generation(task, later=options.queue is not None), indent=2, ensure_ascii=False)


def first_generation(task: Task, *, later: bool) -> dict[str, object]:
    """A task as the first generation's tool printed it; what is zero is left out.

    ``later``: with the names of the later generation, which calls a namespace a queue.
    """
    shown: dict[str, object] = {"id": task.id, "queue" if later else "namespace": task.namespace}
    if task.metadata:
        shown["metadata"] = task.metadata
    if task.payload:
        shown["payload"] = base64.b64encode(task.payload).decode()
    shown["schedule_time" if later else "deliver_at"] = _stamp(task.deliver_at)
    if task.attempts > 1 and task.last_attempt_at is not None:
        shown["last_retry"] = _stamp(task.last_attempt_at)
    shown["created_at"] = _stamp(task.created_at)
    return shown


def _stamp(at: datetime) -> dict[str, int]:
    stamp = {"seconds": int(at.replace(microsecond=0).timestamp()), "nanos": at.microsecond * 1000}
    return {name: value for name, value in stamp.items() if value}
