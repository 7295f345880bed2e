"""Text functions. MySQL manual: String Functions and Operators; Regular Expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlglot import exp

from z4sql.sql.lowering.casts import in_charset
from z4sql.sql.lowering.comparison import compare, key
from z4sql.sql.lowering.conversion import (
    alike,
    as_bytes,
    as_text,
    bits_of,
    common_collation,
    integer,
    number,
    unify,
)
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    BINARY,
    DOUBLE,
    INT,
    NUMBERS,
    TEXT,
    Typed,
    constant_text,
    quoted,
    without_literal,
)
from z4sql.sql.types import Collation, Kind

Arguments = Sequence[exp.Expression]


def _text(lowering: Lowering, node: exp.Expression) -> Typed:
    return as_text(lowering.expression(node))


def _texts(
    lowering: Lowering, *nodes: exp.Expression | None, like_first: bool = False
) -> tuple[list[str], Callable[[str], Typed], list[Typed]]:
    """What a function of texts is to work with, what makes its result of the text it gives, and the values.

    With bytes among its arguments it works on bytes, as texts of as many characters. ``like_first``: the
    result has the collation of the first argument, whatever those of the others are.
    """
    values = [lowering.expression(node) for node in nodes if node is not None]
    if any(value.kind is Kind.BINARY for value in values):
        octets = [f"my_latin1({as_bytes(value)})" for value in values]
        return octets, lambda sql: Typed(f"my_octets({sql})", BINARY), values
    values = [as_text(value) for value in values]
    type_ = without_literal(unify([value.type for value in values[: 1 if like_first else None]]))
    return [value.sql for value in values], lambda sql: Typed(sql, type_), values


@lowers(exp.Concat, reads="expressions safe coalesce flatten")
def _concat(lowering: Lowering, node: exp.Expression) -> Typed:
    texts, result, _ = _texts(lowering, *node.expressions)
    return result("(" + " || ".join(texts) + ")")


@lowers(exp.ConcatWs, reads="expressions safe coalesce flatten")
def _concat_ws(lowering: Lowering, node: exp.Expression) -> Typed:
    texts, result, _ = _texts(lowering, *node.expressions)
    return result(f"concat_ws({', '.join(texts)})")


@lowers(exp.Length, reads="this binary encoding")
def _length(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if node.args.get("binary") or value.kind is Kind.BINARY:
        return Typed(f"octet_length({as_bytes(value)})::bigint", INT)
    return Typed(f"length({as_text(value).sql})::bigint", INT)


@lowers(exp.BitLength, reads="this")
def _bit_length_node(lowering: Lowering, node: exp.Expression) -> Typed:
    return _bit_length(lowering, (node.this,))


@lowers(exp.Stuff, reads="this start length expression")
def _insert(lowering: Lowering, node: exp.Expression) -> Typed:
    (value, new), result, _ = _texts(lowering, node.this, node.expression, like_first=True)
    start, count = (integer(lowering.expression(node.args[name])) for name in ("start", "length"))
    return result(f"my_insert({value},{start},{count},{new})")


@function("OCTET_LENGTH", least=1)
def _octet_length(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"octet_length({as_bytes(lowering.expression(arguments[0]))})::bigint", INT)


@function("BIT_LENGTH", least=1)
def _bit_length(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(octet_length({as_bytes(lowering.expression(arguments[0]))})::bigint*8)", INT)


def _mapped(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = lowering.expression(node.this)
        if value.kind is Kind.BINARY and name != "reverse":
            return value
        value = as_text(value)
        return Typed(f"{name}({value.sql})", without_literal(value.type))


for _kind, _name in ((exp.Upper, "my_upper"), (exp.Lower, "lower"), (exp.Reverse, "reverse")):
    _mapped(_kind, _name)


def _bytes_between(value: Typed, start: str, length: str) -> Typed:
    return Typed(f"my_bytes({value.sql},{start},{length})", BINARY)


@lowers(exp.Left, reads="this expression")
def _left(lowering: Lowering, node: exp.Expression) -> Typed:
    value, count = lowering.expression(node.this), integer(lowering.expression(node.expression))
    if value.kind is Kind.BINARY:
        return _bytes_between(value, "1", count)
    value = as_text(value)
    return Typed(f"left({value.sql},my_not_negative({count}))", without_literal(value.type))


@lowers(exp.Right, reads="this expression")
def _right(lowering: Lowering, node: exp.Expression) -> Typed:
    value, count = lowering.expression(node.this), integer(lowering.expression(node.expression))
    if value.kind is Kind.BINARY:
        size = f"octet_length({value.sql})"
        return _bytes_between(value, f"({size}-least({size},my_not_negative({count}))+1)", count)
    value = as_text(value)
    return Typed(f"right({value.sql},my_not_negative({count}))", without_literal(value.type))


def _substring(
    lowering: Lowering, node: exp.Expression, start: exp.Expression, length: exp.Expression | None
) -> Typed:
    value = lowering.expression(node)
    begin = integer(lowering.expression(start))
    if not re.fullmatch(r"\d{1,9}::bigint", begin):
        begin = f"my_position({begin})"
    if value.kind is Kind.BINARY:
        size = f"octet_length({value.sql})" if length is None else integer(lowering.expression(length))
        return _bytes_between(value, begin, size)
    value = as_text(value)
    count = "" if length is None else f",my_not_negative({integer(lowering.expression(length))})"
    # Position 0 and positions before the beginning give an empty text.
    sql = (
        f"(case when ({begin})=0 or ({begin})<-length({value.sql}) then left({value.sql},0)"
        f" else substr({value.sql},{begin}{count}) end)"
    )
    if isinstance(start, exp.Literal) and str(start.this) != "0":
        sql = f"substr({value.sql},{begin}{count})"
    return Typed(sql, without_literal(value.type))


@lowers(exp.Substring, reads="this start length zero_start")
def _substring_node(lowering: Lowering, node: exp.Expression) -> Typed:
    return _substring(lowering, node.this, node.args["start"], node.args.get("length"))


@function("MID", least=2, most=3)
def _mid(lowering: Lowering, arguments: Arguments) -> Typed:
    return _substring(lowering, arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else None)


@lowers(exp.Pad, reads="this expression fill_pattern is_left")
def _pad(lowering: Lowering, node: exp.Expression) -> Typed:
    (value, fill), result, (_, filling) = _texts(
        lowering, node.this, node.args["fill_pattern"], like_first=True
    )
    length = integer(lowering.expression(node.expression))
    name = "lpad" if node.args.get("is_left") else "rpad"
    if constant_text(filling):
        return result(f"{name}({value},my_width('{name}',{length}),{fill})")
    # The engine refuses to pad with nothing, even where no row asks for it.
    pattern = f"case when {fill}='' then ' ' else {fill} end"
    return result(f"my_padded({name}({value},my_width('{name}',{length}),{pattern}),{value},{length},{fill})")


@lowers(exp.Repeat, reads="this times")
def _repeat(lowering: Lowering, node: exp.Expression) -> Typed:
    (value,), result, _ = _texts(lowering, node.this)
    times = f"my_repetitions('repeat',{value},{integer(lowering.expression(node.args['times']))})"
    return result(f"repeat({value},{times})")


@lowers(exp.Space, reads="this")
def _space(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"repeat(' ',my_repetitions('space',' ',{integer(lowering.expression(node.this))}))", TEXT)


@lowers(exp.Trim, reads="this expression position")
def _trim(lowering: Lowering, node: exp.Expression) -> Typed:
    removed = node.args.get("expression")
    texts, result, _ = _texts(lowering, node.this, removed)
    position = str(node.args.get("position") or "").upper()
    if removed is not None and not (isinstance(removed, exp.Literal) and len(str(removed.this)) == 1):
        return result(f"my_trim({','.join(texts)},{quoted(position)})")
    character = "' '" if removed is None else texts[1]
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(position, "trim")
    return result(f"{name}({texts[0]},{character})")


@lowers(exp.StrPosition, reads="this substr position")
def _position(lowering: Lowering, node: exp.Expression) -> Typed:
    haystack, needle = lowering.expression(node.this), lowering.expression(node.args["substr"])
    search = "instr"
    if Kind.BINARY in (haystack.kind, needle.kind):
        inside, wanted = f"my_latin1({as_bytes(haystack)})", f"my_latin1({as_bytes(needle)})"
    else:
        haystack, needle = as_text(haystack), as_text(needle)
        if common_collation(haystack.type, needle.type) is Collation.AI_CI:
            search = "my_instr"
        inside, wanted = haystack.sql, needle.sql
    start = node.args.get("position")
    if start is None:
        return Typed(f"{search}({inside},{wanted})::bigint", INT)
    begin = integer(lowering.expression(start))
    # An empty text is found everywhere, but not behind the end.
    size = "null" if constant_text(needle) else f"length({inside})"
    return Typed(f"my_located({search}(substr({inside},{begin}),{wanted}),{begin},{size})::bigint", INT)


@lowers(exp.Replace, reads="this expression replacement")
def _replace(lowering: Lowering, node: exp.Expression) -> Typed:
    parts = (node.this, node.expression, node.args["replacement"])
    texts, result, _ = _texts(lowering, *parts, like_first=True)
    return result(f"my_replaced({','.join(texts)})")


@lowers(exp.SubstringIndex, reads="this delimiter count")
def _substring_index(lowering: Lowering, node: exp.Expression) -> Typed:
    (value, delimiter), result, _ = _texts(lowering, node.this, node.args["delimiter"])
    count = integer(lowering.expression(node.args["count"]))
    return result(f"my_substring_index({value},{delimiter},{count})")


@lowers(exp.Elt, reads="this expressions")
def _elt(lowering: Lowering, node: exp.Expression) -> Typed:
    number_ = integer(lowering.expression(node.this))
    choices, result, _ = _texts(lowering, *node.expressions)
    branches = " ".join(f"when {at} then {choice}" for at, choice in enumerate(choices, 1))
    return result(f"(case {number_} {branches} end)")


@function("FIELD", least=2, most=100)
def _field(lowering: Lowering, arguments: Arguments) -> Typed:
    members = alike([lowering.expression(argument) for argument in arguments])
    value, *choices = members
    if any(member.kind not in (Kind.STRING, Kind.NULL) for member in members):
        # MySQL manual: FIELD(): all as strings, all as numbers, or else as doubles.
        value, *choices = (Typed(number(member).double, DOUBLE) for member in members)
    branches = " ".join(
        f"when {compare(lowering, '=', value, choice).sql} then {at}" for at, choice in enumerate(choices, 1)
    )
    return Typed(f"(case {branches} else 0 end)::bigint", INT)


@function("FIND_IN_SET", least=2)
def _find_in_set(lowering: Lowering, arguments: Arguments) -> Typed:
    texts, _, values = _texts(lowering, *arguments)
    # Members are compared without padding.
    is_exact = common_collation(*(each.type for each in values)) is not Collation.AI_CI
    value, members = texts if is_exact else (key(text, Collation.AI_CI) for text in texts)
    return Typed(
        f"(case when {value} is null or {members} is null then null when {members}='' then 0"
        f" else coalesce(list_position(string_split({members},','),{value}),0) end)::bigint",
        INT,
    )


@lowers(exp.Ascii, reads="this")
def _ascii(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_first_byte({as_bytes(lowering.expression(node.this))})::bigint", INT)


@lowers(exp.Chr, reads="expressions charset")
def _char(lowering: Lowering, node: exp.Expression) -> Typed:
    codes = [integer(lowering.expression(each)) for each in node.expressions]
    octets = Typed("(" + "||".join(f"coalesce(my_char({code}),''::blob)" for code in codes) + ")", BINARY)
    charset = node.args.get("charset")
    return in_charset(octets, charset.name) if isinstance(charset, exp.Expression) else octets


@lowers(exp.Hex, reads="this case")
def _hex(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if value.kind in NUMBERS:
        whole = value.sql if value.kind is Kind.UINT else integer(value)
        return Typed(f"hex({whole})", TEXT)
    return Typed(f"hex({as_bytes(value)})", TEXT)


@lowers(exp.Unhex, reads="this expression")
def _unhex(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_unhex({_text(lowering, node.this).sql})", BINARY)


def _digest(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(f"{name}({as_bytes(lowering.expression(node.this))})", TEXT)


_digest(exp.MD5, "md5")
_digest(exp.SHA, "sha1")
_digest(exp.ToBase64, "my_base64")


@lowers(exp.SHA2, reads="this length")
def _sha2(lowering: Lowering, node: exp.Expression) -> Typed:
    value, bits = as_bytes(lowering.expression(node.this)), integer(lowering.expression(node.args["length"]))
    if re.fullmatch(r"(0|256)::bigint", bits):
        return Typed(f"sha256({value})", TEXT)
    return Typed(f"my_sha2({value},{bits})", TEXT)


@lowers(exp.FromBase64, reads="this")
def _from_base64(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_from_base64({_text(lowering, node.this).sql})", BINARY)


@lowers(exp.Soundex, reads="this")
def _soundex(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _text(lowering, node.this)
    return Typed(f"my_soundex({value.sql})", without_literal(value.type))


@lowers(exp.NumberToStr, reads="this format culture")
def _format(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    decimals, culture = integer(lowering.expression(node.args["format"])), node.args.get("culture")
    locale = "'en_US'" if culture is None else f"coalesce({_text(lowering, culture).sql},'NULL')"
    if value.kind is Kind.DOUBLE:
        return Typed(f"my_format_double({value.double},{decimals},{locale})", TEXT)
    return Typed(f"my_format({as_text(unrounded(value)).sql},{decimals},{locale})", TEXT)


@function("CRC32", least=1)
def _crc32(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_crc32({as_bytes(lowering.expression(arguments[0]))})", INT)


@function("ORD", least=1)
def _ord(lowering: Lowering, arguments: Arguments) -> Typed:
    value = lowering.expression(arguments[0])
    if value.kind is Kind.BINARY:
        return Typed(f"my_first_byte({value.sql})", INT)
    return Typed(f"my_ord({as_text(value).sql})", INT)


@function("STRCMP", least=2)
def _strcmp(lowering: Lowering, arguments: Arguments) -> Typed:
    (one_text, other_text), result, _ = _texts(lowering, *arguments)
    one, other = result(one_text), result(other_text)
    equal, less = compare(lowering, "=", one, other).sql, compare(lowering, "<", one, other).sql
    return Typed(f"(case when {equal} then 0 when {less} then -1 when not {less} then 1 end)::bigint", INT)


_ESCAPED = {92: "chr(92)", 39: "chr(39)", 0: "'0'", 26: "'Z'"}
"""Behind a backslash, by the code of what QUOTE escapes."""


@function("QUOTE", least=1)
def _quote(lowering: Lowering, arguments: Arguments) -> Typed:
    text = _text(lowering, arguments[0])
    value = escaped = text.sql
    for code, letter in _ESCAPED.items():
        escaped = f"replace({escaped},chr({code}),chr(92)||{letter})"
    return Typed(
        f"(case when {value} is null then 'NULL' else chr(39)||{escaped}||chr(39) end)",
        without_literal(text.type),
    )


@lowers(exp.Compress, reads="this")
def _compress(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_compress({as_bytes(lowering.expression(node.this))})", BINARY)


@function("UNCOMPRESS", least=1)
def _uncompress(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_uncompress({as_bytes(lowering.expression(arguments[0]))})", BINARY)


@function("UNCOMPRESSED_LENGTH", least=1)
def _uncompressed_length(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_uncompressed_length({as_bytes(lowering.expression(arguments[0]))})", INT)


@function("MAKE_SET", least=2, most=65)
def _make_set(lowering: Lowering, arguments: Arguments) -> Typed:
    bits = bits_of(lowering.expression(arguments[0]))
    texts, result, _ = _texts(lowering, *arguments[1:])
    members = ", ".join(
        f"case when ({bits}&(1::ubigint<<{at}))<>0 then {text} end" for at, text in enumerate(texts)
    )
    return result(f"(case when {bits} is not null then concat_ws(',',{members}) end)")


@function("EXPORT_SET", least=3, most=5)
def _export_set(lowering: Lowering, arguments: Arguments) -> Typed:
    bits = bits_of(lowering.expression(arguments[0]))
    (on, off, *given), result, _ = _texts(lowering, *arguments[1:4])
    separator = given[0] if given else "','"
    count = integer(lowering.expression(arguments[4])) if len(arguments) > 4 else "64"
    many = f"case when ({count}) between 0 and 64 then ({count}) else 64 end"
    one = f"case when ((bits>>bit::ubigint)&1::ubigint)<>0 then {on} else {off} end"
    # Not joined by the engine's own function, whose separator is a constant.
    joined = f"lambda set, bit: set||{separator}||bit"
    parts = f"list_transform(range({many}), lambda bit: {one})"
    listed = f"case when ({count})=0 then '' else list_reduce({parts},{joined}) end"
    whole = " and ".join(f"({part}) is not null" for part in ("bits", on, off, separator, count))
    # What may warn is worked out once.
    return result(f"list_transform([{bits}], lambda bits: case when {whole} then {listed} end)[1]")
