"""Definitions of the system tables: information_schema, mysql, performance_schema, sys.

MySQL manual: INFORMATION_SCHEMA Tables. A table that clients ask for must exist, be it empty.
"""

from __future__ import annotations

from z4sql.sql.types import ColumnDefinition, Kind, SqlType, TableDefinition

_KINDS: dict[str, tuple[SqlType, str]] = {
    "": (SqlType(Kind.STRING, 512), "varchar(512)"),
    "text": (SqlType(Kind.STRING, 4_294_967_295), "longtext"),
    "int": (SqlType(Kind.INT, 20), "bigint"),
    "time": (SqlType(Kind.DATETIME), "datetime"),
}

_SIZES = (
    "CHARACTER_MAXIMUM_LENGTH:int CHARACTER_OCTET_LENGTH:int NUMERIC_PRECISION:int NUMERIC_SCALE:int "
    "DATETIME_PRECISION:int"
)
_TABLE = "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME"
_VOLUME = (
    "TABLE_ROWS:int AVG_ROW_LENGTH:int DATA_LENGTH:int MAX_DATA_LENGTH:int INDEX_LENGTH:int DATA_FREE:int"
)
_TIMES = "CREATE_TIME:time UPDATE_TIME:time CHECK_TIME:time"
_CLIENT = "CHARACTER_SET_CLIENT COLLATION_CONNECTION"
_CONSTRAINT = "CONSTRAINT_CATALOG CONSTRAINT_SCHEMA CONSTRAINT_NAME"
_NAME_VALUE = "VARIABLE_NAME VARIABLE_VALUE"

_PROCESS = "ID:int USER HOST DB COMMAND TIME:int STATE INFO:text"
_ROLE = "ROLE_NAME ROLE_HOST IS_DEFAULT IS_MANDATORY"

