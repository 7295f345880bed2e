"""Queries out of a grammar: every function there is, with values that nobody would write."""

# ruff: noqa: S608 - hostile on purpose

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.live import BOUND
from z4sql.sql.front.argument_counts import COUNTS

_LEAVES: Final = (
    "1", "NULL", "'a'", "deliver_at", "id", "metadata", "namespace", "attempts", "state", "payload",
    "created_at", "last_error", "0", "-1", "1.5", "2e0", "''", "TRUE", "@v", "@@sql_mode", "NOW(6)",
    "CURDATE()", "CURTIME(3)", "'2022-04-16 10:11:12.5'", "'2022-02-30'", "'0000-00-00'", "'12:59:60'",
    "'-838:59:59.999999'", "20220416", "18446744073709551615", "-9223372036854775808",
    "9223372036854775808", "1e308", "-1e-308", "1e309", ".1e5",
    "99999999999999999999999999999999999999999999999999999999999999999", "0.000000000000000000000000000001",
    "123456789012345678901234567890123456.78901234567890", "0x41", "x'ff00'", "b'1011'", "_binary'a'",
    "_utf8mb4'é'", "_latin1 x'e9'", "N'n'", "DATE'2022-04-16'", "TIME'10:11:12'",
    "TIMESTAMP'2022-04-16 00:00:00'", "{ts '2022-04-16 10:11:12'}", "'é\U0001f980'", "'ß'", "'a\\0b'",
    "'\\\\'", "'%'", "'_'", "'[1, 2, {\"a\": [null]}]'", "'{\"a\": {\"b\": 1}, \"a.b\": \"x\"}'", "'{'",
    "'$'", "'$.user'", "'$**.a'", "'$[last]'", "'$[0 to 2]'", "'$.\"a.b\"[*]'", "'one'", "'all'",
    "'(a+)+b'", "'[[:alpha:]]'", "'(?<n>a)'", "'%Y-%m-%d %H:%i:%s.%f'", "'%j%U%X%'", "'+05:30'",
    "'Europe/Berlin'", "'MET'", "'utf8mb4'", "'NaN'", "'inf'", "' 12abc'", "'1e400'",
    "JSON_ARRAY(1, 'a', NULL)", "JSON_OBJECT('a', 1)", "CAST('null' AS JSON)", "CAST('[]' AS JSON)",
    "CAST('\"x\"' AS JSON)",
)  # fmt: skip
_NUMBERS: Final = (
    "0", "1", "-1", "2", "3", "7", "63", "64", "65", "1000", "100000", "-2147483649", "4294967296",
    "18446744073709551615", "1.5", "NULL", "'2'", "1e10", "200000000",
)  # fmt: skip
_TYPES: Final = (
    "SIGNED", "UNSIGNED", "CHAR", "CHAR(3)", "CHAR(0)", "BINARY", "BINARY(2)", "DATE", "DATETIME",
    "DATETIME(6)", "TIME", "TIME(3)", "YEAR", "DECIMAL", "DECIMAL(65,30)", "DECIMAL(3,3)", "DECIMAL(66)",
    "DECIMAL(1,2)", "JSON", "DOUBLE", "FLOAT", "REAL", "FLOAT(60)", "NCHAR(2)", "CHAR CHARACTER SET latin1",
    "CHAR(4294967295)", "DATETIME(7)", "INT", "POINT",
)  # fmt: skip
_UNITS: Final = (
    "DAY", "MICROSECOND", "SECOND", "MINUTE", "HOUR", "WEEK", "MONTH", "QUARTER", "YEAR",
    "SECOND_MICROSECOND", "MINUTE_MICROSECOND", "MINUTE_SECOND", "HOUR_MICROSECOND", "HOUR_SECOND",
    "HOUR_MINUTE", "DAY_MICROSECOND", "DAY_SECOND", "DAY_MINUTE", "DAY_HOUR", "YEAR_MONTH", "EPOCH",
)  # fmt: skip
_BINARY: Final = (
    "=", "<", ">", "<=", ">=", "<>", "<=>", "+", "-", "*", "/", "DIV", "%", "MOD", "AND", "OR", "XOR", "&",
    "|", "^", "<<", ">>", "LIKE", "NOT LIKE", "REGEXP", "NOT REGEXP", "RLIKE", "->", "->>", "MEMBER OF",
    ":=", "&&", "||", "SOUNDS LIKE", "IS",
)  # fmt: skip
_PREFIXES: Final = (
    "-", "+", "~", "!", "NOT ", "BINARY ", "EXISTS ", "- -",
)  # fmt: skip
_SUFFIXES: Final = (
    " IS NULL", " IS NOT NULL", " IS TRUE", " IS NOT FALSE", " IS UNKNOWN", " COLLATE utf8mb4_bin",
    " COLLATE utf8mb4_0900_ai_ci", " COLLATE latin1_bin", " COLLATE nothing",
)  # fmt: skip
_AGGREGATES: Final = (
    "COUNT", "SUM", "AVG", "MIN", "MAX", "GROUP_CONCAT", "BIT_AND", "BIT_OR", "BIT_XOR", "STD", "VAR_SAMP",
    "ANY_VALUE", "JSON_ARRAYAGG", "STDDEV_SAMP", "VARIANCE",
)  # fmt: skip
_WINDOWS: Final = (
    "ROW_NUMBER()", "RANK()", "DENSE_RANK()", "PERCENT_RANK()", "CUME_DIST()", "NTILE(3)", "LAG({0})",
    "LEAD({0}, 1, {1})", "FIRST_VALUE({0})", "LAST_VALUE({0})", "NTH_VALUE({0}, 2)", "SUM({0})", "COUNT(*)",
    "MIN({0})", "AVG({0})", "JSON_ARRAYAGG({0})", "GROUP_CONCAT({0})", "NTILE({0})", "LAG({0}, {1})",
)  # fmt: skip
_FRAMES: Final = (
    "", " ROWS UNBOUNDED PRECEDING", " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", " RANGE CURRENT ROW",
    " RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW", " ROWS BETWEEN -1 PRECEDING AND CURRENT ROW",
    " RANGE BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING", " GROUPS CURRENT ROW",
)  # fmt: skip
_FUNCTIONS: Final = tuple(sorted(COUNTS))
_LOOSE: Final = 4
"""What a function without a greatest number of arguments is given at most."""
_DEPTH_MAX: Final = 6
_SHAPED: Final = (
    "CAST({0} AS {type})", "CONVERT({0}, {type})", "CONVERT({0} USING utf8mb4)",
    "CONVERT({0} USING latin1)", "EXTRACT({unit} FROM {0})", "DATE_ADD({0}, INTERVAL {1} {unit})",
    "{0} - INTERVAL {1} {unit}", "INTERVAL {0} {unit} + {1}", "TIMESTAMPADD({unit}, {0}, {1})",
    "TIMESTAMPDIFF({unit}, {0}, {1})", "SUBSTRING({0} FROM {1} FOR {2})",
    "SUBSTRING({0}, {number}, {number})", "TRIM(LEADING {0} FROM {1})", "TRIM(BOTH {0} FROM {1})",
    "POSITION({0} IN {1})", "GET_FORMAT(DATETIME, 'ISO')", "CHAR({0}, {1} USING latin1)",
    "IF({0}, {1}, {2})", "COALESCE({0}, {1}, {2})", "CASE WHEN {0} THEN {1} END",
    "CASE {0} WHEN {1} THEN {2} ELSE {0} END", "{0} BETWEEN {1} AND {2}", "{0} NOT BETWEEN {1} AND {2}",
    "{0} IN ({1}, {2})", "{0} NOT IN ({1}, NULL)", "({0}, {1}) = ({1}, {2})",
    "({0}, {1}) IN (({1}, {2}), ({0}, {0}))", "({0}, {1}) > ({2}, {0})", "{0} LIKE {1} ESCAPE '|'",
    "{0} LIKE {1} ESCAPE ''", "{0} IN (SELECT {1})", "(SELECT {0})", "EXISTS (SELECT {0})",
    "{0} = ANY (SELECT {1} FROM namespaces)", "{0} > ALL (SELECT {1})",
    "(SELECT {0} FROM namespaces LIMIT 1)", "(SELECT MAX({0}) FROM namespaces)", "REPEAT({0}, {number})",
    "LPAD({0}, {number}, {1})", "RPAD({0}, {number}, {1})", "SPACE({number})",
    "INSERT({0}, {number}, {number}, {1})", "LEFT({0}, {number})", "SUBSTRING_INDEX({0}, {1}, {number})",
    "ROUND({0}, {number})", "TRUNCATE({0}, {number})", "FORMAT({0}, {number})", "FORMAT({0}, 2, 'de_DE')",
    "CONV({0}, {number}, {number})", "POW({0}, {number})", "FROM_UNIXTIME({0})",
    "MAKEDATE({number}, {number})", "MAKETIME({number}, {number}, {0})", "SEC_TO_TIME({0})",
    "FROM_DAYS({number})", "PERIOD_ADD({number}, {number})", "JSON_EXTRACT({0}, {1})",
    "JSON_UNQUOTE(JSON_EXTRACT({0}, '$.user'))", "JSON_VALUE({0}, '$.a' RETURNING {type})",
    "JSON_SET({0}, {1}, {2})", "JSON_SEARCH({0}, 'all', {1})", "JSON_CONTAINS({0}, {1}, {2})",
    "metadata->'$.n'", "metadata->>'$.user'", "metadata->'$.list[1].a'", "metadata->>'$**.a'",
    "metadata->'$[last-1]'", "JSON_KEYS({0}, {1})", "JSON_TABLE({0}, '$[*]' COLUMNS (x INT PATH '$'))",
    "REGEXP_REPLACE({0}, {1}, {2})", "REGEXP_SUBSTR({0}, {1}, {number})", "REGEXP_INSTR({0}, {1})",
    "REGEXP_LIKE({0}, {1}, 'mn')", "WEEK({0}, {number})", "STR_TO_DATE({0}, {1})", "DATE_FORMAT({0}, {1})",
    "TIME_FORMAT({0}, {1})", "CONVERT_TZ({0}, {1}, {2})", "{0} COLLATE utf8mb4_general_ci = {1}",
    "MATCH ({0}) AGAINST ({1})", "DEFAULT(id)", "VALUES(id)", "z4_applied_index()", "z4_lag_ms()",
    "GROUPING({0})", "BENCHMARK({number}, {0})", "SLEEP(0)", "ELT({number}, {0}, {1})",
    "FIELD({0}, {1}, {2})", "INTERVAL({0}, {1}, {2})", "@v := {0}", "USER()", "UUID()", "RAND({0})",
    "RAND()", "INET6_ATON({0})", "BIN_TO_UUID({0})", "SHA2({0}, {number})", "UNCOMPRESS({0})",
    "COMPRESS({0})", "WEIGHT_STRING({0})", "AES_ENCRYPT({0}, {1})", "RANDOM_BYTES({number})",
)  # fmt: skip
_SOURCES: Final = (
    "namespaces", f"tasks WHERE {BOUND}", "DUAL", "(SELECT {0} AS x, 2 AS y) d",
    f"(SELECT * FROM tasks WHERE {BOUND}) d",
    "namespaces a JOIN namespaces b ON {0}",
    "namespaces a LEFT JOIN (SELECT {0} AS x) b ON a.name = b.x",
    f"task_events WHERE {BOUND.replace('deliver_at', 'at')}", "information_schema.tables",
    "information_schema.columns",
    "JSON_TABLE({0}, '$[*]' COLUMNS (n FOR ORDINALITY, x {type} PATH '$.a' DEFAULT '1' ON EMPTY)) j",
    "namespaces a NATURAL JOIN namespaces b", "namespaces a RIGHT JOIN namespaces b USING (name)",
    "members", "metrics", "leases", "consumers", "information_schema.processlist",
    "(VALUES ROW({0}, 1), ROW({1}, 2)) v", "namespaces, LATERAL (SELECT {0}) l",
    "tasks a JOIN tasks b USING (id) WHERE " + " AND ".join(
        f"{name}.{BOUND.replace(' AND ', f' AND {name}.')}" for name in "ab"
    ),
)  # fmt: skip


