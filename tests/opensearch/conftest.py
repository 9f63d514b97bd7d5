"""What tests of faults share: a node that they may kill, pause and block, one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perf.node import OLD, Node, running
from tests.support.node import need, own_names


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node for tests that one after another do harm to it; each leaves it running."""
    need(OLD)
    with running(OLD, tmp_path_factory.mktemp("mortal")) as node:
        yield node


@pytest.fixture
def mortal_prefix(mortal: Node) -> Iterator[str]:
    """What the names of a test's indices on it start with; they are deleted after it."""
    with own_names(mortal.url) as prefix:
        yield prefix
