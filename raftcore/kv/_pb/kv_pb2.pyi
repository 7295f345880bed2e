from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("write", "get", "scan", "change", "info")
    WRITE_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    write: Command
    get: Get
    scan: Scan
    change: ChangeMembers
    info: AskInfo
    def __init__(self, write: _Optional[_Union[Command, _Mapping]] = ..., get: _Optional[_Union[Get, _Mapping]] = ..., scan: _Optional[_Union[Scan, _Mapping]] = ..., change: _Optional[_Union[ChangeMembers, _Mapping]] = ..., info: _Optional[_Union[AskInfo, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("result", "items", "info", "done", "changes", "failure")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    result: WriteResult
    items: Items
    info: Info
    done: Done
    changes: Changes
    failure: Failure
    def __init__(self, result: _Optional[_Union[WriteResult, _Mapping]] = ..., items: _Optional[_Union[Items, _Mapping]] = ..., info: _Optional[_Union[Info, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., changes: _Optional[_Union[Changes, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("stamp_us", "request_id", "set", "delete", "sweep")
    STAMP_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    stamp_us: int
    request_id: bytes
    set: Set
    delete: Delete
    sweep: Sweep
    def __init__(self, stamp_us: _Optional[int] = ..., request_id: _Optional[bytes] = ..., set: _Optional[_Union[Set, _Mapping]] = ..., delete: _Optional[_Union[Delete, _Mapping]] = ..., sweep: _Optional[_Union[Sweep, _Mapping]] = ...) -> None: ...

class Set(_message.Message):
    __slots__ = ("key", "value", "ttl_ms", "expected_value", "expected_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    ttl_ms: int
    expected_value: bytes
    expected_version: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ..., expected_value: _Optional[bytes] = ..., expected_version: _Optional[int] = ...) -> None: ...

class Delete(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...

class Sweep(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class WriteResult(_message.Message):
    __slots__ = ("done", "version", "index")
    DONE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    done: bool
    version: int
    index: int
    def __init__(self, done: _Optional[bool] = ..., version: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class Get(_message.Message):
    __slots__ = ("key", "stale")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    stale: bool
    def __init__(self, key: _Optional[bytes] = ..., stale: _Optional[bool] = ...) -> None: ...

class Scan(_message.Message):
    __slots__ = ("prefix", "limit", "after", "stale")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    prefix: bytes
    limit: int
    after: bytes
    stale: bool
    def __init__(self, prefix: _Optional[bytes] = ..., limit: _Optional[int] = ..., after: _Optional[bytes] = ..., stale: _Optional[bool] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("key", "value", "version", "expiry_us")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_US_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    version: int
    expiry_us: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., version: _Optional[int] = ..., expiry_us: _Optional[int] = ...) -> None: ...

class Items(_message.Message):
    __slots__ = ("items", "more")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    more: bool
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("from_index", "prefix")
    FROM_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    from_index: int
    prefix: bytes
    def __init__(self, from_index: _Optional[int] = ..., prefix: _Optional[bytes] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("index", "version", "kind", "key", "value")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    index: int
    version: int
    kind: str
    key: bytes
    value: bytes
    def __init__(self, index: _Optional[int] = ..., version: _Optional[int] = ..., kind: _Optional[str] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class Changes(_message.Message):
    __slots__ = ("index", "changes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    index: int
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, index: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class ChangeMembers(_message.Message):
    __slots__ = ("action", "name", "address")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    action: str
    name: str
    address: str
    def __init__(self, action: _Optional[str] = ..., name: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class AskInfo(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Info(_message.Message):
    __slots__ = ("id", "name", "leader_id", "term", "applied", "peers")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    leader_id: int
    term: int
    applied: int
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., leader_id: _Optional[int] = ..., term: _Optional[int] = ..., applied: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("id", "name", "address", "voter")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    address: str
    voter: bool
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., address: _Optional[str] = ..., voter: _Optional[bool] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Failure(_message.Message):
    __slots__ = ("kind", "detail")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    detail: str
    def __init__(self, kind: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("applied", "clock_us", "version", "dropped_version", "dropped_index", "changes_bytes", "requests")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DROPPED_VERSION_FIELD_NUMBER: _ClassVar[int]
    DROPPED_INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANGES_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    applied: int
    clock_us: int
    version: int
    dropped_version: int
    dropped_index: int
    changes_bytes: int
    requests: int
    def __init__(self, applied: _Optional[int] = ..., clock_us: _Optional[int] = ..., version: _Optional[int] = ..., dropped_version: _Optional[int] = ..., dropped_index: _Optional[int] = ..., changes_bytes: _Optional[int] = ..., requests: _Optional[int] = ...) -> None: ...
