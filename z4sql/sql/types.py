"""MySQL types of columns and expressions, and what a batch of a result looks like in Arrow.

==============================  =====================================================
`Kind`                          Arrow column that the engine produces
==============================  =====================================================
NULL                            null
BOOL (tinyint(1)), INT          int64
UINT                            uint64
DECIMAL                         decimal128(38, scale)
DOUBLE                          float64
STRING, JSON                    string or large_string or string_view
BINARY                          binary or large_binary or binary_view
DATE                            date32
DATETIME, TIMESTAMP             timestamp[us], already in the session's time zone
TIME                            int64, microseconds, may exceed a day or be negative
==============================  =====================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    NULL = auto()
    BOOL = auto()
    INT = auto()
    UINT = auto()
    DECIMAL = auto()
    DOUBLE = auto()
    STRING = auto()
    BINARY = auto()
    JSON = auto()
    DATE = auto()
    DATETIME = auto()
    TIMESTAMP = auto()
    TIME = auto()


class Collation(Enum):
    """How text compares. MySQL manual: Unicode Character Sets."""

    BIN_0900 = "utf8mb4_0900_bin"  # binary, no padding
    BIN = "utf8mb4_bin"  # binary, PAD SPACE
    AI_CI = "utf8mb4_0900_ai_ci"  # without case and accents, no padding
    BINARY = "binary"


@dataclass(slots=True, frozen=True)
class SqlType:
    """``length``: characters (STRING), bytes (BINARY), digits (DECIMAL); 0 = the kind's usual one.

    ``scale``: digits after the point of a DECIMAL; of seconds (fsp, 0 to 6) for temporal kinds.
    """

    kind: Kind
    length: int = 0
    scale: int = 0
    collation: Collation = Collation.AI_CI


@dataclass(slots=True, frozen=True)
class ColumnDefinition:
    """A column of a table, as DESCRIBE shows it."""

    name: str
    type: SqlType
    column_type: str
    nullable: bool = True
    key: str = ""
    comment: str = ""


@dataclass(slots=True, frozen=True)
class TableDefinition:
    """``bounded`` tables are refused without bounds on namespace and deliver_at.

    ``aliases`` maps further accepted column names to real ones (``queue`` -> ``namespace``).
    Names of columns compare without case; of tables and databases too.
    """

    database: str
    name: str
    columns: tuple[ColumnDefinition, ...]
    bounded: bool = False
    one_row_a_key: bool = True
    """Each key of the ranges is a row, so that keys alone tell how many there are."""
    live: bool = False
    """Its rows are told by the peer when they are asked for."""
    view: bool = False
    comment: str = ""
    aliases: dict[str, str] = field(default_factory=dict, hash=False)

    def column(self, name: str) -> ColumnDefinition | None:
        """The column called ``name`` or one of its aliases."""
        wanted = name.lower()
        wanted = self.aliases.get(wanted, wanted)
        for column in self.columns:
            if column.name.lower() == wanted:
                return column
        return None


@dataclass(slots=True, frozen=True)
class ResultColumn:
    """One column of a result, as its definition packet tells it."""

    name: str
    type: SqlType
    nullable: bool = True
    table: str = ""
    original_table: str = ""
    original_name: str = ""
    database: str = ""
    key: str = ""
