"""What nobody may do over SQL: administration of the server."""

from __future__ import annotations

from z4sql.sql.errors import SqlError


def access_denied(privileges: str) -> SqlError:
    """Error 1227; drivers read it as a missing privilege, not as a broken server."""
    return SqlError(
        f"Access denied; you need (at least one of) the {privileges} privilege(s) for this operation",
        code=1227,
        state="42000",
    )
