from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("version", "stamp_us", "request_id", "fingerprint", "create_tasks", "register_member", "set_namespace")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAMP_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TASKS_FIELD_NUMBER: _ClassVar[int]
    REGISTER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    SET_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    version: int
    stamp_us: int
    request_id: str
    fingerprint: bytes
    create_tasks: CreateTasks
    register_member: RegisterMember
    set_namespace: SetNamespace
    def __init__(self, version: _Optional[int] = ..., stamp_us: _Optional[int] = ..., request_id: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., create_tasks: _Optional[_Union[CreateTasks, _Mapping]] = ..., register_member: _Optional[_Union[RegisterMember, _Mapping]] = ..., set_namespace: _Optional[_Union[SetNamespace, _Mapping]] = ...) -> None: ...

class CreateTasks(_message.Message):
    __slots__ = ("places", "records", "payloads", "requests")
    class PayloadsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    class RequestsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Request
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Request, _Mapping]] = ...) -> None: ...
    PLACES_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedScalarFieldContainer[bytes]
    records: _containers.RepeatedScalarFieldContainer[bytes]
    payloads: _containers.ScalarMap[int, bytes]
    requests: _containers.MessageMap[int, Request]
    def __init__(self, places: _Optional[_Iterable[bytes]] = ..., records: _Optional[_Iterable[bytes]] = ..., payloads: _Optional[_Mapping[int, bytes]] = ..., requests: _Optional[_Mapping[int, Request]] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("id", "fingerprint")
    ID_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    fingerprint: bytes
    def __init__(self, id: _Optional[str] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class RegisterMember(_message.Message):
    __slots__ = ("name", "peer_address", "service_address", "sql_address", "metrics_address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SQL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    peer_address: str
    service_address: str
    sql_address: str
    metrics_address: str
    def __init__(self, name: _Optional[str] = ..., peer_address: _Optional[str] = ..., service_address: _Optional[str] = ..., sql_address: _Optional[str] = ..., metrics_address: _Optional[str] = ...) -> None: ...

class SetNamespace(_message.Message):
    __slots__ = ("namespace", "ack_deadline_seconds", "attempts_max", "backoff_min_ms", "backoff_max_ms", "backoff_multiplier", "retention_seconds", "paused")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_MAX_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MIN_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    RETENTION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    ack_deadline_seconds: int
    attempts_max: int
    backoff_min_ms: int
    backoff_max_ms: int
    backoff_multiplier: float
    retention_seconds: int
    paused: bool
    def __init__(self, namespace: _Optional[str] = ..., ack_deadline_seconds: _Optional[int] = ..., attempts_max: _Optional[int] = ..., backoff_min_ms: _Optional[int] = ..., backoff_max_ms: _Optional[int] = ..., backoff_multiplier: _Optional[float] = ..., retention_seconds: _Optional[int] = ..., paused: _Optional[bool] = ...) -> None: ...
