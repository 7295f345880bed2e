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

_PRIVILEGES_OF_USER = (
    "Select_priv Insert_priv Update_priv Delete_priv Create_priv Drop_priv Reload_priv Shutdown_priv "
    "Process_priv File_priv Grant_priv References_priv Index_priv Alter_priv Show_db_priv Super_priv "
    "Create_tmp_table_priv Lock_tables_priv Execute_priv Repl_slave_priv Repl_client_priv Create_view_priv "
    "Show_view_priv Create_routine_priv Alter_routine_priv Create_user_priv Event_priv Trigger_priv "
    "Create_tablespace_priv"
)

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
        "user": (
            f"Host User {_PRIVILEGES_OF_USER} ssl_type ssl_cipher x509_issuer x509_subject "
            "max_questions:int max_updates:int max_connections:int max_user_connections:int plugin "
            "authentication_string:text password_expired password_last_changed:time password_lifetime:int "
            "account_locked Create_role_priv Drop_role_priv Password_reuse_history:int "
            "Password_reuse_time:int Password_require_current User_attributes:text"
        ),
        "db": (
            "Host Db User Select_priv Insert_priv Update_priv Delete_priv Create_priv Drop_priv Grant_priv "
            "References_priv Index_priv Alter_priv Create_tmp_table_priv Lock_tables_priv Create_view_priv "
            "Show_view_priv Create_routine_priv Alter_routine_priv Execute_priv Event_priv Trigger_priv"
        ),
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
            "PROCESSLIST_COMMAND PROCESSLIST_TIME:int PROCESSLIST_STATE PROCESSLIST_INFO:text "
            "PARENT_THREAD_ID:int ROLE INSTRUMENTED HISTORY CONNECTION_TYPE THREAD_OS_ID:int RESOURCE_GROUP "
            "EXECUTION_ENGINE CONTROLLED_MEMORY:int MAX_CONTROLLED_MEMORY:int TOTAL_MEMORY:int "
            "MAX_TOTAL_MEMORY:int TELEMETRY_ACTIVE"
        ),
        "events_statements_current": (
            "THREAD_ID:int EVENT_ID:int END_EVENT_ID:int EVENT_NAME SOURCE TIMER_START:int TIMER_END:int "
            "TIMER_WAIT:int LOCK_TIME:int SQL_TEXT:text DIGEST DIGEST_TEXT:text CURRENT_SCHEMA OBJECT_TYPE "
            "OBJECT_SCHEMA OBJECT_NAME OBJECT_INSTANCE_BEGIN:int MYSQL_ERRNO:int RETURNED_SQLSTATE "
            "MESSAGE_TEXT ERRORS:int WARNINGS:int ROWS_AFFECTED:int ROWS_SENT:int ROWS_EXAMINED:int "
            "CREATED_TMP_DISK_TABLES:int CREATED_TMP_TABLES:int SELECT_FULL_JOIN:int "
            "SELECT_FULL_RANGE_JOIN:int SELECT_RANGE:int SELECT_RANGE_CHECK:int SELECT_SCAN:int "
            "SORT_MERGE_PASSES:int SORT_RANGE:int SORT_ROWS:int SORT_SCAN:int NO_INDEX_USED:int "
            "NO_GOOD_INDEX_USED:int NESTING_EVENT_ID:int NESTING_EVENT_TYPE NESTING_EVENT_LEVEL:int "
            "STATEMENT_ID:int CPU_TIME:int MAX_CONTROLLED_MEMORY:int MAX_TOTAL_MEMORY:int EXECUTION_ENGINE"
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
            "thd_id:int conn_id:int user db command state time:int current_statement:text execution_engine "
            "statement_latency progress:int lock_latency cpu_latency rows_examined:int rows_sent:int "
            "rows_affected:int tmp_tables:int tmp_disk_tables:int full_scan last_statement:text "
            "last_statement_latency current_memory last_wait last_wait_latency source trx_latency trx_state "
            "trx_autocommit pid program_name"
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
