"""What a snapshot consists of: its files, with their sizes and checksums."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from zlib import crc32

from raftcore.core.errors import BadFrame

_READ_BYTES = 1 << 20


@dataclass(slots=True, frozen=True)
class SnapshotFile:
    """``path`` is relative to the snapshot's directory, with slashes."""

    path: str
    size_bytes: int
    crc: int


@dataclass(slots=True, frozen=True)
class Manifest:
    """Every file of a snapshot, in the order of their paths."""

    files: tuple[SnapshotFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def file(self, path: str) -> SnapshotFile | None:
        """The file at ``path``, None when the snapshot has none there."""
        return next((file for file in self.files if file.path == path), None)

    @classmethod
    def of(cls, directory: Path) -> Self:
        """Read every file below ``directory``. For a thread. :raises OSError:"""
        files = []
        for path in sorted(_files_below(directory)):
            size_bytes, crc = checksum(path)
            files.append(SnapshotFile(path.relative_to(directory).as_posix(), size_bytes, crc))
        return cls(tuple(files))

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps({"files": [[file.path, file.size_bytes, file.crc] for file in self.files]}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of `encode`. :raises BadFrame: it is none, or a path leads out of the directory."""
        try:
            files = tuple(
                SnapshotFile(_checked_path(path), int(size), int(crc))
                for path, size, crc in json.loads(data)["files"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadFrame(f"snapshot manifest: {error}") from error
        if len({file.path for file in files}) != len(files) or any(file.size_bytes < 0 for file in files):
            raise BadFrame("snapshot manifest: a path comes twice or a size is negative")
        return cls(files)


def checksum(path: Path) -> tuple[int, int]:
    """Size and crc32 of a file. For a thread. :raises OSError:"""
    size_bytes = crc = 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            crc = crc32(data, crc)
            size_bytes += len(data)
    return size_bytes, crc


def _files_below(directory: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            yield Path(parent, name)


def _checked_path(path: object) -> str:
    """A path that stays below the directory it is joined to."""
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"{path!r} is no path")
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or parts[0] == "/" or "/".join(parts) != path:
        raise ValueError(f"{path!r} leads out of the snapshot")
    return path
