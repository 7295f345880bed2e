"""The Python client of z4."""

from z4sql.client.access import Tls
from z4sql.client.async_client import AsyncClient
from z4sql.client.client import BlockingConsumer, BlockingDelivery, Client
from z4sql.client.consumer import Consumer, Delivery, Outcome
from z4sql.client.errors import (
    AccessDenied,
    Closed,
    Conflict,
    Dead,
    InvalidTask,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    PreconditionFailed,
    Retry,
    Unavailable,
    Z4Error,
)
from z4sql.client.model import ConnectedConsumer, Namespace, NewTask, Task, TaskEvent
from z4sql.client.worker import Worker

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "BlockingConsumer",
    "BlockingDelivery",
    "Client",
    "Closed",
    "Conflict",
    "ConnectedConsumer",
    "Consumer",
    "Dead",
    "Delivery",
    "InvalidTask",
    "Namespace",
    "NewTask",
    "NotFound",
    "Outcome",
    "OutcomeUnknown",
    "Overloaded",
    "PreconditionFailed",
    "Retry",
    "Task",
    "TaskEvent",
    "Tls",
    "Unavailable",
    "Worker",
    "Z4Error",
]
