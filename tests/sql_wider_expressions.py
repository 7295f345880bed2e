"""Expressions that are compared with MySQL alone: MariaDB lacks them, or answers them otherwise.

Not generated, because MySQL 9.7 does otherwise than 8.4, or than we do on purpose:

- quotients of exact numbers inside of other arithmetic (since 9.x they are rounded to the digits shown);
- INSTR and LOCATE of letters with accents, and LPAD with nothing (8.4 compares as many bytes, and pads with
  nothing to nothing);
- IF of a constant condition (the other branch no longer counts for the type);
- the order of symbols that are not ASCII (here by code point, there by the weights of Unicode);
- regular expressions that match nothing at a place (the engine skips the first), and classes of letters that
  are not ASCII (``[[:alpha:]]`` is of ASCII here);
- MIN and MAX of texts that functions build (9.7 shows parts of them);
- doubles of functions like SQRT inside of texts (the last digit is the library's).
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.sql_words import Sql, call, quoted

BIG_NUMBERS: Sql = st.sampled_from(
    [
        *("9223372036854775807", "18446744073709551615", "(-9223372036854775807)", "9223372036854775808"),
        *("12345678901234567890", "1e18", "(-1e18)", "99999999999999999999", "(-99999999999999999999.5)"),
        *("2147483648", "(-2147483649)", "0.5", "2.5", "(-0.5)", "3.5e0", "x'41'", "b'1010'", "TRUE", "NULL"),
        *("'18446744073709551616'", "'-9223372036854775809'", "'1e3'", "'abc'", "''", "' 12x'", "'2.5'"),
    ]
)
ODD_TEXTS: Sql = quoted(
    ("é", "É", "ß", "ss", "日本 x", "𠮷", "naïve", "a-b_c", "a,b,c", "10.0.0.1", "::1", "a\\b", "tab\tx")
)
_PATTERNS = quoted(("^a", "[0-9]+", "(e|u)(.)", "1$", "a*b", "[a-c]+", "-", "\\d", "é", "."))
_LOCALES = quoted(("en_US", "de_DE", "de_CH", "en_IN", "fr_FR", "sv_SE", "xx_XX"))
_COLLATIONS = st.sampled_from(["utf8mb4_bin", "utf8mb4_0900_bin", "utf8mb4_0900_ai_ci"])
_OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "<=>"])
_FEW = st.integers(-3, 8).map(str)
_BASES = st.integers(2, 36).map(str)
_PLACES = st.sampled_from(
    ["0", "1", "2", "5", "-1", "NULL", "'1'", "CHAR_LENGTH(id) % 4 - 1", "LENGTH(payload) % 3"]
)
_PLAIN = st.sampled_from(["CHAR_LENGTH(id)", "LENGTH(payload)", "2.50", "1e3", "10", "(-7)"])
ROW_CONDITIONS: Sql = st.sampled_from(
    ["CHAR_LENGTH(id) > 22", "LENGTH(payload) % 2", "namespace = 'billing'", "last_retry IS NULL", "id < '8'"]
)
"""That no row decides for all the others."""


def wider_numbers(numbers: Sql, texts: Sql, conditions: Sql) -> Sql:
    any_texts = st.one_of(texts, ODD_TEXTS)
    any_numbers = st.one_of(numbers, BIG_NUMBERS)
    return st.one_of(
        call("({} {} {})", any_numbers, st.sampled_from(["&", "|", "^"]), any_numbers),
        call("({} {} {})", any_numbers, st.sampled_from(["<<", ">>"]), st.integers(0, 70).map(str)),
        call("{}({})", st.sampled_from(["~", "BIT_COUNT"]), any_numbers),
        call("CAST({} AS {})", any_numbers, st.sampled_from(["SIGNED", "UNSIGNED"])),
        call("{}({}, {})", st.sampled_from(["ROUND", "TRUNCATE"]), numbers, _PLACES),
        call(
            "{}({})", st.sampled_from(["ORD", "BIT_LENGTH", "OCTET_LENGTH", "INET_ATON", "CRC32"]), any_texts
        ),
        call("UNCOMPRESSED_LENGTH(COMPRESS({}))", any_texts),
        call("STRCMP({}, {})", any_texts, any_texts),
        call("FIELD({}, {}, {})", any_texts, any_texts, any_texts),
        call("FIELD({}, {}, {})", numbers, numbers, texts),
        call("FIND_IN_SET({}, {})", any_texts, any_texts),
        call("INTERVAL({}, {}, {}, {})", numbers, _FEW, numbers, _FEW),
        call("REGEXP_INSTR({}, {})", any_texts, _PATTERNS),
        call("IF({}, {}, {})", ROW_CONDITIONS, numbers, numbers),
        call("CASE WHEN {} THEN {} ELSE {} END", conditions, numbers, numbers),
        call("MOD({}, {})", numbers, numbers),
    )


def wider_texts(numbers: Sql, texts: Sql, conditions: Sql) -> Sql:
    any_texts = st.one_of(texts, ODD_TEXTS)
    any_numbers = st.one_of(numbers, BIG_NUMBERS)
    return st.one_of(
        ODD_TEXTS,
        call("HEX({})", any_numbers),
        call("{}({})", st.sampled_from(["BIN", "OCT"]), numbers),
        call("CONV({}, {}, {})", st.one_of(numbers, any_texts), _BASES, _BASES),
        call("FORMAT({}, {})", numbers, _PLACES),
        call("FORMAT({}, {}, {})", numbers, st.integers(0, 4).map(str), _LOCALES),
        call(
            "{}({})",
            st.sampled_from(["UPPER", "LOWER", "SOUNDEX", "QUOTE", "TO_BASE64", "REVERSE", "HEX", "LTRIM"]),
            any_texts,
        ),
        call("SHA2({}, {})", any_texts, st.sampled_from(["224", "256", "0", "512", "1"])),
        call("CONVERT(FROM_BASE64(TO_BASE64({})) USING utf8mb4)", any_texts),
        call("CONVERT(UNHEX(HEX({})) USING utf8mb4)", any_texts),
        call("{}({}, {}, CONCAT('+', {}))", st.sampled_from(["LPAD", "RPAD"]), any_texts, _FEW, any_texts),
        call("SUBSTRING_INDEX({}, {}, {})", any_texts, any_texts, _FEW),
        call("INSERT({}, {}, {}, {})", any_texts, _FEW, _FEW, any_texts),
        call("REPLACE({}, {}, {})", any_texts, any_texts, any_texts),
        call("TRIM({} {} FROM {})", st.sampled_from(["LEADING", "TRAILING", "BOTH"]), any_texts, any_texts),
        call("MAKE_SET({}, {}, {}, {})", any_numbers, texts, any_texts, texts),
        call("EXPORT_SET({}, {}, {}, '', {})", any_numbers, any_texts, any_texts, _FEW),
        call("CONCAT('[', SPACE({}), ']')", _FEW),
        call("INET_NTOA({})", any_numbers),
        call("CAST({} AS CHAR({}))", any_texts, st.integers(0, 6).map(str)),
        call("CONVERT(CONVERT({} USING {}) USING utf8mb4)", any_texts, st.sampled_from(["latin1", "ascii"])),
        call("HEX(CAST({} AS BINARY({})))", any_texts, st.integers(0, 6).map(str)),
        call("HEX(CHAR({}, {}))", any_numbers, _FEW),
        call("REGEXP_REPLACE({}, {}, {})", any_texts, _PATTERNS, quoted(("", "<>", "$0"))),
        call("REGEXP_SUBSTR({}, {})", any_texts, _PATTERNS),
        call("{}({}, {})", st.sampled_from(["GREATEST", "LEAST"]), any_texts, any_texts),
        call("{}({}, {}, {})", st.sampled_from(["GREATEST", "LEAST"]), texts, _PLAIN, _PLAIN),
        call("COALESCE({}, {}, {})", texts, numbers, texts),
        call("IF({}, {}, {})", ROW_CONDITIONS, texts, numbers),
        call("ELT({}, {}, {})", _FEW, numbers, any_texts),
        call("INET6_NTOA(INET6_ATON({}))", any_texts),
    )


def wider_conditions(numbers: Sql, texts: Sql) -> Sql:
    any_texts = st.one_of(texts, ODD_TEXTS)
    return st.one_of(
        call("({} {} {})", any_texts, _OPERATORS, any_texts),
        call("({} COLLATE {} {} {})", any_texts, _COLLATIONS, _OPERATORS, any_texts),
        call("({} {} {})", BIG_NUMBERS, _OPERATORS, numbers),
        call("({} LIKE {} ESCAPE '|')", any_texts, quoted(("a|%", "%|_%", "||", "%e%", "_|", "é%"))),
        call("({} BETWEEN {} AND {})", any_texts, any_texts, any_texts),
        call("({} IN ({}, {}, {}))", numbers, numbers, texts, numbers),
        call("REGEXP_LIKE({}, {}, '{}')", any_texts, _PATTERNS, st.sampled_from(["c", "i"])),
        call("{}({})", st.sampled_from(["IS_UUID", "IS_IPV4", "IS_IPV6", "ISNULL"]), any_texts),
        call("(({}, {}) {} ({}, {}))", numbers, texts, st.sampled_from(["=", "<>"]), numbers, texts),
    )


def doubles(numbers: Sql) -> Sql:
    """Of which the last digits are the library's: not to be printed by other functions."""
    return st.one_of(
        call(
            "{}({})",
            st.sampled_from(["SQRT", "SIN", "COS", "ATAN", "LN", "LOG2", "LOG10", "RADIANS"]),
            numbers,
        ),
        call("{}({}, {})", st.sampled_from(["LOG", "ATAN2"]), numbers, numbers),
        call("POW({}, {})", st.integers(-9, 9).map(str), st.integers(0, 5).map(str)),
        call("({} / {})", numbers, numbers),
        call("CAST({} AS FLOAT)", numbers),
        call("CAST({} AS DECIMAL({}, 2))", numbers, st.integers(2, 20).map(str)),
        call("RAND({})", st.just("CHAR_LENGTH(id)")),
    )


