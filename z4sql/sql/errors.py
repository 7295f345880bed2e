"""SQL errors with MySQL's numbers, states and texts (MySQL manual: Server Error Message Reference).

Each says what went wrong in the client's terms; none carries Python text.
"""

from __future__ import annotations


class SqlError(Exception):
    """An error packet: ``code`` (errno), ``state`` (SQLSTATE, 5 characters), ``message``."""

    code = 1105
    state = "HY000"

    def __init__(self, message: str, *, code: int | None = None, state: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if state is not None:
            self.state = state


class SyntaxProblem(SqlError):
    code, state = 1064, "42000"


class Unsupported(SqlError):
    """Known to MySQL, not built here."""

    code, state = 1235, "42000"


class UnknownColumn(SqlError):
    code, state = 1054, "42S22"


class UnknownTable(SqlError):
    code, state = 1146, "42S02"


class UnknownDatabase(SqlError):
    code, state = 1049, "42000"


class NoDatabase(SqlError):
    code, state = 1046, "3D000"

    def __init__(self) -> None:
        super().__init__("No database selected")


class UnknownFunction(SqlError):
    code, state = 1305, "42000"


class ReadOnly(SqlError):
    code, state = 1290, "HY000"

    def __init__(self) -> None:
        super().__init__(
            "The MySQL server is running with the --read-only option so it cannot execute this statement: "
            "tasks are changed with the program z4t, or over gRPC"
        )


class Unbounded(SqlError):
    """A reference to `tasks` does not bound namespace and deliver_at."""

    code, state = 1104, "42000"


class LimitExceeded(SqlError):
    code, state = 1104, "42000"


class BadTemporal(SqlError):
    """A literal that is no date or time."""

    code, state = 1525, "HY000"


class Interrupted(SqlError):
    code, state = 1317, "70100"

    def __init__(self) -> None:
        super().__init__("Query execution was interrupted")


class TimedOut(SqlError):
    code, state = 3024, "HY000"

    def __init__(self) -> None:
        super().__init__("Query execution was interrupted, maximum statement execution time exceeded")


class StoreReplaced(SqlError):
    """The copy was replaced while the query ran; retrying is safe."""

    code, state = 1205, "HY000"
