"""For the tests of programs that use z4: a cluster of one peer, with a clock that can be moved."""

from z4sql.testing.clock import Clock
from z4sql.testing.cluster import ClusterFailed, TestCluster

__all__ = ["Clock", "ClusterFailed", "TestCluster"]
