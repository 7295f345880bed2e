"""What a client is given wrongly is named before anything is sent; what it sends is never early."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client import AsyncClient, Client, Closed, InvalidTask, NewTask, OutcomeUnknown, Tls, Unavailable
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


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "host",
        ":6355",
        "host:",
        "host:port",
        "host:0",
        "host:65536",
        "http://host:6355",
        "a:1,b:2",
        "::1:6355",
    ],
)
def test_what_is_no_endpoint_is_refused_before_anything_is_dialed(endpoint: str) -> None:
    async def make() -> None:
        AsyncClient(["127.0.0.1:6355", "[::1]:6355", endpoint])

    with pytest.raises(ValueError, match="^endpoints: .* is not HOST:PORT"):
        _run(make())


@pytest.mark.parametrize(
    ("ask", "kind", "field"),
    [
        (lambda client: client.get(5, "id"), TypeError, "namespace: must be str, is int"),
        (lambda client: client.get("n", 7), TypeError, "task_id: must be str"),
        (lambda client: client.get("\ud800", "id"), InvalidTask, "namespace: is not valid Unicode"),
        (lambda client: client.cancel("n", "id", etag="\ud800"), InvalidTask, "etag"),
        (lambda client: client.update("n", "id", metadata={"a": 1}), TypeError, "metadata"),
        (
            lambda client: client.update("n", "id", payload="text"),
            TypeError,
            "payload: must be bytes, is str",
        ),
        (lambda client: client.change_tasks("n", "purge", states=5), TypeError, "states: must be a sequence"),
        (lambda client: client.change_tasks("n", "purge", states=[5]), TypeError, "states: must be str"),
        (lambda client: anext(client.list("n", page_size=-1)), InvalidTask, "page_size: must lie between 0"),
        (lambda client: client.namespaces.get(5), TypeError, "name"),
        (lambda client: client.namespaces.pause("\ud800"), InvalidTask, "name"),
        (lambda client: client.namespaces.set("n", backoff_multiplier="2"), TypeError, "backoff_multiplier"),
        (lambda client: client.consume(5), TypeError, "namespaces: must be a sequence, is int"),
        (lambda client: client.consume(["\ud800"]), InvalidTask, "namespaces"),
        (lambda client: client.consume("n", name=5), TypeError, "name: must be str"),
    ],
)
def test_what_fits_no_message_names_its_field(
    ask: Callable[[AsyncClient], Any], kind: type[Exception], field: str
) -> None:
    async def asking() -> None:
        async with AsyncClient("127.0.0.1:1") as client:
            await ask(client)

    with pytest.raises(kind) as refused:
        _run(asking())
    assert str(refused.value).startswith(field)


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


@pytest.mark.parametrize("answers", [None, 1])
def test_a_batch_that_fails_in_any_way_leaves_nobody_waiting(answers: int | None) -> None:
    kind = OSError if answers is None else str

    async def send(_: list[pb.CreateTaskRequest]) -> pb.CreateTasksResponse:
        if answers is None:
            raise OSError("no such file")
        return pb.CreateTasksResponse(results=[pb.CreateTaskResult(task_id="t")] * answers)

    async def create() -> None:
        batcher = Batcher(send)
        waiting = [batcher.add(NewTask("n").to_request()) for _ in range(4)]
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
        # Two batches of one task each went at once, the others together.
        assert [type(end) for end in ends] == [kind, kind, kind, OSError if answers is None else ValueError]

    _run(create())


def test_certificates_that_cannot_be_are_refused_before_anything_is_dialed(tmp_path: Path) -> None:
    (tmp_path / "words.crt").write_text("hello")

    async def make(tls: Tls) -> None:
        AsyncClient("127.0.0.1:6355", tls=tls)

    with pytest.raises(OSError, match="missing.crt"):
        _run(make(Tls(tmp_path / "missing.crt")))
    with pytest.raises(ValueError, match=r"^ca_file: .*words.crt holds nothing in PEM"):
        _run(make(Tls(tmp_path / "words.crt")))
    with pytest.raises(ValueError, match="together"):
        _run(make(Tls(key_file=tmp_path / "words.crt")))


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_closed_client_says_so_at_every_call(recwarn: pytest.WarningsRecorder) -> None:
    async def ended() -> None:
        unhandled: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        client = AsyncClient("127.0.0.1:1")
        await client.close()
        await client.close()

        async def consumed() -> None:
            async with client.consume("n") as tasks:
                await anext(aiter(tasks))

        async def listed() -> None:
            await anext(aiter(client.list("n")))

        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: client.create("n"),
            lambda: client.create_many([NewTask("n")]),
            lambda: client.get("n", "t"),
            lambda: client.cancel("n", "t"),
            lambda: client.namespaces.pause("n"),
            consumed,
            listed,
        ]
        for call in calls:
            with pytest.raises(Closed, match="the client is closed"):
                await call()
        gc.collect()
        assert not unhandled

    asyncio.run(ended())
    client = Client("127.0.0.1:1")
    client.close()
    client.close()
    for blocking in (
        lambda: client.create("n"),
        lambda: client.get("n", "t"),
        lambda: next(iter(client.list("n"))),
        lambda: client.consume("n").__enter__(),
        lambda: client.namespaces.pause("n"),
    ):
        with pytest.raises(Closed, match="the client is closed"):
            blocking()
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_an_endpoint_that_nobody_finds_is_named_and_nothing_was_done() -> None:
    with Client("nobody.invalid:6355", timeout_s=1) as client:
        for ask in (lambda: client.create("n"), lambda: client.namespaces.pause("n")):
            with pytest.raises(Unavailable, match=r"nobody\.invalid:6355"):
                ask()
    for impossible in ("a", "host:99999", "", ":6355", "host:"):
        with pytest.raises(ValueError, match=re.escape(repr(impossible))):
            Client(impossible)


def test_closing_a_client_ends_its_calls_with_its_own_errors() -> None:
    """A cancellation that nobody asked for would pass through whatever the caller is part of."""

    async def ended() -> list[object]:
        silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        client = AsyncClient(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}")
        calls = [client.get("n", "t"), client.cancel("n", "t"), client.namespaces.pause("n")]
        asked = [asyncio.ensure_future(call) for call in calls]
        # By then nobody has said who leads, and they are sent.
        await asyncio.wait(asked, timeout=1.3)
        await client.close()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        silent.close()
        return [type(answer) for answer in answers]

    assert asyncio.run(ended()) == [Closed, OutcomeUnknown, OutcomeUnknown]
