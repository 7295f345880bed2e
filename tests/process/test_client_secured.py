"""Client and z4t at a peer that asks who is there: tokens and TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from z4sql.access.certificates import make_set
from z4sql.access.file import new_token, token_hash
from z4sql.cli import z4t
from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import AccessDenied, Client, Outcome, Tls, Unavailable

TOKENS = {name: new_token() for name in ("root", "producer", "consumer")}


@dataclass
class Secured:
    address: str
    authority: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured-client")
    certificates, users = directory / "certificates", directory / "access.toml"
    make_set(certificates, ["peer1"], ["localhost", "127.0.0.1"])
    lines = [f'peer_token = "{"p" * 40}"']
    for name, role in (("root", "admin"), ("producer", "produce"), ("consumer", "consume")):
        lines += [
            f"[users.{name}]",
            f'roles = ["{role}"]',
            f'tokens = ["{token_hash(TOKENS[name]).hex()}"]',
        ]
    users.write_text("\n".join(lines))
    authority = certificates / "ca.crt"
    with LocalCluster(directory, free_ports(1)) as cluster:
        peer = cluster.peers[0]
        peer.environment = {
            "Z4_ACCESS_FILE": str(users),
            "Z4_TLS_CERT_FILE": str(certificates / "peer1.crt"),
            "Z4_TLS_KEY_FILE": str(certificates / "peer1.key"),
            "Z4_TLS_CA_FILE": str(authority),
        }
        peer.start()
        deadline = time.monotonic() + 30
        while True:
            try:
                with Client(
                    peer.service_address, timeout_s=1, token=TOKENS["root"], tls=Tls(authority)
                ) as client:
                    if client.cluster_info().leader_service_address:
                        break
            except Unavailable:
                pass
            assert time.monotonic() < deadline, f"not healthy: see {peer.log}"
            time.sleep(0.05)
        yield Secured(peer.service_address, authority)


def client_of(secured: Secured, name: str) -> Client:
    return Client(secured.address, token=TOKENS[name], tls=Tls(secured.authority))


def test_each_does_what_its_role_allows_without_knowing_the_leader(secured: Secured) -> None:
    with client_of(secured, "producer") as producer, client_of(secured, "consumer") as consumer:
        task_id = producer.create("mail")
        with consumer.consume("mail", limit=1) as deliveries:
            for delivery in deliveries:
                assert delivery.task.id == task_id and delivery.ack() is Outcome.DONE
        with pytest.raises(AccessDenied, match="consume"), producer.consume("mail"):
            pass
        with pytest.raises(AccessDenied, match="produce"):
            consumer.create("mail")


def test_an_unknown_token_is_denied_at_once(secured: Secured) -> None:
    started = time.monotonic()
    tls = Tls(secured.authority)
    with (
        Client(secured.address, token="wrong", tls=tls) as client,
        pytest.raises(AccessDenied, match="token"),
    ):
        client.create("mail")
    assert time.monotonic() - started < 5


def test_a_token_never_goes_in_plain_text() -> None:
    with pytest.raises(ValueError, match="needs TLS"):
        Client("peer1.example:6355", token="secret")


def test_z4t_shows_token_and_trusts_the_authority(
    secured: Secured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKENS["root"] + "\n")
    monkeypatch.setenv("Z4_ENDPOINT", secured.address)
    shown = ["--token-file", str(file), "--ca", str(secured.authority)]
    assert z4t.main([*shown, "task", "create", "cli", "--in", "3h"]) == 0
    task_id = capsys.readouterr().out.strip()
    monkeypatch.setenv("Z4_TLS_CA_FILE", str(secured.authority))
    monkeypatch.setenv("Z4_TOKEN", TOKENS["root"])
    assert z4t.main(["task", "get", "cli", task_id, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == task_id
    assert z4t.main(["info"]) == 0 and z4t.main(["check"]) == 0
    assert z4t.main(["consume", "cli-none", "--count", "1", "--timeout", "1s", "--lease", "1ms"]) == 2
    capsys.readouterr()
    monkeypatch.setenv("Z4_TOKEN", TOKENS["consumer"])
    assert z4t.main(["task", "get", "cli", task_id]) == 6
    assert capsys.readouterr().err.startswith("z4t: user 'consumer' lacks the role")
    assert z4t.main(["--token-file", str(tmp_path / "none"), "namespace", "list"]) == 2
