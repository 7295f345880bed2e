"""What names mean at a place of a query: tables in FROM, and aliases of the select list."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from z4sql.sql.errors import SqlError, UnknownColumn
from z4sql.sql.lowering.typed import Type, Typed, named


@dataclass(slots=True)
class Relation:
    """A table, derived table or CTE as one query names it. ``columns`` keep their order and case."""

    alias: str
    columns: dict[str, Typed]
    joined: frozenset[str] = frozenset()
    """Names (lower case) that USING or NATURAL merged into an earlier relation's column."""
    keys: tuple[str, ...] = ()
    """The columns of its primary key."""
    determined: bool = False
    """Whether the query groups by that key, so that each group has one row of this relation."""

    def find(self, name: str) -> Typed | None:
        wanted = name.lower()
        for column, value in self.columns.items():
            if column.lower() == wanted:
                return value
        return None


@dataclass(slots=True, frozen=True)
class Grouped:
    """An expression of GROUP BY: ``raw`` is its text for the engine, ``shown`` what stands for it."""

    node: exp.Expression
    raw: str
    shown: Typed


@dataclass(slots=True)
class Scope:
    """One SELECT. ``aliases`` are of its select list; MySQL lets GROUP BY, HAVING and ORDER BY use them."""

    relations: list[Relation] = field(default_factory=list)
    aliases: dict[str, exp.Expression] = field(default_factory=dict)
    use_aliases: bool = False
    grouped: list[Grouped] = field(default_factory=list)
    loose: bool = False
    """Whether ungrouped columns stand for those of some row of the group."""
    listed: set[str] | None = None
    """The columns of the select list, by their text for the engine: HAVING sees no others."""
    windows: dict[str, exp.Expression] = field(default_factory=dict)
    """Of the WINDOW clause, by name in lower case."""

    def column(self, name: str, table: str, clause: str = "field list") -> Typed | None:
        """The column, None when this scope has none. :raises SqlError: 1052 when several have."""
        found = self.find(name, table, clause)
        return None if found is None else found[1]

    def find(self, name: str, table: str, clause: str = "field list") -> tuple[Relation, Typed] | None:
        """The column with its relation. :raises SqlError: 1052, with the ``clause``, when several have it."""
        found: list[tuple[Relation, Typed]] = []
        for relation in self.relations:
            if table and relation.alias.lower() != table.lower():
                continue
            if not table and name.lower() in relation.joined:
                continue
            value = relation.find(name)
            if value is not None:
                found.append((relation, value))
        if len(found) > 1:
            raise SqlError(f"Column '{name}' in {clause} is ambiguous", code=1052, state="23000")
        return found[0] if found else None


def unknown_column(name: str, table: str, clause: str = "field list") -> UnknownColumn:
    shown = f"{table}.{name}" if table else name
    return UnknownColumn(f"Unknown column '{shown}' in '{clause}'")


def columns_of(alias: str, types: dict[str, Type]) -> dict[str, Typed]:
    """References to the columns of a relation."""
    return {name: Typed(f"{named(alias)}.{named(name)}", type_) for name, type_ in types.items()}
