"""How many arguments functions take. MySQL manual: Built-In Function and Operator Reference.

The parser takes more than a function has, and fewer, and what it leaves out would be answered wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from z4sql.sql.front.source import Part, Piece, Source
from z4sql.sql.lowering.expressions import wrong_count

_ANY: Final = 1 << 20

_NATIVE: Final = {
    "0": "CONNECTION_ID FOUND_ROWS PI UUID VERSION",
    "0-1": "LAST_INSERT_ID RAND UNIX_TIMESTAMP",
    "1": """
        ABS ACOS ANY_VALUE ASIN BIN BIT_COUNT BIT_LENGTH CEIL CEILING CHARACTER_LENGTH CHAR_LENGTH
        COERCIBILITY COMPRESS COS COT CRC32 DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES EXP FLOOR
        FORMAT_BYTES FORMAT_PICO_TIME FROM_BASE64 FROM_DAYS HEX INET6_ATON INET6_NTOA INET_ATON INET_NTOA
        ISNULL IS_IPV4 IS_IPV4_COMPAT IS_IPV4_MAPPED IS_IPV6 IS_UUID JSON_DEPTH JSON_PRETTY JSON_QUOTE
        JSON_TYPE JSON_UNQUOTE JSON_VALID LAST_DAY LCASE LENGTH LN LOG10 LOG2 LOWER LTRIM MD5 MONTHNAME OCT
        OCTET_LENGTH ORD QUOTE RADIANS RTRIM SEC_TO_TIME SHA SHA1 SIGN SIN SLEEP SOUNDEX SPACE SQRT TAN
        TIME_TO_SEC TO_BASE64 TO_DAYS TO_SECONDS UCASE UNCOMPRESS UNCOMPRESSED_LENGTH UNHEX UPPER WEEKDAY
        WEEKOFYEAR
    """,
    "1-2": "ATAN ATAN2 BIN_TO_UUID FROM_UNIXTIME JSON_KEYS JSON_LENGTH ROUND UUID_TO_BIN YEARWEEK",
    "1-": "CONCAT",
    "2": """
        ADDTIME BENCHMARK DATEDIFF DATE_FORMAT FIND_IN_SET IFNULL INSTR JSON_OVERLAPS MAKEDATE NAME_CONST
        NULLIF PERIOD_ADD PERIOD_DIFF POW POWER SHA2 STRCMP STR_TO_DATE SUBTIME TIMEDIFF TIME_FORMAT
    """,
    "2-3": "JSON_CONTAINS LOCATE REGEXP_LIKE",
    "2-5": "REGEXP_SUBSTR",
    "2-6": "REGEXP_INSTR",
    "2-": """
        CONCAT_WS ELT FIELD GREATEST JSON_EXTRACT JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_REMOVE LEAST
        MAKE_SET
    """,
    "3": "CONV CONVERT_TZ LPAD MAKETIME RPAD SUBSTRING_INDEX",
    "3-5": "EXPORT_SET",
    "3-6": "REGEXP_REPLACE",
    "3-": """
        JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_CONTAINS_PATH JSON_INSERT JSON_REPLACE JSON_SEARCH
        JSON_SET
    """,
}
"""Of these MySQL tells the number of arguments (1582)."""

_WRITTEN: Final = {
    "0": """
        CUME_DIST CURDATE CURRENT_DATE CURRENT_USER DATABASE DENSE_RANK PERCENT_RANK RANK ROW_COUNT
        ROW_NUMBER SCHEMA SESSION_USER SYSTEM_USER USER UTC_DATE
    """,
    "0-1": """
        CURRENT_TIME CURRENT_TIMESTAMP CURTIME LOCALTIME LOCALTIMESTAMP NOW SYSDATE UTC_TIME
        UTC_TIMESTAMP
    """,
    "1": """
        ASCII AVG BIT_AND BIT_OR BIT_XOR COLLATION DATE DAY FIRST_VALUE HOUR JSON_ARRAYAGG LAST_VALUE
        MAX MICROSECOND MIN MINUTE MONTH NTILE POSITION QUARTER REVERSE SECOND STD STDDEV STDDEV_POP
        STDDEV_SAMP SUM TIME TRIM VARIANCE VAR_POP VAR_SAMP YEAR
    """,
    "1-2": "LOG TIMESTAMP WEEK",
    "1-3": "LAG LEAD",
    "1-": "CHAR COALESCE GROUP_CONCAT",
    "2": "ADDDATE DATE_ADD DATE_SUB JSON_OBJECTAGG LEFT MOD NTH_VALUE REPEAT RIGHT SUBDATE TRUNCATE",
    "2-3": "FORMAT MID SUBSTR SUBSTRING",
    "3": "IF REPLACE TIMESTAMPADD TIMESTAMPDIFF",
    "4": "INSERT",
}
"""Of these it finds the text wrong (1064)."""

COUNTS: Final = {
    name: (int(least), int(most or _ANY) if dash else int(least), is_native)
    for counts, is_native in ((_NATIVE, True), (_WRITTEN, False))
    for (least, dash, most), names in ((range_.partition("-"), names) for range_, names in counts.items())
    for name in names.split()
}
"""By name: the least and the greatest number of arguments, and whether MySQL tells of wrong ones."""
_WINDOWED: Final = frozenset(
    {
        *("CUME_DIST", "DENSE_RANK", "FIRST_VALUE", "LAG", "LAST_VALUE", "LEAD", "NTH_VALUE", "NTILE"),
        *("PERCENT_RANK", "RANK", "ROW_NUMBER"),
    }
)
_BEHIND_WINDOWED: Final = frozenset({"OVER", "RESPECT", "IGNORE"})
_NAMED_BY: Final = frozenset({"AS", "WITH", "RECURSIVE", ".", "@", "@@", ")"})
"""What stands before the name of a table or type, of which a list in parentheses is no call."""
_OF_SUBSTRING: Final = frozenset({"MID", "SUBSTR", "SUBSTRING"})


@dataclass(slots=True)
class _Call:
    """``at``: the piece before the parenthesis, which may be a ``name``. ``commas``: between arguments."""

    at: int
    name: str
    commas: list[int] = field(default_factory=list)


def check_argument_counts(source: Source) -> None:
    """:raises SqlError: a native function with too few or too many arguments (1582).
    :raises SyntaxProblem: another function with them, or one for windows without OVER (1064).
    """
    calls: list[_Call] = []
    for index, piece in enumerate(source.pieces):
        if piece.part is Part.SYMBOL and piece.value == "(":
            calls.append(_Call(index - 1, source.word(index - 1) if index else ""))
        elif not calls:
            continue
        elif piece.part is Part.SYMBOL and piece.value == ")":
            _check(source, calls.pop(), index)
        elif _is_comma(piece, calls[-1].name):
            calls[-1].commas.append(index)


def _is_comma(piece: Piece, name: str) -> bool:
    if piece.part is Part.WORD and name in _OF_SUBSTRING:
        return piece.value in ("FROM", "FOR")
    return piece.part is Part.SYMBOL and piece.value == ","


def _check(source: Source, call: _Call, end: int) -> None:
    counts = (1, 1, False) if call.name == "COUNT" else COUNTS.get(call.name)
    if counts is None or is_list(source, call.at, end):
        return
    least, most, is_native = counts
    if call.name == "COUNT" and source.word(call.at + 2) == "DISTINCT":
        most = _ANY
    count = 0 if end == call.at + 2 else len(call.commas) + 1
    if not least <= count <= most:
        if is_native:
            piece = source.pieces[call.at]
            raise wrong_count(source.text[piece.start : piece.end])
        raise source.problem(call.commas[most - 1] if count > most > 0 else end)
    if call.name in _WINDOWED and not _is_windowed(source, end + 1):
        raise source.problem(end + 1)


def _is_windowed(source: Source, at: int) -> bool:
    if source.word(at) == "FROM":
        return source.word(at + 1) in ("FIRST", "LAST")
    return source.word(at) in _BEHIND_WINDOWED


def is_list(source: Source, at: int, end: int) -> bool:
    """Whether the parentheses hold the columns of a table's name, or the size of a type."""
    if at and source.pieces[at - 1].value in _NAMED_BY:
        return True
    behind = source.pieces[end + 2].value if end + 2 < len(source.pieces) else ""
    return source.word(end + 1) == "AS" and behind == "("
