"""Where a query reads tables, and which conditions every row of each reading must meet.

A *frame* is one SELECT reached by one path; a *reference* one table in its FROM clause. The conditions of a
reference are those that are TRUE of every combination of rows in which one of its rows takes part and can
still change the answer: rows that fail them need not be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from z4sql.sql.context import Catalog
from z4sql.sql.planner.shape import conjuncts
from z4sql.sql.types import TableDefinition

_ROW_FUNCTIONS: Final = frozenset(
    {"JSON_UNQUOTE", "NOW", "UNIX_TIMESTAMP", "FROM_UNIXTIME", "TIMEDIFF", "LENGTH", "CRC32", "INSTR"}
)


@dataclass(slots=True, eq=False)
class Frame:
    """One SELECT. ``derived``: the FROM entry of another frame whose rows it makes.

    ``outer``: the frame whose rows it sees, ``site``: the node there that it hangs under.
    """

    select: exp.Select
    outer: Frame | None = None
    site: exp.Expression | None = None
    derived: Source | None = None
    sources: list[Source] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    merged: frozenset[str] = frozenset()
    """Columns that USING or NATURAL made one of two."""
    outer_sides: frozenset[str] = frozenset()

    @property
    def transparent(self) -> bool:
        """Whether a condition on its output columns may be applied to its input rows."""
        arguments = self.select.args
        if any(arguments.get(name) for name in ("group", "having", "limit", "offset", "windows", "qualify")):
            return False
        return not any(
            isinstance(node, (exp.AggFunc, exp.Window, exp.AnonymousAggFunc))
            or (isinstance(node, exp.Anonymous) and node.name.upper() not in _ROW_FUNCTIONS)
            for projection in self.select.expressions
            for node in projection.walk(prune=lambda node: isinstance(node, exp.Query))
        )


@dataclass(slots=True, eq=False)
class Source:
    """One entry of a FROM clause: a table of the catalog, or the frames whose rows it shows, or neither."""

    name: str
    frame: Frame
    node: exp.Expression
    table: TableDefinition | None = None
    arms: list[Frame] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    """Column names given to a derived table."""
    nullable: bool = False


@dataclass(slots=True, eq=False)
class Join:
    """``condition`` is TRUE of every row of the sources in ``binds`` that takes part."""

    condition: exp.Expression
    binds: list[Source]
    inner: bool


@dataclass(slots=True, frozen=True)
class Place:
    """A column of a table in a FROM clause."""

    source: Source
    column: str


@dataclass(slots=True, frozen=True)
class Condition:
    """``node``, whose columns are to be looked up in ``frame``."""

    node: exp.Expression
    frame: Frame


@dataclass(slots=True, eq=False)
class _With:
    """One table of a WITH clause. ``known``: the names that its text sees."""

    node: exp.CTE
    known: dict[str, _With]
    mergeable: bool
    """Read once, and not by itself: then it is the same as a derived table."""
    added: bool = False


class References:
    """All frames and table references of one query."""

    def __init__(self, query: exp.Expression, catalog: Catalog, database: str | None) -> None:
        self._catalog = catalog
        self._database = database
        self._withs: list[_With] = []
        self.tables: list[Source] = []
        self.frames: list[Frame] = []
        self._add_query(query, {}, None, None)
        for table in self._withs:
            self._add_with(table, None)

    def conditions(self, source: Source) -> list[Condition]:
        """What every row of ``source`` must meet; all of it holds at once, of one combination of rows."""
        frame = source.frame
        found = [Condition(node, frame) for node in _where(frame)]
        found += [Condition(join.condition, frame) for join in frame.joins if source in join.binds]
        return found + self._inherited(frame)

    def _inherited(self, frame: Frame) -> list[Condition]:
        if frame.derived is not None and frame.transparent:
            return self.conditions(frame.derived)
        found: list[Condition] = []
        inner, outer = frame, frame.outer
        while outer is not None:
            held = _where(outer) + [join.condition for join in outer.joins if join.inner]
            found += [Condition(node, outer) for node in held if not _hangs_under(inner.site, node)]
            inner, outer = outer, outer.outer
        return found

    def place(self, column: exp.Column, frame: Frame, towards: Source) -> Place | None:
        """The table column that ``column`` shows, in the rows that come from ``towards``.

        None when it is not told here: no plain column, or unclear.
        """
        at: Frame | None = frame
        while at is not None:
            found = _candidate(column, at)
            if isinstance(found, Source):
                return self._through(found, column.name, towards)
            if not found:
                return None
            at = at.outer
        return None

    def _through(self, source: Source, column: str, towards: Source) -> Place | None:
        if source.table is not None:
            definition = source.table.column(column)
            return None if definition is None else Place(source, definition.name.lower())
        arm = _arm_towards(source, towards)
        if arm is None or not arm.transparent:
            return None
        first = source.arms[0]
        if _is_star(first.select) != _is_star(arm.select):
            return None
        if _is_star(arm.select):
            inner = _star_source(arm)
            if source.columns or inner is None:
                return None
            if arm is not first:
                other = _star_source(first)
                if other is None or other.table is None or other.table is not inner.table:
                    return None
            return self._through(inner, column, towards)
        names = source.columns or tuple(shown.alias_or_name for shown in first.select.expressions)
        positions = [at for at, name in enumerate(names) if name.lower() == column.lower()]
        if len(positions) != 1 or positions[0] >= len(arm.select.expressions):
            return None
        shown = arm.select.expressions[positions[0]].unalias()
        if not isinstance(shown, exp.Column) or isinstance(shown.this, exp.Star):
            return None
        return self.place(shown, arm, towards)

    def _add_query(
        self,
        query: exp.Expression,
        known: dict[str, _With],
        outer: tuple[Frame, exp.Expression] | None,
        derived: Source | None,
    ) -> list[Frame]:
        """Add a query's frames. Returns those whose rows are its rows, so that filters commute; else none."""
        known = self._with_tables(query, known)
        if isinstance(query, exp.Select):
            return [self._add_select(query, known, outer, derived)]
        limited = bool(query.args.get("limit") or query.args.get("offset"))
        below = None if limited else derived
        arms: list[Frame] = []
        if isinstance(query, exp.Subquery):
            arms += self._add_query(query.this, known, outer, below)
        elif isinstance(query, exp.SetOperation):
            arms += self._add_query(query.this, known, outer, below)
            arms += self._add_query(query.expression, known, outer, below)
        return [] if limited else arms

    def _with_tables(self, query: exp.Expression, known: dict[str, _With]) -> dict[str, _With]:
        clause = query.args.get("with_")
        if clause is None:
            return known
        for node in clause.expressions:
            name = node.alias.lower()
            inside = sum(_reads(table, name) for table in node.this.find_all(exp.Table))
            everywhere = sum(_reads(table, name) for table in query.find_all(exp.Table))
            recursive = bool(clause.args.get("recursive")) and inside > 0
            table = _With(node, known, mergeable=everywhere - inside == 1 and not recursive)
            known = {**known, name: table}
            if recursive:
                table.known = known
            self._withs.append(table)
        return known

    def _add_with(self, table: _With, reader: Source | None) -> list[Frame]:
        if table.added:
            return []
        table.added = True
        return self._add_query(table.node.this, table.known, None, reader)

    def _add_select(
        self,
        select: exp.Select,
        known: dict[str, _With],
        outer: tuple[Frame, exp.Expression] | None,
        derived: Source | None,
    ) -> Frame:
        frame = Frame(select, derived=derived)
        if outer is not None:
            frame.outer, frame.site = outer
        self.frames.append(frame)
        start = select.args.get("from_")
        if start is not None:
            self._add_joins(self._add_source(start.this, frame, known), select, frame, known)
        self._add_nested(frame, known)
        return frame

    def _add_joins(
        self, left: list[Source], owner: exp.Expression, frame: Frame, known: dict[str, _With]
    ) -> list[Source]:
        for join in owner.args.get("joins") or []:
            right = self._add_source(join.this, frame, known)
            side = (join.args.get("side") or "").upper()
            if side in ("LEFT", "FULL"):
                _make_nullable(right)
            if side in ("RIGHT", "FULL"):
                _make_nullable(left)
            frame.outer_sides |= {side}
            binds = {"": left + right, "LEFT": right, "RIGHT": left}.get(side, [])
            if (join.args.get("kind") or "").upper() in ("SEMI", "ANTI"):
                binds = []
            for condition in _join_conditions(join, left, right, frame):
                frame.joins.append(Join(condition, binds, inner=not side and bool(binds)))
            left = left + right
        return left

    def _add_source(self, node: exp.Expression, frame: Frame, known: dict[str, _With]) -> list[Source]:
        """The entries of one FROM item: several when it is a join in parentheses."""
        if isinstance(node, exp.Subquery) and is_joined(node):
            made = self._add_source(node.this, frame, known)
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            made = [self._table(node, frame, known)]
        elif isinstance(node, exp.Subquery):
            made = [self._derived(node, node, frame, known, None)]
        elif isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            made = [self._derived(node, node.this, frame, known, (frame, node))]
        else:
            made = [_source(node, frame)]
        return self._add_joins(made, node, frame, known)

    def _table(self, node: exp.Table, frame: Frame, known: dict[str, _With]) -> Source:
        source = _source(node, frame)
        name = node.name
        table = known.get(name.lower()) if not node.db else None
        if table is not None:
            if table.mergeable:
                source.columns = _column_names(table.node)
                source.arms = self._add_with(table, source)
            return source
        database = node.db or self._database
        if database is not None:
            source.table = self._catalog.table(database, name)
        if source.table is not None:
            self.tables.append(source)
        return source

    def _derived(
        self,
        node: exp.Expression,
        query: exp.Expression,
        frame: Frame,
        known: dict[str, _With],
        outer: tuple[Frame, exp.Expression] | None,
    ) -> Source:
        source = _source(node, frame)
        source.columns = _column_names(node)
        source.arms = self._add_query(query, known, outer, source)
        return source

    def _add_nested(self, frame: Frame, known: dict[str, _With]) -> None:
        """Subqueries inside expressions: those see the frame's own rows."""
        sources = {id(source.node) for source in frame.sources}

        def visit(node: exp.Expression) -> None:
            if id(node) in sources:
                for join in node.args.get("joins") or []:
                    visit(join)
            elif isinstance(node, exp.With):
                return
            elif isinstance(node, exp.Query) and not is_joined(node):
                self._add_query(node, known, (frame, node), None)
            else:
                for child in node.iter_expressions():
                    visit(child)

        for child in frame.select.iter_expressions():
            visit(child)


