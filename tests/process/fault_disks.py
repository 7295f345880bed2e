"""Disks that a test can fill, cut from power, and damage."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
"""_IOR('X', 125, u32): EXT4_IOC_SHUTDOWN, and XFS_IOC_GOINGDOWN before it."""
_WITHOUT_FLUSHING = struct.pack("I", 2)


def newest_wal(store: Path) -> Path:
    """The write-ahead log that a store wrote last."""
    return max(store.rglob("[0-9]*.log"), key=lambda path: int(path.stem))


def flip_byte(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 0x5A]))


def truncate(path: Path, missing_bytes: int) -> None:
    """Take the last bytes of the file away."""
    os.truncate(path, max(0, path.stat().st_size - missing_bytes))


class SmallDisk:
    """A file system of a few MiB at ``path``, in memory."""

    def __init__(self, path: Path, *, mebibytes: int) -> None:
        self.path = path
        self._mebibytes = mebibytes

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        _run_or_skip("mount", "-t", "tmpfs", "-o", f"size={self._mebibytes}m", "tmpfs", str(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Take all the space that is left."""
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        """Give it back."""
        (self.path / "ballast").unlink()


class LoopDisk:
    """An ext4 file system in a file, that can lose what is not synced."""

    def __init__(self, directory: Path, *, mebibytes: int) -> None:
        self.path = directory / "disk"
        self._image = directory / "image"
        self._mebibytes = mebibytes

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(self._mebibytes << 20)
        _run_or_skip("mkfs.ext4", "-q", "-F", str(self._image))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        self._image.unlink()

    def cut_power(self) -> None:
        """Nothing reaches the disk any more, not even the file system's own journal."""
        opened = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(opened, _SHUTDOWN, _WITHOUT_FLUSHING)
        except OSError as error:
            pytest.skip(f"this kernel cannot shut a file system down: {error}")
        finally:
            os.close(opened)

    def restore_power(self) -> None:
        """Mount what is there. Nobody may have a file open."""
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.path)], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, f"{self.path} stays busy"
            time.sleep(0.05)
        self._mount()

    def _mount(self) -> None:
        # A device of its own each time: another mount namespace may hold on to the one that lost its power.
        device = _run_or_skip("losetup", "--find", "--show", str(self._image)).strip()
        try:
            _run_or_skip("mount", device, str(self.path))
        finally:
            # Takes effect when the file system is unmounted.
            subprocess.run(["losetup", "--detach", device], check=True)


def _run_or_skip(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{words[0]} is not installed")
    if done.returncode:
        pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
