"""Errors that the wire itself raises, with MySQL's numbers (MySQL manual: Server Error Message Reference)."""

from __future__ import annotations

from z4sql.sql.errors import SqlError


class TooManyConnections(SqlError):
    code, state = 1040, "08004"

    def __init__(self) -> None:
        super().__init__("Too many connections")


class TooManyUserConnections(SqlError):
    code, state = 1226, "42000"

    def __init__(self, user: str, allowed: int) -> None:
        super().__init__(
            f"User '{user}' has exceeded the 'max_user_connections' resource (current value: {allowed})"
        )


class BadHandshake(SqlError):
    """A login packet that cannot be read."""

    code, state = 1043, "08S01"

    def __init__(self) -> None:
        super().__init__("Bad handshake")


class TlsRequired(SqlError):
    code, state = 3159, "HY000"

    def __init__(self) -> None:
        super().__init__(
            "Connections using insecure transport are prohibited while --require_secure_transport=ON."
        )


class AccessDenied(SqlError):
    """The same words for an unknown user and a wrong password."""

    code, state = 1045, "28000"

    def __init__(self, user: str, host: str, *, with_password: bool) -> None:
        answer = "YES" if with_password else "NO"
        super().__init__(f"Access denied for user '{user}'@'{host}' (using password: {answer})")


class UnknownCommand(SqlError):
    code, state = 1047, "08S01"

    def __init__(self) -> None:
        super().__init__("Unknown command")


class MalformedPacket(SqlError):
    """A command whose fields do not fit its length."""

    code, state = 1835, "HY000"

    def __init__(self) -> None:
        super().__init__("Malformed communication packet.")


class PacketTooLarge(SqlError):
    """The connection closes after it: the rest of the packet was not read."""

    code, state = 1153, "08S01"

    def __init__(self) -> None:
        super().__init__("Got a packet bigger than 'max_allowed_packet' bytes")


class PacketsOutOfOrder(SqlError):
    """The connection closes after it."""

    code, state = 1156, "08S01"

    def __init__(self) -> None:
        super().__init__("Got packets out of order")


class IdleTooLong(SqlError):
    code, state = 4031, "HY000"

    def __init__(self) -> None:
        super().__init__(
            "The client was disconnected by the server because of inactivity."
            " See wait_timeout and interactive_timeout for configuring this behavior."
        )


class ShuttingDown(SqlError):
    code, state = 1053, "08S01"

    def __init__(self) -> None:
        super().__init__("Server shutdown in progress")


class BadCharacters(SqlError):
    """Text that is not in the client's character set."""

    code, state = 1300, "HY000"

    def __init__(self) -> None:
        super().__init__("Invalid utf8mb4 character string")


class UnknownThread(SqlError):
    code, state = 1094, "HY000"

    def __init__(self, connection_id: int) -> None:
        super().__init__(f"Unknown thread id: {connection_id}")


class NotOwnerOfThread(SqlError):
    code, state = 1095, "HY000"

    def __init__(self, connection_id: int) -> None:
        super().__init__(f"You are not owner of thread {connection_id}")


class UnknownStatement(SqlError):
    """``statement``: its id, or its name."""

    code, state = 1243, "HY000"

    def __init__(self, statement: int | str, command: str) -> None:
        super().__init__(f"Unknown prepared statement handler ({statement}) given to {command}")


class TooManyStatements(SqlError):
    code, state = 1461, "42000"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"Can't create more than max_prepared_stmt_count statements (current value: {allowed})"
        )


class StatementsTooLong(SqlError):
    """A limit of this server's own. The code is MySQL's for a memory that is full (ER_CAPACITY_EXCEEDED)."""

    code, state = 3170, "HY000"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"Prepared statements of a session may have {allowed} bytes of text: close some")


class TooManyPlaceholders(SqlError):
    code, state = 1390, "HY000"

    def __init__(self) -> None:
        super().__init__("Prepared statement contains too many placeholders")


class BadArguments(SqlError):
    code, state = 1210, "HY000"

    def __init__(self, command: str) -> None:
        super().__init__(f"Incorrect arguments to {command}")


class LongDataTooLong(SqlError):
    code, state = 1105, "HY000"

    def __init__(self) -> None:
        super().__init__(
            "Parameter of prepared statement which is set through mysql_send_long_data()"
            " is longer than 'max_allowed_packet' bytes"
        )


class NoOpenCursor(SqlError):
    code, state = 1421, "HY000"

    def __init__(self, statement_id: int) -> None:
        super().__init__(f"The statement ({statement_id}) has no open cursor.")


class InternalError(SqlError):
    """All that a client learns of a bug; the log has the request's number too."""

    code, state = 1105, "HY000"

    def __init__(self, request: int) -> None:
        super().__init__(f"internal error (request {request})")
