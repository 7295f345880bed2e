"""What a statement may depend on besides its text: clock, zone, session; fixed while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import Enum
from typing import Protocol

from z4sql.access.model import EVERYTHING, Grant
from z4sql.sql.types import TableDefinition


class Consistency(Enum):
    LOCAL = "local"
    LINEARIZABLE = "linearizable"


@dataclass(slots=True, frozen=True)
class Limits:
    """What one query may use. 0 = no limit, but for those that are always limited."""

    execution_time_ms: int = 30_000
    scanned_rows_max: int = 20_000_000
    result_bytes_max: int = 4 << 30
    select_limit: int = 0


@dataclass(slots=True, frozen=True)
class StatementContext:
    """``now_us`` is UTC; NOW() shows it in ``time_zone``. ``variable`` looks up ``@@name`` (lower case).

    Of ``global.name`` it gives the server's value. ``variable`` raises `SqlError` 1193 for unknown names.
    ``sql_mode`` is a set of upper-case flags.
    """

    now_us: int
    time_zone: tzinfo = UTC
    database: str | None = "z4"
    user: str = "root"
    host: str = "localhost"
    connection_id: int = 1
    sql_mode: frozenset[str] = frozenset({"ONLY_FULL_GROUP_BY"})
    variable: Callable[[str], object] | None = None
    user_variables: Mapping[str, object] = field(default_factory=dict)
    found_rows: int = 0
    limits: Limits = Limits()
    consistency: Consistency = Consistency.LOCAL
    grant: Grant = EVERYTHING
    """The namespaces that the user may see."""
    position: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """The copy's applied index, and for how many milliseconds it has been behind its peer."""


class Catalog(Protocol):
    """Which tables there are."""

    def databases(self) -> list[str]: ...

    def table(self, database: str, name: str) -> TableDefinition | None:
        """The table of that name or alias (``task`` for ``tasks``), without regard to case."""
        ...

    def tables(self, database: str) -> list[TableDefinition]: ...
