"""Settings: flags over variables over a file over defaults, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from z4sql.config import ConfigError, load, split_address


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "z4.toml"
    file.write_text('peer_id = "file"\nsql_port = 1\nservice_port = 2\nmetrics_port = 3\n')
    settings = load(
        {"config": file, "sql_port": "10", "peer_id": None}, {"Z4_SQL_PORT": "11", "Z4_SERVICE_PORT": "12"}
    )
    assert (settings.peer_id, settings.sql_port, settings.service_port) == ("file", 10, 12)
    assert (settings.metrics_port, settings.peer_port) == (3, 6356)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("Z4_SQL_PORT", "http"),
        ("Z4_SERVICE_PORT", "-1"),
        ("Z4_BOOTSTRAP_CLUSTER", "perhaps"),
        ("Z4_PEER_ADVERTISE_ADDR", "localhost"),
        ("Z4_PEER_ADVERTISE_ADDR", "::1:6356"),
        ("Z4_PEER_ID", "a b"),
        ("Z4_METRICS_HOST", "everywhere"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        load({}, {"Z4_PEER_ID": "p", variable: value})


def test_without_saying_so_aloud_listeners_bind_loopback() -> None:
    assert load({}, {"Z4_PEER_ID": "p"}).bind_host == "127.0.0.1"
    assert load({}, {"Z4_PEER_ID": "p", "Z4_INSECURE": "true"}).bind_host == "0.0.0.0"


def test_metrics_are_open_to_other_machines_only_where_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    names = ("ACCESS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CA_FILE")
    guarded = {"Z4_PEER_ID": "p"} | {f"Z4_{name}": str(file) for name in names}
    assert load({}, guarded).bind_host == "0.0.0.0"
    assert load({}, guarded).metrics_bind_host == "127.0.0.1"
    assert load({}, guarded | {"Z4_METRICS_HOST": "::"}).metrics_bind_host == "::"
    open_to_all = {"Z4_PEER_ID": "p", "Z4_INSECURE": "true"}
    assert load({}, open_to_all).metrics_bind_host == "0.0.0.0"
    assert load({"metrics_host": "127.0.0.1"}, open_to_all).metrics_bind_host == "127.0.0.1"
    assert load({}, {"Z4_PEER_ID": "p"}).metrics_bind_host == "127.0.0.1"


def test_addresses_may_be_of_either_family() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    settings = load({}, {"Z4_PEER_ID": "p", "Z4_PEER_ADVERTISE_ADDR": "[fd00::1]:6356"})
    assert settings.advertised(6355) == "[fd00::1]:6355"
