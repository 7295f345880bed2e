"""``z4t bench``: how late tasks come, and how many there can be."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from z4sql.cli.command import (
    FAILED,
    OK,
    CommandError,
    Commands,
    add_command,
    asynchronous,
    duration,
    positive,
    print_json,
    reached,
)
from z4sql.cli.tables import print_pairs

if TYPE_CHECKING:
    from z4sql.client import AsyncClient

_NAMESPACE: Final = "z4t-bench"
_BATCH: Final = 200
_TICK_S: Final = 0.02
_CREDIT: Final = 2_000
_TIMEOUT_S: Final = 30.0
_MISSING_TIMEOUT_S: Final = 30.0
_PURGE_TIMEOUT_S: Final = 600.0
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999, 1.0)


def add(commands: Commands) -> None:
    """Register ``bench``."""
    parser = add_command(
        commands, "bench", _bench, "create tasks, consume them, and print how late they came",
        example="z4t bench --count 20000 --rate 2000 --delay 2s",
    )  # fmt: skip
    parser.add_argument("--count", type=positive, default=10_000, metavar="N", help="tasks; 10000")
    parser.add_argument("--rate", type=positive, metavar="N", help="creates a second; as many as possible")
    parser.add_argument("--delay", type=duration, default=timedelta(seconds=1), metavar="DURATION", help="1s")
    parser.add_argument("--payload-bytes", type=positive, default=100, metavar="N", help="100")
    parser.add_argument(
        "--keep", action="store_true", help=f"do not purge the tasks afterwards (of -ns, else {_NAMESPACE})"
    )


def quantile(values: Sequence[float], part: float) -> float:
    """The nearest-rank quantile of sorted ``values``, of which there are some."""
    return values[max(0, math.ceil(part * len(values)) - 1)]


def _bench(options: argparse.Namespace) -> int:
    import asyncio

    return asyncio.run(_run(options, reached(options)))


async def _run(options: argparse.Namespace, endpoints: list[str]) -> int:
    namespace = options.namespace or _NAMESPACE
    async with asynchronous(options, endpoints, _TIMEOUT_S) as client:
        async for _ in client.list(namespace, page_size=1):
            raise CommandError(
                f"{namespace!r} holds tasks, which would be consumed and purged: name another with -ns, or"
                f" say: z4t namespace purge {namespace}"
            )
        purge_timeout_s = options.timeout_s or _TIMEOUT_S
        try:
            result = await _measure(options, client, namespace)
            purge_timeout_s = _PURGE_TIMEOUT_S
        finally:
            if not options.keep:
                await client.change_tasks(namespace, "purge", timeout_s=purge_timeout_s)
    if options.output == "json":
        print_json(result)
    else:
        print_pairs((name.replace("_", " "), _text(value)) for name, value in result.items())
    return FAILED if result["missing"] else OK


async def _measure(options: argparse.Namespace, client: AsyncClient, namespace: str) -> dict[str, object]:
    import asyncio

    taking = _Taking(client, namespace, options.count)
    consuming = asyncio.create_task(taking.run())
    started = time.perf_counter()
    try:
        call_ms = await _create(client, namespace, options)
    except BaseException:
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        raise
    created_s = time.perf_counter() - started
    try:
        async with asyncio.timeout(options.delay.total_seconds() + _MISSING_TIMEOUT_S):
            await consuming
    except TimeoutError:
        pass
    total_s = time.perf_counter() - started
    lateness_ms = sorted(taking.lateness_ms)
    return {
        "namespace": namespace,
        "created": options.count,
        "created_per_second": round(options.count / created_s),
        "create_call_ms": {_name(part): round(quantile(call_ms, part), 3) for part in QUANTILES},
        "delivered": len(taking.seen),
        "delivered_per_second": round(len(taking.seen) / total_s),
        "lateness_ms": {_name(part): round(quantile(lateness_ms, part), 3) for part in QUANTILES}
        if lateness_ms
        else {},
        "early": sum(late < 0 for late in lateness_ms),
        "again": taking.again,
        "missing": options.count - len(lateness_ms),
    }


class _Taking:
    """Takes and acknowledges until every task was seen."""

    def __init__(self, client: AsyncClient, namespace: str, count: int) -> None:
        self.seen: set[str] = set()
        self.lateness_ms: list[float] = []
        self.again = 0
        self._client = client
        self._namespace = namespace
        self._count = count

    async def run(self) -> None:
        import asyncio

        acks: set[asyncio.Task[object]] = set()
        async with self._client.consume(self._namespace, credit=_CREDIT) as deliveries:
            async for delivery in deliveries:
                late = (datetime.now(UTC) - delivery.task.deliver_at) / timedelta(milliseconds=1)
                if delivery.task.id in self.seen:
                    self.again += 1
                else:
                    self.seen.add(delivery.task.id)
                    self.lateness_ms.append(late)
                ack = asyncio.create_task(delivery.ack())
                acks.add(ack)
                ack.add_done_callback(acks.discard)
                if len(self.seen) == self._count:
                    break
            if acks:
                await asyncio.wait(acks)


async def _create(client: AsyncClient, namespace: str, options: argparse.Namespace) -> list[float]:
    """Create all tasks; how long each batch took, sorted, in milliseconds."""
    import asyncio

    from z4sql.client import NewTask, Z4Error

    payload = b"x" * options.payload_bytes
    call_ms: list[float] = []
    sending: set[asyncio.Task[None]] = set()

    async def send(count: int) -> None:
        started = time.perf_counter()
        results = await client.create_many(
            [NewTask(namespace, delay=options.delay, payload=payload) for _ in range(count)]
        )
        call_ms.append((time.perf_counter() - started) * 1000)
        for result in results:
            if isinstance(result, Z4Error):
                raise result

    started = time.perf_counter()
    left = options.count
    while left:
        if options.rate is None:
            count = min(left, _BATCH)
        else:
            owed = int((time.perf_counter() - started) * options.rate) - (options.count - left)
            count = min(left, _BATCH, max(0, owed))
        if not count:
            await asyncio.sleep(_TICK_S)
            continue
        left -= count
        sending.add(asyncio.create_task(send(count)))
        if len(sending) >= (2 if options.rate is None else 50):
            done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    for result in await asyncio.gather(*sending):
        assert result is None
    return sorted(call_ms)


def _name(part: float) -> str:
    return "max" if part == 1 else f"p{part * 100:g}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number} ms" for name, number in value.items())
    return str(value)
