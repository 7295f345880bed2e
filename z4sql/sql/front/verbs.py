"""What statements of each first word are, from the point of view of a server that only reads."""

from __future__ import annotations

from enum import Enum, auto

from z4sql.sql.errors import ReadOnly, Unsupported
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.privileges import access_denied
from z4sql.sql.front.source import Source

QUERY_WORDS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_EXPLAIN_WORDS = frozenset({"EXPLAIN", "DESCRIBE", "DESC"})
_WRITE_WORDS = """
ALTER ANALYZE CALL CREATE DELETE DROP GRANT HANDLER IMPORT INSERT INSTALL LOAD OPTIMIZE RENAME REPAIR REPLACE
REVOKE TRUNCATE UNINSTALL UPDATE XA
"""
_WRITES = frozenset(_WRITE_WORDS.split())
_ADMINISTRATION = frozenset(
    {"FLUSH", "RESET", "PURGE", "CHANGE", "SHUTDOWN", "RESTART", "CLONE", "STOP", "CACHE", "BINLOG"}
)
_NOT_BUILT = frozenset({"SIGNAL", "RESIGNAL", "GET"})


class Verb(Enum):
    NOTHING = auto()  # only comments
    QUERY = auto()
    EXPLAIN = auto()
    SHOW = auto()
    SET = auto()
    USE = auto()
    KILL = auto()
    DO = auto()
    CHECK = auto()
    HELP = auto()
    PREPARE = auto()
    EXECUTE = auto()
    DEALLOCATE = auto()
    NO_OPERATION = auto()


_BY_WORD = {
    "SHOW": Verb.SHOW,
    "SET": Verb.SET,
    "USE": Verb.USE,
    "KILL": Verb.KILL,
    "DO": Verb.DO,
    "CHECK": Verb.CHECK,
    "CHECKSUM": Verb.CHECK,
    "HELP": Verb.HELP,
    "PREPARE": Verb.PREPARE,
    "EXECUTE": Verb.EXECUTE,
    "DEALLOCATE": Verb.DEALLOCATE,
}


def verb_of(source: Source) -> Verb:
    """What to do with a statement.

    :raises ReadOnly: writes (1290); :raises SqlError: administration (1227);
    :raises SyntaxProblem: no statement of MySQL (1064); :raises Unsupported: (1235).
    """
    if not source.pieces:
        return Verb.NOTHING
    if source.pieces[0].value == "(" or source.word(0) in QUERY_WORDS:
        return Verb.QUERY
    word = source.word(0)
    if word in _EXPLAIN_WORDS:
        return Verb.EXPLAIN
    if word in _BY_WORD:
        return _BY_WORD[word]
    if word == "DROP" and source.word(1) == "PREPARE":
        return Verb.DEALLOCATE
    refuse(source, 0)
    return _transactional(source)


def refuse(source: Source, at: int) -> None:
    """Raise for writes and administration whose word is at ``at``."""
    word = source.word(at)
    if word in _WRITES:
        raise ReadOnly()
    if word in _ADMINISTRATION or (word == "START" and source.word(at + 1) not in ("", "TRANSACTION")):
        raise access_denied("SUPER, RELOAD, REPLICATION_SLAVE_ADMIN")
    if word in _NOT_BUILT:
        raise Unsupported(f"This version of MySQL doesn't yet support '{word}'")


def _transactional(source: Source) -> Verb:
    """Words of transactions and locks: nothing to do, as nothing is ever written."""
    cursor = Cursor(source, 1)
    match source.word(0):
        case "BEGIN":
            cursor.accept("WORK")
        case "START":
            _start_transaction(cursor)
        case "COMMIT" | "ROLLBACK":
            _end_of_transaction(cursor)
        case "SAVEPOINT":
            cursor.name()
        case "RELEASE":
            if not cursor.accept("SAVEPOINT"):
                raise source.problem(cursor.at)
            cursor.name()
        case "UNLOCK":
            if not (cursor.accept_any("TABLES", "TABLE", "INSTANCE")):
                raise source.problem(cursor.at)
        case "LOCK":
            _lock_tables(cursor)
        case _:
            raise source.problem(0)
    cursor.end()
    return Verb.NO_OPERATION


def _start_transaction(cursor: Cursor) -> None:
    if not cursor.accept("TRANSACTION"):
        raise cursor.source.problem(cursor.at)
    while True:
        if not (cursor.accept("WITH", "CONSISTENT", "SNAPSHOT") or cursor.accept("READ", "ONLY")):
            cursor.accept("READ", "WRITE")
        if not cursor.symbol(","):
            return


def _end_of_transaction(cursor: Cursor) -> None:
    cursor.accept("WORK")
    if cursor.accept("TO"):
        cursor.accept("SAVEPOINT")
        cursor.name()
        return
    if cursor.accept("AND"):
        cursor.accept("NO")
        cursor.accept("CHAIN")
    cursor.accept("NO")
    cursor.accept("RELEASE")


def _lock_tables(cursor: Cursor) -> None:
    """:raises ReadOnly: LOCK ... WRITE (1290)"""
    if cursor.accept("INSTANCE"):
        raise access_denied("BACKUP_ADMIN")
    if not cursor.accept_any("TABLES", "TABLE"):
        raise cursor.source.problem(cursor.at)
    while True:
        cursor.table_name()
        if cursor.accept("AS") or cursor.word not in ("READ", "WRITE", "LOW_PRIORITY"):
            cursor.name()
        if cursor.accept_any("WRITE", "LOW_PRIORITY"):
            raise ReadOnly()
        if not cursor.accept("READ"):
            raise cursor.source.problem(cursor.at)
        cursor.accept("LOCAL")
        if not cursor.symbol(","):
            return
