"""Members of the stored metadata as columns of their own, so that a repeated query parses no JSON.

Metadata is flat and its members are strings: what every form of extraction gives follows from the string
that `json_extract_string` gives. The engine itself extracts it, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

MEMBER_PREFIX: Final = "metadata/"
"""A column of this name and a JSON pointer's leg is that member, NULL where there is none."""
TRIMMED_PREFIX: Final = "trimmed metadata/"
"""The same without the spaces at its end, as text is compared."""
MEMBER_TYPE: Final = pa.dictionary(pa.int32(), pa.string())

QUOTED: Final = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*')"""
"""A name or text in engine SQL, in which nothing is to be replaced."""
_METADATA: Final = r'(?P<table>"(?:[^"]|"")+")\."metadata"'
_LEG: Final = r"""'/(?P<leg>[^'"/]+)'"""
_USES: Final = re.compile(
    rf"""json_extract_string\(json_extract\({_METADATA},{_LEG}\),'\$'\)
    |json_extract_string\({_METADATA.replace("table", "table2")},{_LEG.replace("leg", "leg2")}\)
    |json_extract\({_METADATA.replace("table", "table3")},{_LEG.replace("leg", "leg3")}\)
    |{QUOTED}""",
    re.VERBOSE,
)
_TRIMMED: Final = re.compile(
    rf"""rtrim\((?P<table>"(?:[^"]|"")+")\."metadata/(?P<leg>[^'"/]+)",'\ '\)|{QUOTED}"""
)


class Extractor(Protocol):
    """Extracts members as the engine does; ``legs`` are legs of JSON pointers."""

    def members(self, metadata: pa.Array, legs: Sequence[str]) -> list[pa.Array]: ...

    def close(self) -> None: ...


def member_column(leg: str) -> str:
    return MEMBER_PREFIX + leg


def is_member(column: str) -> bool:
    return column.startswith((MEMBER_PREFIX, TRIMMED_PREFIX))


def stored_column(column: str) -> str:
    """The column from which another follows."""
    if column.startswith(TRIMMED_PREFIX):
        return member_column(column[len(TRIMMED_PREFIX) :])
    return column


def trimmed(member: pa.DictionaryArray) -> pa.DictionaryArray:
    """The member without trailing spaces: each distinct value is looked at once."""
    return pa.DictionaryArray.from_arrays(member.indices, pc.utf8_rtrim(member.dictionary, " "))


def leg_of(column: str) -> str:
    """The leg of a JSON pointer that a member's column is named after."""
    return column[len(MEMBER_PREFIX) :]


def with_member_columns(sql: str) -> tuple[str, tuple[str, ...], bool]:
    """Engine SQL that reads members as columns, those columns, and whether it still reads the metadata.

    Only for a query with one relation, whose ``metadata`` is the stored one.
    """
    found: dict[str, None] = {}

    def column(table: str, leg: str) -> str:
        found[member_column(leg)] = None
        return f'{table}."{member_column(leg)}"'

    def replaced(use: re.Match[str]) -> str:
        if use["leg"] is not None:
            return column(use["table"], use["leg"])
        if use["leg2"] is not None:
            return column(use["table2"], use["leg2"])
        if use["leg3"] is not None:
            return f"to_json({column(use['table3'], use['leg3'])})"
        return use[0]

    def shortened(use: re.Match[str]) -> str:
        if use["leg"] is None:
            return use[0]
        found[TRIMMED_PREFIX + use["leg"]] = None
        return f'{use["table"]}."{TRIMMED_PREFIX}{use["leg"]}"'

    changed = _TRIMMED.sub(shortened, _USES.sub(replaced, sql))
    columns = tuple(name for name in found if f'."{name}"' in changed)
    return changed, columns, '."metadata"' in changed


class NeedleMember:
    """A needle as a test of one member: the value is, or with ``open_ended`` begins with, ``text``."""

    __slots__ = ("column", "open_ended", "text")

    def __init__(self, column: str, text: str, *, open_ended: bool) -> None:
        self.column, self.text, self.open_ended = column, text, open_ended

    @classmethod
    def of(cls, needle: bytes) -> NeedleMember:
        """``"key": "value"``, whose last quote is left out where the value may go on."""
        pair = needle.decode()
        try:
            members, open_ended = json.loads("{" + pair + "}"), False
        except ValueError:
            members, open_ended = json.loads("{" + pair + '"}'), True
        ((key, text),) = members.items()
        leg = key.replace("~", "~0").replace("/", "~1")
        return cls(member_column(leg), text, open_ended=open_ended)

    def holds(self, value: str) -> bool:
        return value.startswith(self.text) if self.open_ended else value == self.text
