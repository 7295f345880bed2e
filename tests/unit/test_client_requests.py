"""What a client is given wrongly is named before anything is sent; what it sends is never early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client import AsyncClient, InvalidTask, NewTask
from z4sql.client.batcher import Batcher
from z4sql.client.model import lease_milliseconds


@given(st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_a_delay_goes_to_the_cluster_s_clock_and_is_never_shortened(delay: timedelta) -> None:
    request = NewTask("n", delay=delay).to_request()
    assert not request.HasField("deliver_at")
    sent = timedelta(seconds=request.tts_seconds, milliseconds=request.tts_ms)
    assert delay <= sent < delay + timedelta(milliseconds=1) and request.tts_ms < 1000


@given(st.timedeltas(timedelta(0), timedelta(days=49)))
def test_a_lease_is_never_shortened(lease: timedelta) -> None:
    sent = timedelta(milliseconds=lease_milliseconds(lease))
    assert timedelta(0) < sent and lease <= sent <= lease + timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"namespace": 5}, TypeError, "namespace"),
        ({"namespace": "\ud800"}, InvalidTask, "namespace"),
        ({"request_id": 5}, TypeError, "request_id"),
        ({"payload": "text"}, TypeError, "payload"),
        ({"metadata": {"a": 1}}, TypeError, "metadata"),
        ({"metadata": {1: "a"}}, TypeError, "metadata"),
        ({"metadata": ["a"]}, TypeError, "metadata"),
        ({"metadata": {"a": "\ud800"}}, InvalidTask, "metadata"),
        ({"delay": timedelta(seconds=-1)}, InvalidTask, "delay"),
        ({"delay": 5}, TypeError, "delay"),
        ({"delay": timedelta(1), "deliver_at": datetime.now(UTC)}, ValueError, "give deliver_at or delay"),
        ({"deliver_at": datetime(2030, 1, 1)}, ValueError, "deliver_at"),  # noqa: DTZ001 - that is the point
        ({"deliver_at": "tomorrow"}, TypeError, "deliver_at"),
        ({"expire_at": 5}, TypeError, "expire_at"),
    ],
)
def test_a_task_that_cannot_be_sent_names_its_field(
    fields: dict[str, Any], kind: type[Exception], field: str
) -> None:
    with pytest.raises(kind) as refused:
        NewTask(**({"namespace": "n"} | fields)).to_request()
    assert str(refused.value).startswith(field)


@pytest.mark.parametrize(
    "setting",
    [
        {"attempts_max": -1},
        {"attempts_max": 99_999_999_999},
        {"retention_seconds": 1 << 32},
        {"backoff_min_ms": -5},
        {"lease": timedelta(seconds=-1)},
        {"lease": timedelta(days=999)},
    ],
)
def test_a_number_that_fits_no_message_names_its_field(setting: dict[str, Any]) -> None:
    async def ask() -> None:
        async with AsyncClient("127.0.0.1:1") as client:
            if "lease" in setting:
                client.consume("n", **setting)
            else:
                await client.namespaces.set("n", **setting)

    (name,) = setting
    with pytest.raises(InvalidTask, match=rf"^{name}: must (lie between|not)"):
        _run(ask())


def test_batches_of_large_tasks_are_cut_by_their_bytes() -> None:
    sizes: list[int] = []

    async def send(requests: list[pb.CreateTaskRequest]) -> pb.CreateTasksResponse:
        sizes.append(sum(request.ByteSize() for request in requests))
        await asyncio.sleep(0)
        return pb.CreateTasksResponse(results=[pb.CreateTaskResult(task_id="t")] * len(requests))

    async def create() -> None:
        batcher = Batcher(send)
        request = NewTask("n", payload=bytes(1 << 20)).to_request()
        assert await asyncio.gather(*(batcher.add(request) for _ in range(40))) == ["t"] * 40
        with pytest.raises(InvalidTask, match="^payload: is too large"):
            batcher.add(NewTask("n", payload=bytes(5 << 20)).to_request())

    _run(create())
    assert max(sizes) < 6 << 20 and len(sizes) <= 13, "cut, and not too small"


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)
