"""What one connection has set: database, variables, and what follows from them for its statements."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, tzinfo

from z4sql.access.model import EVERYTHING, Grant
from z4sql.sql.context import Consistency, Limits, StatementContext
from z4sql.sql.front.diagnostics import NO_DIAGNOSTICS, Diagnostics
from z4sql.sql.front.named_statements import NamedStatements
from z4sql.sql.front.time_zones import time_zone
from z4sql.sql.front.user_variables import UserVariables
from z4sql.sql.front.variables import SELECT_LIMIT_NONE, VARIABLES, Value, system_variable, variable_in

_READ_SOON_MS = 20
"""A statement that is read and parsed in less has all of its time left."""


class Session:
    """Implements `SessionView`. Values of variables are checked before they come here."""

    def __init__(
        self,
        connection_id: int,
        user: str,
        host: str,
        database: str | None,
        attributes: dict[str, str],
        *,
        limits: Limits,
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        """``facts``: variables of this very server (port, hostname), instead of their defaults."""
        self.connection_id = connection_id
        self.user = user
        self.host = host
        self.database = database
        self.attributes = attributes
        self.user_variables = UserVariables()
        self.named_statements = NamedStatements()
        self.diagnostics: Diagnostics = NO_DIAGNOSTICS
        self.found_rows = 0
        self.began_s = time.monotonic()
        """When the statement came that runs now, or ran last."""
        self._facts: Mapping[str, Value] = {} if facts is None else facts
        self._limits = limits
        self._set: dict[str, Value] = {}
        self._time_zone: tzinfo = UTC

    def reset(self) -> None:
        """As a new connection would be, but for the database. MySQL manual: mysql_reset_connection()."""
        self._set.clear()
        self.user_variables.clear()
        self.named_statements.clear()
        self.diagnostics = NO_DIAGNOSTICS
        self.found_rows = 0
        self._time_zone = UTC

    def server_variable(self, name: str) -> Value:
        """The value of ``@@global.name``. :raises SqlError: unknown (1193)."""
        known = system_variable(name)
        return self._facts.get(known.name, known.default)

    def variable(self, name: str) -> Value:
        """The value of ``@@name``.

        :raises SqlError: unknown (1193).
        """
        variable = system_variable(name)
        match variable.name:
            case "pseudo_thread_id":
                return self.connection_id
            case "error_count":
                return len(self.diagnostics.errors)
            case "warning_count":
                return self.diagnostics.count
            case name if name in self._set:
                return self._set[name]
            case "timestamp":
                return time.time()
            case _:
                return self.server_variable(name)

    def set_variable(self, name: str, value: Value) -> None:
        """``name`` is a known variable, ``value`` one that fits."""
        self._set[name] = value
        if name == "time_zone":
            self._time_zone = time_zone(str(value))

    def unset_variable(self, name: str) -> None:
        """Back to the default."""
        self._set.pop(name, None)
        if name == "time_zone":
            self._time_zone = UTC

    def saved(self) -> dict[str, Value]:
        """What is set now, for `restore`."""
        return dict(self._set)

    def restore(self, saved: dict[str, Value]) -> None:
        """Set exactly what was set when ``saved`` was taken."""
        for name in self._set.keys() - saved.keys():
            self.unset_variable(name)
        for name, value in saved.items():
            self.set_variable(name, value)

    def shown_variables(self) -> list[tuple[str, str]]:
        return [(name, VARIABLES[name].shown(self.variable(name))) for name in sorted(VARIABLES)]

    @property
    def selects_nothing(self) -> bool:
        """Whether sql_select_limit is 0: queries without a LIMIT of their own give no rows."""
        return self.variable("sql_select_limit") == 0

    @property
    def autocommit(self) -> bool:
        return bool(self.variable("autocommit"))

    @property
    def wait_timeout_s(self) -> float:
        return float(self.variable("wait_timeout") or 0)

    @property
    def max_allowed_packet(self) -> int:
        return int(self.variable("max_allowed_packet") or 0)

    def context(self, now_us: int, *, hinted_time_ms: int = 0, grant: Grant = EVERYTHING) -> StatementContext:
        """What a statement that starts at ``now_us`` may depend on; later SETs do not reach it.

        ``hinted_time_ms``: of a MAX_EXECUTION_TIME hint, 0 without one. ``grant``: what the user may see.
        """
        fixed_us = round(float(self._set.get("timestamp") or 0) * 1_000_000)
        started_s = (fixed_us or now_us) / 1_000_000
        values = {**self._set, "pseudo_thread_id": self.connection_id, "timestamp": started_s}

        def variable(name: str) -> Value:
            scope, _, plain = name.rpartition(".")
            known = variable_in(scope, plain)
            of_session = known.name in values and scope != "global"
            return values[known.name] if of_session else self.server_variable(plain)

        return StatementContext(
            now_us=fixed_us or now_us,
            time_zone=self._time_zone,
            database=self.database,
            user=self.user,
            host=self.host,
            connection_id=self.connection_id,
            sql_mode=frozenset(flag for flag in str(self.variable("sql_mode")).split(",") if flag),
            variable=variable,
            user_variables=dict(self.user_variables),
            found_rows=self.found_rows,
            limits=self._limits_now(hinted_time_ms),
            consistency=Consistency(self.variable("z4_consistency")),
            grant=grant,
        )

    @property
    def remaining_s(self) -> float | None:
        """What the statement has left of its time, as far as the session limits it; None without a limit."""
        time_ms = self._time_ms(0)
        return time_ms / 1000 - (time.monotonic() - self.began_s) if time_ms else None

    def _time_ms(self, hinted_time_ms: int) -> int:
        wanted_ms = hinted_time_ms or int(self.variable("max_execution_time") or 0)
        wanted_ms = wanted_ms or int(float(self.variable("max_statement_time") or 0) * 1000)
        longest_ms = self._limits.execution_time_ms
        return min(wanted_ms, longest_ms) if wanted_ms and longest_ms else wanted_ms or longest_ms

    def _limits_now(self, hinted_time_ms: int) -> Limits:
        server = self._limits
        time_ms = self._time_ms(hinted_time_ms)
        spent_ms = int((time.monotonic() - self.began_s) * 1000)
        if time_ms and spent_ms > _READ_SOON_MS:
            # Reading a long text is part of its time.
            time_ms = max(1, time_ms - spent_ms)
        select_limit = int(self.variable("sql_select_limit") or 0)
        # 0 rows cannot be said in `Limits`, where 0 is no limit: the front end writes it into the query.
        return Limits(
            execution_time_ms=time_ms,
            scanned_rows_max=server.scanned_rows_max,
            result_bytes_max=server.result_bytes_max,
            select_limit=0 if select_limit == SELECT_LIMIT_NONE else select_limit,
        )