_INFORMATION_SCHEMA = {
    "APPLICABLE_ROLES": f"USER HOST GRANTEE GRANTEE_HOST IS_GRANTABLE {_ROLE}",
    "CHARACTER_SETS": "CHARACTER_SET_NAME DEFAULT_COLLATE_NAME DESCRIPTION MAXLEN:int",
    "CHECK_CONSTRAINTS": f"{_CONSTRAINT} CHECK_CLAUSE:text",
    "COLLATIONS": "COLLATION_NAME CHARACTER_SET_NAME ID:int IS_DEFAULT IS_COMPILED SORTLEN:int PAD_ATTRIBUTE",
    "COLLATION_CHARACTER_SET_APPLICABILITY": "COLLATION_NAME CHARACTER_SET_NAME",
    "COLUMNS": (
        f"{_TABLE} COLUMN_NAME ORDINAL_POSITION:int COLUMN_DEFAULT:text IS_NULLABLE DATA_TYPE:text {_SIZES} "
        "CHARACTER_SET_NAME COLLATION_NAME COLUMN_TYPE:text COLUMN_KEY EXTRA PRIVILEGES COLUMN_COMMENT:text "
        "GENERATION_EXPRESSION:text SRS_ID:int"
    ),
    "COLUMN_STATISTICS": "SCHEMA_NAME TABLE_NAME COLUMN_NAME HISTOGRAM:text",
    "COLUMN_PRIVILEGES": f"GRANTEE {_TABLE} COLUMN_NAME PRIVILEGE_TYPE IS_GRANTABLE",
    "ENABLED_ROLES": _ROLE,
    "ENGINES": "ENGINE SUPPORT COMMENT TRANSACTIONS XA SAVEPOINTS",
    "EVENTS": (
        "EVENT_CATALOG EVENT_SCHEMA EVENT_NAME DEFINER TIME_ZONE EVENT_BODY EVENT_DEFINITION:text EVENT_TYPE "
        "EXECUTE_AT:time INTERVAL_VALUE INTERVAL_FIELD SQL_MODE STARTS:time ENDS:time STATUS ON_COMPLETION "
        f"CREATED:time LAST_ALTERED:time LAST_EXECUTED:time EVENT_COMMENT ORIGINATOR:int {_CLIENT} "
        "DATABASE_COLLATION"
    ),
    "FILES": (
        "FILE_ID:int FILE_NAME FILE_TYPE TABLESPACE_NAME TABLE_CATALOG TABLE_SCHEMA TABLE_NAME "
        "LOGFILE_GROUP_NAME LOGFILE_GROUP_NUMBER:int ENGINE FREE_EXTENTS:int TOTAL_EXTENTS:int "
        "EXTENT_SIZE:int INITIAL_SIZE:int MAXIMUM_SIZE:int AUTOEXTEND_SIZE:int STATUS EXTRA"
    ),
    "KEYWORDS": "WORD RESERVED:int",
    "KEY_COLUMN_USAGE": (
        f"{_CONSTRAINT} {_TABLE} COLUMN_NAME ORDINAL_POSITION:int POSITION_IN_UNIQUE_CONSTRAINT:int "
        "REFERENCED_TABLE_SCHEMA REFERENCED_TABLE_NAME REFERENCED_COLUMN_NAME"
    ),
    "PARAMETERS": (
        "SPECIFIC_CATALOG SPECIFIC_SCHEMA SPECIFIC_NAME ORDINAL_POSITION:int PARAMETER_MODE PARAMETER_NAME "
        f"DATA_TYPE:text {_SIZES} CHARACTER_SET_NAME COLLATION_NAME DTD_IDENTIFIER:text ROUTINE_TYPE"
    ),
    "PARTITIONS": (
        f"{_TABLE} PARTITION_NAME SUBPARTITION_NAME PARTITION_ORDINAL_POSITION:int "
        "SUBPARTITION_ORDINAL_POSITION:int PARTITION_METHOD SUBPARTITION_METHOD PARTITION_EXPRESSION "
        f"SUBPARTITION_EXPRESSION PARTITION_DESCRIPTION:text {_VOLUME} {_TIMES} CHECKSUM:int "
        "PARTITION_COMMENT:text NODEGROUP TABLESPACE_NAME"
    ),
    "PLUGINS": (
        "PLUGIN_NAME PLUGIN_VERSION PLUGIN_STATUS PLUGIN_TYPE PLUGIN_TYPE_VERSION PLUGIN_LIBRARY "
        "PLUGIN_LIBRARY_VERSION PLUGIN_AUTHOR PLUGIN_DESCRIPTION:text PLUGIN_LICENSE LOAD_OPTION"
    ),
    "PROCESSLIST": _PROCESS,
    "REFERENTIAL_CONSTRAINTS": (
        f"{_CONSTRAINT} UNIQUE_CONSTRAINT_CATALOG UNIQUE_CONSTRAINT_SCHEMA UNIQUE_CONSTRAINT_NAME "
        "MATCH_OPTION UPDATE_RULE DELETE_RULE TABLE_NAME REFERENCED_TABLE_NAME"
    ),
    "ROUTINES": (
        "SPECIFIC_NAME ROUTINE_CATALOG ROUTINE_SCHEMA ROUTINE_NAME ROUTINE_TYPE DATA_TYPE:text "
        f"{_SIZES} CHARACTER_SET_NAME COLLATION_NAME DTD_IDENTIFIER:text ROUTINE_BODY "
        "ROUTINE_DEFINITION:text EXTERNAL_NAME EXTERNAL_LANGUAGE PARAMETER_STYLE IS_DETERMINISTIC "
        "SQL_DATA_ACCESS SQL_PATH SECURITY_TYPE CREATED:time LAST_ALTERED:time SQL_MODE ROUTINE_COMMENT:text "
        f"DEFINER {_CLIENT} DATABASE_COLLATION"
    ),
    "SCHEMATA": (
        "CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME DEFAULT_COLLATION_NAME SQL_PATH "
        "DEFAULT_ENCRYPTION"
    ),
    "SCHEMA_PRIVILEGES": "GRANTEE TABLE_CATALOG TABLE_SCHEMA PRIVILEGE_TYPE IS_GRANTABLE",
    "STATISTICS": (
        f"{_TABLE} NON_UNIQUE:int INDEX_SCHEMA INDEX_NAME SEQ_IN_INDEX:int COLUMN_NAME COLLATION "
        "CARDINALITY:int SUB_PART:int PACKED NULLABLE INDEX_TYPE COMMENT INDEX_COMMENT IS_VISIBLE "
        "EXPRESSION:text"
    ),
    "TABLES": (
        f"{_TABLE} TABLE_TYPE ENGINE VERSION:int ROW_FORMAT {_VOLUME} AUTO_INCREMENT:int {_TIMES} "
        "TABLE_COLLATION CHECKSUM:int CREATE_OPTIONS TABLE_COMMENT:text"
    ),
    "TABLE_CONSTRAINTS": f"{_CONSTRAINT} TABLE_SCHEMA TABLE_NAME CONSTRAINT_TYPE ENFORCED",
    "TABLE_PRIVILEGES": f"GRANTEE {_TABLE} PRIVILEGE_TYPE IS_GRANTABLE",
    "TRIGGERS": (
        "TRIGGER_CATALOG TRIGGER_SCHEMA TRIGGER_NAME EVENT_MANIPULATION EVENT_OBJECT_CATALOG "
        "EVENT_OBJECT_SCHEMA EVENT_OBJECT_TABLE ACTION_ORDER:int ACTION_CONDITION:text ACTION_STATEMENT:text "
        "ACTION_ORIENTATION ACTION_TIMING ACTION_REFERENCE_OLD_TABLE ACTION_REFERENCE_NEW_TABLE "
        f"ACTION_REFERENCE_OLD_ROW ACTION_REFERENCE_NEW_ROW CREATED:time SQL_MODE DEFINER {_CLIENT} "
        "DATABASE_COLLATION"
    ),
    "USER_ATTRIBUTES": "USER HOST ATTRIBUTE:text",
    "USER_PRIVILEGES": "GRANTEE TABLE_CATALOG PRIVILEGE_TYPE IS_GRANTABLE",
    "VIEWS": (f"{_TABLE} VIEW_DEFINITION:text CHECK_OPTION IS_UPDATABLE DEFINER SECURITY_TYPE {_CLIENT}"),
}