class Choices:
    """Numbers out of the fuzzer's bytes; zero once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def below(self, bound: int) -> int:
        width = 1 if bound <= 1 << 8 else 2
        piece = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(piece, "little") % max(1, bound)

    def taken(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def one_of(self, choices: tuple[str, ...]) -> str:
        return choices[self.below(len(choices))]


class Grammar:
    """Queries as ``choices`` decide."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._forms: tuple[Callable[[int], str], ...] = (
            *(self._call, self._call, self._call, self._shaped, self._shaped, self._leaf, self._leaf),
            *(self._binary, self._prefixed, self._suffixed, self._aggregate, self._window),
        )

    def statement(self) -> str:
        """A query, most of the time of one expression."""
        match self._choices.below(8):
            case 0:
                return f"SELECT {self.expression()}"
            case 1:
                return f"SELECT {self.expression()} FROM namespaces"
            case 2:
                return f"SELECT COUNT(*) FROM tasks WHERE {BOUND} AND {self.expression()}"
            case 3:
                return f"SELECT {self.expression()} FROM tasks WHERE {BOUND}"
            case 4:
                return self._set(0)
            case 5:
                return f"WITH c AS ({self._query(1)}) SELECT {self.expression()} FROM c"
            case 6:
                return f"SET @v = {self.expression()}"
            case _:
                return self._query(0)

    def expression(self, depth: int = 0) -> str:
        """Any expression; leaves when it is deep enough."""
        if depth >= _DEPTH_MAX or not self._choices.left:
            return self._leaf(depth)
        return self._forms[self._choices.below(len(self._forms))](depth + 1)

    def _leaf(self, _: int) -> str:
        return self._choices.one_of(_LEAVES)

    def _call(self, depth: int) -> str:
        name = self._choices.one_of(_FUNCTIONS)
        least, most, _ = COUNTS[name]
        count = least + self._choices.below(min(most, least + _LOOSE) - least + 1)
        if self._choices.below(40) == 1:
            count += self._choices.below(3) - 1
        return f"{name}({', '.join(self.expression(depth) for _ in range(count))})"

    def _shaped(self, depth: int) -> str:
        return self._filled(self._choices.one_of(_SHAPED), depth)

    def _filled(self, shape: str, depth: int) -> str:
        pieces = shape.split("{0}")
        if len(pieces) > 1:
            shape = self.expression(depth).join(pieces)
        for place in ("{1}", "{2}"):
            if place in shape:
                shape = shape.replace(place, self.expression(depth))
        while "{number}" in shape:
            shape = shape.replace("{number}", self._choices.one_of(_NUMBERS), 1)
        shape = shape.replace("{type}", self._choices.one_of(_TYPES)) if "{type}" in shape else shape
        return shape.replace("{unit}", self._choices.one_of(_UNITS)) if "{unit}" in shape else shape

    def _binary(self, depth: int) -> str:
        operator = self._choices.one_of(_BINARY)
        return f"({self.expression(depth)}) {operator} ({self.expression(depth)})"

    def _prefixed(self, depth: int) -> str:
        return f"{self._choices.one_of(_PREFIXES)}({self.expression(depth)})"

    def _suffixed(self, depth: int) -> str:
        return f"({self.expression(depth)}){self._choices.one_of(_SUFFIXES)}"

    def _aggregate(self, depth: int) -> str:
        distinct = ("", "", "DISTINCT ")[self._choices.below(3)]
        return f"{self._choices.one_of(_AGGREGATES)}({distinct}{self.expression(depth)})"

    def _window(self, depth: int) -> str:
        called = self._filled(self._choices.one_of(_WINDOWS), depth)
        partition = f"PARTITION BY {self.expression(depth)} " if self._choices.below(2) else ""
        order = f"ORDER BY {self.expression(depth)}" if self._choices.below(2) else ""
        return f"{called} OVER ({partition}{order}{self._choices.one_of(_FRAMES)})"

    def _set(self, depth: int) -> str:
        operator = self._choices.one_of(("UNION", "UNION ALL", "EXCEPT", "INTERSECT", "UNION DISTINCT"))
        tail = ("", " ORDER BY 1", " LIMIT 2", " ORDER BY 1 DESC LIMIT 3 OFFSET 1")[self._choices.below(4)]
        return f"({self._query(depth + 1)}) {operator} ({self._query(depth + 1)}){tail}"

    def _query(self, depth: int) -> str:
        distinct = ("", "", "", "DISTINCT ", "SQL_CALC_FOUND_ROWS ", "STRAIGHT_JOIN ")[self._choices.below(6)]
        columns = [self.expression(depth + 1) for _ in range(1 + self._choices.below(3))]
        source = self._filled(self._choices.one_of(_SOURCES), depth + 2)
        if self._choices.below(3) == 1:
            source += f" {'AND' if ' WHERE ' in source else 'WHERE'} {self.expression(depth + 1)}"
        if self._choices.below(4) == 1:
            rollup = " WITH ROLLUP" if self._choices.below(4) == 1 else ""
            source += f" GROUP BY {self.expression(depth + 2)}{rollup} HAVING {self.expression(depth + 2)}"
        if self._choices.below(4) == 1:
            source += f" ORDER BY {self.expression(depth + 2)} LIMIT {self._choices.one_of(_NUMBERS)}"
        return f"SELECT {distinct}{', '.join(columns)} FROM {source}"
