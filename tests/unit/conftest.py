"""What tests of one part share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sql_service import service_over
from tests.task_stores import open_machine
from z4sql.sql.query import QueryService


@pytest.fixture
def service(tmp_path: Path) -> Iterator[QueryService]:
    """What answers queries, over a store without tasks."""
    machine = open_machine(tmp_path / "state")
    made, _ = service_over(machine)
    yield made
    made.close()
    machine.close()
