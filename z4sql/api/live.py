"""Rows of the tables that live outside the replicated state: members, consumers, leases, metrics.

All but metrics are the leader's to tell; the other peers ask it. Metrics are each peer's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
from grpc import StatusCode
from prometheus_client import REGISTRY

from raftcore.core.types import Role
from raftcore.host.host import Host
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse
from z4sql.api.passing import Passing
from z4sql.api.status import CallError
from z4sql.delivery.consumer import Held
from z4sql.delivery.dispatcher import Dispatcher
from z4sql.tasks.encoding import decode_without_payload
from z4sql.tasks.keys import SUFFIX_BYTES
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import State

Row = dict[str, object]
_TIMEOUT_S: Final = 2.0
_APPLIED_TIMEOUT_S: Final = 0.5
"""For a member to say what it has applied; one that is down must not hold the table back."""
_PATH: Final = "/z4.Admin/GetRows"
_TABLES: Final = ("members", "consumers", "leases")
_LEASES_MAX: Final = 5_000
_LEASES_IN_ONE_GO: Final = 250
"""Then others have their turn: the leader reads these while it delivers."""


class Live:
    """Answers for this peer; ``dispatcher`` knows consumers and leases while it leads."""

    def __init__(
        self,
        host: Host,
        passing: Passing,
        reader: Callable[[], TaskReader | None],
        dispatcher: Dispatcher,
        channel: Callable[[str], grpc.aio.Channel],
        *,
        name: str,
    ) -> None:
        self._host = host
        self._passing = passing
        self._reader = reader
        self._dispatcher = dispatcher
        self._channel = channel
        self._name = name

    def register(self, methods: Methods) -> None:
        methods.unary(_PATH, self.get_rows)

    async def get_rows(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.GetRowsRequest, data)
        answer = await self._passing.unary(_PATH, data, context)
        if answer is not None:
            return answer[0]
        if request.table not in _TABLES:
            known = ", ".join(_TABLES)
            raise CallError(StatusCode.INVALID_ARGUMENT, f"table: must be one of {known}", field="table")
        rows = await self._own_rows(request.table)
        if request.namespace:
            rows = [row for row in rows if row.get("namespace") == request.namespace]
        return pb.GetRowsResponse(rows=json.dumps(rows)).SerializeToString()

    async def rows(self, table: str) -> str:
        """As JSON. Without a leader the members are told as this peer knows them, and an empty text stands
        for the rest, not an empty list: nobody may take what is not known for "there are none".
        """
        if table == "metrics":
            return json.dumps(list(self._metrics()))
        request = pb.GetRowsRequest(table=table).SerializeToString()
        try:
            rows = pb.GetRowsResponse.FromString(await self.get_rows(request, OwnCall(_TIMEOUT_S))).rows
        except CallError:
            rows = json.dumps(self._member_rows()) if table == "members" else ""
        if table != "members":
            return rows
        return json.dumps(await asyncio.gather(*map(self._with_applied, json.loads(rows))))

    async def _with_applied(self, row: Row) -> Row:
        """``row`` with what its member says it has applied: only each peer knows its own."""
        address = row["service_address"]
        applied: int | None = None
        if row["id"] == self._name:
            status = self._host.status()
            applied = None if status is None else status.applied
        elif isinstance(address, str) and address:
            applied = await self._applied_at(address)
        return {**row, "applied_index": applied}

    async def _applied_at(self, address: str) -> int | None:
        call = self._channel(address).unary_unary("/z4.Admin/GetClusterInfo")
        try:
            answer: bytes = await call(b"", timeout=_APPLIED_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None
        return pb.ClusterInfo.FromString(answer).applied_index

    async def _own_rows(self, table: str) -> list[Row]:
        match table:
            case "members":
                return self._member_rows()
            case "consumers":
                return self._consumer_rows()
            case _:
                return await self._lease_rows()

    def _member_rows(self) -> list[Row]:
        status, reader = self._host.status(), self._reader()
        if status is None or reader is None:
            return []
        rows: list[Row] = []
        leads = status.role is Role.LEADER
        for member in sorted(status.membership.members, key=lambda one: one.name):
            voter = member.id in status.membership.voters
            matched = status.match.get(member.id) if leads else None
            own = member.name == self._name
            if own:
                matched = status.last_index
            addresses = reader.member(member.name)
            rows.append(
                {
                    "id": member.name,
                    "role": "leader" if member.id == status.leader else "follower" if voter else "learner",
                    "term": status.term,
                    "match_index": matched,
                    "lag_entries": None if matched is None else max(0, status.last_index - matched),
                    "peer_address": member.address,
                    "service_address": addresses.service_address if addresses else None,
                    "sql_address": addresses.sql_address if addresses else None,
                    "metrics_address": addresses.metrics_address if addresses else None,
                }
            )
        return rows

    def _consumer_rows(self) -> list[Row]:
        return [
            {
                "name": consumer.name,
                "namespace": namespace,
                "credit": consumer.credit,
                "leases": len(consumer.held),
                "draining": consumer.draining,
            }
            for consumer in self._dispatcher.consumers
            for namespace in consumer.namespaces
        ]

    async def _lease_rows(self) -> list[Row]:
        rows: list[Row] = []
        leases = self._dispatcher.oldest_leases(_LEASES_MAX)
        for some in (leases[at : at + _LEASES_IN_ONE_GO] for at in range(0, len(leases), _LEASES_IN_ONE_GO)):
            rows += self._rows_of(some)
            await asyncio.sleep(0)
        return rows

    def _rows_of(self, leases: Sequence[Held]) -> Iterable[Row]:
        reader = self._reader()
        if reader is None:
            return
        records = reader.records_at([held.place for held in leases])
        for held, record in zip(leases, records, strict=True):
            if record is None:
                continue
            namespace, where = held.place[1:-SUFFIX_BYTES].decode(), held.place[-SUFFIX_BYTES:]
            task = decode_without_payload(namespace, where, record)
            if task.state is not State.LEASED or task.lease_token != held.token:
                continue
            yield {
                "namespace": namespace,
                "task_id": task.id,
                "deliver_at": task.deliver_at_us,
                "owner": task.lease_owner,
                "lease_until": task.lease_until_us,
                "lease_token": task.lease_token,
                "attempts": task.attempts,
                "connected": held.consumer is not None,
            }

    def _metrics(self) -> Iterable[Row]:
        for metric in REGISTRY.collect():
            for sample in metric.samples:
                yield {
                    "peer": self._name,
                    "name": sample.name,
                    "labels": json.dumps(sample.labels, separators=(", ", ": "), sort_keys=True),
                    "value": sample.value,
                    "help": metric.documentation,
                }


class OwnCall:
    """The context of a call that this peer makes to itself."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def read(self) -> object:
        raise NotImplementedError

    async def write(self, message: bytes) -> None:
        raise NotImplementedError

    async def abort_with_status(self, status: object) -> None:
        raise NotImplementedError

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return ()

    def time_remaining(self) -> float:
        return self._timeout_s
