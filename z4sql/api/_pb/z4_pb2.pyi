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
    __slots__ = ("server_id", "leader_address", "members", "cluster_id", "leader_id", "leader_service_address", "term", "commit_index", "applied_index")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    leader_address: str
    members: _containers.RepeatedCompositeFieldContainer[Server]
    cluster_id: str
    leader_id: str
    leader_service_address: str
    term: int
    commit_index: int
    applied_index: int
    def __init__(self, server_id: _Optional[str] = ..., leader_address: _Optional[str] = ..., members: _Optional[_Iterable[_Union[Server, _Mapping]]] = ..., cluster_id: _Optional[str] = ..., leader_id: _Optional[str] = ..., leader_service_address: _Optional[str] = ..., term: _Optional[int] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("id", "address", "service_address", "sql_address", "voter", "match_index")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SQL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOTER_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    service_address: str
    sql_address: str
    voter: bool
    match_index: int
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ..., service_address: _Optional[str] = ..., sql_address: _Optional[str] = ..., voter: _Optional[bool] = ..., match_index: _Optional[int] = ...) -> None: ...

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

class CreateTaskRequest(_message.Message):
    __slots__ = ("request_id", "namespace", "metadata", "payload", "deliver_at", "tts_seconds")
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
    request_id: str
    namespace: str
    metadata: _containers.ScalarMap[str, str]
    payload: bytes
    deliver_at: _timestamp_pb2.Timestamp
    tts_seconds: int
    def __init__(self, request_id: _Optional[str] = ..., namespace: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., payload: _Optional[bytes] = ..., deliver_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tts_seconds: _Optional[int] = ...) -> None: ...

class CreateTaskResponse(_message.Message):
    __slots__ = ("task", "forwarded_to")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    task: Task
    forwarded_to: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class TaskStreamResponse(_message.Message):
    __slots__ = ("task", "status", "message", "forwarded_to", "request_id")
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    task: Task
    status: int
    message: str
    forwarded_to: str
    request_id: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., status: _Optional[int] = ..., message: _Optional[str] = ..., forwarded_to: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateTasksRequest(_message.Message):
    __slots__ = ("request_id", "tasks")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    tasks: _containers.RepeatedCompositeFieldContainer[CreateTaskRequest]
    def __init__(self, request_id: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[CreateTaskRequest, _Mapping]]] = ...) -> None: ...

class CreateTasksResponse(_message.Message):
    __slots__ = ("results", "forwarded_to")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TO_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CreateTaskResult]
    forwarded_to: str
    def __init__(self, results: _Optional[_Iterable[_Union[CreateTaskResult, _Mapping]]] = ..., forwarded_to: _Optional[str] = ...) -> None: ...

class CreateTaskResult(_message.Message):
    __slots__ = ("task_id", "status", "message")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: int
    message: str
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("id", "namespace", "metadata", "payload", "deliver_at", "last_retry", "created_at", "state", "attempts", "next_attempt_at", "lease_owner", "lease_until", "last_error", "finished_at")
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
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., payload: _Optional[bytes] = ..., deliver_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_retry: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[str] = ..., attempts: _Optional[int] = ..., next_attempt_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_owner: _Optional[str] = ..., lease_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