def _where(frame: Frame) -> list[exp.Expression]:
    where = frame.select.args.get("where")
    return conjuncts(where.this) if where is not None else []


def _source(node: exp.Expression, frame: Frame) -> Source:
    source = Source(node.alias_or_name.lower(), frame, node)
    frame.sources.append(source)
    return source


def _make_nullable(sources: list[Source]) -> None:
    for source in sources:
        source.nullable = True


def _column_names(node: exp.Expression) -> tuple[str, ...]:
    alias = node.args.get("alias")
    return tuple(column.name for column in alias.columns) if isinstance(alias, exp.TableAlias) else ()


def _reads(table: exp.Table, name: str) -> bool:
    return not table.db and table.name.lower() == name


def is_joined(node: exp.Expression) -> bool:
    """Whether it is an item of FROM in parentheses, which the parser writes as a subquery of it."""
    while isinstance(node, exp.Subquery):
        inner = node.this
        if isinstance(inner, exp.Subquery) and not node.alias and (inner.alias or inner.args.get("joins")):
            return True
        node = inner
    return isinstance(node, exp.Table)


def _hangs_under(node: exp.Expression | None, top: exp.Expression) -> bool:
    while node is not None:
        if node is top:
            return True
        parent = node.parent
        node = parent if isinstance(parent, exp.Expression) else None
    return False


