"""What system tables show of the running server, as one user sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class Process:
    """One line of PROCESSLIST. ``info``: the statement that runs, None when idle."""

    connection_id: int
    user: str
    host: str
    database: str | None
    command: str
    time_s: int
    state: str
    info: str | None


class ServerView(Protocol):
    """The server at one moment, as seen by ``user``."""

    @property
    def user(self) -> str: ...

    def processes(self) -> Sequence[Process]:
        """The connections this user may see, by id."""
        ...

    def variables(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        """System variables by name, with the texts SHOW VARIABLES shows."""
        ...

    def status(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        """Status variables by name, those of the encryption for a session only."""
        ...

    def user_variables(self) -> Sequence[tuple[str, str | None]]:
        """``@name`` of this session, without the ``@``."""
        ...
