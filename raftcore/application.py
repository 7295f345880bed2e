"""What an application needs of this library: `raftcore.kv` is written on these names alone.

A `Host` runs the replicas; the application gives it a factory of `StateMachine`, hands it commands and asks
for read barriers. A machine may be a `TableMachine`; another finds its commands in the entries that it is
given with `decode_group`.
"""

from __future__ import annotations

from raftcore.core.config import CoreConfig
from raftcore.core.errors import (
    MembershipError,
    NotAccepted,
    NotLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    RaftError,
    ReadFailed,
    Stalled,
    StorageError,
)
from raftcore.core.types import Entry, EntryKind, Index, NodeId, Role, ShardId, Term
from raftcore.host.config import HostConfig
from raftcore.host.host import Host
from raftcore.host.machine import StateMachine
from raftcore.host.replicas import state_directory
from raftcore.host.table_machine import TableMachine
from raftcore.replica.group import decode_group
from raftcore.storage.tables import MemoryTable, RocksTable

__all__ = [
    "CoreConfig",
    "Entry",
    "EntryKind",
    "Host",
    "HostConfig",
    "Index",
    "MembershipError",
    "MemoryTable",
    "NodeId",
    "NotAccepted",
    "NotLeader",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "RaftError",
    "ReadFailed",
    "RocksTable",
    "Role",
    "ShardId",
    "Stalled",
    "StateMachine",
    "StorageError",
    "TableMachine",
    "Term",
    "decode_group",
    "state_directory",
]