def _is_star(select: exp.Select) -> bool:
    return any(
        isinstance(shown, exp.Star) or (isinstance(shown, exp.Column) and isinstance(shown.this, exp.Star))
        for shown in select.expressions
    )


def _star_source(frame: Frame) -> Source | None:
    """The one FROM entry that ``SELECT *`` or ``SELECT t.*`` shows."""
    if len(frame.select.expressions) != 1:
        return None
    star = frame.select.expressions[0]
    if isinstance(star, exp.Column):
        wanted = star.table.lower()
        return next((source for source in frame.sources if source.name == wanted), None)
    return frame.sources[0] if len(frame.sources) == 1 else None


def _arm_towards(source: Source, towards: Source) -> Frame | None:
    """The frame among ``source``'s whose rows lead to ``towards``; the only one, if it is elsewhere."""
    frame: Frame | None = towards.frame
    while frame is not None:
        if frame in source.arms:
            return frame
        frame = frame.derived.frame if frame.derived is not None else frame.outer
    return source.arms[0] if len(source.arms) == 1 else None


def _candidate(column: exp.Column, frame: Frame) -> Source | bool:
    """The FROM entry that a column belongs to; True: none here, look further out; False: unclear."""
    name, qualifier = column.name, column.table.lower()
    if qualifier:
        return next((source for source in frame.sources if source.name == qualifier), True)
    tables = [source for source in frame.sources if source.table and source.table.column(name)]
    opaque = [source for source in frame.sources if source.table is None]
    if name.lower() in frame.merged:
        if not frame.outer_sides <= {"", "LEFT"}:
            return False
        return next((source for source in frame.sources if source in tables or source in opaque), False)
    if tables:
        return tables[0] if len(tables) == 1 else False
    if opaque:
        return opaque[0] if len(opaque) == 1 else False
    return True


def _join_conditions(
    join: exp.Expression, left: list[Source], right: list[Source], frame: Frame
) -> Iterator[exp.Expression]:
    on = join.args.get("on")
    if on is not None:
        yield from conjuncts(on)
    names = [column.name for column in join.args.get("using") or []]
    if (join.args.get("method") or "").upper() == "NATURAL":
        names += _shared_names(left, right)
    frame.merged |= {name.lower() for name in names}
    for name in names:
        one, other = _with_column(left, name), _with_column(right, name)
        if one is not None and other is not None:
            yield exp.EQ(this=exp.column(name, one.name), expression=exp.column(name, other.name))


def _with_column(sources: list[Source], name: str) -> Source | None:
    if len(sources) == 1:
        return sources[0]
    return next((source for source in sources if source.table and source.table.column(name)), None)


def _shared_names(left: list[Source], right: list[Source]) -> list[str]:
    names = [
        {column.name for source in side if source.table for column in source.table.columns}
        for side in (left, right)
    ]
    return sorted(names[0] & names[1])
