"""``_utf8mb4'...'``: constants that name their character set. MySQL manual: Character Set Introducers."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from z4sql.sql.errors import SqlError, Unsupported

_CODECS: Final = {
    "_utf8mb4": "utf-8",
    "_utf8mb3": "utf-8",
    "_utf8": "utf-8",
    "_ascii": "ascii",
    "_latin1": "ascii",
}
_SHOWN_BYTES: Final = 6


def introduced(node: exp.Expression) -> str | bytes:
    """The text of an `exp.Introducer`; bytes where it says ``_binary``.

    :raises SqlError: bytes that are no text of that character set (1300).
    :raises Unsupported: another character set, and of latin1 what is not ASCII: here all text is UTF-8.
    """
    name, data = node.name.lower(), constant_bytes(node.expression)
    codec = _CODECS.get(name)
    if data is None or (codec is None and name != "_binary"):
        raise Unsupported(f"This version of z4 doesn't yet support 'the character set introducer {name}'")
    if codec is None:
        return data
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        if name == "_latin1":
            raise Unsupported(
                "This version of z4 doesn't yet support '_latin1 with other than ASCII'"
            ) from None
        wrong = data[error.start : error.start + _SHOWN_BYTES].hex().upper()
        more = "..." if len(data) > error.start + _SHOWN_BYTES else ""
        shown = "utf8mb3" if name == "_utf8" else name[1:]
        raise SqlError(f"Invalid {shown} character string: '{wrong}{more}'", code=1300) from None


def constant_bytes(node: exp.Expression) -> bytes | None:
    """Of a text, hexadecimal or bit constant; None of anything else."""
    match node:
        case exp.Literal() if node.is_string:
            return node.name.encode()
        case exp.National():
            return node.name.encode()
        case exp.HexString():
            digits = str(node.this)
            return bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
        case exp.BitString():
            bits = str(node.this)
            return int(bits or "0", 2).to_bytes((len(bits) + 7) // 8)
        case exp.Concat() if all(isinstance(part, exp.Literal) for part in node.expressions):
            # 'a' 'b' is one constant.
            return "".join(part.name for part in node.expressions).encode()
        case _:
            return None
