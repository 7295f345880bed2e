import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckHealthRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class GetClusterInfoRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class ClusterInfo(_message.Message):
    __slots__ = ("server_id", "leader_address", "members", "cluster_id", "leader_id", "leader_service_address", "term", "commit_index", "applied_index", "host")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    leader_address: str
    members: _containers.RepeatedCompositeFieldContainer[Server]
    cluster_id: str
    leader_id: str
    leader_service_address: str
    term: int
    commit_index: int
    applied_index: int
    host: HostStatus
    def __init__(self, server_id: _Optional[str] = ..., leader_address: _Optional[str] = ..., members: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., cluster_id: _Optional[str] = ..., leader_id: _Optional[str] = ..., leader_service_address: _Optional[str] = ..., term: _Optional[int] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., host: _Optional[_Union[HostStatus, _Mapping]] = ...) -> None: ...

class HostStatus(_message.Message):
    __slots__ = ("turns_ratio", "applying_ratio", "flushing_ratio", "queued_commands", "queued_commands_max", "pending_commands", "pending_reads", "unapplied_entries", "state_stalled", "log_first_index", "log_last_index", "log_bytes", "snapshot_bytes")
    TURNS_RATIO_FIELD_NUMBER: _ClassVar[int]
    APPLYING_RATIO_FIELD_NUMBER: _ClassVar[int]
    FLUSHING_RATIO_FIELD_NUMBER: _ClassVar[int]
    QUEUED_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_COMMANDS_MAX_FIELD_NUMBER: _ClassVar[int]
    PENDING_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    PENDING_READS_FIELD_NUMBER: _ClassVar[int]
    UNAPPLIED_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    STATE_STALLED_FIELD_NUMBER: _ClassVar[int]
    LOG_FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LOG_LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    turns_ratio: float
    applying_ratio: float
    flushing_ratio: float
    queued_commands: int
    queued_commands_max: int
    pending_commands: int
    pending_reads: int
    unapplied_entries: int
    state_stalled: bool
    log_first_index: int
    log_last_index: int
    log_bytes: int
    snapshot_bytes: int
    def __init__(self, turns_ratio: _Optional[float] = ..., applying_ratio: _Optional[float] = ..., flushing_ratio: _Optional[float] = ..., queued_commands: _Optional[int] = ..., queued_commands_max: _Optional[int] = ..., pending_commands: _Optional[int] = ..., pending_reads: _Optional[int] = ..., unapplied_entries: _Optional[int] = ..., state_stalled: _Optional[bool] = ..., log_first_index: _Optional[int] = ..., log_last_index: _Optional[int] = ..., log_bytes: _Optional[int] = ..., snapshot_bytes: _Optional[int] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("id", "address", "service_address", "sql_address", "voter", "match_index", "lag_entries", "silent_ms", "needs_snapshot")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SQL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAG_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    service_address: str
    sql_address: str
    voter: bool
    match_index: int
    lag_entries: int
    silent_ms: int
    needs_snapshot: bool
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ..., service_address: _Optional[str] = ..., sql_address: _Optional[str] = ..., voter: _Optional[bool] = ..., match_index: _Optional[int] = ..., lag_entries: _Optional[int] = ..., silent_ms: _Optional[int] = ..., needs_snapshot: _Optional[bool] = ...) -> None: ...

class AddClusterMemberRequest(_message.Message):
    __slots__ = ("member_address", "member_id")
    MEMBER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    member_address: str
    member_id: str
    def __init__(self, member_address: _Optional[str] = ..., member_id: _Optional[str] = ...) -> None: ...

class RemoveClusterMemberRequest(_message.Message):
    __slots__ = ("member_id",)
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    def __init__(self, member_id: _Optional[str] = ...) -> None: ...

class MemberAddresses(_message.Message):
    __slots__ = ("member_id", "peer_address", "service_address", "sql_address", "metrics_address")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SQL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    peer_address: str
    service_address: str
    sql_address: str
    metrics_address: str
    def __init__(self, member_id: _Optional[str] = ..., peer_address: _Optional[str] = ..., service_address: _Optional[str] = ..., sql_address: _Optional[str] = ..., metrics_address: _Optional[str] = ...) -> None: ...

