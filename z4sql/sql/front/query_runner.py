"""What the front end needs of whoever runs queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pyarrow as pa
from sqlglot import exp

from z4sql.sql.context import StatementContext
from z4sql.sql.result import ResultSet
from z4sql.sql.scan.basis import Basis
from z4sql.sql.shapes import Shaped
from z4sql.sql.types import ResultColumn, TableDefinition

SystemRows = Callable[[TableDefinition], pa.Table]


class QueryRunner(Protocol):
    """Runs checked queries. ``text`` is the source of ``query``, which others use too: never change it."""

    async def run(
        self, query: exp.Expression, text: str, context: StatementContext, system_rows: SystemRows
    ) -> ResultSet:
        """``system_rows`` gives the rows of system tables, as the session may see them."""
        ...

    async def run_again(self, shaped: Shaped, context: StatementContext) -> ResultSet | None:
        """As `run`, for less, of a statement whose shape came before; None where only `run` can."""
        ...

    async def stands(self, basis: Basis, context: StatementContext) -> bool:
        """Whether an answer with that basis is what the query would give that user now."""
        ...

    async def describe(
        self, query: exp.Expression, text: str, context: StatementContext
    ) -> tuple[ResultColumn, ...]: ...

    async def explain(
        self, query: exp.Expression, text: str, context: StatementContext, analyze: bool
    ) -> list[tuple[str, str]]:
        """Steps of the plan: what, and details."""
        ...
