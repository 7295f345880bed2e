"""One peer with TLS and a user with a password, filled with what every client of the matrix asks for."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql

from z4sql.access.certificates import make_set
from z4sql.access.file import new_token, password_hashes, password_text, token_hash
from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import Client, NewTask, Tls

USER, PASSWORD = "reader", "se'cr\\et é"
USERS = ["newuser@example.com", 'it\'s \\ "quoted"', "zoë ☃"]
EVERY_BYTE = bytes(range(256))
SENT_AT = datetime(2022, 4, 16, 12, 0, 0, 123456, tzinfo=UTC)
MANY = 10_000
_BATCH = 5_000


@dataclass(frozen=True)
class MatrixPeer:
    """Where the peer listens, and the files a client needs."""

    sql_port: int
    ca_file: str
    user: str = USER
    password: str = PASSWORD


def _tasks() -> Iterator[NewTask]:
    for minute, user in enumerate(USERS):
        yield NewTask(
            "welcome_emails",
            deliver_at=SENT_AT + timedelta(minutes=minute),
            metadata={"user_id": user},
            payload=EVERY_BYTE,
        )
    start = datetime(2023, 1, 1, tzinfo=UTC)
    for number in range(MANY):
        yield NewTask("many", deliver_at=start + timedelta(seconds=number), metadata={"n": str(number)})


@contextmanager
def matrix_peer(directory: Path) -> Iterator[MatrixPeer]:
    """TLS is offered, and plain text taken: a client shows both."""
    certificates, access, token = directory / "certificates", directory / "access.toml", new_token()
    make_set(certificates, ["peer1"], ["localhost", "127.0.0.1"])
    access.write_text(f"""
peer_token = "{"p" * 40}"
[users.admin]
roles = ["admin"]
tokens = ["{token_hash(token).hex()}"]
[users.{USER}]
roles = ["read"]
namespaces = ["*"]
passwords = ["{password_text(password_hashes(PASSWORD))}"]
""")
    with LocalCluster(directory, free_ports(1)) as cluster:
        (peer,) = cluster.peers
        peer.environment = {
            "Z4_ACCESS_FILE": str(access),
            "Z4_TLS_CERT_FILE": str(certificates / "peer1.crt"),
            "Z4_TLS_KEY_FILE": str(certificates / "peer1.key"),
            "Z4_TLS_CA_FILE": str(certificates / "ca.crt"),
            "Z4_SQL_REQUIRE_SECURE_TRANSPORT": "false",
        }
        peer.start()
        cluster.wait_sql(peer)
        ca_file = str(certificates / "ca.crt")
        with Client(peer.service_address, timeout_s=60, token=token, tls=Tls(ca_file=ca_file)) as client:
            tasks = list(_tasks())
            for start in range(0, len(tasks), _BATCH):
                client.create_many(tasks[start : start + _BATCH])
        served = MatrixPeer(peer.ports.sql, ca_file)
        _wait_for_copy(served)
        yield served


def _wait_for_copy(served: MatrixPeer) -> None:
    """Further statements need not wait: the copy has what was acknowledged."""
    with (
        pymysql.connect(
            host="127.0.0.1",
            port=served.sql_port,
            user=USER,
            password=PASSWORD.encode(),
            database="z4",
            ssl=ssl.create_default_context(cafile=served.ca_file),
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute("SELECT COUNT(*) FROM tasks WHERE namespace = 'many' AND deliver_at > '2022-01-01'")
        assert cursor.fetchone() == (MANY,)


def main() -> None:
    """``python -m tests.matrix_peer DIRECTORY`` keeps one running, to try a client against."""
    with matrix_peer(Path(sys.argv[1])) as served:
        print(asdict(served), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