_OTHERS: dict[str, dict[str, str]] = {
    "mysql": {
        "user": "Host User Select_priv plugin authentication_string:text account_locked",
        "db": "Host Db User Select_priv",
        "default_roles": "HOST USER DEFAULT_ROLE_HOST DEFAULT_ROLE_USER",
        "func": "name ret:int dl type",
        "global_grants": "USER HOST PRIV WITH_GRANT_OPTION",
        "procs_priv": "Host Db User Routine_name Routine_type Grantor Proc_priv Timestamp:time",
        "role_edges": "FROM_HOST FROM_USER TO_HOST TO_USER WITH_ADMIN_OPTION",
        "time_zone_name": "Name Time_zone_id:int",
        "tables_priv": "Host Db User Table_name Grantor Timestamp:time Table_priv Column_priv",
        "columns_priv": "Host Db User Table_name Column_name Timestamp:time Column_priv",
        "proc": (
            "db name type specific_name language sql_data_access is_deterministic security_type "
            "param_list:text returns:text body:text definer created:time modified:time sql_mode comment:text"
        ),
        "help_topic": "help_topic_id:int name help_category_id:int description:text example:text url:text",
    },
    "performance_schema": {
        "threads": (
            "THREAD_ID:int NAME TYPE PROCESSLIST_ID:int PROCESSLIST_USER PROCESSLIST_HOST PROCESSLIST_DB "
            "PROCESSLIST_COMMAND PROCESSLIST_TIME:int PROCESSLIST_STATE PROCESSLIST_INFO:text"
        ),
        "events_statements_current": (
            "THREAD_ID:int EVENT_ID:int EVENT_NAME TIMER_WAIT:int LOCK_TIME:int SQL_TEXT:text ROWS_SENT:int "
            "ROWS_EXAMINED:int"
        ),
        "metadata_locks": (
            "OBJECT_TYPE OBJECT_SCHEMA OBJECT_NAME COLUMN_NAME OBJECT_INSTANCE_BEGIN:int LOCK_TYPE "
            "LOCK_DURATION LOCK_STATUS SOURCE OWNER_THREAD_ID:int OWNER_EVENT_ID:int"
        ),
        "processlist": _PROCESS,
        "setup_consumers": "NAME ENABLED",
        "setup_instruments": "NAME ENABLED TIMED PROPERTIES FLAGS VOLATILITY:int DOCUMENTATION:text",
        "user_variables_by_thread": f"THREAD_ID:int {_NAME_VALUE}:text",
        "session_variables": _NAME_VALUE,
        "global_variables": _NAME_VALUE,
        "session_status": _NAME_VALUE,
        "global_status": _NAME_VALUE,
    },
    "sys": {
        "processlist": (
            "thd_id:int conn_id:int user db command state time:int current_statement:text statement_latency "
            "progress lock_latency rows_examined:int rows_sent:int"
        ),
    },
}


def _column(text: str) -> ColumnDefinition:
    name, _, kind = text.partition(":")
    kind_type, column_type = _KINDS[kind]
    return ColumnDefinition(name, kind_type, column_type)


def _tables(database: str, described: dict[str, str]) -> tuple[TableDefinition, ...]:
    view = database in ("information_schema", "sys")
    return tuple(
        TableDefinition(database, name, tuple(_column(one) for one in columns.split()), view=view)
        for name, columns in described.items()
    )


SYSTEM_TABLES: dict[str, tuple[TableDefinition, ...]] = {
    "information_schema": _tables("information_schema", _INFORMATION_SCHEMA),
    **{database: _tables(database, described) for database, described in _OTHERS.items()},
}
"""By database, lower case."""
