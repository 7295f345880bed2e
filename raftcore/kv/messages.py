"""What clients, nodes and the log say to each other.

Logs and states on disk hold these names and fields: a field is added with a default, and none is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from raftcore.kv.codec import decode_any
from raftcore.kv.errors import BadRequest

KEY_BYTES_MAX = 4 << 10
VALUE_BYTES_MAX = 1 << 20
REQUEST_ID_BYTES_MAX = 64
SCAN_LIMIT_MAX = 10_000


@dataclass(slots=True, frozen=True)
class Set:
    """``ttl_ms`` is 0 for a key that lives until it is deleted."""

    key: bytes
    value: bytes
    ttl_ms: int = 0


@dataclass(slots=True, frozen=True)
class Delete:
    key: bytes


@dataclass(slots=True, frozen=True)
class CompareAndSet:
    """Set only when the key has ``expected_value``, or else ``expected_version`` (0: no key)."""

    key: bytes
    value: bytes
    expected_value: bytes | None = None
    expected_version: int | None = None
    ttl_ms: int = 0


@dataclass(slots=True, frozen=True)
class Sweep:
    """Remove up to ``limit`` expired keys. Made by leaders."""

    limit: int


@dataclass(slots=True, frozen=True)
class Announce:
    """Clients reach the member called ``name`` at ``address``. Made by leaders."""

    name: str
    address: str


ClientOperation = Set | Delete | CompareAndSet
Operation = ClientOperation | Sweep | Announce


@dataclass(slots=True, frozen=True)
class Command:
    """What the log holds. ``stamp_us`` is the leader's wall clock; no replica asks its own.

    A command whose ``request_id`` was seen lately is answered as then and changes nothing; an empty one is
    never remembered.
    """

    stamp_us: int
    request_id: bytes
    operation: Operation


@dataclass(slots=True, frozen=True)
class WriteResult:
    """``done`` is false for a failed comparison and a deletion of nothing.

    ``version`` is the key's afterwards, 0 when there is none; ``index`` is the log index of the write.
    """

    done: bool
    version: int
    index: int


@dataclass(slots=True, frozen=True)
class Write:
    request_id: bytes
    operation: ClientOperation


@dataclass(slots=True, frozen=True)
class Get:
    """``stale`` reads what this node has, which may be old; otherwise the read is linearizable."""

    key: bytes
    stale: bool = False


@dataclass(slots=True, frozen=True)
class Scan:
    """Up to ``limit`` keys that begin with ``prefix`` and come after ``after``, in their order."""

    prefix: bytes
    limit: int
    after: bytes = b""
    stale: bool = False


@dataclass(slots=True, frozen=True)
class Watch:
    """Changes of keys that begin with ``prefix``, from log index ``from_index`` on."""

    from_index: int
    prefix: bytes = b""


@dataclass(slots=True, frozen=True)
class AddNode:
    """``address`` is where the other members reach it. It ends as a voter, or listens as a ``learner``."""

    name: str
    address: str
    learner: bool = False


@dataclass(slots=True, frozen=True)
class PromoteNode:
    name: str


@dataclass(slots=True, frozen=True)
class RemoveNode:
    name: str


@dataclass(slots=True, frozen=True)
class Transfer:
    """Move leadership to ``name``, or to whoever is furthest when it is empty."""

    name: str = ""


@dataclass(slots=True, frozen=True)
class AskInfo:
    pass


Request = Write | Get | Scan | Watch | AddNode | PromoteNode | RemoveNode | Transfer | AskInfo


@dataclass(slots=True, frozen=True)
class Item:
    key: bytes
    value: bytes
    version: int


@dataclass(slots=True, frozen=True)
class Items:
    """``more`` tells that the limit cut the answer: go on after the last key."""

    items: tuple[Item, ...]
    more: bool = False


@dataclass(slots=True, frozen=True)
class Change:
    """``kind`` is "set", "delete" or "expire"; only a set has a value. ``version`` counts all changes."""

    index: int
    version: int
    kind: str
    key: bytes
    value: bytes = b""


@dataclass(slots=True, frozen=True)
class Changes:
    """All changes of the entries up to ``index``: the next watch goes on from the index behind it."""

    index: int
    changes: tuple[Change, ...]


@dataclass(slots=True, frozen=True)
class Peer:
    id: int
    name: str
    address: str
    voter: bool


@dataclass(slots=True, frozen=True)
class Info:
    """A node as it sees itself. ``id`` is 0 while it is no member, ``leader_id`` while it knows no leader."""

    id: int
    name: str
    leader_id: int
    term: int
    applied: int
    peers: tuple[Peer, ...]


@dataclass(slots=True, frozen=True)
class Done:
    pass


@dataclass(slots=True, frozen=True)
class Failure:
    """The error's class, and what it is made of."""

    kind: str
    detail: str


M = TypeVar("M")


def decode(data: bytes, kind: type[M]) -> M:
    """The message of ``kind`` whose bytes are ``data``. :raises BadMessage: when they are anything else."""
    message: M = decode_any(data, kind)
    return message


def decode_request(data: bytes) -> Request:
    """The request whose bytes are ``data``. :raises BadMessage: when they are anything else."""
    request: Request = decode_any(data, Request)
    return request


def decode_answer(data: bytes, kind: type[M]) -> M | Failure:
    """The answer of ``kind``, or why there is none. :raises BadMessage: when the bytes are neither."""
    answer: M | Failure = decode_any(data, kind | Failure)
    return answer


def check(request: Request) -> None:
    """:raises BadRequest: naming the field that is out of range."""
    match request:
        case Write(request_id, operation):
            _check_length("request_id", request_id, 1, REQUEST_ID_BYTES_MAX)
            _check_length("key", operation.key, 1, KEY_BYTES_MAX)
            if not isinstance(operation, Delete):
                _check_length("value", operation.value, 0, VALUE_BYTES_MAX)
            if isinstance(operation, CompareAndSet) and (operation.expected_value is None) == (
                operation.expected_version is None
            ):
                raise BadRequest("give exactly one of expected_value and expected_version")
        case Get(key):
            _check_length("key", key, 1, KEY_BYTES_MAX)
        case Scan(prefix, limit):
            _check_length("prefix", prefix, 0, KEY_BYTES_MAX)
            if not 1 <= limit <= SCAN_LIMIT_MAX:
                raise BadRequest(f"limit must be 1 to {SCAN_LIMIT_MAX}, is {limit}")
        case AddNode(name, address):
            if not name or ":" not in address:
                raise BadRequest(f"a node needs a name and host:port, not {name!r} and {address!r}")
        case _:
            pass


def _check_length(field: str, value: bytes, least: int, most: int) -> None:
    if not least <= len(value) <= most:
        raise BadRequest(f"{field} must have {least} to {most} bytes, has {len(value)}")
