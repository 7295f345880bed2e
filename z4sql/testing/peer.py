"""The process behind a `TestCluster`: a peer whose clock is moved by another process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from z4sql.config import Settings


def main(directory: Path, ports: list[int]) -> int:
    """Run a peer in ``directory`` until the standard input ends; ``ports``: service, peer, SQL, metrics."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from z4sql.peer import run
    from z4sql.testing.clock import Clock

    service_port, peer_port, sql_port, metrics_port = ports
    settings = Settings(
        peer_id="peer1",
        peer_advertise_addr=f"127.0.0.1:{peer_port}",
        bootstrap_cluster=True,
        db_data_dir=directory / "db",
        peer_data_dir=directory / "peer",
        service_port=service_port,
        peer_port=peer_port,
        sql_port=sql_port,
        metrics_port=metrics_port,
    )
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return run(settings, now_us=Clock(directory / "clock").now_us, formation_wait_s=0)


def _stop_with_parent() -> None:
    """Nobody is left to stop this process once its standard input ends."""
    # Not by sys.stdin: a daemon thread in its lock would break the interpreter's end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
