"""Who may call what: tokens in ``authorization``, roles by method, namespaces by what the messages say.

Without an access file there is no guard, and everybody may do everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode

from z4sql.access.book import PEER, AccessBook
from z4sql.access.model import Role, User
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.leadership import FORWARDED
from z4sql.api.status import CallError

AUTHORIZATION: Final = "authorization"
_BEARER: Final = "bearer "
_NAMESPACE_KEYS: Final = ("queue", "namespace")
_OPEN: Final = ("/grpc.health.v1.Health/", "/z4.Admin/CheckHealth")

Metadata = Iterable[tuple[str, str | bytes]]
Named = Callable[[bytes], list[str]]
"""The namespaces that a message is about."""


def _create_tasks(data: bytes) -> list[str]:
    return list({task.namespace for task in pb.CreateTasksRequest.FromString(data).tasks})


def _consume(data: bytes) -> list[str]:
    return list(pb.ConsumeRequest.FromString(data).start.namespaces)


def _task_stream(data: bytes) -> list[str]:
    """Either form of the first message; an acknowledgement names the namespace again."""
    named = pb.StreamTasksRequest.FromString(data).namespace
    if named:
        return [named]
    pull = pb.PullRequest.FromString(data)
    return [pull.ack.namespace if pull.WhichOneof("kind") == "ack" else pull.start_req.namespace]


def _get_rows(data: bytes) -> list[str]:
    """Rows of all namespaces are for those who may read them all: no namespace has this name."""
    return [pb.GetRowsRequest.FromString(data).namespace or "\0"]


def _nothing(_: bytes) -> list[str]:
    return []


_METHODS: Final[Mapping[str, tuple[Role, Named]]] = {
    "/z4.Admin/GetClusterInfo": (Role.READ, _nothing),
    "/z4.Admin/CheckState": (Role.READ, _nothing),
    "/z4.Admin/GetNamespace": (Role.READ, lambda data: [pb.GetNamespaceRequest.FromString(data).namespace]),
    "/z4.Admin/ListNamespaces": (Role.READ, _nothing),
    "/z4.Admin/GetRows": (Role.READ, _get_rows),
    "/z4.Collection/GetTask": (Role.READ, lambda data: [pb.GetTaskRequest.FromString(data).namespace]),
    "/z4.Collection/ListTasks": (Role.READ, lambda data: [pb.ListTasksRequest.FromString(data).namespace]),
    "/z4.Queue/Get": (Role.READ, lambda data: [pb.TaskLookup.FromString(data).reference.queue]),
    "/z4.Collection/CreateTasks": (Role.PRODUCE, _create_tasks),
    "/z4.Collection/CreateTasksStream": (Role.PRODUCE, _create_tasks),
    "/z4.Collection/ChangeTask": (
        Role.PRODUCE,
        lambda data: [pb.ChangeTaskRequest.FromString(data).namespace],
    ),
    "/z4.Queue/Delete": (Role.PRODUCE, lambda data: [pb.TaskDeletion.FromString(data).reference.queue]),
    "/z4.Queue/Consume": (Role.CONSUME, _consume),
    "/z4.Collection/GetTaskStream": (Role.CONSUME, _task_stream),
    "/z4.Queue/Pull": (Role.CONSUME, lambda data: [pb.PullAck.FromString(data).reference.queue]),
    **{
        f"/z4.Collection/{name}": (
            Role.PRODUCE,
            lambda data: [pb.CreateTaskRequest.FromString(data).namespace],
        )
        for name in ("CreateTask", "CreateTaskAsync", "CreateTaskStream", "CreateTaskStreamAsync")
    },
    **{
        f"/z4.Queue/{name}": (Role.PRODUCE, lambda data: [pb.PushTaskRequest.FromString(data).queue])
        for name in ("Push", "PushStream")
    },
}
"""What is not here takes an administrator."""


class Admitted:
    """A caller at one method: what it sends is looked at before the method sees it."""

    __slots__ = ("_named", "_role", "_user")

    def __init__(self, user: User, role: Role, named: Named) -> None:
        self._user = user
        self._role = role
        self._named = named

    def check(self, data: bytes) -> None:
        """:raises CallError: PERMISSION_DENIED for a namespace that is not the caller's."""
        try:
            named = self._named(data)
        except DecodeError:
            return  # The method itself refuses it, in its own words.
        for namespace in named:
            # An empty name comes from the metadata, which was checked, or is refused by the method.
            if namespace and not self._user.may(self._role, namespace):
                raise _denied(self._user, self._role, f"in namespace {namespace!r}")


class Guard:
    """Admits callers by the access file."""

    def __init__(self, book: AccessBook) -> None:
        self._book = book

    def admit(self, path: str, metadata: Metadata) -> Admitted | None:
        """Let a call in; None when its messages need no look.

        :raises CallError: UNAUTHENTICATED without a known token, PERMISSION_DENIED without the role.
        """
        if path.startswith(_OPEN):
            return None
        said = [
            (key, value.decode(errors="replace") if isinstance(value, bytes) else value)
            for key, value in metadata
        ]
        user = self._user(said)
        role, named = _METHODS.get(path, (Role.ADMIN, _nothing))
        if user is PEER:
            return None
        if not user.has(role):
            raise _denied(user, role, f"for {path}")
        if any(key == FORWARDED for key, _ in said):
            raise _denied(user, Role.ADMIN, "to pass calls on: only peers do")
        if not user.restricted:
            return None
        for key, value in said:
            if key in _NAMESPACE_KEYS and not user.may(role, value):
                raise _denied(user, role, f"in namespace {value!r}")
        return Admitted(user, role, named)

    def _user(self, said: Iterable[tuple[str, str]]) -> User:
        for key, value in said:
            if key == AUTHORIZATION and value[: len(_BEARER)].lower() == _BEARER:
                user = self._book.by_token(value[len(_BEARER) :].strip())
                if user is not None:
                    return user
                break
        raise CallError(
            StatusCode.UNAUTHENTICATED,
            "authorization: a known token is required: send `authorization: Bearer TOKEN`",
            reason="TOKEN_REQUIRED",
            field="authorization",
        )


def _denied(user: User, role: Role, where: str) -> CallError:
    return CallError(
        StatusCode.PERMISSION_DENIED,
        f"user {user.name!r} lacks the role {role.value!r} {where}",
        reason="ROLE_REQUIRED",
    )
