"""The Python client of z4."""

from z4sql.client.client import AsyncClient, Client
from z4sql.client.errors import (
    Conflict,
    InvalidTask,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
    Z4Error,
)
from z4sql.client.model import NewTask, Task

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "InvalidTask",
    "NewTask",
    "NotFound",
    "OutcomeUnknown",
    "Overloaded",
    "Task",
    "Unavailable",
    "Z4Error",
]
