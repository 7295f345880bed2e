"""Fixtures for pytest: put ``pytest_plugins = ["z4sql.testing.plugin"]`` into the topmost conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from z4sql.testing.cluster import TestCluster


@pytest.fixture
def z4_cluster() -> Iterator[TestCluster]:
    """A cluster of the test's own: empty, and its clock moves for nobody else."""
    with TestCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def z4_shared_cluster() -> Iterator[TestCluster]:
    """One cluster for all tests of a run: starts once; give each test a namespace of its own."""
    with TestCluster() as cluster:
        yield cluster
