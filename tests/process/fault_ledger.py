"""What writers were told, and whether every replica holds it: no acknowledged task missing, none double."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import grpc

from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.check import EQUAL, check
from z4sql.cli.local_cluster import PeerProcess
from z4sql.client import Client, NewTask, Z4Error

NAMESPACE = "faults"
_PAGE_SIZE = 1000


class Ledger:
    """Every write that was tried, and the id of each that was acknowledged; for several threads."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.acknowledged: dict[str, str] = {}
        self.acknowledged_at: list[float] = []
        """By `time.monotonic`, in order."""
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def new_request(self) -> str:
        with self._lock:
            request_id = f"request-{next(self._numbers)}"
            self.tried.add(request_id)
        return request_id

    def acknowledge(self, request_id: str, task_id: str) -> None:
        with self._lock:
            known = self.acknowledged.setdefault(request_id, task_id)
            self.acknowledged_at.append(time.monotonic())
        assert known == task_id, f"{request_id} was answered with {known}, then with {task_id}"

    def first_after(self, moment: float) -> float | None:
        """When the first write after ``moment`` was acknowledged."""
        with self._lock:
            return min((at for at in self.acknowledged_at if at > moment), default=None)

    def write(self, client: Client, count: int) -> None:
        """Write tasks one by one. :raises Z4Error: the last one's outcome may be unknown."""
        for _ in range(count):
            request_id = self.new_request()
            self.acknowledge(request_id, create(client, request_id))

    def verify(self, peers: Sequence[PeerProcess]) -> None:
        """Each peer holds every acknowledged task, each request once, and nothing that nobody asked for."""
        for peer in peers:
            found: dict[str, str] = {}
            requests: Counter[str] = Counter()
            for task in tasks_of(peer):
                request_id = task.metadata["request"]
                found[request_id] = task.id
                requests[request_id] += 1
            lost = {one for one, task_id in self.acknowledged.items() if found.get(one) != task_id}
            double = {one for one, times in requests.items() if times > 1}
            assert not lost, f"{peer.name} lost {len(lost)} acknowledged tasks: {sorted(lost)[:5]}"
            assert not double, f"{peer.name} holds twice: {sorted(double)[:5]}"
            assert requests.keys() <= self.tried, f"{peer.name} holds what nobody wrote"

    def verify_cluster(self, peers: Sequence[PeerProcess], timeout_s: float = 30.0) -> None:
        """Wait until all peers' states are equal, then `verify` them."""
        assert check(peers[0].service_address, timeout_s) == EQUAL
        self.verify(peers)


class Writer:
    """A thread that writes to the ledger until the context ends, and retries by request id."""

    def __init__(
        self, ledger: Ledger, peers: Sequence[PeerProcess], *, timeout_s: float = 2.0, pause_s: float = 0.005
    ) -> None:
        self._ledger = ledger
        self._addresses = [peer.service_address for peer in peers]
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._failure: BaseException | None = None
        self._problem = "succeeded"

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the writer hangs"
        if self._failure is not None and kind is None:
            raise self._failure

    def wait_acknowledged(self, count: int, timeout_s: float = 10.0) -> float:
        """Wait for ``count`` further acknowledged writes; returns how long they took, in seconds."""
        started, wanted = time.monotonic(), len(self._ledger.acknowledged) + count
        while len(self._ledger.acknowledged) < wanted:
            assert self._failure is None, self._failure
            assert time.monotonic() < started + timeout_s, (
                f"no {count} writes in {timeout_s} s; the last try: {self._problem}"
            )
            time.sleep(0.01)
        return time.monotonic() - started

    def _run(self) -> None:
        try:
            with Client(self._addresses, timeout_s=self._timeout_s) as client:
                while not self._stopping.is_set():
                    self._write(client)
                    self._stopping.wait(self._pause_s)
        except BaseException as error:
            self._failure = error

    def _write(self, client: Client) -> None:
        request_id = self._ledger.new_request()
        while not self._stopping.is_set():
            try:
                self._ledger.acknowledge(request_id, create(client, request_id))
                return
            except Z4Error as error:
                self._problem = f"{type(error).__name__}: {error}"
                self._stopping.wait(0.05)


def task_of(request_id: str) -> NewTask:
    """A task that can be told by its request; far in the future, so that nothing happens to it."""
    return NewTask(
        NAMESPACE,
        deliver_at=datetime(2100, 1, 1, tzinfo=UTC),
        metadata={"request": request_id},
        payload=b"x" * 100,
        request_id=request_id,
    )


def create(client: Client, request_id: str) -> str:
    """Write `task_of` the request; returns its id."""
    (outcome,) = client.create_many([task_of(request_id)])
    if isinstance(outcome, Z4Error):
        raise outcome
    return outcome


def tasks_of(peer: PeerProcess) -> list[pb.Task]:
    """All tasks that this peer itself holds."""
    found: list[pb.Task] = []
    token = ""
    with grpc.insecure_channel(peer.service_address) as channel:
        listing = channel.unary_unary("/z4.Collection/ListTasks")
        while True:
            request = pb.ListTasksRequest(namespace=NAMESPACE, page_size=_PAGE_SIZE, page_token=token)
            page = pb.ListTasksResponse.FromString(listing(request.SerializeToString(), timeout=20))
            found += page.tasks
            token = page.next_page_token
            if not token:
                return found
