"""The system variables clients ask for and set. MySQL manual: Server System Variable Reference (8.0.36)."""

from __future__ import annotations

from dataclasses import dataclass

from z4sql.sql.errors import SqlError

Value = str | int | float | None

DEFAULT_SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
SELECT_LIMIT_NONE = 2**64 - 1


@dataclass(slots=True, frozen=True)
class Variable:
    """``read_only``: cannot be set in a session. ``boolean``: 0 and 1, shown as OFF and ON."""

    name: str
    default: Value
    read_only: bool = False
    boolean: bool = False

    def shown(self, value: Value) -> str:
        """As SHOW VARIABLES shows it."""
        if value is None:
            return ""
        if self.boolean:
            return "ON" if value else "OFF"
        return f"{value:.6f}" if isinstance(value, float) else str(value)


_SESSION: dict[str, Value] = {
    "auto_increment_increment": 1,
    "auto_increment_offset": 1,
    "block_encryption_mode": "aes-128-ecb",
    "bulk_insert_buffer_size": 8388608,
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_database": "utf8mb4",
    "character_set_filesystem": "binary",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8mb4_0900_ai_ci",
    "collation_database": "utf8mb4_0900_ai_ci",
    "collation_server": "utf8mb4_0900_ai_ci",
    "completion_type": "NO_CHAIN",
    "cte_max_recursion_depth": 1000,
    "default_collation_for_utf8mb4": "utf8mb4_0900_ai_ci",
    "default_storage_engine": "InnoDB",
    "default_tmp_storage_engine": "InnoDB",
    "default_week_format": 0,
    "div_precision_increment": 4,
    "eq_range_index_dive_limit": 200,
    "group_concat_max_len": 1024,
    "identity": 0,
    "information_schema_stats_expiry": 86400,
    "innodb_lock_wait_timeout": 50,
    "insert_id": 0,
    "interactive_timeout": 28800,
    "internal_tmp_mem_storage_engine": "TempTable",
    "join_buffer_size": 262144,
    "last_insert_id": 0,
    "lc_messages": "en_US",
    "lc_time_names": "en_US",
    "lock_wait_timeout": 31536000,
    "long_query_time": 10.0,
    "max_error_count": 1024,
    "max_execution_time": 0,
    "max_heap_table_size": 16777216,
    "max_join_size": SELECT_LIMIT_NONE,
    "max_length_for_sort_data": 4096,
    "max_points_in_geometry": 65536,
    "max_seeks_for_key": SELECT_LIMIT_NONE,
    "max_sort_length": 1024,
    "max_sp_recursion_depth": 0,
    "max_statement_time": 0.0,
    "max_user_connections": 0,
    "min_examined_row_limit": 0,
    "net_buffer_length": 16384,
    "net_read_timeout": 30,
    "net_retry_count": 10,
    "net_write_timeout": 600,
    "optimizer_prune_level": 1,
    "optimizer_search_depth": 62,
    "optimizer_switch": "index_merge=on,derived_merge=on",
    "optimizer_trace": "enabled=off,one_line=off",
    "preload_buffer_size": 32768,
    "profiling_history_size": 15,
    "pseudo_thread_id": 0,
    "query_cache_size": 0,
    "query_cache_type": "OFF",
    "rand_seed1": 0,
    "rand_seed2": 0,
    "range_optimizer_max_mem_size": 8388608,
    "read_buffer_size": 131072,
    "read_rnd_buffer_size": 262144,
    "session_track_gtids": "OFF",
    "session_track_system_variables": (
        "time_zone,autocommit,character_set_client,character_set_results,character_set_connection"
    ),
    "session_track_transaction_info": "OFF",
    "sort_buffer_size": 262144,
    "sql_mode": DEFAULT_SQL_MODE,
    "sql_select_limit": SELECT_LIMIT_NONE,
    "storage_engine": "InnoDB",
    "time_zone": "+00:00",
    "timestamp": 0.0,
    "tmp_table_size": 16777216,
    "transaction_alloc_block_size": 8192,
    "transaction_isolation": "READ-COMMITTED",
    "transaction_prealloc_size": 4096,
    "tx_isolation": "READ-COMMITTED",
    "use_secondary_engine": "ON",
    "wait_timeout": 28800,
    "z4_consistency": "local",
}
_SESSION_SWITCHES = {
    "autocommit": 1,
    "big_tables": 0,
    "end_markers_in_json": 0,
    "explicit_defaults_for_timestamp": 1,
    "foreign_key_checks": 1,
    "keep_files_on_create": 0,
    "low_priority_updates": 0,
    "new": 0,
    "old_alter_table": 0,
    "print_identified_with_as_hex": 0,
    "profiling": 0,
    "session_track_schema": 1,
    "session_track_state_change": 0,
    "show_create_table_verbosity": 0,
    "sql_auto_is_null": 0,
    "sql_big_selects": 1,
    "sql_buffer_result": 0,
    "sql_generate_invisible_primary_key": 0,
    "sql_log_bin": 0,
    "sql_log_off": 0,
    "sql_notes": 1,
    "sql_quote_show_create": 1,
    "sql_require_primary_key": 0,
    "sql_safe_updates": 0,
    "sql_warnings": 0,
    "transaction_read_only": 1,
    "tx_read_only": 1,
    "unique_checks": 1,
    "updatable_views_with_limit": 1,
    "windowing_use_high_precision": 1,
}
_FIXED: dict[str, Value] = {
    "basedir": "/",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "default_password_lifetime": 0,
    "character_set_system": "utf8mb3",
    "character_sets_dir": "",
    "connect_timeout": 10,
    "datadir": "/",
    "default_authentication_plugin": "caching_sha2_password",
    "error_count": 0,
    "event_scheduler": "OFF",
    "external_user": "",
    "ft_min_word_len": 4,
    "gtid_mode": "OFF",
    "have_compress": "YES",
    "have_dynamic_loading": "NO",
    "have_geometry": "NO",
    "have_openssl": "YES",
    "have_partitioning": "NO",
    "have_profiling": "NO",
    "have_query_cache": "NO",
    "have_ssl": "YES",
    "have_symlink": "NO",
    "hostname": "localhost",
    "init_connect": "",
    "innodb_buffer_pool_size": 134217728,
    "innodb_page_size": 16384,
    "innodb_data_file_path": "",
    "innodb_flush_log_at_trx_commit": 1,
    "innodb_log_file_size": 50331648,
    "innodb_version": "8.0.36",
    "license": "Apache-2.0",
    "log_error": "stderr",
    "lower_case_table_names": 0,
    "max_allowed_packet": 67108864,
    "max_connections": 512,
    "mandatory_roles": "",
    "max_connect_errors": 100,
    "max_digest_length": 1024,
    "max_prepared_stmt_count": 16382,
    "myisam_recover_options": "OFF",
    "open_files_limit": 65535,
    "pid_file": "",
    "plugin_dir": "",
    "port": 3306,
    "protocol_version": 10,
    "proxy_user": None,
    "secure_file_priv": None,
    "server_id": 1,
    "server_uuid": "00000000-0000-0000-0000-000000000000",
    "slow_query_log_file": "",
    "socket": "",
    "ssl_cipher": "",
    "statement_id": 0,
    "system_time_zone": "UTC",
    "table_definition_cache": 400,
    "sync_binlog": 1,
    "table_open_cache": 64,
    "thread_cache_size": 0,
    "thread_handling": "one-thread-per-connection",
    "tls_version": "TLSv1.2,TLSv1.3",
    "tmpdir": "",
    "version": "8.0.36-z4",
    "version_comment": "z4",
    "version_compile_machine": "x86_64",
    "version_compile_os": "Linux",
    "version_compile_zlib": "1.2.13",
    "warning_count": 0,
}
_FIXED_SWITCHES = {
    "activate_all_roles_on_login": 0,
    "flush": 0,
    "general_log": 0,
    "innodb_file_per_table": 1,
    "innodb_read_only": 1,
    "large_pages": 0,
    "local_infile": 0,
    "log_bin": 0,
    "log_slave_updates": 0,
    "lower_case_file_system": 0,
    "offline_mode": 0,
    "partial_revokes": 0,
    "performance_schema": 0,
    "pseudo_slave_mode": 0,
    "read_only": 1,
    "require_secure_transport": 0,
    "skip_name_resolve": 1,
    "skip_networking": 0,
    "skip_show_database": 0,
    "slow_query_log": 0,
    "super_read_only": 1,
}

VARIABLES: dict[str, Variable] = {
    variable.name: variable
    for variable in (
        *(Variable(name, default) for name, default in _SESSION.items()),
        *(Variable(name, default, boolean=True) for name, default in _SESSION_SWITCHES.items()),
        *(Variable(name, default, read_only=True) for name, default in _FIXED.items()),
        *(Variable(name, default, read_only=True, boolean=True) for name, default in _FIXED_SWITCHES.items()),
    )
}

SYNONYMS = {
    "tx_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
    "storage_engine": "default_storage_engine",
    "identity": "last_insert_id",
}
"""Older names of the same variable."""


def system_variable(name: str) -> Variable:
    """The variable of that name, synonyms resolved.

    :raises SqlError: unknown (1193).
    """
    wanted = name.lower()
    variable = VARIABLES.get(SYNONYMS.get(wanted, wanted))
    if variable is None:
        raise SqlError(f"Unknown system variable '{name}'", code=1193, state="HY000")
    return variable
