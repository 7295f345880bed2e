"""Text functions. MySQL manual: String Functions and Operators; Regular Expressions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.lowering.comparison import compare
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
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    BINARY,
    DOUBLE,
    INT,
    NUMBERS,
    SCALE_MAX,
    TEXT,
    TEXT_BIN,
    Typed,
    constant_text,
    quoted,
    without_literal,
)
from z4sql.sql.types import Collation, Kind

Arguments = Sequence[exp.Expression]


def _text(lowering: Lowering, node: exp.Expression) -> Typed:
    return as_text(lowering.expression(node))


@lowers(exp.Concat, reads="expressions safe coalesce flatten")
def _concat(lowering: Lowering, node: exp.Expression) -> Typed:
    values = [_text(lowering, each) for each in node.expressions]
    return Typed(
        "(" + " || ".join(value.sql for value in values) + ")",
        without_literal(unify([value.type for value in values])),
    )


@lowers(exp.ConcatWs, reads="expressions safe coalesce flatten")
def _concat_ws(lowering: Lowering, node: exp.Expression) -> Typed:
    values = [_text(lowering, each) for each in node.expressions]
    listed = ", ".join(value.sql for value in values)
    return Typed(f"concat_ws({listed})", without_literal(unify([value.type for value in values])))


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
    value, new = _text(lowering, node.this), _text(lowering, node.expression)
    start, count = (integer(lowering.expression(node.args[name])) for name in ("start", "length"))
    sql = f"my_insert({value.sql},{start},{count},{new.sql})"
    return Typed(sql, without_literal(unify([value.type, new.type])))


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
    value, fill = _text(lowering, node.this), _text(lowering, node.args["fill_pattern"])
    length = integer(lowering.expression(node.expression))
    name = "lpad" if node.args.get("is_left") else "rpad"
    type_ = without_literal(value.type)
    if isinstance(node.args["fill_pattern"], exp.Literal) and fill.sql != "''":
        return Typed(f"{name}({value.sql},my_width('{name}',{length}),{fill.sql})", type_)
    # The engine refuses to pad with nothing, even where no row asks for it.
    pattern = f"case when {fill.sql}='' then ' ' else {fill.sql} end"
    padded = f"{name}({value.sql},my_width('{name}',{length}),{pattern})"
    return Typed(f"my_padded({padded},{value.sql},{length},{fill.sql})", type_)


@lowers(exp.Repeat, reads="this times")
def _repeat(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _text(lowering, node.this)
    times = f"my_repetitions('repeat',{value.sql},{integer(lowering.expression(node.args['times']))})"
    return Typed(f"repeat({value.sql},{times})", without_literal(value.type))


@lowers(exp.Space, reads="this")
def _space(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"repeat(' ',my_repetitions('space',' ',{integer(lowering.expression(node.this))}))", TEXT)


@lowers(exp.Trim, reads="this expression position")
def _trim(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _text(lowering, node.this)
    removed = node.args.get("expression")
    position = str(node.args.get("position") or "").upper()
    if removed is not None and not (isinstance(removed, exp.Literal) and len(str(removed.this)) == 1):
        piece = _text(lowering, removed).sql
        return Typed(f"my_trim({value.sql},{piece},{quoted(position)})", without_literal(value.type))
    character = "' '" if removed is None else _text(lowering, removed).sql
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(position, "trim")
    return Typed(f"{name}({value.sql},{character})", without_literal(value.type))


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
    value = _text(lowering, node.this)
    old, new = _text(lowering, node.expression).sql, _text(lowering, node.args["replacement"]).sql
    return Typed(f"my_replaced({value.sql},{old},{new})", without_literal(value.type))


@lowers(exp.SubstringIndex, reads="this delimiter count")
def _substring_index(lowering: Lowering, node: exp.Expression) -> Typed:
    value, delimiter = _text(lowering, node.this), _text(lowering, node.args["delimiter"])
    count = integer(lowering.expression(node.args["count"]))
    return Typed(f"my_substring_index({value.sql},{delimiter.sql},{count})", without_literal(value.type))


@lowers(exp.Elt, reads="this expressions")
def _elt(lowering: Lowering, node: exp.Expression) -> Typed:
    number_ = integer(lowering.expression(node.this))
    choices = [_text(lowering, each) for each in node.expressions]
    branches = " ".join(f"when {at} then {choice.sql}" for at, choice in enumerate(choices, 1))
    return Typed(f"(case {number_} {branches} end)", TEXT)


@function("FIELD", least=2, most=100)
def _field(lowering: Lowering, arguments: Arguments) -> Typed:
    members = alike([lowering.expression(argument) for argument in arguments])
    value, *choices = members
    if any(member.kind is not Kind.STRING for member in members):
        # MySQL manual: FIELD(): all as strings, all as numbers, or else as doubles.
        value, *choices = (Typed(number(member).double, DOUBLE) for member in members)
    branches = " ".join(
        f"when {compare(lowering, '=', value, choice).sql} then {at}" for at, choice in enumerate(choices, 1)
    )
    return Typed(f"(case {branches} else 0 end)::bigint", INT)


@function("FIND_IN_SET", least=2)
def _find_in_set(lowering: Lowering, arguments: Arguments) -> Typed:
    value, members = (_text(lowering, argument).sql for argument in arguments)
    return Typed(
        f"(case when {value} is null or {members} is null then null"
        f" else coalesce(list_position(string_split({members},','),{value}),0) end)::bigint",
        INT,
    )


@lowers(exp.Ascii, reads="this")
def _ascii(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_first_byte({as_bytes(lowering.expression(node.this))})::bigint", INT)


@lowers(exp.Chr, reads="expressions charset")
def _char(lowering: Lowering, node: exp.Expression) -> Typed:
    parts = [f"coalesce(my_char({integer(lowering.expression(each))}),''::blob)" for each in node.expressions]
    return Typed("(" + "||".join(parts) + ")", BINARY)


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
    length = node.args.get("length")
    bits = "256" if length is None else str(length.this)
    if not bits.isdecimal():
        raise unsupported("SHA2 of a length that is no constant")
    value = as_bytes(lowering.expression(node.this))
    if bits in ("0", "256"):
        return Typed(f"sha256({value})", TEXT)
    return Typed(f"my_sha2({value},{min(int(bits), 999)})", TEXT)


@lowers(exp.FromBase64, reads="this")
def _from_base64(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_from_base64({_text(lowering, node.this).sql})", BINARY)


@lowers(exp.Soundex, reads="this")
def _soundex(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_soundex({_text(lowering, node.this).sql})", TEXT)


@lowers(exp.NumberToStr, reads="this format culture")
def _format(lowering: Lowering, node: exp.Expression) -> Typed:
    digits = node.args["format"]
    if node.args.get("culture") is not None:
        raise unsupported("FORMAT with a locale")
    if not isinstance(digits, exp.Literal) or not str(digits.this).isdecimal():
        raise unsupported("FORMAT with decimals that are no whole constant")
    value = number(lowering.expression(node.this))
    printed = as_text(unrounded(value)).sql
    return Typed(f"my_format({printed},{min(int(str(digits.this)), SCALE_MAX)})", TEXT)


@function("CRC32", least=1)
def _crc32(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_crc32({as_bytes(lowering.expression(arguments[0]))})", INT)


@function("ORD", least=1)
def _ord(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_ord({_text(lowering, arguments[0]).sql})", INT)


@function("STRCMP", least=2)
def _strcmp(lowering: Lowering, arguments: Arguments) -> Typed:
    one, other = (_text(lowering, argument) for argument in arguments)
    equal, less = compare(lowering, "=", one, other).sql, compare(lowering, "<", one, other).sql
    return Typed(f"(case when {equal} then 0 when {less} then -1 when not {less} then 1 end)::bigint", INT)


@function("QUOTE", least=1)
def _quote(lowering: Lowering, arguments: Arguments) -> Typed:
    value = _text(lowering, arguments[0]).sql
    escaped = f"replace(replace({value},chr(92),chr(92)||chr(92)),chr(39),chr(92)||chr(39))"
    return Typed(f"(case when {value} is null then 'NULL' else chr(39)||{escaped}||chr(39) end)", TEXT_BIN)


@lowers(exp.Uuid, reads="is_string")
def _uuid(lowering: Lowering, _node: exp.Expression) -> Typed:
    lowering.steady = False
    return Typed("uuid()::varchar", TEXT)


@function("UUID_TO_BIN", least=1)
def _uuid_to_bin(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"unhex(replace({_text(lowering, arguments[0]).sql},'-',''))", BINARY)


@function("INET_ATON", least=1)
def _inet_aton(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_inet_aton({_text(lowering, arguments[0]).sql})", INT)


@function("INET_NTOA", least=1)
def _inet_ntoa(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_inet_ntoa({integer(lowering.expression(arguments[0]))})", TEXT)


@function("COMPRESS", least=1)
def _compress(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_compress({as_bytes(lowering.expression(arguments[0]))})", BINARY)


@function("MAKE_SET", least=2, most=65)
def _make_set(lowering: Lowering, arguments: Arguments) -> Typed:
    bits = bits_of(lowering.expression(arguments[0]))
    members = ", ".join(
        f"case when ({bits}&(1::ubigint<<{at}))<>0 then {_text(lowering, one).sql} end"
        for at, one in enumerate(arguments[1:])
    )
    return Typed(f"(case when {bits} is not null then concat_ws(',',{members}) end)", TEXT)


@function("EXPORT_SET", least=3, most=5)
def _export_set(lowering: Lowering, arguments: Arguments) -> Typed:
    bits = bits_of(lowering.expression(arguments[0]))
    on, off = (_text(lowering, one).sql for one in arguments[1:3])
    separator = _text(lowering, arguments[3]).sql if len(arguments) > 3 else "','"
    count = integer(lowering.expression(arguments[4])) if len(arguments) > 4 else "64"
    many = f"case when ({count}) between 0 and 64 then ({count}) else 64 end"
    one = f"case when (({bits}>>bit::ubigint)&1::ubigint)<>0 then {on} else {off} end"
    listed = f"array_to_string(list_transform(range({many}), lambda bit: {one}),{separator})"
    whole = " and ".join(f"({part}) is not null" for part in (bits, on, off, separator))
    return Typed(f"(case when {whole} then {listed} end)", TEXT)
