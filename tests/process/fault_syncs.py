"""A peer that dies at one of its syncs, counted over all threads, files and kinds of sync. Needs no root."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.process.fault_peers import FaultyPeer

_SOURCE = Path(__file__).with_name("sync_killer.c")


@functools.cache
def _library() -> Path:
    """`sync_killer.c`, compiled once per run of the tests."""
    directory = Path(tempfile.mkdtemp(prefix="z4syncs-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    built = directory / "sync_killer.so"
    words = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(built), str(_SOURCE), "-ldl"]
    subprocess.run([*words, "-lpthread"], check=True, timeout=60)
    return built


class CountedSyncs:
    """The syncs of ``peer``'s next life. It may be killed at one: before it begins, or once it is done."""

    def __init__(self, peer: FaultyPeer, *, after: bool = False) -> None:
        self._peer = peer
        self._log = peer.directory / "syncs"
        self._kill = peer.directory / "syncs-kill"
        self._settings = {
            "LD_PRELOAD": str(_library()),
            "SYNCS_LOG": str(self._log),
            "SYNCS_KILL": str(self._kill),
            "SYNCS_AFTER": str(int(after)),
        }

    def __enter__(self) -> CountedSyncs:
        self._peer.directory.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        self._kill.unlink(missing_ok=True)
        self._peer.environment.update(self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._settings:
            del self._peer.environment[name]

    @property
    def lines(self) -> list[str]:
        """``call path`` of every sync that has begun so far, in order."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def kill_at(self, number: int) -> None:
        """Die at the ``number``-th sync from now on, from 1."""
        written = self._kill.with_suffix(".new")
        written.write_text(str(len(self.lines) + number))
        written.replace(self._kill)
