"""The access file's users as MySQL accounts."""

from __future__ import annotations

from z4sql.access.book import AccessBook
from z4sql.access.model import Role
from z4sql.sql.wire.auth import Account, StoredPassword


class FileAccounts:
    """Users with the role ``read`` and a password; the others are as unknown as those that are not there."""

    anyone = False

    def __init__(self, book: AccessBook) -> None:
        self._book = book

    def account(self, user: str) -> Account | None:
        known = self._book.by_name(user)
        if known is None or not known.passwords or not known.has(Role.READ):
            return None
        passwords = tuple(StoredPassword(one.sha2, one.native) for one in known.passwords)
        return Account(passwords, known.connections_max)
