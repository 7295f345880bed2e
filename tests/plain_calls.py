"""Plain gRPC calls for tests: one message there, one back, as any generated client would."""

from __future__ import annotations

import grpc
from google.protobuf.message import Message

from z4sql.api._pb import z4_pb2 as pb


def call(channel: grpc.Channel, method: str, request: Message | bytes) -> bytes:
    """The encoded answer of ``method``, without its ``/z4.``."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    answer: bytes = channel.unary_unary(f"/z4.{method}")(data, timeout=10)
    return answer


def create(channel: grpc.Channel, namespace: str, **fields: object) -> pb.Task:
    request = pb.CreateTaskRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
    return pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", request)).task
