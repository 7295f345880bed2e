"""From text to syntax tree: only queries come through, and errors speak as MySQL's do."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterator

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import ParseError, SqlglotError

from z4sql.sql.errors import ReadOnly, SqlError, SyntaxProblem
from z4sql.sql.front.argument_counts import check_argument_counts
from z4sql.sql.front.clauses import ends_too_early, refuse_misplaced, without_modifiers
from z4sql.sql.front.foreign import refuse_foreign, refuse_foreign_node
from z4sql.sql.front.interval_amounts import replaced_amounts
from z4sql.sql.front.json_tables import replaced_columns
from z4sql.sql.front.replacing import replaced
from z4sql.sql.front.source import Part, Source, empty_query, read_source, syntax_problem
from z4sql.sql.front.temporal_literals import replaced_literals

logging.getLogger("sqlglot").setLevel(logging.ERROR)
"""It warns of JSON paths that it leaves to us."""

for _name in ("JSON_OBJECT", "JSON_OBJECTAGG"):
    # Its own readers of these take no conditions as members; as plain functions they take all.
    MySQL.parser_class.FUNCTION_PARSERS.pop(_name, None)

DEPTH_MAX = 1500
"""Of a syntax tree. Compiled code that walks deeper ones by recursion would overflow the stack, unnoticed."""

_COLUMNS_MAX = 4096
_TABLES_MAX = 61
"""MySQL manual: Limits on Table Column Count and Row Size; JOIN Clause."""

_LISTED_MAX = 4096
"""Of arguments, branches, rows; lists behind IN are bounded by the length of the statement alone."""

_COUNT_MAX = 2**64 - 1
_CACHED_MAX = 512
_CACHED_TEXT_MAX = 16 << 10

_NO_ITEM = frozenset({",", ")", ";", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION"})
_NO_ITEM_BEFORE = frozenset({",", "(", "SELECT", "BY", "FROM", "WHERE"})
_QUERIES = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_FILES = frozenset({"OUTFILE", "DUMPFILE"})
_INSERTS = frozenset({"INSERT", "REPLACE", "IGNORE", "DELAYED", "LOW_PRIORITY"})
_FORBIDDEN = (
    exp.DML,
    exp.DDL,
    exp.Command,
    exp.Create,
    exp.Drop,
    exp.Into,
)
_RELATIONS = (exp.Table, exp.Subquery, exp.Values, exp.Lateral)
_READ_FROM: dict[type[exp.Expression], tuple[type[exp.Expression], ...]] = {
    exp.From: _RELATIONS,
    exp.Join: _RELATIONS,
    exp.Lateral: (exp.Subquery,),
    exp.Table: (exp.Identifier, exp.JSONTable),
}
"""What may stand where a table is read: of functions that give tables, MySQL has JSON_TABLE only."""
_JOINED_BY = ("on", "using", "method")
"""What LEFT and RIGHT JOIN have one of."""

_WRITE_NODES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter)


class QueryParser:
    """Parses queries; remembers the most recent ones. Callers copy a tree before they change it."""

    def __init__(self) -> None:
        self._cached: OrderedDict[str, exp.Expression] = OrderedDict()
        self._dialect = MySQL()

    def parse(self, source: Source) -> exp.Expression:
        """The query of ``source``, without modifiers that mean nothing here (locks, SQL_NO_CACHE, DUAL).

        :raises SyntaxProblem: (1064); :raises ReadOnly: writes (1290); :raises Unsupported: (1235).
        """
        known = self.known(source)
        if known is not None:
            return known
        if not source.pieces:
            raise empty_query()
        text = source.text
        _refuse_into(source)
        _refuse_empty_items(source)
        refuse_foreign(source)
        refuse_misplaced(source)
        check_argument_counts(source)
        misread = (*replaced_columns(source), *replaced_amounts(source), *replaced_literals(source))
        parsed = replaced(without_modifiers(source), misread)
        query = self._parse_text(parsed, source.pieces[-1].start, ends_too_early(source))
        check_query(query, text)
        strip_modifiers(query)
        query = _spelled_out(query, text)
        self.remember(source, query)
        return query

    def known(self, source: Source) -> exp.Expression | None:
        """What the same text was parsed to before."""
        query = self._cached.get(source.text)
        if query is not None:
            self._cached.move_to_end(source.text)
        return query

    def remember(self, source: Source, query: exp.Expression) -> None:
        """Keep what ``source`` was parsed to, unless it is too long."""
        if len(source.text) <= _CACHED_TEXT_MAX:
            self._cached[source.text] = query
            if len(self._cached) > _CACHED_MAX:
                self._cached.popitem(last=False)

    def expression(self, text: str, source: Source, at: int) -> exp.Expression:
        """One expression; ``at``: where in the source it stands, for the error.

        :raises SyntaxProblem: (1064).
        """
        alone = read_source(text)
        refuse_foreign(alone)
        check_argument_counts(alone)
        try:
            query = self._parse_text("SELECT " + text)
        except SyntaxProblem:
            raise syntax_problem(source.text, at) from None
        if not isinstance(query, exp.Select) or len(query.expressions) != 1:
            raise syntax_problem(source.text, at)
        extra = [key for key, value in query.args.items() if value and key not in ("expressions", "kind")]
        parsed = query.expressions[0]
        check_query(query, source.text)
        if extra or isinstance(parsed, exp.Alias) or parsed.find(exp.Query) is not None:
            raise syntax_problem(source.text, at)
        assert isinstance(parsed, exp.Expression)
        return parsed

    def placeholders(self, text: str) -> list[int]:
        """Where the parser sees a ``?`` that stands for a value."""
        try:
            tokens = self._dialect.tokenize(text)
        except SqlglotError:
            raise syntax_problem(text, 0) from None
        return [token.start for token in tokens if token.token_type.name == "PLACEHOLDER"]

    def _parse_text(self, text: str, last: int = 0, unfinished: bool = False) -> exp.Expression:
        """``last``: where the last piece begins, behind which more must come if ``unfinished``."""
        try:
            parsed = self._dialect.parse(text)
        except ParseError as error:
            at = _where(error, text)
            raise syntax_problem(text, len(text) if unfinished and at >= last else at) from None
        except SqlglotError:
            raise syntax_problem(text, 0) from None
        except RecursionError:
            raise syntax_problem(text, 0) from None
        except (ValueError, AttributeError, IndexError, KeyError, TypeError):
            # sqlglot's parser lets these escape on some malformed texts.
            raise syntax_problem(text, 0) from None
        statements = [one for one in parsed if one is not None]
        if len(statements) != 1 or not isinstance(statements[0], exp.Expression):
            raise syntax_problem(text, 0)
        return statements[0]


def _where(error: ParseError, text: str) -> int:
    """The offset sqlglot means: it counts columns to the end of the offending token."""
    if not error.errors:
        return 0
    first = error.errors[0]
    line, column, token = first.get("line") or 1, first.get("col") or 1, first.get("highlight") or ""
    at = 0
    for _ in range(line - 1):
        at = text.find("\n", at) + 1
    return max(0, min(len(text), at + column - len(token)))


def _refuse_into(source: Source) -> None:
    """INTO writes files or variables; the word is reserved, so it stands for nothing else.

    Of what it may stand for `read_into` took the variables.
    """
    for index, piece in enumerate(source.pieces):
        if piece.part is not Part.WORD or piece.value != "INTO" or source.pieces[index - 1].value == ".":
            continue
        if source.word(index + 1) in _FILES or source.word(index - 1) in _INSERTS:
            raise ReadOnly()
        if source.pieces[index + 1 : index + 2] and source.pieces[index + 1].value == "@":
            message = (
                "Misplaced INTO clause, INTO is not allowed inside subqueries, and must be placed at end"
            )
            raise SqlError(f"{message} of UNION clauses.", code=3954)
        if source.word(index + 1):
            raise SqlError(f"Undeclared variable: {_text(source, index + 1)}", code=1327, state="42000")
        raise source.problem(index + 1)


def _text(source: Source, index: int) -> str:
    return source.text[source.pieces[index].start : source.pieces[index].end]


def _refuse_empty_items(source: Source) -> None:
    """A comma stands between two things; the parser forgives one without. :raises SyntaxProblem: (1064)"""
    before = ""
    for index, piece in enumerate(source.pieces):
        symbol = piece.value if piece.part in (Part.SYMBOL, Part.WORD) else ""
        if (before == "," and symbol in _NO_ITEM) or (symbol == "," and before in _NO_ITEM_BEFORE):
            raise source.problem(index)
        before = symbol
    if before == ",":
        raise source.problem(len(source.pieces))


def check_query(query: exp.Expression, text: str) -> None:
    """Let only queries through, all the way down.

    :raises ReadOnly: a write (1290); :raises SyntaxProblem: anything else (1064);
    :raises SqlError: too many columns (1117), tables (1116) or other items (3170), or too deep (1436).
    """
    for node in _walk(query):
        if isinstance(node, _WRITE_NODES):
            raise ReadOnly()
        if isinstance(node, _FORBIDDEN) and not isinstance(node, exp.Query):
            raise syntax_problem(text, 0)
        refuse_foreign_node(node, text)
        _check_lists(node, text)
        if isinstance(node, exp.Join) and node.side and not any(map(node.args.get, _JOINED_BY)):
            raise syntax_problem(text, len(text))
        if isinstance(node, (exp.Limit, exp.Offset)):
            _check_count(node, text)
        allowed = _READ_FROM.get(type(node))
        if allowed is not None and not isinstance(node.this, allowed):
            raise syntax_problem(text, 0)
    if not isinstance(query, _QUERIES):
        raise syntax_problem(text, 0)
    inner = query
    while isinstance(inner, exp.Subquery):
        inner = inner.this
    if not isinstance(inner, _QUERIES):
        raise syntax_problem(text, 0)


def _check_lists(node: exp.Expression, text: str) -> None:
    if isinstance(node, exp.Select):
        if not node.expressions:
            raise syntax_problem(text, len(text))
        if len(node.expressions) > _COLUMNS_MAX:
            raise SqlError("Too many columns", code=1117)
        if len(node.args.get("joins") or ()) >= _TABLES_MAX:
            raise SqlError(f"Too many tables; MySQL can only use {_TABLES_MAX} tables in a join", code=1116)
    if isinstance(node, exp.In):
        if not any(node.args.get(key) for key in ("expressions", "query", "unnest", "field")):
            raise syntax_problem(text, len(text))
    else:
        for listed in node.args.values():
            if isinstance(listed, list) and len(listed) > _LISTED_MAX:
                raise SqlError(f"A list may have {_LISTED_MAX} items here: shorten it", code=3170)


def _check_count(node: exp.Limit | exp.Offset, text: str) -> None:
    """MySQL manual: LIMIT takes whole numbers, as constants or placeholders. :raises SyntaxProblem: (1064)"""
    count = node.expression
    if isinstance(count, exp.Placeholder):
        return
    digits = str(count.this) if isinstance(count, exp.Literal) and not count.is_string else ""
    if not (digits.isdecimal() and len(digits) <= 20 and int(digits) <= _COUNT_MAX):
        found = re.search(rf"\b{node.key}\b\s*", text, re.IGNORECASE)
        raise syntax_problem(text, found.end() if found else len(text))


def _walk(query: exp.Expression) -> Iterator[exp.Expression]:
    """Every node. :raises SqlError: deeper than `DEPTH_MAX` (1436)"""
    level: list[exp.Expression] = [query]
    for _ in range(DEPTH_MAX):
        yield from level
        level = [
            child for node in level for child in node.iter_expressions() if isinstance(child, exp.Expression)
        ]
        if not level:
            return
    raise too_deep()


def too_deep() -> SqlError:
    return SqlError("Thread stack overrun: the statement is nested too deeply", code=1436, state="HY000")


def _spelled_out(query: exp.Expression, text: str) -> exp.Expression:
    """``query`` with a SELECT for each VALUES statement in it."""
    for values in list(query.find_all(exp.Values)):
        rows: exp.Expression = listed_rows(values, text)
        if values is query:
            return rows
        alias = values.args.get("alias")
        if isinstance(values.parent, (exp.From, exp.Join, exp.Lateral)):
            rows = exp.Subquery(this=rows, alias=alias, joins=values.args.get("joins"))
        if isinstance(values.parent, exp.In):
            values.parent.set("query", exp.Subquery(this=rows))
            values.parent.set("expressions", None)
        else:
            values.replace(rows)
    return query


def listed_rows(values: exp.Values, text: str) -> exp.Select | exp.Union:
    """``VALUES ROW(..), ROW(..)`` as a union of SELECTs. MySQL manual: VALUES Statement.

    :raises SqlError: rows of different lengths (1136); :raises SyntaxProblem: rows without ROW (1064).
    """
    rows: list[list[exp.Expression]] = []
    for item in values.expressions:
        inner = item.expressions[0] if isinstance(item, exp.Tuple) and len(item.expressions) == 1 else None
        if not isinstance(inner, exp.Anonymous) or str(inner.this).upper() != "ROW":
            raise syntax_problem(text, max(0, text.find("(")))
        if not inner.expressions:
            message = "Each row of a VALUES clause must have at least one column, unless when used as source"
            raise SqlError(f"{message} in an INSERT statement.", code=3942)
        rows.append(inner.expressions)
        if len(rows[-1]) != len(rows[0]):
            message = f"Column count doesn't match value count at row {len(rows)}"
            raise SqlError(message, code=1136, state="21S01")
    if len(rows) > DEPTH_MAX:
        raise too_deep()
    named = [exp.alias_(value, f"column_{at}", quoted=True) for at, value in enumerate(rows[0])]
    query: exp.Select | exp.Union = exp.Select(expressions=named)
    for row in rows[1:]:
        query = exp.Union(this=query, expression=exp.Select(expressions=row), distinct=False)
    for clause in ("order", "limit", "offset"):
        query.set(clause, values.args.get(clause))
    return query


def strip_modifiers(query: exp.Expression) -> None:
    """Drop what changes no result, as a server without locks or a query cache gives it."""
    for spoken in list(query.find_all(exp.RespectNulls)):
        spoken.replace(spoken.this)
    for node in query.find_all(exp.Select):
        for key in ("operation_modifiers", "locks", "hint"):
            node.set(key, None)
        source = node.args.get("from_")
        if source is not None and _is_dual(source.this) and not node.args.get("joins"):
            node.set("from_", None)


def _is_dual(table: object) -> bool:
    if not isinstance(table, exp.Table) or table.args.get("db") is not None:
        return False
    name = table.this
    return isinstance(name, exp.Identifier) and not name.quoted and name.name.upper() == "DUAL"
