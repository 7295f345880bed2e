"""What ends a scan early: its deadline, somebody's wish, or the rows that it may read."""

from __future__ import annotations

import time

from z4sql.sql.context import Limits
from z4sql.sql.errors import Interrupted, LimitExceeded, SqlError, TimedOut


class QueryLimits:
    """Shared by all scans of one query; `check` is called from the thread that scans."""

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._rows_max = limits.scanned_rows_max
        self._deadline_s = (
            time.monotonic() + limits.execution_time_ms / 1000 if limits.execution_time_ms else 0
        )
        self._stopped: SqlError | None = None
        self.scanned_rows = 0

    def stop(self, reason: SqlError | None = None) -> None:
        """End the scans at their next batch. May be called from any thread; the first reason stays."""
        if self._stopped is None:
            self._stopped = reason or Interrupted()

    @property
    def stopped(self) -> SqlError | None:
        return self._stopped

    @property
    def remaining_s(self) -> float | None:
        """Until the deadline; None without one."""
        return max(self._deadline_s - time.monotonic(), 0.0) if self._deadline_s else None

    def extend(self, seconds: float) -> None:
        """Put off the deadline by time that the client took."""
        if self._deadline_s:
            self._deadline_s += seconds

    def check(self, rows: int) -> None:
        """Count rows read. :raises SqlError: `Interrupted`, `TimedOut` or `LimitExceeded`."""
        self.scanned_rows += rows
        if self._stopped is not None:
            raise self._stopped
        if self._deadline_s and time.monotonic() > self._deadline_s:
            self.stop(TimedOut())
            raise TimedOut
        if self._rows_max and self.scanned_rows > self._rows_max:
            problem = LimitExceeded(
                f"The SELECT examined more than {self._rows_max} rows; narrow the range of deliver_at, "
                "or raise the limit (z4_scanned_rows_max)"
            )
            self.stop(problem)
            raise problem