class GetRowsRequest(_message.Message):
    __slots__ = ("table", "namespace")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    table: str
    namespace: str
    def __init__(self, table: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class GetRowsResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: str
    def __init__(self, rows: _Optional[str] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("request_id", "namespace", "metadata", "payload", "deliver_at", "tts_seconds", "expire_at", "tts_ms")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AT_FIELD_NUMBER: _ClassVar[int]
    TTS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    TTS_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    metadata: _containers.ScalarMap[str, str]
    payload: bytes
    deliver_at: _timestamp_pb2.Timestamp
    tts_seconds: int
    expire_at: _timestamp_pb2.Timestamp
    tts_ms: int
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., payload: _Optional[bytes] = ..., deliver_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tts_seconds: _Optional[int] = ..., expire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tts_ms: _Optional[int] = ...) -> None: ...

class CreateTaskResponse(_message.Message):
    __slots__ = ("task", "forwarded_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    task: Task
    forwarded_to: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class TaskStreamResponse(_message.Message):
    __slots__ = ("task", "status", "message", "forwarded_to", "request_id", "reason", "field")
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    task: Task
    status: int
    message: str
    forwarded_to: str
    request_id: str
    reason: str
    field: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., forwarded_to: _Optional[str] = ..., request_id: _Optional[str] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class CreateTasksRequest(_message.Message):
    __slots__ = ("request_id", "tasks", "with_etags")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    WITH_ETAGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    tasks: _containers.RepeatedCompositeFieldContainer[CreateTaskRequest]
    with_etags: bool
    def __init__(self, request_id: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[CreateTaskRequest, _Mapping]]] = ..., with_etags: _Optional[bool] = ...) -> None: ...

class CreateTasksResponse(_message.Message):
    __slots__ = ("results", "forwarded_to")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateTaskResult]
    forwarded_to: str
    def __init__(self, results: _Optional[_Iterable[_Union[CreateTaskResult, _Mapping]]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class CreateTaskResult(_message.Message):
    __slots__ = ("task_id", "status", "message", "reason", "field", "etag")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: int
    message: str
    reason: str
    field: str
    etag: str
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("request_id", "namespace", "task_id", "linearizable")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    task_id: str
    linearizable: bool
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., task_id: _Optional[str] = ..., linearizable: _Optional[bool] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("id", "namespace", "metadata", "payload", "deliver_at", "last_retry", "created_at", "state", "attempts", "next_attempt_at", "lease_owner", "lease_until", "last_error", "finished_at", "expire_at", "etag", "request_id", "events")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_RETRY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    LEASE_OWNER_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    metadata: _containers.ScalarMap[str, str]
    payload: bytes
    deliver_at: _timestamp_pb2.Timestamp
    last_retry: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    state: str
    attempts: int
    next_attempt_at: _timestamp_pb2.Timestamp
    lease_owner: str
    lease_until: _timestamp_pb2.Timestamp
    last_error: str
    finished_at: _timestamp_pb2.Timestamp
    expire_at: _timestamp_pb2.Timestamp
    etag: str
    request_id: str
    events: _containers.RepeatedCompositeFieldContainer[TaskEvent]
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., payload: _Optional[bytes] = ..., deliver_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_retry: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[str] = ..., attempts: _Optional[int] = ..., next_attempt_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_owner: _Optional[str] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[TaskEvent, _Mapping]]] = ...) -> None: ...

class TaskEvent(_message.Message):
    __slots__ = ("at", "kind", "attempt", "detail")
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    kind: str
    attempt: int
    detail: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., attempt: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class StreamTasksRequest(_message.Message):
    __slots__ = ("request_id", "namespace")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("start_req", "ack")
    START_REQ_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    start_req: StreamTasksRequest
    ack: AckReference
    def __init__(self, start_req: _Optional[_Union[StreamTasksRequest, _Mapping]] = ..., ack: _Optional[_Union[AckReference, _Mapping]] = ...) -> None: ...

