"""Settings of one peer: flags over ``Z4_*`` variables over a TOML file over defaults."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from z4sql.access.tls import TlsFiles

PREFIX: Final = "Z4_"


class ConfigError(Exception):
    """A setting is missing or wrong; the message names its variable and the remedy."""


@dataclass(slots=True, frozen=True)
class Settings:
    """``docs/operations.md`` describes each one."""

    peer_id: str
    peer_advertise_addr: str = "127.0.0.1:6356"
    bootstrap_cluster: bool = False
    db_data_dir: Path = field(default=Path("z4data"))
    peer_data_dir: Path = field(default=Path("z4peer"))
    service_port: int = 6355
    peer_port: int = 6356
    metrics_port: int = 2112
    sql_port: int = 3306
    debug_logging_enabled: bool = False
    insecure: bool = False
    """Say aloud that anybody who reaches the listeners may use them; without it they bind loopback only."""
    access_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = None
    sql_require_secure_transport: bool = False
    metrics_host: str = ""

    @property
    def bind_host(self) -> str:
        """Beyond loopback only where callers are known and nobody listens in, or where asked for by name."""
        guarded = self.access_file is not None and self.tls is not None
        return "0.0.0.0" if self.insecure or guarded else "127.0.0.1"  # noqa: S104 - see above

    @property
    def metrics_bind_host(self) -> str:
        """/metrics has neither TLS nor users, and names every namespace: loopback unless asked for."""
        return self.metrics_host or ("0.0.0.0" if self.insecure else "127.0.0.1")  # noqa: S104 - see above

    @property
    def tls(self) -> TlsFiles | None:
        if self.tls_cert_file is None or self.tls_key_file is None or self.tls_ca_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_ca_file)

    @property
    def advertise_host(self) -> str:
        return split_address(self.peer_advertise_addr)[0]

    def advertised(self, port: int) -> str:
        """This peer's address for another of its ports."""
        host = self.advertise_host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of ``host:port`` or ``[v6]:port``. :raises ValueError: when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f"{address!r}: write an IPv6 address in brackets")
    return host, int(port)


_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})


def _boolean(text: object) -> bool:
    if isinstance(text, bool):
        return text
    lowered = str(text).lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("must be true or false")


def _port(text: object) -> int:
    if isinstance(text, bool) or not str(text).isdecimal() or int(str(text)) > 65535:
        raise ValueError("must be a port number from 0 to 65535")
    return int(str(text))


def _address(text: object) -> str:
    split_address(str(text))
    return str(text)


def _name(text: object) -> str:
    name = str(text)
    if not name or len(name.encode()) > 255 or any(c.isspace() or not c.isprintable() for c in name):
        raise ValueError("must be 1 to 255 bytes of printable characters without spaces")
    return name


def _host(text: object) -> str:
    try:
        return str(ip_address(str(text)))
    except ValueError:
        raise ValueError("must be an address of this machine, such as 0.0.0.0, 127.0.0.1 or ::") from None


def _existing_file(text: object) -> Path:
    path = Path(str(text))
    if not path.is_file():
        raise ValueError("is not a file")
    return path


_READERS = {
    "peer_id": _name,
    "peer_advertise_addr": _address,
    "bootstrap_cluster": _boolean,
    "db_data_dir": lambda text: Path(str(text)),
    "peer_data_dir": lambda text: Path(str(text)),
    "service_port": _port,
    "peer_port": _port,
    "metrics_port": _port,
    "sql_port": _port,
    "debug_logging_enabled": _boolean,
    "insecure": _boolean,
    "access_file": _existing_file,
    "tls_cert_file": _existing_file,
    "tls_key_file": _existing_file,
    "tls_ca_file": _existing_file,
    "sql_require_secure_transport": _boolean,
    "metrics_host": _host,
}

_HELP = {
    "peer_id": "this peer's name in the cluster (required; must stay the same)",
    "peer_advertise_addr": "HOST:PORT where other peers reach this one's peer port",
    "bootstrap_cluster": "form a new cluster of one; ignored once the peer has state",
    "db_data_dir": "directory of the task store",
    "peer_data_dir": "directory of the replicated log",
    "service_port": "port of the gRPC service",
    "peer_port": "port for other peers",
    "metrics_port": "port of /metrics (0: any)",
    "sql_port": "port for MySQL clients (0: any)",
    "debug_logging_enabled": "log at debug level",
    "insecure": "listen on every address although no credentials are configured",
    "access_file": "users, roles and tokens (see `z4 access`); without it everybody may do everything",
    "tls_cert_file": "this peer's certificate, PEM; shown to clients and to other peers",
    "tls_key_file": "its key, PEM",
    "tls_ca_file": "the authority that signs the peers' certificates, PEM",
    "sql_require_secure_transport": "refuse MySQL logins without TLS",
    "metrics_host": "address that /metrics binds; without it loopback, or every address if insecure",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting, and ``--config FILE``."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="a TOML file of settings")
    for setting in fields(Settings):
        flag = "--" + setting.name.replace("_", "-")
        explanation = f"{_HELP[setting.name]} [{PREFIX}{setting.name.upper()}]"
        if _READERS[setting.name] is _boolean:
            parser.add_argument(
                flag, nargs="?", const="true", metavar="true|false", dest=setting.name, help=explanation
            )
        else:
            parser.add_argument(flag, dest=setting.name, metavar="VALUE", help=explanation)


def load(flags: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Put the settings together.

    :raises ConfigError: naming the variable (or file key) at fault.
    """
    from_file = _read_file(flags.get("config"))
    values: dict[str, object] = {}
    for setting in fields(Settings):
        name = setting.name
        variable = PREFIX + name.upper()
        for origin, raw in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (variable, environment.get(variable)),
            (f"{flags.get('config')}: {name}", from_file.get(name)),
        ):
            if raw is None or raw == "":
                continue
            try:
                values[name] = _READERS[name](raw)
            except ValueError as problem:
                raise ConfigError(f"{_named(origin, variable)}: {raw!r}: {problem}") from None
            break
    if "peer_id" not in values:
        raise ConfigError(
            f"{PREFIX}PEER_ID is required: give this peer a name that stays the same, "
            f"for example {PREFIX}PEER_ID=peer1"
        )
    _check_tls(values)
    return Settings(**values)  # type: ignore[arg-type]  # each value was read by its own reader


_TLS_FILES = ("tls_cert_file", "tls_key_file", "tls_ca_file")


def _check_tls(values: Mapping[str, object]) -> None:
    missing = [name for name in _TLS_FILES if name not in values]
    if missing and len(missing) < len(_TLS_FILES):
        raise ConfigError(
            f"{PREFIX}{missing[0].upper()} is missing: TLS takes certificate, key and authority"
        )
    if missing and values.get("sql_require_secure_transport"):
        raise ConfigError(
            f"{PREFIX}SQL_REQUIRE_SECURE_TRANSPORT needs TLS: "
            f"set {PREFIX}TLS_CERT_FILE, {PREFIX}TLS_KEY_FILE and {PREFIX}TLS_CA_FILE"
        )


def _named(origin: str, variable: str) -> str:
    return origin if origin == variable else f"{origin} ({variable})"


def _read_file(path: object) -> dict[str, object]:
    if path is None:
        return {}
    try:
        with Path(str(path)).open("rb") as file:
            content = tomllib.load(file)
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{path}: {problem}") from None
    known: Sequence[str] = tuple(_READERS)
    for key in content:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise ConfigError(f"{path}: unknown setting {key!r}{hint}")
    return content
