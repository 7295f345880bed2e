"""The gRPC face of a node: `kv.proto`'s two methods. An error is an answer, not a gRPC status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc

from raftcore.application import RaftError
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.errors import failure

if TYPE_CHECKING:
    from raftcore.kv.node import Node

SERVICE = "raftcore.kv.KeyValue"
CALL = f"/{SERVICE}/Call"
WATCH = f"/{SERVICE}/Watch"
_TIMEOUT_S = 5.0


def service(node: Node) -> Any:
    """What a gRPC server needs to serve ``node``."""

    async def call(request: pb.Request, context: Any) -> pb.Answer:
        remaining_s = context.time_remaining()
        # An answer that says what failed is to arrive before the caller gives up.
        timeout_s = _TIMEOUT_S if remaining_s is None else 0.9 * remaining_s
        try:
            return await node.answer(request, timeout_s)
        except RaftError as error:
            return pb.Answer(failure=failure(error))

    async def watch(request: pb.WatchRequest, _context: Any) -> AsyncIterator[pb.Answer]:
        try:
            async for changes in node.watch(request):
                yield pb.Answer(changes=changes)
        except RaftError as error:
            yield pb.Answer(failure=failure(error))

    to_bytes = pb.Answer.SerializeToString
    handlers = {
        "Call": grpc.unary_unary_rpc_method_handler(call, pb.Request.FromString, to_bytes),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, pb.WatchRequest.FromString, to_bytes),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)
