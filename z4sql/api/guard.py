"""Who may call what: tokens in ``authorization``, roles by method, namespaces by what the messages say.

Without an access file there is no guard, and everybody may do everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from grpc import StatusCode

from z4sql.access.book import PEER, AccessBook
from z4sql.access.model import Role, User
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.leadership import FORWARDED
from z4sql.api.parsing import parse, subscription_of
from z4sql.api.status import CallError

AUTHORIZATION: Final = "authorization"
_BEARER: Final = "bearer "
_NAMESPACE_KEYS: Final = ("queue", "namespace")
_RETRY_MS: Final = 50
_ALL: Final = "\0"
"""Stands for every namespace: none has this name."""
_OPEN: Final = ("/grpc.health.v1.Health/", "/z4.Admin/CheckHealth")

Metadata = Iterable[tuple[str, str | bytes]]
Named = Callable[[bytes], Sequence[str]]
"""The namespaces that a message is about. :raises CallError: when it cannot be read: it is refused."""


class Method(NamedTuple):
    """What a method takes. ``first_only``: it heeds the namespaces of the first message, and no others."""

    role: Role
    named: Named
    first_only: bool = False


def _create_tasks(data: bytes) -> list[str]:
    return list({task.namespace for task in parse(pb.CreateTasksRequest, data).tasks})


def _consume(data: bytes) -> list[str]:
    return list(parse(pb.ConsumeRequest, data).start.namespaces)


def _task_stream(data: bytes) -> list[str]:
    return [subscription_of(data)[0]]


def _get_rows(data: bytes) -> list[str]:
    """Rows of all namespaces are for those who may read them all."""
    return [parse(pb.GetRowsRequest, data).namespace or _ALL]


def _nothing(_: bytes) -> list[str]:
    return []


METHODS: Final[Mapping[str, Method]] = {
    "/z4.Admin/GetClusterInfo": Method(Role.READ, _nothing),
    "/z4.Admin/CheckState": Method(Role.READ, _nothing),
    "/z4.Admin/GetNamespace": Method(Role.READ, lambda data: [parse(pb.GetNamespaceRequest, data).namespace]),
    "/z4.Admin/ListNamespaces": Method(Role.READ, _nothing),
    "/z4.Admin/GetRows": Method(Role.READ, _get_rows),
    "/z4.Collection/GetTask": Method(Role.READ, lambda data: [parse(pb.GetTaskRequest, data).namespace]),
    "/z4.Collection/ListTasks": Method(Role.READ, lambda data: [parse(pb.ListTasksRequest, data).namespace]),
    "/z4.Queue/Get": Method(Role.READ, lambda data: [parse(pb.TaskLookup, data).reference.queue]),
    "/z4.Collection/CreateTasks": Method(Role.PRODUCE, _create_tasks),
    "/z4.Collection/CreateTasksStream": Method(Role.PRODUCE, _create_tasks),
    "/z4.Collection/ChangeTask": Method(
        Role.PRODUCE, lambda data: [parse(pb.ChangeTaskRequest, data).namespace]
    ),
    "/z4.Queue/Delete": Method(Role.PRODUCE, lambda data: [parse(pb.TaskDeletion, data).reference.queue]),
    "/z4.Queue/Consume": Method(Role.CONSUME, _consume, first_only=True),
    "/z4.Collection/GetTaskStream": Method(Role.CONSUME, _task_stream, first_only=True),
    "/z4.Queue/Pull": Method(Role.CONSUME, lambda data: [parse(pb.PullAck, data).reference.queue]),
    **{
        f"/z4.Collection/{name}": Method(
            Role.PRODUCE, lambda data: [parse(pb.CreateTaskRequest, data).namespace]
        )
        for name in ("CreateTask", "CreateTaskAsync", "CreateTaskStream", "CreateTaskStreamAsync")
    },
    **{
        f"/z4.Queue/{name}": Method(Role.PRODUCE, lambda data: [parse(pb.PushTaskRequest, data).queue])
        for name in ("Push", "PushStream")
    },
}
"""What is not here takes an administrator. ListNamespaces shows what `Admitted.may` allows."""
_ADMINISTERING: Final = Method(Role.ADMIN, _nothing)


class Admitted:
    """A caller at one method: what it sends is looked at before the method sees it."""

    __slots__ = ("_looked", "_method", "_named", "_renewed", "_user")

    def __init__(self, user: User, method: Method, renewed: Callable[[], User]) -> None:
        """``renewed`` admits the caller again, by the access file as it is then."""
        self._user = user
        self._method = method
        self._renewed = renewed
        self._looked = False
        self._named: Sequence[str] = ()
        """What a stream goes on with, when only its first message says it."""

    def check(self, data: bytes) -> None:
        """:raises CallError: PERMISSION_DENIED for a namespace that is not the caller's; as `Named`."""
        if self._looked or self._user is PEER or not (self._method.first_only or self._user.restricted):
            return
        named = self._method.named(data)
        if self._method.first_only:
            self._looked, self._named = True, named
        self._check(named)

    def check_again(self) -> None:
        """For a call that goes on. :raises CallError: when the caller may not make it any more."""
        try:
            self._user = self._renewed()
        except CallError:
            if self._user is not PEER:
                raise
            # The peers' secret was changed, which says nothing of who called the other peer.
            raise CallError(
                StatusCode.UNAVAILABLE,
                "the peers' token was changed: connect again",
                reason="PEER_TOKEN_CHANGED",
                retry_ms=_RETRY_MS,
            ) from None
        self._check(self._named)

    def may(self, namespace: str) -> bool:
        """Whether the method may tell the caller of ``namespace``."""
        return self._user.may(self._method.role, namespace)

    def _check(self, named: Sequence[str]) -> None:
        for namespace in named:
            # An empty name comes from the metadata, which was checked, or is refused by the method.
            if namespace and not self.may(namespace):
                where = "in all namespaces: name one" if namespace == _ALL else f"in namespace {namespace!r}"
                raise _denied(self._user, self._method.role, where)


class Guard:
    """Admits callers by the access file."""

    def __init__(self, book: AccessBook) -> None:
        self._book = book

    @property
    def version(self) -> int:
        """Another one whenever rights may have changed."""
        return self._book.version

    def admit(self, path: str, metadata: Metadata) -> Admitted | None:
        """Let a call in; None at methods that are open to everybody.

        :raises CallError: UNAUTHENTICATED without a known token, PERMISSION_DENIED without the role.
        """
        if path.startswith(_OPEN):
            return None
        said = [
            (key, value.decode(errors="replace") if isinstance(value, bytes) else value)
            for key, value in metadata
        ]
        method = METHODS.get(path, _ADMINISTERING)

        def admitted() -> User:
            return self._admitted(path, method.role, said)

        return Admitted(admitted(), method, admitted)

    def _admitted(self, path: str, role: Role, said: Sequence[tuple[str, str]]) -> User:
        user = self._user(said)
        if user is PEER:
            return user
        if not user.has(role):
            raise _denied(user, role, f"for {path}")
        if any(key == FORWARDED for key, _ in said):
            raise _denied(user, Role.ADMIN, "to pass calls on: only peers do")
        for key, value in said:
            if key in _NAMESPACE_KEYS and not user.may(role, value):
                raise _denied(user, role, f"in namespace {value!r}")
        return user

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
