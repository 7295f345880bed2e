"""The programs as a user meets them when something is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from z4sql.cli.local_cluster import free_ports


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("Z4_")}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_peer_without_a_name_names_the_variable() -> None:
    done = run("z4sql.cli.z4", "server")
    assert done.returncode == 2
    assert "Z4_PEER_ID" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("variable", ["Z4_SERVICE_PORT", "Z4_PEER_PORT", "Z4_METRICS_PORT", "Z4_SQL_PORT"])
def test_a_bad_port_names_the_variable(variable: str) -> None:
    done = run("z4sql.cli.z4", "server", Z4_PEER_ID="peer1", **{variable: "70000"})
    assert done.returncode == 2
    assert variable in done.stderr and "65535" in done.stderr


def test_an_unknown_key_in_the_file_suggests_the_right_one(tmp_path: Path) -> None:
    file = tmp_path / "z4.toml"
    file.write_text('peer_idd = "peer1"\n')
    done = run("z4sql.cli.z4", "server", "--config", str(file))
    assert done.returncode == 2
    assert "did you mean 'peer_id'" in done.stderr


def serve(tmp_path: Path, **changed: str) -> str:
    """What a peer that cannot start says last."""
    ports = free_ports(1)[0]
    usual = {
        "Z4_PEER_ID": "peer1",
        "Z4_SERVICE_PORT": str(ports.service),
        "Z4_PEER_PORT": str(ports.peer),
        "Z4_PEER_ADVERTISE_ADDR": f"127.0.0.1:{ports.peer}",
        "Z4_SQL_PORT": "0",
        "Z4_METRICS_PORT": "0",
        "Z4_BOOTSTRAP_CLUSTER": "true",
        "Z4_DB_DATA_DIR": str(tmp_path / "db"),
        "Z4_PEER_DATA_DIR": str(tmp_path / "peer"),
    }
    done = run("z4sql.cli.z4", "server", **(usual | changed))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("variable", ["Z4_SERVICE_PORT", "Z4_PEER_PORT", "Z4_METRICS_PORT"])
def test_a_taken_port_names_the_variable(tmp_path: Path, variable: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        said = serve(tmp_path, **{variable: port})
    assert said.startswith(f"z4 server: {variable}: cannot listen on 127.0.0.1:{port}"), said


@pytest.mark.parametrize("variable", ["Z4_DB_DATA_DIR", "Z4_PEER_DATA_DIR"])
def test_a_directory_that_cannot_be_made_names_the_variable(tmp_path: Path, variable: str) -> None:
    (tmp_path / "file").write_text("")
    said = serve(tmp_path, **{variable: str(tmp_path / "file" / "data")})
    assert said.startswith(f"z4 server: {variable}: ") and "Not a directory" in said, said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "z4t: 'frobnicate' is no command; see z4t --help"),
        (["add-peer"], "z4t add-peer: needs -p HOST:PORT; see z4t add-peer --help"),
        (["-p", "x:1", "add-peer"], "z4t add-peer: needs -id NAME; see z4t add-peer --help"),
        (["remove-peer"], "z4t remove-peer: needs -id NAME; see z4t remove-peer --help"),
    ],
)
def test_wrong_usage_of_z4t_exits_2_with_one_line(arguments: list[str], said: str) -> None:
    done = run("z4sql.cli.z4t", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said + "\n")


@pytest.mark.parametrize("program", ["z4", "z4t"])
def test_without_a_command_the_help_is_shown(program: str) -> None:
    done = run(f"z4sql.cli.{program}")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(f"usage: {program} [-h]")


def test_a_misspelt_flag_of_a_peer_suggests_the_right_one() -> None:
    done = run("z4sql.cli.z4", "server", "--peer-id", "peer1", "--sql-prot", "5")
    assert done.returncode == 2 and "'--sql-prot' is no flag, did you mean '--sql-port'" in done.stderr
    assert "choose from 'read', 'produce'" in run("z4sql.cli.z4", "access", "ada", "--role", "odd").stderr


def test_an_unreachable_peer_is_one_line_and_exit_4() -> None:
    done = run("z4sql.cli.z4t", "-t", f"127.0.0.1:{free_ports(1)[0].service}", "info")
    assert done.returncode == 4
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "cannot reach" in done.stderr
