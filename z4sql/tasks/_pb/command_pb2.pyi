from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("version", "stamp_us", "request_id", "fingerprint", "create_tasks", "register_member", "set_namespace", "lease", "settle", "change_task", "change_tasks", "retire")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAMP_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TASKS_FIELD_NUMBER: _ClassVar[int]
    REGISTER_MEMBER_FIELD_NUMBER: _ClassVar[int]
    SET_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TASK_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TASKS_FIELD_NUMBER: _ClassVar[int]
    RETIRE_FIELD_NUMBER: _ClassVar[int]
    version: int
    stamp_us: int
    request_id: str
    fingerprint: bytes
    create_tasks: CreateTasks
    register_member: RegisterMember
    set_namespace: SetNamespace
    lease: Lease
    settle: Settle
    change_task: ChangeTask
    change_tasks: ChangeTasks
    retire: Retire
    def __init__(self, version: _Optional[int] = ..., stamp_us: _Optional[int] = ..., request_id: _Optional[str] = ..., fingerprint: _Optional[bytes] = ..., create_tasks: _Optional[_Union[CreateTasks, _Mapping]] = ..., register_member: _Optional[_Union[RegisterMember, _Mapping]] = ..., set_namespace: _Optional[_Union[SetNamespace, _Mapping]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., settle: _Optional[_Union[Settle, _Mapping]] = ..., change_task: _Optional[_Union[ChangeTask, _Mapping]] = ..., change_tasks: _Optional[_Union[ChangeTasks, _Mapping]] = ..., retire: _Optional[_Union[Retire, _Mapping]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("places", "next_attempt_at_us", "lease_until_us", "owner")
    PLACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_US_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedScalarFieldContainer[bytes]
    next_attempt_at_us: _containers.RepeatedScalarFieldContainer[int]
    lease_until_us: int
    owner: bytes
    def __init__(self, places: _Optional[_Iterable[bytes]] = ..., next_attempt_at_us: _Optional[_Iterable[int]] = ..., lease_until_us: _Optional[int] = ..., owner: _Optional[bytes] = ...) -> None: ...

class Settle(_message.Message):
    __slots__ = ("places", "tokens", "kinds", "at_us", "errors")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACK: _ClassVar[Settle.Kind]
        NACK: _ClassVar[Settle.Kind]
        DEAD: _ClassVar[Settle.Kind]
        EXTEND: _ClassVar[Settle.Kind]
        RELEASE: _ClassVar[Settle.Kind]
        LEASE_EXPIRED: _ClassVar[Settle.Kind]
        LEASE_EXPIRED_DEAD: _ClassVar[Settle.Kind]
    ACK: Settle.Kind
    NACK: Settle.Kind
    DEAD: Settle.Kind
    EXTEND: Settle.Kind
    RELEASE: Settle.Kind
    LEASE_EXPIRED: Settle.Kind
    LEASE_EXPIRED_DEAD: Settle.Kind
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    PLACES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedScalarFieldContainer[bytes]
    tokens: _containers.RepeatedScalarFieldContainer[int]
    kinds: bytes
    at_us: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.ScalarMap[int, bytes]
    def __init__(self, places: _Optional[_Iterable[bytes]] = ..., tokens: _Optional[_Iterable[int]] = ..., kinds: _Optional[bytes] = ..., at_us: _Optional[_Iterable[int]] = ..., errors: _Optional[_Mapping[int, bytes]] = ...) -> None: ...

class ChangeTask(_message.Message):
    __slots__ = ("id_place", "kind", "etag", "deliver_at_us", "metadata", "payload")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CANCEL: _ClassVar[ChangeTask.Kind]
        RESCHEDULE: _ClassVar[ChangeTask.Kind]
        RUN_NOW: _ClassVar[ChangeTask.Kind]
        UPDATE: _ClassVar[ChangeTask.Kind]
        REDRIVE: _ClassVar[ChangeTask.Kind]
        REMOVE: _ClassVar[ChangeTask.Kind]
    CANCEL: ChangeTask.Kind
    RESCHEDULE: ChangeTask.Kind
    RUN_NOW: ChangeTask.Kind
    UPDATE: ChangeTask.Kind
    REDRIVE: ChangeTask.Kind
    REMOVE: ChangeTask.Kind
    ID_PLACE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AT_US_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    id_place: bytes
    kind: ChangeTask.Kind
    etag: bytes
    deliver_at_us: int
    metadata: bytes
    payload: bytes
    def __init__(self, id_place: _Optional[bytes] = ..., kind: _Optional[_Union[ChangeTask.Kind, str]] = ..., etag: _Optional[bytes] = ..., deliver_at_us: _Optional[int] = ..., metadata: _Optional[bytes] = ..., payload: _Optional[bytes] = ...) -> None: ...

class ChangeTasks(_message.Message):
    __slots__ = ("from_place", "to_place", "states", "kind", "limit")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PURGE: _ClassVar[ChangeTasks.Kind]
        CANCEL: _ClassVar[ChangeTasks.Kind]
        RUN_NOW: _ClassVar[ChangeTasks.Kind]
        REDRIVE: _ClassVar[ChangeTasks.Kind]
    PURGE: ChangeTasks.Kind
    CANCEL: ChangeTasks.Kind
    RUN_NOW: ChangeTasks.Kind
    REDRIVE: ChangeTasks.Kind
    FROM_PLACE_FIELD_NUMBER: _ClassVar[int]
    TO_PLACE_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    from_place: bytes
    to_place: bytes
    states: int
    kind: ChangeTasks.Kind
    limit: int
    def __init__(self, from_place: _Optional[bytes] = ..., to_place: _Optional[bytes] = ..., states: _Optional[int] = ..., kind: _Optional[_Union[ChangeTasks.Kind, str]] = ..., limit: _Optional[int] = ...) -> None: ...

class Retire(_message.Message):
    __slots__ = ("forget", "expire")
    FORGET_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_FIELD_NUMBER: _ClassVar[int]
    forget: _containers.RepeatedScalarFieldContainer[bytes]
    expire: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, forget: _Optional[_Iterable[bytes]] = ..., expire: _Optional[_Iterable[bytes]] = ...) -> None: ...

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
    __slots__ = ("namespace", "ack_deadline_seconds", "attempts_max", "backoff_min_ms", "backoff_max_ms", "backoff_multiplier", "retention_seconds", "paused", "paused_until_us")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_MAX_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MIN_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    RETENTION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    ack_deadline_seconds: int
    attempts_max: int
    backoff_min_ms: int
    backoff_max_ms: int
    backoff_multiplier: float
    retention_seconds: int
    paused: bool
    paused_until_us: int
    def __init__(self, namespace: _Optional[str] = ..., ack_deadline_seconds: _Optional[int] = ..., attempts_max: _Optional[int] = ..., backoff_min_ms: _Optional[int] = ..., backoff_max_ms: _Optional[int] = ..., backoff_multiplier: _Optional[float] = ..., retention_seconds: _Optional[int] = ..., paused: _Optional[bool] = ..., paused_until_us: _Optional[int] = ...) -> None: ...
