"""What names mean at a place of a query: tables in FROM, and aliases of the select list."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlglot import exp

from z4sql.sql.errors import SqlError, UnknownColumn
from z4sql.sql.lowering.typed import Type, Typed, named


@dataclass(slots=True, frozen=True)
class Origin:
    """What a result column is of a table, for whoever asks for more than its name and type.

    ``table``: as the query names it. Of what a derived table works out, nothing else is known.
    """

    table: str
    name: str
    original_table: str = ""
    database: str = ""
    nullable: bool = True
    key: str = ""

    @property
    def shown(self) -> str:
        """The column as errors name it."""
        return ".".join(filter(None, (self.database, self.table, self.name)))


@dataclass(slots=True)
class Relation:
    """A table, derived table or CTE as one query names it. ``columns`` keep their order and case."""

    alias: str
    columns: dict[str, Typed]
    keys: tuple[str, ...] = ()
    """Columns that determine the others, as those of a primary key do."""
    origins: dict[str, Origin] = field(default_factory=dict)
    optional: bool = False
    """Whether it is the side of an outer join that may have no row."""
    step: str = ""
    """See `Cte`."""

    def named(self, name: str) -> str | None:
        """The column of that name, as it is spelled here."""
        wanted = name.lower()
        return next((column for column in self.columns if column.lower() == wanted), None)

    def find(self, name: str) -> Typed | None:
        column = self.named(name)
        return None if column is None else self.columns[column]

    def origin(self, name: str) -> Origin:
        """Of the column of that name, as this relation is used."""
        found = self.origins.get(self.named(name) or name)
        if found is None:
            return Origin(self.alias, name)
        return replace(found, table=self.alias, nullable=found.nullable or self.optional)


@dataclass(slots=True, frozen=True)
class Cte:
    """What a WITH defines. ``source``: its name for the engine.

    ``step``: in its own definition, the column in which the engine counts how often that was repeated.
    """

    types: dict[str, Type]
    source: str
    step: str = ""
    keys: tuple[str, ...] = ()
    origins: dict[str, Origin] = field(default_factory=dict)


Place = tuple[Relation, str]
"""A column by its relation and name."""


@dataclass(slots=True, frozen=True)
class Grouped:
    """An expression of GROUP BY: ``raw`` is its text for the engine, ``shown`` what stands for it.

    ``rolled_up``: the key that WITH ROLLUP leaves out of some rows; empty without it.
    """

    node: exp.Expression
    raw: str
    shown: Typed
    rolled_up: str = ""


@dataclass(slots=True)
class Scope:
    """One SELECT. ``aliases`` are of its select list; MySQL lets GROUP BY, HAVING and ORDER BY use them."""

    relations: list[Relation] = field(default_factory=list)
    visible: list[Place] = field(default_factory=list)
    """The columns that names without a table mean, in the order of ``*``: USING shows a pair once."""
    aliases: dict[str, exp.Expression] = field(default_factory=dict)
    use_aliases: bool = False
    grouped: list[Grouped] = field(default_factory=list)
    aggregated: bool = False
    """Whether rows are groups from here on."""
    loose: bool = False
    """Whether ungrouped columns stand for those of some row of the group."""
    determines: list[tuple[str, str]] = field(default_factory=list)
    """Texts of columns of which the first determines the second; the first is empty where a constant does."""
    determined: frozenset[str] = frozenset()
    """The columns with one value in each group, besides those of GROUP BY; by their text for the engine."""
    ungrouped: list[str] = field(default_factory=list)
    """Columns that were used where a group has several values of them, as MySQL names them in errors."""
    ambiguous: set[str] = field(default_factory=set)
    """Names that several items of the select list have."""
    listed: set[str] | None = None
    """The columns of the select list, by their text for the engine: HAVING sees no others."""
    windows: dict[str, exp.Expression] = field(default_factory=dict)
    """Of the WINDOW clause, by name in lower case."""

    def listed_as(self, name: str, clause: str) -> exp.Expression | None:
        """The item of the select list with that name. :raises SqlError: 1052 when several have it."""
        if name.lower() in self.ambiguous:
            raise ambiguous_column(name, clause)
        return self.aliases.get(name.lower())

    def column(self, name: str, table: str, clause: str = "field list") -> Typed | None:
        """The column, None when this scope has none. :raises SqlError: 1052 when several have."""
        found = self.find(name, table, clause)
        return None if found is None else found[1]

    def find(self, name: str, table: str, clause: str = "field list") -> tuple[Relation, Typed] | None:
        """The column with its relation. :raises SqlError: 1052, with the ``clause``, when several have it."""
        if table:
            relations = [each for each in self.relations if each.alias.lower() == table.lower()]
        else:
            relations = [each for each, column in self.visible if each.named(name) == column]
        found = [(each, value) for each in relations if (value := each.find(name)) is not None]
        if len(found) > 1:
            raise ambiguous_column(name, clause)
        return found[0] if found else None


def places(relation: Relation) -> list[Place]:
    """All of its columns, in their order."""
    return [(relation, name) for name in relation.columns]


def ambiguous_column(name: str, clause: str) -> SqlError:
    return SqlError(f"Column '{name}' in {clause} is ambiguous", code=1052, state="23000")


def unknown_column(name: str, table: str, clause: str = "field list") -> UnknownColumn:
    shown = f"{table}.{name}" if table else name
    return UnknownColumn(f"Unknown column '{shown}' in '{clause}'")


def columns_of(alias: str, types: dict[str, Type]) -> dict[str, Typed]:
    """References to the columns of a relation."""
    return {name: Typed(f"{named(alias)}.{named(name)}", type_) for name, type_ in types.items()}
