"""An entry's bytes: built once by its leader, then stored, sent and stored again as they are.

Layout, little-endian: crc32 of all that follows (4), length of data (4), term (8), index (8), kind (1), data.
"""

from __future__ import annotations

import struct
from zlib import crc32

from raftcore.core.errors import BadFrame
from raftcore.core.types import Entry, EntryKind

_CRC = struct.Struct("<I")
_REST = struct.Struct("<IQQB")
_HEADER = struct.Struct("<IIQQB")

ENTRY_HEADER_BYTES = _HEADER.size

_KINDS = {int(kind): kind for kind in EntryKind}


def encode_entry(entry: Entry) -> bytes:
    """The entry's bytes, remembered in ``entry.encoded``."""
    encoded = entry.encoded
    if encoded is None:
        data = entry.data
        rest = _REST.pack(len(data), entry.term, entry.index, entry.kind)
        encoded = b"".join((_CRC.pack(crc32(data, crc32(rest))), rest, data))
        entry.encoded = encoded
    return encoded


def decode_entry(encoded: bytes) -> Entry:
    """The entry whose bytes are ``encoded``, which it keeps.

    :raises BadFrame: when the bytes are no entry, are damaged, or are of a kind unknown to this version.
    """
    size = len(encoded)
    if size < ENTRY_HEADER_BYTES:
        raise BadFrame(f"entry of {size} bytes")
    crc, length, term, index, kind_number = _HEADER.unpack_from(encoded)
    if length != size - ENTRY_HEADER_BYTES:
        raise BadFrame(f"entry {index} of term {term} says {length} bytes of data in {size} bytes")
    if crc32(memoryview(encoded)[4:]) != crc:
        raise BadFrame(f"entry {index} of term {term} fails its checksum")
    kind = _KINDS.get(kind_number)
    if kind is None:
        raise BadFrame(f"entry {index} of term {term} is of unknown kind {kind_number}")
    return Entry(term, index, kind, encoded[ENTRY_HEADER_BYTES:], encoded)


def decode_entries(data: memoryview, at: int, count: int) -> tuple[list[Entry], int]:
    """``count`` entries that lie one behind the other from ``at`` on, and where they end.

    :raises BadFrame: as `decode_entry`, and when they reach beyond the data.
    """
    entries = []
    end = len(data)
    for _ in range(count):
        if at + ENTRY_HEADER_BYTES > end:
            raise BadFrame(f"entries end at {at + ENTRY_HEADER_BYTES}, data at {end}")
        (length,) = _CRC.unpack_from(data, at + 4)
        to = at + ENTRY_HEADER_BYTES + length
        if to > end:
            raise BadFrame(f"entries end at {to}, data at {end}")
        entries.append(decode_entry(bytes(data[at:to])))
        at = to
    return entries, at