class AckReference(_message.Message):
    __slots__ = ("namespace", "task_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    task_id: str
    def __init__(self, namespace: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("namespace", "to", "states", "page_size", "page_token", "with_payload")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WITH_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    to: _timestamp_pb2.Timestamp
    states: _containers.RepeatedScalarFieldContainer[str]
    page_size: int
    page_token: str
    with_payload: bool
    def __init__(self, namespace: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., states: _Optional[_Iterable[str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., with_payload: _Optional[bool] = ..., **kwargs) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ChangeTaskRequest(_message.Message):
    __slots__ = ("request_id", "namespace", "task_id", "etag", "cancel", "reschedule", "run_now", "update", "redrive", "remove")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    RESCHEDULE_FIELD_NUMBER: _ClassVar[int]
    RUN_NOW_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    REDRIVE_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    task_id: str
    etag: str
    cancel: _empty_pb2.Empty
    reschedule: _timestamp_pb2.Timestamp
    run_now: _empty_pb2.Empty
    update: TaskUpdate
    redrive: _empty_pb2.Empty
    remove: _empty_pb2.Empty
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., task_id: _Optional[str] = ..., etag: _Optional[str] = ..., cancel: _Optional[_Union[_empty_pb2.Empty, _Mapping]] = ..., reschedule: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_now: _Optional[_Union[_empty_pb2.Empty, _Mapping]] = ..., update: _Optional[_Union[TaskUpdate, _Mapping]] = ..., redrive: _Optional[_Union[_empty_pb2.Empty, _Mapping]] = ..., remove: _Optional[_Union[_empty_pb2.Empty, _Mapping]] = ...) -> None: ...

class TaskUpdate(_message.Message):
    __slots__ = ("metadata", "payload")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    metadata: TaskMetadata
    payload: bytes
    def __init__(self, metadata: _Optional[_Union[TaskMetadata, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class TaskMetadata(_message.Message):
    __slots__ = ("pairs",)
    class PairsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.ScalarMap[str, str]
    def __init__(self, pairs: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ChangeTaskResponse(_message.Message):
    __slots__ = ("task", "forwarded_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    task: Task
    forwarded_to: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class ChangeTasksRequest(_message.Message):
    __slots__ = ("namespace", "to", "states", "change", "dry_run")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    to: _timestamp_pb2.Timestamp
    states: _containers.RepeatedScalarFieldContainer[str]
    change: str
    dry_run: bool
    def __init__(self, namespace: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., states: _Optional[_Iterable[str]] = ..., change: _Optional[str] = ..., dry_run: _Optional[bool] = ..., **kwargs) -> None: ...

class ChangeTasksResponse(_message.Message):
    __slots__ = ("changed", "forwarded_to")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    changed: int
    forwarded_to: str
    def __init__(self, changed: _Optional[int] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class GetNamespaceRequest(_message.Message):
    __slots__ = ("request_id", "namespace")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListNamespacesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListNamespacesResponse(_message.Message):
    __slots__ = ("namespaces", "next_page_token")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedCompositeFieldContainer[Namespace]
    next_page_token: str
    def __init__(self, namespaces: _Optional[_Iterable[_Union[Namespace, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Namespace(_message.Message):
    __slots__ = ("id", "ack_deadline_seconds", "attempts_max", "backoff_min_ms", "backoff_max_ms", "backoff_multiplier", "retention_seconds", "paused", "paused_until", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_MAX_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MIN_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    RETENTION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    ack_deadline_seconds: int
    attempts_max: int
    backoff_min_ms: int
    backoff_max_ms: int
    backoff_multiplier: float
    retention_seconds: int
    paused: bool
    paused_until: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., ack_deadline_seconds: _Optional[int] = ..., attempts_max: _Optional[int] = ..., backoff_min_ms: _Optional[int] = ..., backoff_max_ms: _Optional[int] = ..., backoff_multiplier: _Optional[float] = ..., retention_seconds: _Optional[int] = ..., paused: _Optional[bool] = ..., paused_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UpdateNamespaceRequest(_message.Message):
    __slots__ = ("request_id", "namespace", "ack_deadline_seconds", "attempts_max", "backoff_min_ms", "backoff_max_ms", "backoff_multiplier", "retention_seconds", "paused", "paused_until")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_MAX_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MIN_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MAX_MS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    RETENTION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    namespace: str
    ack_deadline_seconds: int
    attempts_max: int
    backoff_min_ms: int
    backoff_max_ms: int
    backoff_multiplier: float
    retention_seconds: int
    paused: bool
    paused_until: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., ack_deadline_seconds: _Optional[int] = ..., attempts_max: _Optional[int] = ..., backoff_min_ms: _Optional[int] = ..., backoff_max_ms: _Optional[int] = ..., backoff_multiplier: _Optional[float] = ..., retention_seconds: _Optional[int] = ..., paused: _Optional[bool] = ..., paused_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ConsumeRequest(_message.Message):
    __slots__ = ("start", "credit", "acks", "nacks", "extensions", "drain")
    START_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    NACKS_FIELD_NUMBER: _ClassVar[int]
    EXTENSIONS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    start: ConsumeStart
    credit: int
    acks: _containers.RepeatedCompositeFieldContainer[Ack]
    nacks: _containers.RepeatedCompositeFieldContainer[Nack]
    extensions: _containers.RepeatedCompositeFieldContainer[Extension]
    drain: bool
    def __init__(self, start: _Optional[_Union[ConsumeStart, _Mapping]] = ..., credit: _Optional[int] = ..., acks: _Optional[_Iterable[_Union[Ack, _Mapping]]] = ..., nacks: _Optional[_Iterable[_Union[Nack, _Mapping]]] = ..., extensions: _Optional[_Iterable[_Union[Extension, _Mapping]]] = ..., drain: _Optional[bool] = ...) -> None: ...

class ConsumeStart(_message.Message):
    __slots__ = ("namespaces", "consumer", "lease_ms")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    consumer: str
    lease_ms: int
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ..., consumer: _Optional[str] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("lease_token",)
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    lease_token: int
    def __init__(self, lease_token: _Optional[int] = ...) -> None: ...

class Nack(_message.Message):
    __slots__ = ("lease_token", "error", "delay_ms", "dead", "release")
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    lease_token: int
    error: str
    delay_ms: int
    dead: bool
    release: bool
    def __init__(self, lease_token: _Optional[int] = ..., error: _Optional[str] = ..., delay_ms: _Optional[int] = ..., dead: _Optional[bool] = ..., release: _Optional[bool] = ...) -> None: ...

class Extension(_message.Message):
    __slots__ = ("lease_token", "lease_ms")
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    lease_token: int
    lease_ms: int
    def __init__(self, lease_token: _Optional[int] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class ConsumeResponse(_message.Message):
    __slots__ = ("deliveries", "settled", "started")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    settled: _containers.RepeatedCompositeFieldContainer[Settlement]
    started: ConsumeStarted
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., settled: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ..., started: _Optional[_Union[ConsumeStarted, _Mapping]] = ...) -> None: ...

class ConsumeStarted(_message.Message):
    __slots__ = ("consumer", "leader_service_address")
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    LEADER_SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    consumer: str
    leader_service_address: str
    def __init__(self, consumer: _Optional[str] = ..., leader_service_address: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("task", "lease_token")
    TASK_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    task: Task
    lease_token: int
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., lease_token: _Optional[int] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("lease_token", "status", "message", "lease_until")
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEASE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    lease_token: int
    status: int
    message: str
    lease_until: _timestamp_pb2.Timestamp
    def __init__(self, lease_token: _Optional[int] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PushTaskRequest(_message.Message):
    __slots__ = ("request_id", "queue", "metadata", "payload", "schedule_time", "tts_seconds")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    ASYNC_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_TIME_FIELD_NUMBER: _ClassVar[int]
    TTS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    queue: str
    metadata: _containers.ScalarMap[str, str]
    payload: bytes
    schedule_time: _timestamp_pb2.Timestamp
    tts_seconds: int
    def __init__(self, request_id: _Optional[str] = ..., queue: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., payload: _Optional[bytes] = ..., schedule_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tts_seconds: _Optional[int] = ..., **kwargs) -> None: ...

class PushTaskResponse(_message.Message):
    __slots__ = ("task", "forwarded_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    task: Task
    forwarded_to: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class PushTaskStreamResponse(_message.Message):
    __slots__ = ("task", "status", "message", "forwarded_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    task: Task
    status: int
    message: str
    forwarded_to: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class TaskReference(_message.Message):
    __slots__ = ("queue", "task_id")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    queue: str
    task_id: str
    def __init__(self, queue: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class PullAck(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: TaskReference
    def __init__(self, reference: _Optional[_Union[TaskReference, _Mapping]] = ...) -> None: ...

class TaskLookup(_message.Message):
    __slots__ = ("request_id", "reference")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    reference: TaskReference
    def __init__(self, request_id: _Optional[str] = ..., reference: _Optional[_Union[TaskReference, _Mapping]] = ...) -> None: ...

class TaskDeletion(_message.Message):
    __slots__ = ("request_id", "reference")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ASYNC_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    reference: TaskReference
    def __init__(self, request_id: _Optional[str] = ..., reference: _Optional[_Union[TaskReference, _Mapping]] = ..., **kwargs) -> None: ...

class TaskDeleted(_message.Message):
    __slots__ = ("forwarded_to",)
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    forwarded_to: str
    def __init__(self, forwarded_to: _Optional[str] = ...) -> None: ...

class CheckStateRequest(_message.Message):
    __slots__ = ("applied_index",)
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    applied_index: int
    def __init__(self, applied_index: _Optional[int] = ...) -> None: ...

class CheckStateResponse(_message.Message):
    __slots__ = ("server_id", "applied_index", "state_hash")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    applied_index: int
    state_hash: str
    def __init__(self, server_id: _Optional[str] = ..., applied_index: _Optional[int] = ..., state_hash: _Optional[str] = ...) -> None: ...
