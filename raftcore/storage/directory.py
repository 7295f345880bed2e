"""Directories as units: made durable, measured, and replaced so that a crash leaves the old or the new."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_FORMER = ".former"


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` durable. :raises OSError:"""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make every file below ``path``, and every name, durable. :raises OSError:"""
    for directory, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(directory, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(directory))
    sync_directory(path.parent)


def replace_directory(source: Path, target: Path) -> None:
    """Put ``source`` in the place of ``target``, durably; both on one file system.

    A crash leaves the old or the new content, which `settle_directory` finds. ``source`` is gone only once
    ``target`` is the new one.

    :raises OSError: when they are on different file systems, or the disk failed.
    """
    former = _former(target)
    if target.exists():
        shutil.rmtree(former, ignore_errors=True)
        os.rename(target, former)
        sync_directory(target.parent)
    os.rename(source, target)
    sync_directory(target.parent)
    sync_directory(source.parent)
    shutil.rmtree(former, ignore_errors=True)


def settle_directory(target: Path) -> None:
    """After a crash: bring ``target`` back if it was to be replaced and was not; else drop what it was."""
    former = _former(target)
    if not former.exists():
        return
    if target.exists():
        shutil.rmtree(former, ignore_errors=True)
    else:
        os.rename(former, target)
        sync_directory(target.parent)


def directory_bytes(path: Path) -> int:
    """How much the files below ``path`` take, hard links counted in full; what vanishes meanwhile is none."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _former(target: Path) -> Path:
    return target.with_name(target.name + _FORMER)
