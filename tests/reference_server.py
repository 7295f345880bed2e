"""A MariaDB or MySQL server of our own, to compare answers with: private folder, socket only.

``Z4_REFERENCE_SERVER`` names the program of another than the path has: of a real MySQL where the
distribution's ``mysqld`` is MariaDB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pymysql
from pymysql.converters import encoders

_START_TIMEOUT_S = 30.0
_INSTALL_PROGRAMS = ("mariadb-install-db", "mysql_install_db")


def server_program() -> str | None:
    """The path of the server, None where none is installed."""
    named = os.environ.get("Z4_REFERENCE_SERVER")
    if named is not None:
        return shutil.which(named) or named
    for name in ("mariadbd", "mysqld"):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found is not None:
            return found
    return None


def is_mysql() -> bool:
    """Whether it is MySQL itself, and no MariaDB."""
    program = server_program()
    return program is not None and "mariadb" not in Path(program).resolve().name


class ReferenceServer:
    """Started by the constructor; ``close`` ends it and removes its folder."""

    is_mariadb: bool

    def __init__(self, program: str) -> None:
        # The path of a socket has room for some hundred characters only.
        self._folder = Path(tempfile.mkdtemp(prefix="z4ref-"))
        self._socket = self._folder / "s"
        data = self._folder / "data"
        data.mkdir()
        self._install(program, data)
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                "--no-defaults",
                f"--datadir={data}",
                f"--socket={self._socket}",
                f"--pid-file={self._folder / 'pid'}",
                "--skip-networking",
                "--skip-grant-tables",
                "--innodb-buffer-pool-size=32M",
                "--innodb-flush-log-at-trx-commit=0",
                *(["--user=root"] if Path("/").owner() == "root" else []),
            ],
            stdout=log,
            stderr=log,
        )
        log.close()
        try:
            self._await_start()
            with self.connect() as connection:
                self.is_mariadb = "MariaDB" in connection.get_server_info()
        except BaseException:
            self.close()
            raise

    def connect(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        """A connection whose cells come as the text protocol has them: it decodes no value."""
        return pymysql.connect(
            unix_socket=str(self._socket),
            user="root",
            charset="utf8mb4",
            conv=dict[Any, Any](encoders),
            autocommit=True,
        )

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _install(self, program: str, data: Path) -> None:
        installer = next((path for name in _INSTALL_PROGRAMS if (path := shutil.which(name))), None)
        if "mariadb" in Path(program).resolve().name and installer is not None:
            command = [installer, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--user=root"]
        else:
            command = [program, "--no-defaults", "--initialize-insecure", f"--datadir={data}", "--user=root"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def _await_start(self) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            try:
                self.connect().close()
                return
            except pymysql.err.OperationalError:
                time.sleep(0.05)
