"""What the parser takes from other dialects, and MySQL has no grammar for.

The parser knows the operators, clauses and functions of many servers, whatever dialect it reads, and writes
them down as the nearest that MySQL has. So they are refused before it sees them, word by word: where a rule
is not sure, the text passes. MySQL manual: Expressions; SELECT Statement; Temporal Intervals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL

from z4sql.sql.catalog.keywords import RESERVED_KEYWORDS
from z4sql.sql.errors import UnknownFunction
from z4sql.sql.front.argument_counts import COUNTS, is_list
from z4sql.sql.front.source import Part, Piece, Source, syntax_problem


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_UNITS: Final = _words(
    """
    MICROSECOND SECOND MINUTE HOUR DAY WEEK MONTH QUARTER YEAR SECOND_MICROSECOND MINUTE_MICROSECOND
    MINUTE_SECOND HOUR_MICROSECOND HOUR_SECOND HOUR_MINUTE DAY_MICROSECOND DAY_SECOND DAY_MINUTE DAY_HOUR
    YEAR_MONTH SQL_TSI_MICROSECOND SQL_TSI_SECOND SQL_TSI_MINUTE SQL_TSI_HOUR SQL_TSI_DAY SQL_TSI_WEEK
    SQL_TSI_MONTH SQL_TSI_QUARTER SQL_TSI_YEAR
    """
)
_TAKE_UNITS: Final = frozenset({"EXTRACT", "TIMESTAMPADD", "TIMESTAMPDIFF"})
_CAST_TYPES: Final = _words(
    """
    BINARY CHAR CHARACTER NCHAR NATIONAL SIGNED UNSIGNED DATE YEAR TIME DATETIME DECIMAL DEC JSON REAL
    DOUBLE FLOAT POINT LINESTRING POLYGON MULTIPOINT MULTILINESTRING MULTIPOLYGON GEOMETRYCOLLECTION
    GEOMCOLLECTION
    """
)

_INFIX: Final = _words("= <=> <= >= <> != < > | || & && ^ / % * -> ->> :=")
_PREFIX: Final = _words("- + ~ ! @ @@")
_SHIFTS: Final = frozenset({"<", ">"})

NEVER: Final = _words(
    """
    ACCESSIBLE ADD ASENSITIVE BEFORE CASCADE CHANGE CHECK COLUMN CONDITION CONSTRAINT CONTINUE CUBE CURSOR
    DECLARE DETERMINISTIC EACH ELSEIF ENCLOSED ESCAPED EXIT FETCH FOREIGN GENERATED INOUT INSENSITIVE ITERATE
    KEYS LEAVE LINEAR LINES LOOP MODIFIES OPTIONALLY OUT READS REFERENCES RELEASE REQUIRE RESIGNAL RESTRICT
    RETURN SCHEMAS SENSITIVE SIGNAL SPECIFIC SQL SQLEXCEPTION SQLSTATE SQLWARNING SSL STARTING STORED
    TERMINATED TO TRIGGER UNDO USAGE VARYING VIRTUAL WHILE
    """
)
"""Reserved words that stand in no query, nor in what is refused as a write."""

_BETWEEN_OPERANDS: Final = frozenset({"GLOB", "ILIKE", "IRLIKE", "OVERLAPS", "PREWHERE", "QUALIFY"})
"""Operators and clauses of others; to MySQL they are names, behind which no value can stand."""
_BEFORE_BY: Final = frozenset({"GROUP", "ORDER", "PARTITION"})
_BEHIND_IS: Final = frozenset({"NOT", "NULL", "TRUE", "FALSE", "UNKNOWN"})
_BEHIND_NOT: Final = frozenset({"IN", "LIKE", "RLIKE", "REGEXP", "BETWEEN"})
_BEHIND_STAR: Final = frozenset({"EXCEPT", "EXCLUDE", "RENAME", "REPLACE", "ILIKE"})
_BEFORE_STAR: Final = frozenset({"SELECT", "DISTINCT", "ALL", ",", "."})
_BEHIND_LIMIT: Final = frozenset({"%", "BY", "PERCENT", "ROW", "ROWS", "WITH"})
_END_OF_QUANTITY: Final = _words(
    """
    ) , AND OR XOR FROM WHERE GROUP HAVING ORDER LIMIT UNION AS ASC DESC THEN WHEN ELSE END BETWEEN INTERVAL
    && || = < > <= >= <> != <=> ;
    """
)
_OPERATOR_WORDS: Final = frozenset({"DIV", "MOD", "COLLATE", "IS", "NOT", "LIKE", "RLIKE", "REGEXP", "IN"})

_TYPED_TEXTS: Final = frozenset(
    word
    for word, kind in MySQL.tokenizer_class.KEYWORDS.items()
    if kind in MySQL.parser_class.TYPE_TOKENS and word.isalpha()
) - {"BINARY", "DATE", "ENUM", "INTERVAL", "NULL", "SET", "TIME", "TIMESTAMP", "UNION", "UNKNOWN"}
"""Types before whose names the parser takes a text for a cast; MySQL has literals of three of them only."""
_SYNTAX: Final = _words(
    """
    AND CASE CAST COLLATE COLUMNS CONVERT COUNT CURRENT_ROLE DATETIME EXISTS EXTRACT FIRST GROUPING
    JSON_ARRAY JSON_MERGE JSON_OBJECT JSON_TABLE JSON_VALUE LAST LIKE MATCH OR ST_DISTANCE UUID_TO_BIN
    VALUES WEIGHT_STRING XOR
    """
)
_FOREIGN_FUNCTIONS: Final = (
    frozenset({*MySQL.parser_class.FUNCTIONS, *MySQL.parser_class.FUNCTION_PARSERS})
    - COUNTS.keys()
    - _SYNTAX
    - RESERVED_KEYWORDS
)
_OF_SYNTAX: Final = frozenset({"TRY_CAST", "SAFE_CAST", "TRY_CONVERT", "UNNEST", "FILTER"})
"""Functions whose arguments MySQL could not read, or which it has no place for."""


@dataclass(slots=True)
class _Brackets:
    """``closing``: by the opening one; ``first``: the first comma, or AS, right inside an opening one."""

    closing: dict[int, int] = field(default_factory=dict)
    first: dict[tuple[int, str], int] = field(default_factory=dict)


def _brackets(source: Source) -> _Brackets:
    found = _Brackets()
    opened: list[int] = []
    for at, piece in enumerate(source.pieces):
        if piece.part is Part.SYMBOL and piece.value == "(":
            opened.append(at)
        elif not opened or piece.part not in (Part.SYMBOL, Part.WORD):
            continue
        elif piece.value == ")":
            found.closing[opened.pop()] = at
        elif piece.value in (",", "AS"):
            found.first.setdefault((opened[-1], piece.value), at)
    return found


def refuse_foreign(source: Source) -> None:
    """:raises SyntaxProblem: what MySQL could not read (1064); :raises UnknownFunction: of others (1305)."""
    pieces, brackets = source.pieces, _brackets(source)
    for index, piece in enumerate(pieces):
        before = pieces[index - 1] if index else None
        if piece.part is Part.SYMBOL:
            _check_symbol(source, index, piece, before)
        elif piece.part is Part.STRING:
            _check_text(source, index)
        elif piece.part is Part.WORD and (before is None or not _names(before)):
            _check_word(source, index, piece.value, brackets)


_FOREIGN_NODES: Final[dict[type[exp.Expression], str]] = {
    exp.Filter: "FILTER",
    exp.Pivot: "PIVOT",
    exp.TableSample: "TABLESAMPLE",
    exp.WithinGroup: "WITHIN",
}
"""Parts of a tree that no text of MySQL has, and the words that the parser takes for them."""


def refuse_foreign_node(node: exp.Expression, text: str) -> None:
    """What only the tree of ``text`` tells. :raises SyntaxProblem: (1064)"""
    word = _FOREIGN_NODES.get(type(node))
    match node:
        case exp.Between() if node.args.get("symmetric"):
            word = "SYMMETRIC"
        case exp.AtTimeZone() if not isinstance(node.parent, exp.Cast):
            word = "TIME"
        case exp.In() if node.args.get("field") or node.args.get("unnest"):
            word = "IN"
        case exp.Any() | exp.All() if not isinstance(node.this.unnest(), exp.Query):
            word = "ANY" if isinstance(node, exp.Any) else "ALL"
        case exp.Subquery() if node.alias and isinstance(node.this, exp.Table):
            word = node.alias
        case exp.Table() if node.args.get("catalog"):
            word = node.catalog
        case _:
            pass
    if word is not None:
        found = re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
        raise syntax_problem(text, found.start() if found else 0)


def _names(before: Piece) -> bool:
    """Whether any word that follows is a name."""
    return before.part is Part.SYMBOL and before.value in (".", "@", "@@")


def _check_symbol(source: Source, index: int, piece: Piece, before: Piece | None) -> None:
    value = piece.value
    if value in (":", "[", "]"):
        raise source.problem(index)
    if value in ("->", "->>") and _part(source, index + 1) not in (Part.STRING, Part.PARAMETER):
        raise source.problem(index + 1)
    if before is None:
        return
    if value == ":=" and not _names_variable(source, index):
        raise source.problem(index)
    if value in "~!" and _ends_operand(before):
        raise source.problem(index)
    if value in _INFIX and before.part is Part.SYMBOL and before.value in _INFIX | _PREFIX:
        shifts = before.value == value and value in _SHIFTS and before.end == piece.start
        if not shifts or (index > 1 and _is_symbol(source, index - 2, value)):
            raise source.problem(index)
    is_star = value == "*" and before.value in _BEFORE_STAR and before.part in (Part.WORD, Part.SYMBOL)
    if is_star and source.word(index + 1) in _BEHIND_STAR:
        raise source.problem(index + 1)


def _names_variable(source: Source, end: int) -> bool:
    """Whether ``@name`` stands there, which may have dots."""
    at = end - 2
    while at > 0 and _is_symbol(source, at, "."):
        at -= 2
    return at >= 0 and _is_symbol(source, at, "@")


def _check_text(source: Source, index: int) -> None:
    word = source.word(index - 1) if index else ""
    if word in _TYPED_TEXTS and source.word(index - 2) != "AS" and not _is_symbol(source, index - 2, "."):
        raise source.problem(index)


def _check_word(source: Source, index: int, word: str, brackets: _Brackets) -> None:
    before = source.word(index - 1) if index else ""
    behind = source.word(index + 1)
    calls = _is_symbol(source, index + 1, "(")
    if word in NEVER or (word == "BY" and before not in _BEFORE_BY):
        raise source.problem(index)
    if calls and word in _FOREIGN_FUNCTIONS:
        _refuse_call(source, index, brackets)
    match word:
        case "INTERVAL":
            _check_interval(source, index, brackets)
        case "IS" if _is_other(source, index + 1, _BEHIND_IS):
            raise source.problem(index + 1)
        case "IS" if behind == "NOT" and _is_other(source, index + 2, _BEHIND_IS - {"NOT"}):
            raise source.problem(index + 2)
        case "NOT" if behind and behind not in _BEHIND_NOT and _ends_value(source, index - 1):
            raise source.problem(index)
        case "ISNULL" | "NOTNULL" if not calls and _ends_operand_at(source, index - 1):
            raise source.problem(index)
        case "NULLS" if behind in ("FIRST", "LAST") and before not in ("RESPECT", "IGNORE"):
            raise source.problem(index)
        case "IF" if not calls and behind not in ("NOT", "EXISTS"):
            raise source.problem(index + 1)
        case "FROM" if index and _is_symbol(source, index - 1, "("):
            raise source.problem(index)
        case "WITH" | "GROUPING" if calls == (word == "WITH"):
            raise source.problem(index + 1)
        case "ROLLUP" if calls:
            raise source.problem(index + 1)
        case "ALL" if before in ("BY", "LIMIT"):
            raise source.problem(index)
        case "MATERIALIZED" if calls and before in ("AS", "NOT"):
            raise source.problem(index)
        case "DISTINCT" if behind == "ON":
            raise source.problem(index + 1)
        case "LIMIT":
            _check_limit(source, index)
        case "OFFSET" if _is_amount(source, index + 1) and source.word(index - 2) != "LIMIT":
            raise source.problem(index + 1)
        case "CAST" | "CONVERT" if calls:
            mark = "AS" if word == "CAST" else ","
            at = brackets.first.get((index + 1, mark))
            if at is not None and source.word(at + 1) not in _CAST_TYPES:
                raise source.problem(at + 1)
        case _ if word in _TAKE_UNITS and calls and source.word(index + 2) not in _UNITS:
            raise source.problem(index + 2)
        case _ if word in _BETWEEN_OPERANDS and _ends_operand_at(source, index - 1):
            if _starts_operand(source, index + 1):
                raise source.problem(index + 1)


def _refuse_call(source: Source, index: int, brackets: _Brackets) -> None:
    if is_list(source, index, brackets.closing.get(index + 1, index + 1)):
        return
    is_read = source.word(index - 1) in ("FROM", "JOIN") if index else False
    if is_read or source.pieces[index].value in _OF_SYNTAX or _ends_value(source, index - 1):
        raise source.problem(index + 1)
    piece = source.pieces[index]
    raise UnknownFunction(f"FUNCTION z4.{source.text[piece.start : piece.end]} does not exist")


def _check_interval(source: Source, index: int, brackets: _Brackets) -> None:
    """``INTERVAL expression unit``, of which the function INTERVAL has a list instead."""
    if (index + 1, ",") in brackets.first:
        return
    at, cases = index + 1, 0
    while at < len(source.pieces):
        piece = source.pieces[at]
        symbol = piece.value if piece.part in (Part.SYMBOL, Part.WORD) else ""
        if symbol == "(":
            at = brackets.closing.get(at, at)
        elif symbol in ("CASE", "END") and (cases or symbol == "CASE"):
            cases += 1 if symbol == "CASE" else -1
        elif cases:
            pass
        elif symbol in _UNITS and at > index + 1:
            return
        elif symbol in _END_OF_QUANTITY or (
            piece.part is Part.WORD and symbol not in _OPERATOR_WORDS and _ends_value(source, at - 1)
        ):
            break
        at += 1
    raise source.problem(at)


def _check_limit(source: Source, index: int) -> None:
    at = index + 1
    while _is_amount(source, at):
        at += 1
        if _is_symbol(source, at, ",") or source.word(at) == "OFFSET":
            at += 1
    if index + 1 < at < len(source.pieces) and source.pieces[at].value in _BEHIND_LIMIT:
        raise source.problem(at)


def _part(source: Source, index: int) -> Part | None:
    return source.pieces[index].part if index < len(source.pieces) else None


def _is_symbol(source: Source, index: int, value: str) -> bool:
    return _part(source, index) is Part.SYMBOL and source.pieces[index].value == value


def _is_other(source: Source, index: int, words: frozenset[str]) -> bool:
    """Whether something stands there that is none of ``words``."""
    return index < len(source.pieces) and source.word(index) not in words


def _is_amount(source: Source, index: int) -> bool:
    return _part(source, index) in (Part.NUMBER, Part.PARAMETER)


def _ends_value(source: Source, index: int) -> bool:
    """Whether a value ends there for certain: no word tells that by itself."""
    if index < 0:
        return False
    part = _part(source, index)
    return part in (Part.NUMBER, Part.STRING, Part.QUOTED, Part.PARAMETER) or _is_symbol(source, index, ")")


def _ends_operand(piece: Piece) -> bool:
    if piece.part is Part.WORD:
        return False
    return piece.part is not Part.SYMBOL or piece.value == ")"


def _ends_operand_at(source: Source, index: int) -> bool:
    """Whether a value ends there, if a word that is not reserved is one."""
    if index < 0:
        return False
    word = source.word(index)
    return _ends_value(source, index) or bool(word and word not in RESERVED_KEYWORDS)


def _starts_operand(source: Source, index: int) -> bool:
    word = source.word(index)
    if word:
        return word not in RESERVED_KEYWORDS or _is_symbol(source, index + 1, "(")
    return _part(source, index) in (Part.NUMBER, Part.STRING, Part.QUOTED, Part.PARAMETER) or _is_symbol(
        source, index, "("
    )
