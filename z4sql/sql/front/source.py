"""The text of a statement as this server reads it: comments gone or expanded, words found, one statement.

MySQL manual: Comments; String Literals; Schema Object Names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from math import isfinite

from sqlglot.dialects.mysql import MySQL

from z4sql.sql.errors import SqlError, SyntaxProblem

TEXT_BYTES_MAX = 1 << 20
PIECES_MAX = 50_000
"""Words, literals and symbols. The parser is compiled code that lets nobody else run: it must end soon."""

NESTING_MAX = 100
"""Of parentheses, CASE, and of prefix operators in a row: what the parser takes without overflowing."""

NUMBER_MAX = 4000
"""Digits of a number: whoever reads it as one takes longer than in proportion, and Python refuses."""

_VERSION = 80036
_NEAR_MAX = 80


class Part(Enum):
    WORD = auto()
    QUOTED = auto()  # `name`
    STRING = auto()
    NUMBER = auto()
    PARAMETER = auto()  # ?
    SYMBOL = auto()


@dataclass(slots=True, frozen=True)
class Piece:
    """A word, literal or symbol at ``text[start:end]``. ``value``: unquoted; of words in upper case."""

    part: Part
    value: str
    start: int
    end: int


@dataclass(slots=True, frozen=True)
class Source:
    """One statement: ``text`` has blanks where comments were, so lines are the client's.

    ``hints``: bodies of optimizer hints. ``pieces`` is empty when there was nothing but comments.
    """

    text: str
    pieces: tuple[Piece, ...]
    hints: tuple[str, ...]

    def word(self, index: int) -> str:
        """The word at ``index`` in upper case; empty when something else stands there."""
        if index < len(self.pieces) and self.pieces[index].part is Part.WORD:
            return self.pieces[index].value
        return ""

    def problem(self, index: int) -> SyntaxProblem:
        """A syntax error at the piece of that index, or at the end."""
        at = self.pieces[index].start if index < len(self.pieces) else len(self.text)
        return syntax_problem(self.text, at)


def syntax_problem(text: str, at: int) -> SyntaxProblem:
    """Error 1064 in MySQL's wording; clients parse "near '...' at line N" to place their cursor."""
    line = text.count("\n", 0, at) + 1
    return SyntaxProblem(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server "
        f"version for the right syntax to use near '{text[at : at + _NEAR_MAX]}' at line {line}"
    )


def empty_query() -> SqlError:
    return SqlError("Query was empty", code=1065, state="42000")


