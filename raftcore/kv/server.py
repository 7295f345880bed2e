"""The gRPC face of a node: `kv.proto`'s two methods. An error is an answer, not a gRPC status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from raftcore.application import RaftError
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.errors import BadRequest, failure

if TYPE_CHECKING:
    from raftcore.kv.node import Node

SERVICE = "raftcore.kv.KeyValue"
CALL = f"/{SERVICE}/Call"
WATCH = f"/{SERVICE}/Watch"
_TIMEOUT_S = 5.0


def service(node: Node) -> Any:
    """What a gRPC server needs to serve ``node``."""

    async def call(data: bytes, context: Any) -> bytes:
        remaining_s = context.time_remaining()
        # An answer that says what failed is to arrive before the caller gives up.
        timeout_s = _TIMEOUT_S if remaining_s is None else 0.9 * remaining_s
        try:
            answer = await node.answer(pb.Request.FromString(data), timeout_s)
        except (RaftError, DecodeError) as error:
            answer = _failed(error)
        return answer.SerializeToString()

    async def watch(data: bytes, _context: Any) -> AsyncIterator[bytes]:
        try:
            async for changes in node.watch(pb.WatchRequest.FromString(data)):
                yield pb.Answer(changes=changes).SerializeToString()
        except (RaftError, DecodeError) as error:
            yield _failed(error).SerializeToString()

    handlers = {
        "Call": grpc.unary_unary_rpc_method_handler(call),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _failed(error: RaftError | DecodeError) -> pb.Answer:
    told = error if isinstance(error, RaftError) else BadRequest("the bytes are no request")
    return pb.Answer(failure=failure(told))
