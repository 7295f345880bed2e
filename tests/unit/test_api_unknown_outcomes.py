"""A write that a leader may have carried out never ends with "nothing was done"."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from raftcore.core.types import Member, NodeId
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.changing import Changing
from z4sql.api.forward import Forwarder
from z4sql.api.leadership import Leader
from z4sql.api.passing import Passing
from z4sql.api.status import OUTCOME_UNKNOWN, CallError, no_leader
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.life import RangeChanged, range_result

Lead = Callable[[bytes], Awaitable[bytes]]


@dataclass
class Known:
    """A `Leadership` as a test wants it: the leader is somewhere, or here, or nowhere."""

    address: str = ""
    local: bool = False
    leads: bool = False
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def wait(self, timeout_s: float) -> Leader | None:
        if not self.address and not self.local:
            await asyncio.sleep(timeout_s)
            return None
        return Leader(Member(NodeId(1), "one", "x:1"), self.address, self.local)

    def channel(self, address: str) -> grpc.aio.Channel:
        if not self.channels:
            self.channels.append(grpc.aio.insecure_channel(address))
        return self.channels[0]


class Called:
    """The context of a call without a deadline."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> float | None:
        return 1.0


async def hanging_up() -> asyncio.Server:
    """A peer that takes a call and is gone."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The settings of HTTP/2, empty; the call follows the client's own ones.
        writer.write(b"\0\0\0\4\0\0\0\0\0")
        while b"z4.Collection" not in await reader.read(1 << 16):
            pass
        writer.close()

    return await asyncio.start_server(take, "127.0.0.1", 0)


def address_of(server: asyncio.Server) -> str:
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def never(_: bytes) -> bytes:
    await asyncio.Event().wait()
    return b""


async def refused(_: bytes) -> bytes:
    raise no_leader()


async def lost(_: bytes) -> bytes:
    raise CallError(StatusCode.DEADLINE_EXCEEDED, "who knows", reason=OUTCOME_UNKNOWN)


async def send(known: Known, lead: Lead, *, tried: bool = False) -> CallError:
    forwarder = Forwarder(known, lead)  # type: ignore[arg-type]  # stands for a Leadership
    with pytest.raises(CallError) as ended:
        await forwarder.send(b"", 0.5, tried=tried)
    for channel in known.channels:
        await channel.close()
    return ended.value


@pytest.mark.parametrize(
    ("lead", "tried", "code"),
    [
        (refused, False, StatusCode.UNAVAILABLE),
        (refused, True, StatusCode.DEADLINE_EXCEEDED),
        (never, False, StatusCode.DEADLINE_EXCEEDED),
        (lost, False, StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_creates_carried_out_here(lead: Lead, tried: bool, code: StatusCode) -> None:
    error = asyncio.run(send(Known(local=True), lead, tried=tried))
    assert error.code is code
    assert (error.reason == OUTCOME_UNKNOWN) == (code is StatusCode.DEADLINE_EXCEEDED)


def test_creates_without_a_leader_are_not_done() -> None:
    assert asyncio.run(send(Known(), never)).code is StatusCode.UNAVAILABLE
    nobody = Known("127.0.0.1:1")
    assert asyncio.run(send(nobody, never)).code is StatusCode.UNAVAILABLE, "nobody listens there"


def test_creates_on_a_connection_that_breaks_may_be_done() -> None:
    async def run() -> CallError:
        server = await hanging_up()
        async with server:
            return await send(Known(address_of(server)), never)

    error = asyncio.run(run())
    assert (error.code, error.reason) == (StatusCode.DEADLINE_EXCEEDED, OUTCOME_UNKNOWN), error.message


def test_changes_on_a_connection_that_breaks_may_be_done() -> None:
    async def run() -> None:
        server = await hanging_up()
        async with server:
            known = Known(address_of(server))
            passing: Any = Passing(None, known)  # type: ignore[arg-type]  # no host is asked
            with pytest.raises(CallError) as ended:
                await passing.unary("/z4.Collection/ChangeTask", b"", Called())
            await known.channels[0].close()
        assert (ended.value.code, ended.value.reason) == (StatusCode.DEADLINE_EXCEEDED, OUTCOME_UNKNOWN)

    asyncio.run(run())


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_change_of_a_range_that_breaks_off_tells_how_many_were_changed(steps: int) -> None:
    class Breaking:
        """Carries some steps out, then leads no more."""

        left = steps

        async def unary(self, *_: object, **__: object) -> None:
            return None

        async def carry_out(self, make: Callable[[], bytes], _: float) -> bytes:
            make()
            if not self.left:
                raise no_leader()
            self.left -= 1
            return range_result(RangeChanged(1000, 1000, b"\1n" + bytes(8)))

    async def run() -> CallError:
        removed: list[tuple[str, str, int]] = []
        changing = Changing(
            Breaking(),  # type: ignore[arg-type]  # stands for a Passing
            CommandBuilder(lambda: 1, lambda: 0),
            lambda: None,
            lambda *one: removed.append(one),
        )
        request = pb.ChangeTasksRequest(namespace="n", change="purge")
        with pytest.raises(CallError) as ended:
            await changing.change_tasks(request.SerializeToString(), Called())  # type: ignore[arg-type]
        assert sum(count for _, _, count in removed) == steps * 1000
        return ended.value

    error = asyncio.run(run())
    if steps:
        assert (error.code, error.reason) == (StatusCode.DEADLINE_EXCEEDED, OUTCOME_UNKNOWN)
        assert f"{steps * 1000} tasks" in error.message and "nothing" not in error.message
    else:
        assert error.code is StatusCode.UNAVAILABLE
