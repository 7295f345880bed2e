"""Which databases and tables there are."""

from __future__ import annotations

from z4sql.sql.catalog.system_tables import SYSTEM_TABLES
from z4sql.sql.catalog.z4_tables import DATABASE, TABLE_ALIASES, TABLES
from z4sql.sql.types import TableDefinition


class Z4Catalog:
    """Database `z4` and MySQL's own; fixed. Names of databases and tables compare without case."""

    def __init__(self) -> None:
        self._tables = {**SYSTEM_TABLES, DATABASE: TABLES}
        self._by_name = {
            (database, table.name.lower()): table
            for database, tables in self._tables.items()
            for table in tables
        }
        for alias, name in TABLE_ALIASES.items():
            self._by_name[DATABASE, alias] = self._by_name[DATABASE, name]

    def databases(self) -> list[str]:
        """Sorted, as SHOW DATABASES shows them."""
        return sorted(self._tables)

    def table(self, database: str, name: str) -> TableDefinition | None:
        """The table of that name or alias (``task`` for ``tasks``), without regard to case."""
        return self._by_name.get((database.lower(), name.lower()))

    def tables(self, database: str) -> list[TableDefinition]:
        """Sorted by name; none of a database that does not exist."""
        return sorted(self._tables.get(database.lower(), ()), key=lambda table: table.name)
