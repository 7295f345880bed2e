"""Settings of namespaces, as `AsyncClient.namespaces` offers them."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.connection import Connection
from z4sql.client.messages import message_of
from z4sql.client.model import ConnectedConsumer, Namespace, set_instant

_NAMES: Final = {"namespace": "name"}


class AsyncNamespaces:
    """Reads ask any peer; changes are carried out by the leader."""

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def get(self, name: str) -> Namespace:
        """:raises NotFound: when nothing was ever created or set in it."""
        return Namespace.from_message(
            await self._connection.call(
                "/z4.Admin/GetNamespace",
                message_of(pb.GetNamespaceRequest, _NAMES, namespace=name),
                pb.Namespace,
                self._timeout_s,
            )
        )

    async def consumers(self, name: str) -> Sequence[ConnectedConsumer]:
        """Those that are connected to a namespace now, by name."""
        answer = await self._connection.call(
            "/z4.Admin/GetRows",
            message_of(pb.GetRowsRequest, _NAMES, table="consumers", namespace=name),
            pb.GetRowsResponse,
            self._timeout_s,
        )
        found = [
            ConnectedConsumer(row["name"], row["leases"], row["credit"], row["draining"])
            for row in json.loads(answer.rows)
        ]
        return sorted(found, key=lambda one: one.name)

    async def set(
        self,
        name: str,
        *,
        ack_deadline_seconds: int | None = None,
        attempts_max: int | None = None,
        backoff_min_ms: int | None = None,
        backoff_max_ms: int | None = None,
        backoff_multiplier: float | None = None,
        retention_seconds: int | None = None,
    ) -> Namespace:
        """Change what is given, leave the rest; the namespace comes into being if it is new.

        :raises InvalidTask: naming the setting that is out of its limits.
        """
        return await self._update(
            message_of(
                pb.UpdateNamespaceRequest,
                _NAMES,
                namespace=name,
                ack_deadline_seconds=ack_deadline_seconds,
                attempts_max=attempts_max,
                backoff_min_ms=backoff_min_ms,
                backoff_max_ms=backoff_max_ms,
                backoff_multiplier=backoff_multiplier,
                retention_seconds=retention_seconds,
            )
        )

    async def pause(self, name: str, *, until: datetime | None = None) -> Namespace:
        """Deliver nothing: until `resume`, or until ``until``."""
        request = message_of(pb.UpdateNamespaceRequest, _NAMES, namespace=name, paused=True)
        # The epoch stands for no end: a former pause's end must not stay.
        request.paused_until.seconds = 0
        if until is not None:
            set_instant(request.paused_until, until, "until")
        return await self._update(request)

    async def resume(self, name: str) -> Namespace:
        """Deliver again."""
        return await self._update(message_of(pb.UpdateNamespaceRequest, _NAMES, namespace=name, paused=False))

    async def list(self, *, page_size: int = 100) -> AsyncIterator[Namespace]:
        """All namespaces, by name."""
        token = ""
        while True:
            page = await self._connection.call(
                "/z4.Admin/ListNamespaces",
                pb.ListNamespacesRequest(page_size=page_size, page_token=token),
                pb.ListNamespacesResponse,
                self._timeout_s,
            )
            for message in page.namespaces:
                yield Namespace.from_message(message)
            token = page.next_page_token
            if not token:
                return

    async def _update(self, request: pb.UpdateNamespaceRequest) -> Namespace:
        request.request_id = uuid.uuid4().hex
        return Namespace.from_message(
            await self._connection.call("/z4.Admin/UpdateNamespace", request, pb.Namespace, self._timeout_s)
        )
