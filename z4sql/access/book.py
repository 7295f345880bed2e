"""The users as they are now: the access file, looked at again when it was replaced."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import structlog

from z4sql.access.file import AccessFileError, read_directory, token_hash
from z4sql.access.model import Directory, Role, User

_LOOK_AGAIN_S: Final = 1.0
PEER = User("peer", frozenset({Role.ADMIN}))
"""Another peer of the cluster, which has checked its caller itself."""

_log = structlog.get_logger()


class AccessBook:
    """Answers who holds a token or a name. A file that became unreadable leaves the former users in force."""

    def __init__(self, path: Path) -> None:
        """:raises AccessFileError: the file cannot be used."""
        self._path = path
        self._mark = self._mark_now()
        self._looked_s = time.monotonic()
        self._version = 0
        self._learn(read_directory(path))

    @property
    def peer_token(self) -> str:
        self._refresh()
        return self._directory.peer_token

    @property
    def version(self) -> int:
        """How often the file was read: rights may be others when it is another number."""
        self._refresh()
        return self._version

    def by_token(self, token: str) -> User | None:
        """Whose token it is. Looked up by its hash, so that the time taken says nothing of the secrets."""
        self._refresh()
        return self._by_token.get(token_hash(token))

    def by_name(self, name: str) -> User | None:
        self._refresh()
        return self._directory.users.get(name)

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_AGAIN_S:
            return
        self._looked_s = now_s
        mark = self._mark_now()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._learn(read_directory(self._path))
            _log.info("access_file_read", path=str(self._path), users=len(self._directory.users))
        except AccessFileError as problem:
            _log.error("access_file_refused", reason=str(problem))

    def _mark_now(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _learn(self, directory: Directory) -> None:
        self._version += 1
        self._directory = directory
        self._by_token = {digest: user for user in directory.users.values() for digest in user.token_hashes}
        if directory.peer_token:
            self._by_token[token_hash(directory.peer_token)] = PEER
