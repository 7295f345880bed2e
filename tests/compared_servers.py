"""Fixtures of tests that ask a query twice: ``ours`` and ``theirs`` over the ``ROWS`` of the test's module.

They are imported with every test run, and so import themselves only what they cannot do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.reference_server import ReferenceServer, server_program

if TYPE_CHECKING:
    from tests.compared_answers import Ours, Theirs

needs_server = pytest.mark.skipif(server_program() is None, reason="no MariaDB or MySQL server is installed")


@pytest.fixture(scope="session")
def reference_server() -> Iterator[ReferenceServer]:
    program = server_program()
    assert program is not None
    server = ReferenceServer(program)
    yield server
    server.close()


@pytest.fixture(scope="module")
def ours(request: pytest.FixtureRequest) -> Iterator[Ours]:
    from tests.compared_answers import Ours

    made = Ours(request.module.ROWS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def theirs(request: pytest.FixtureRequest, reference_server: ReferenceServer) -> Iterator[Theirs]:
    from tests.compared_answers import Theirs

    made = Theirs(reference_server, request.module.ROWS)
    yield made
    made.close()
