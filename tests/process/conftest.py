"""What the tests with processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.process.host_peers import Peer


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[list[Peer]]:
    """Three hosts, none of them started."""
    made = [Peer(f"peer{number}", tmp_path / f"peer{number}") for number in (1, 2, 3)]
    yield made
    for peer in made:
        if hasattr(peer, "process"):
            await peer.kill()