_PIECE = re.compile(
    r"""(?P<blank>[\s\x00]++|--(?=[\s\x00-\x1f]|$)[^\n]*+|\#[^\n]*+)
    |(?P<comment>/\*)
    |(?P<close>\*/)
    |(?P<number>0[xX][0-9a-fA-F]++(?![\w$])|(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+(?![A-Za-z_$\x80-\U0010ffff]))
    |(?P<word>[\w$]++)
    |(?P<quoted>`(?:[^`]++|``)*+`)
    |(?P<string>'(?:[^'\\]++|\\.|'')*+'|"(?:[^"\\]++|\\.|"")*+")
    |(?P<parameter>\?)
    |(?P<symbol>:=|@@|<=>|<=|>=|<>|!=|\|\||&&|->>|->|[-+*/%=<>!~^&|(),;.:@{}\[\]])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE_CLAUSE = re.compile(r"\{[\s\x00]*+(\w++)")
_CLAUSE_LITERALS = {"d": "DATE", "t": "TIME", "ts": "TIMESTAMP"}
_VERSIONED = re.compile(r"/\*!(\d{5,6})?")
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_ESCAPE = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_EXPONENT = re.compile(r"[\d.]+[eE]\d+")
_NOT_NEWLINE = re.compile(r"[^\n]")


def read_source(sql: str) -> Source:
    """The one statement in ``sql``.

    :raises SyntaxProblem: broken quotes or comments, several statements, too deep nesting (1064).
    :raises SqlError: nothing at all (1065), longer than `TEXT_BYTES_MAX` (1153), of more than `PIECES_MAX`
        (3170), a number beyond `NUMBER_MAX` (1367), or half characters (1300).
    """
    try:
        too_long = len(sql) > TEXT_BYTES_MAX or len(sql.encode()) > TEXT_BYTES_MAX
    except UnicodeEncodeError:
        raise SqlError("Invalid utf8mb4 character string", code=1300) from None
    if too_long:
        raise SqlError(f"A statement may have {TEXT_BYTES_MAX} bytes", code=1153, state="08S01")
    if not sql.strip(" \t\r\n\0;"):
        raise empty_query()
    reader = _Reader(sql)
    reader.read()
    text = "".join(reader.text)
    _check_nesting(text, reader.pieces)
    _check_retries(reader.pieces)
    pieces = _single_statement(text, reader.pieces)
    if len(pieces) < len(reader.pieces):
        text = text[: reader.pieces[len(pieces)].start]
    return Source(text.rstrip(), tuple(pieces), tuple(reader.hints))


class _Reader:
    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._inside_versioned = False
        self._clauses = 0
        self._written = 0
        self.text: list[str] = []
        self.pieces: list[Piece] = []
        self.hints: list[str] = []

    def read(self) -> None:
        at = 0
        while at < len(self._sql):
            found = _PIECE.match(self._sql, at)
            if found is None:
                raise syntax_problem(self._sql, at)
            match found.lastgroup:
                case "blank":
                    at = self._blank(at, found.end())
                case "comment":
                    at = self._comment(at)
                case "close" if self._inside_versioned:
                    self._inside_versioned = False
                    at = self._blank(at, found.end())
                case "close":
                    at = self._piece(Part.SYMBOL, at, at + 1)
                case "symbol" if found[0] in "{}":
                    at = self._clause(at)
                case group:
                    at = self._piece(Part[str(group).upper()], at, found.end())
        if self._inside_versioned or self._clauses:
            raise syntax_problem(self._sql, len(self._sql))

    def _blank(self, start: int, end: int) -> int:
        self._write(_NOT_NEWLINE.sub(" ", self._sql[start:end]))
        return end

    def _write(self, text: str) -> None:
        self.text.append(text)
        self._written += len(text)

    def _piece(self, part: Part, start: int, end: int) -> int:
        raw = self._sql[start:end]
        if part is Part.NUMBER and (len(raw) > NUMBER_MAX or _is_infinite(raw)):
            message = f"Illegal double '{raw[:_NEAR_MAX]}' value found during parsing"
            raise SqlError(message, code=1367, state="22007")
        before = self.text[-1] if self.text else ""
        if (raw in ("-", "~") and before == raw) or (raw in ("-", "+") and _EXPONENT.fullmatch(before)):
            # The parser takes two in a row for a comment, or for LIKE, and all behind 1e3 for its exponent.
            self._write(" ")
        if len(self.pieces) >= PIECES_MAX:
            message = f"A statement may have {PIECES_MAX} words, literals and symbols: shorten its lists"
            raise SqlError(message, code=3170)
        self.pieces.append(Piece(part, _value(part, raw), self._written, self._written + len(raw)))
        self._write(raw)
        return end

    def _clause(self, start: int) -> int:
        """``{d '2025-01-01'}``, ``{fn NOW()}``: what ODBC drivers send as they get it.

        MySQL manual: Date and Time Literals (ODBC syntax); of all other clauses the braces mean nothing.
        """
        if self._sql[start] == "}":
            self._clauses -= 1
            if self._clauses < 0:
                raise syntax_problem(self._sql, start)
            return self._blank(start, start + 1)
        found = _ESCAPE_CLAUSE.match(self._sql, start)
        self._clauses += 1
        if found is None or self._clauses > NESTING_MAX:
            raise syntax_problem(self._sql, start)
        literal = _CLAUSE_LITERALS.get(found[1].lower())
        if literal is None:
            return self._blank(start, found.end())
        self._blank(start, found.start(1))
        self.pieces.append(Piece(Part.WORD, literal, self._written, self._written + len(literal)))
        self._write(literal)
        return found.end()

    def _comment(self, start: int) -> int:
        """MySQL manual: Comments. ``/*!`` is code from its version on; MariaDB's ``/*M!`` is not ours."""
        versioned = _VERSIONED.match(self._sql, start)
        if versioned is not None and int(versioned[1] or 0) <= _VERSION and not self._inside_versioned:
            self._inside_versioned = True
            return self._blank(start, versioned.end())
        end = self._end_of_comment(start, nested=versioned is not None)
        if self._sql.startswith("/*+", start) and self.pieces and self.pieces[-1].value == "SELECT":
            self.hints.append(self._sql[start + 3 : end - 2])
        return self._blank(start, end)

    def _end_of_comment(self, start: int, *, nested: bool) -> int:
        at = start + 2
        while True:
            end = self._sql.find("*/", at)
            if end < 0:
                raise syntax_problem(self._sql, start)
            inner = self._sql.find("/*", at, end) if nested else -1
            if inner < 0:
                return end + 2
            at = self._end_of_comment(inner, nested=False)


def _is_infinite(number: str) -> bool:
    return "e" in number.lower() and "x" not in number.lower() and not isfinite(float(number))


def _value(part: Part, raw: str) -> str:
    match part:
        case Part.WORD:
            return raw.upper()
        case Part.QUOTED:
            return raw[1:-1].replace("``", "`")
        case Part.STRING:
            return unescape(raw)
        case _:
            return raw


def unescape(literal: str) -> str:
    """The value of a quoted string. ``\\%`` and ``\\_`` keep their backslash, for LIKE."""
    quote = literal[0]

    def one(found: re.Match[str]) -> str:
        escaped: str | None = found[1]
        if escaped is None:
            return quote if found[0][0] == quote else found[0]
        return found[0] if escaped in "%_" else _ESCAPES.get(escaped, escaped)

    return _ESCAPE.sub(one, literal[1:-1])


def _single_statement(text: str, pieces: list[Piece]) -> list[Piece]:
    for index, piece in enumerate(pieces):
        if piece.value == ";" and piece.part is Part.SYMBOL:
            for later in pieces[index + 1 :]:
                if later.value != ";" or later.part is not Part.SYMBOL:
                    raise syntax_problem(text, later.start)
            return pieces[:index]
    return pieces


_PREFIXES = frozenset(
    {"NOT", "-", "+", "!", "~", "BINARY", "EXPLAIN", "DESCRIBE", "DESC", "INTERVAL", "CASE"}
)


def _check_nesting(text: str, pieces: list[Piece]) -> None:
    depth = cases = prefixes = 0
    for piece in pieces:
        if piece.part not in (Part.SYMBOL, Part.WORD):
            prefixes = 0
            continue
        prefixes = prefixes + 1 if piece.value in _PREFIXES else 0
        match piece.value:
            case "(" | "[" | "{":
                depth += 1
            case ")" | "]" | "}":
                depth -= 1
            case "CASE":
                cases += 1
            case "END":
                cases = max(0, cases - 1)
            case _:
                pass
        if depth + cases > NESTING_MAX or prefixes > NESTING_MAX:
            raise syntax_problem(text, piece.start)


_TYPE_NAMES = frozenset(
    word for word, kind in MySQL.tokenizer_class.KEYWORDS.items() if kind in MySQL.parser_class.TYPE_TOKENS
)
_RETRIES = dict.fromkeys(_TYPE_NAMES, 2) | {"LIMIT": 2, "BINARY": 3}
"""How often the parser reads what these words open: first as the parameters of a type, then as arguments."""

_READ_MAX = 150_000
_OPENING = frozenset({"(", "[", "{", "CASE"})
_CLOSING = frozenset({")", "]", "}", "END"})
_BETWEEN = frozenset({"-", "+", "~", "!", "."})


def _check_retries(pieces: list[Piece]) -> None:
    """Functions named as types double the parser's work when nested, and nobody can interrupt it.

    :raises SqlError: (1436) more than `_READ_MAX` pieces would be read, counting each as often as it is.
    """
    times, read, ahead = [1], 0, 1
    for piece in pieces:
        read += times[-1] * ahead
        value = piece.value if piece.part in (Part.SYMBOL, Part.WORD) else ""
        if value in _OPENING:
            times.append(times[-1] * ahead)
            ahead = 1
        elif value in _CLOSING and len(times) > 1:
            times.pop()
            ahead = 1
        elif piece.part is Part.WORD:
            ahead *= _RETRIES.get(value, 1)
        elif piece.part is not Part.QUOTED and value not in _BETWEEN:
            ahead = 1
        if read > _READ_MAX:
            raise SqlError("The statement is nested too deeply: functions in functions", code=1436)
