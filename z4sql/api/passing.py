"""Calls that only the leader can carry out: here when this peer leads, passed on once when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import grpc
from grpc import StatusCode

from raftcore.core.errors import NotAccepted, RaftError
from raftcore.host.host import Host
from z4sql.api.leadership import FORWARDED, Leader, Leadership
from z4sql.api.methods import Context
from z4sql.api.status import OUTCOME_UNKNOWN, CallError, from_raft, no_leader

TIMEOUT_S: Final = 10.0
_WAIT_S: Final = 5.0
_LOOK_S: Final = 0.25
_PASSED: Final = (FORWARDED, "queue", "namespace")
"""Metadata that goes with a call."""


def moved() -> CallError:
    return CallError(
        StatusCode.UNAVAILABLE,
        "leadership moved: connect again",
        reason="LEADERSHIP_MOVED",
        retry_ms=50,
    )


def undecided_change() -> CallError:
    return CallError(
        StatusCode.DEADLINE_EXCEEDED,
        "the outcome is unknown: look, or retry with the same request_id",
        reason=OUTCOME_UNKNOWN,
    )


def time_left(context: Context) -> float:
    """Seconds until the caller's deadline, or ours when it has none."""
    left_s = context.time_remaining()
    return TIMEOUT_S if left_s is None else min(left_s, TIMEOUT_S)


class Passing:
    """Finds the leader for a call."""

    def __init__(self, host: Host, leadership: Leadership) -> None:
        self._host = host
        self._leadership = leadership

    @property
    def own_address(self) -> str:
        """Where clients reach this peer, when it leads and that is known."""
        leader = self._leadership.current()
        return leader.service_address if leader is not None and leader.local else ""

    async def unary(
        self, path: str, data: bytes, context: Context, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[bytes, str] | None:
        """The leader's answer and address; None when this peer leads and must carry the call out itself.

        ``timeout_s`` is for callers that set no deadline.

        :raises CallError: as the leader said; UNAVAILABLE when there is none, or it was passed on already;
            that the outcome is unknown when the connection failed while the leader had the call.
        """
        leader = await self._leader(context)
        if leader is None:
            return None
        call = self._leadership.channel(leader.service_address).unary_unary(path)
        try:
            answer: bytes = await call(
                data, timeout=max(0.05, time_left(context)), metadata=_metadata(context)
            )
        except grpc.aio.AioRpcError as error:
            problem = CallError.as_said(error)
            raise undecided_change() if problem.is_lost else problem from None
        return answer, leader.service_address

    async def stream(self, path: str, context: Context) -> bool:
        """Pass a whole stream through, bytes for bytes, to its end; False when this peer leads."""
        leader = await self._leader(context)
        if leader is None:
            return False
        call = self._leadership.channel(leader.service_address).stream_stream(path)(
            metadata=_metadata(context)
        )
        sending = asyncio.create_task(_send(context, call))
        # What is refused here is not passed on: the leader would wait for it, and so would the client.
        sending.add_done_callback(lambda ended: _refusal(ended) is None or call.cancel())
        watching = asyncio.create_task(self._watch(leader.service_address, call))
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                await context.write(answer)
            if await call.code() is not StatusCode.OK:
                raise CallError(await call.code(), await call.details() or "the leader ended the stream")
        except grpc.aio.AioRpcError as error:
            raise _refusal(sending) or CallError.as_said(error) from None
        except asyncio.CancelledError:
            if (refusal := _refusal(sending)) is not None:
                raise refusal from None
            if not call.cancelled() or watching.cancelled() or not watching.done():
                raise
            raise moved() from None
        finally:
            sending.cancel()
            watching.cancel()
            call.cancel()
        return True

    async def carry_out(self, make: Callable[[], bytes], timeout_s: float) -> bytes:
        """Replicate the command of ``make`` from here; the machine's result.

        :raises CallError: UNAVAILABLE when nothing was done, DEADLINE_EXCEEDED when that is not known.
        """
        applied: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(result: bytes | RaftError) -> None:
            if applied.done():
                return
            if isinstance(result, bytes):
                applied.set_result(result)
            else:
                applied.set_exception(from_raft(result))

        if not self._leadership.leads:
            raise no_leader()
        try:
            self._host.propose(make(), done)
        except NotAccepted as error:
            raise from_raft(error) from None
        try:
            async with asyncio.timeout(timeout_s):
                return await applied
        except TimeoutError:
            raise undecided_change() from None

    async def _leader(self, context: Context) -> Leader | None:
        """Where to pass a call on to; None when this peer leads."""
        if self._leadership.leads:
            return None
        if any(key == FORWARDED for key, _ in context.invocation_metadata() or ()):
            raise no_leader()
        leader = await self._leadership.wait(min(time_left(context), _WAIT_S))
        if leader is None:
            raise no_leader()
        return None if leader.local else leader

    async def _watch(self, address: str, call: grpc.aio.StreamStreamCall) -> None:
        """End ``call`` when another peer leads."""
        while True:
            await asyncio.sleep(_LOOK_S)
            leader = self._leadership.current()
            if self._leadership.elected or (
                leader is not None and leader.service_address not in ("", address)
            ):
                call.cancel()
                return


def _refusal(sending: asyncio.Task[None]) -> CallError | None:
    """Why what the client said is not passed on, if it is not."""
    error = sending.exception() if sending.done() and not sending.cancelled() else None
    return error if isinstance(error, CallError) else None


async def _send(context: Context, call: grpc.aio.StreamStreamCall) -> None:
    # What goes wrong with the call shows where it is read.
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while (data := await context.read()) is not grpc.aio.EOF:
            await call.write(data)
        await call.done_writing()


def _metadata(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    own = tuple(pair for pair in context.invocation_metadata() or () if pair[0] in _PASSED)
    return ((FORWARDED, "1"), *own)
