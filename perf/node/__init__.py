"""A real OpenSearch of one node, for tests, measurements and trying out; it needs a JDK and Maven, and no more."""

from perf.node.installing import find_jdk, missing, prepare
from perf.node.running import Node, running

OLD = "2.19.1"
"""The version that everything is tested with."""
NEW = "3.8.0"
"""The version that is tested too where it can run."""

__all__ = ["NEW", "OLD", "Node", "find_jdk", "missing", "prepare", "running"]
