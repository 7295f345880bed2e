"""The hash of a peer's state, which members compare to see that they hold the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpc import StatusCode

from raftcore.core.errors import StorageError
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse
from z4sql.api.status import CallError
from z4sql.tasks.reader import TaskReader

_WAIT_S = 5.0
_POLL_S = 0.02


class Check:
    """Handler of /z4.Admin/CheckState. Hashes in a thread, one call after the other."""

    def __init__(
        self, name: str, reader: Callable[[], TaskReader | None], applied_index: Callable[[], int]
    ) -> None:
        self._name = name
        self._reader = reader
        self._applied_index = applied_index
        self._hashing = asyncio.Lock()

    def register(self, methods: Methods) -> None:
        methods.unary("/z4.Admin/CheckState", self.check_state)

    async def check_state(self, data: bytes, context: Context) -> bytes:
        """:raises CallError: UNAVAILABLE when this peer holds no state, or not that far, in time."""
        request = parse(pb.CheckStateRequest, data)
        await self._wait_applied(request.applied_index, context.time_remaining())
        async with self._hashing:
            reader = self._reader()
            if reader is None:
                raise _unavailable(f"{self._name} is a member of no cluster")
            try:
                applied, state_hash = await asyncio.to_thread(reader.hashed_state)
            except StorageError as error:
                raise CallError(
                    StatusCode.DATA_LOSS,
                    f"the state of {self._name} cannot be read: {error}",
                    reason="STORAGE",
                ) from None
        return pb.CheckStateResponse(
            server_id=self._name, applied_index=applied, state_hash=state_hash
        ).SerializeToString()

    async def _wait_applied(self, index: int, left_s: float | None) -> None:
        timeout_s = _WAIT_S if left_s is None else min(_WAIT_S, left_s / 2)
        try:
            async with asyncio.timeout(timeout_s):
                while self._applied_index() < index:  # noqa: ASYNC110 - nobody calls this often
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise _unavailable(
                f"{self._name} has applied {self._applied_index()}, not {index}: cut off or catching up?"
            ) from None


def _unavailable(message: str) -> CallError:
    return CallError(StatusCode.UNAVAILABLE, message, reason="NOT_APPLIED")