def wider_aggregates(numbers: Sql, texts: Sql, conditions: Sql) -> Sql:
    return st.one_of(
        call("{}(DISTINCT {})", st.sampled_from(["SUM", "AVG", "MIN", "MAX"]), numbers),
        call("COUNT(DISTINCT {}, {})", texts, numbers),
        call("{}({})", st.sampled_from(["BIT_AND", "BIT_OR", "BIT_XOR"]), numbers),
        call(
            "{}({})",
            st.sampled_from(["MIN", "MAX"]),
            st.sampled_from(["id", "namespace", "DAYNAME(deliver_at)"]),
        ),
        call("{}({})", st.sampled_from(["STD", "VAR_POP", "STDDEV_SAMP"]), conditions),
        call(
            "GROUP_CONCAT(DISTINCT {} ORDER BY 1 SEPARATOR '|')",
            st.sampled_from(["namespace", "CHAR_LENGTH(id)"]),
        ),
        call("GROUP_CONCAT({} ORDER BY id)", numbers),
        call("CAST(AVG({}) AS DECIMAL(20, 2))", st.sampled_from(["CHAR_LENGTH(id)", "LENGTH(payload)"])),
    )


def window_calls(numbers: Sql, texts: Sql) -> Sql:
    window = "OVER (PARTITION BY namespace ORDER BY deliver_at, id)"
    return st.one_of(
        call(f"{{}}({{}}) {window}", st.sampled_from(["MIN", "MAX", "COUNT", "FIRST_VALUE", "LAG"]), numbers),
        call(f"{{}}({{}}) {window}", st.sampled_from(["FIRST_VALUE", "LEAD", "MAX"]), texts),
        call(f"{{}}(CHAR_LENGTH(id)) {window}", st.sampled_from(["SUM", "AVG", "STD", "BIT_OR"])),
    )
