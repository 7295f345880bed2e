"""A MySQL or MariaDB server of one run, on loopback: the peer of the read benchmarks.

MariaDB where it is installed; ``Z4_REFERENCE_SERVER`` names the program of another, such as a real MySQL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pymysql

from z4sql.testing.ports import free_ports

TABLE = (
    "CREATE TABLE z4.tasks (namespace VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,"
    " id VARCHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, deliver_at DATETIME(6) NOT NULL,"
    " metadata JSON, payload LONGBLOB, state VARCHAR(16),"
    " PRIMARY KEY (namespace, deliver_at, id))"
)


def program() -> str | None:
    """The path of the server's program, None where there is none."""
    return shutil.which(os.environ.get("Z4_REFERENCE_SERVER", "mariadbd"))


class Reference:
    def __init__(self, program: str, directory: Path) -> None:
        told = subprocess.run([program, "--version"], check=True, capture_output=True, timeout=60).stdout
        self.name = "MariaDB" if b"MariaDB" in told else "MySQL"
        data = directory / "reference"
        install = (
            ["mariadb-install-db", "--auth-root-authentication-method=normal"]
            if self.name == "MariaDB"
            else [program, "--no-defaults", "--initialize-insecure"]
        )
        subprocess.run(
            [*install, f"--datadir={data}", "--user=root"], check=True, capture_output=True, timeout=120
        )
        (self.port,) = free_ports(1)
        self._command = [
            *(program, "--no-defaults", f"--datadir={data}", f"--socket={directory}/reference.sock"),
            *("--user=root", f"--port={self.port}", "--bind-address=127.0.0.1", "--local-infile=1"),
            *("--innodb-buffer-pool-size=2G", "--innodb-buffer-pool-load-at-startup=0", "--skip-log-bin"),
            *(f"--pid-file={directory}/reference.pid", f"--tmpdir={directory}"),
        ]
        self._process = self._started()

    def restart(self) -> None:
        """Stop it in order, and start it with an empty buffer pool."""
        self._process.terminate()
        self._process.wait(60)
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect(None).close()
                return process
            except pymysql.err.OperationalError:
                if time.monotonic() > deadline:
                    process.kill()
                    raise
                time.sleep(0.1)

    def connect(self, database: str | None = "z4") -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            local_infile=True,
            autocommit=True,
        )

    def create(self) -> None:
        """An empty table of tasks."""
        with self.connect(None) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE z4")
            cursor.execute(TABLE)

    def load(self, rows: Iterable[tuple[str, ...]], directory: Path) -> None:
        """Rows of (namespace, id, deliver_at, metadata, payload, state), all free of tabs and backslashes."""
        path = directory / "rows.tsv"
        with path.open("w") as file:
            for row in rows:
                file.write("\t".join(row) + "\n")
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE z4.tasks CHARACTER SET utf8mb4")
            cursor.execute("ANALYZE TABLE z4.tasks")
        path.unlink()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
