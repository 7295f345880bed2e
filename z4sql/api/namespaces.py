"""Settings of namespaces: reading them on any peer, changing them through the leader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.changing import opened
from z4sql.api.messages import instant_us, namespace_message
from z4sql.api.methods import Context, Methods, may_tell
from z4sql.api.parsing import parse
from z4sql.api.passing import Passing, time_left
from z4sql.api.status import CallError, invalid, reused
from z4sql.tasks.commands import CommandBuilder, settings_outcome
from z4sql.tasks.errors import InvalidTask, RequestIdReused
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.settings import SettingsChange

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000
_SETTINGS: Final = (
    "ack_deadline_seconds",
    "attempts_max",
    "backoff_min_ms",
    "backoff_max_ms",
    "backoff_multiplier",
    "retention_seconds",
    "paused",
)


class Namespaces:
    """Handlers of the part of /z4.Admin that is about namespaces."""

    def __init__(
        self, passing: Passing, builder: CommandBuilder, reader: Callable[[], TaskReader | None]
    ) -> None:
        self._passing = passing
        self._builder = builder
        self._reader = reader

    def register(self, methods: Methods) -> None:
        methods.unary("/z4.Admin/GetNamespace", self.get)
        methods.unary("/z4.Admin/UpdateNamespace", self.update)
        methods.unary("/z4.Admin/ListNamespaces", self.list)

    async def get(self, data: bytes, _context: Context) -> bytes:
        request = parse(pb.GetNamespaceRequest, data)
        try:
            settings = opened(self._reader()).settings(request.namespace)
        except InvalidTask as problem:
            raise invalid(problem.field, problem.problem) from None
        if settings is None:
            raise CallError(
                StatusCode.NOT_FOUND,
                f"namespace not found: {request.namespace!r}; the first task or setting makes it",
                reason="NAMESPACE_NOT_FOUND",
            )
        return namespace_message(request.namespace, settings).SerializeToString()

    async def update(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.UpdateNamespaceRequest, data)
        change = _change(request)

        def make() -> bytes:
            try:
                return self._builder.set_namespace(request.namespace, change, request.request_id)
            except InvalidTask as problem:
                raise invalid(problem.field, problem.problem) from None

        passed = await self._passing.unary("/z4.Admin/UpdateNamespace", data, context)
        if passed is not None:
            return passed[0]
        try:
            settings = settings_outcome(await self._passing.carry_out(make, time_left(context)))
        except InvalidTask as problem:
            raise invalid(problem.field, problem.problem) from None
        except RequestIdReused:
            raise reused() from None
        return namespace_message(request.namespace, settings).SerializeToString()

    async def list(self, data: bytes, context: Context) -> bytes:
        """Those that the caller may know of."""
        request = parse(pb.ListNamespacesRequest, data)
        if request.page_size > PAGE_SIZE_MAX:
            raise invalid("page_size", f"must not exceed {PAGE_SIZE_MAX}")
        limit = request.page_size or PAGE_SIZE
        found = opened(self._reader()).namespaces()
        names = sorted(name for name in found if name > request.page_token and may_tell(context, name))
        response = pb.ListNamespacesResponse(
            namespaces=[namespace_message(name, found[name]) for name in names[:limit]]
        )
        if len(names) > limit:
            response.next_page_token = names[limit - 1]
        return response.SerializeToString()


def _change(request: pb.UpdateNamespaceRequest) -> SettingsChange:
    """What is given. A pause until a time that is not past the epoch lasts until it is ended."""
    given = {name: getattr(request, name) for name in _SETTINGS if request.HasField(name)}
    if request.HasField("paused_until"):
        given["paused_until_us"] = instant_us(request.paused_until)
    return SettingsChange(**given)
