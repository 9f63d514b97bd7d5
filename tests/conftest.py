"""Fixtures for all tests."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from perf.node import NEW, OLD
from tests.support import indices
from tests.support.hot_path import all_as_asked
from tests.support.marks import mark_by_use, register_profiles
from tests.support.node import given_or_own, one_for_all, own_names
from tests.support.server import run_threads_inline
from trio_relay.store.sqlite import loop_reader

register_profiles()


def pytest_report_header() -> str:
    """Say which code is tested; see `all_as_asked`."""
    return f"trio-relay: {all_as_asked(os.environ)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See `mark_by_use`."""
    mark_by_use(items)


class ByWhatTheyShare(LoadGroupScheduling):  # type: ignore[misc]  # it has no types
    """Gives the tests of a module to one process where these share a relay, others wherever there is time."""

    def _split_scope(self, nodeid: str) -> str:
        group: str = super()._split_scope(nodeid)
        return nodeid.partition("::")[0] if nodeid.startswith("tests/browser/") else group


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    """How pytest-xdist deals tests out with `--dist loadgroup`."""
    return ByWhatTheyShare(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture
def inline_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """For virtual time; see `run_threads_inline`."""
    run_threads_inline(monkeypatch)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no search on the loop be given up because the machine is busy: None for that reason could hide any other."""
    monkeypatch.setattr(loop_reader, "MOST_SECONDS", 60.0)
    monkeypatch.setattr(loop_reader, "COLD_SECONDS", math.inf)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged in the test, as structlog's event dicts, and nowhere else."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def own_logging(logged: list[structlog.typing.EventDict]) -> Iterator[None]:
    """For tests that set up logging as the program does; afterwards it is again as other tests expect it."""
    before, root = structlog.get_config(), logging.getLogger()
    level, handlers = root.level, root.handlers
    hooks = sys.unraisablehook, threading.excepthook
    yield
    structlog.configure(**before)
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers = handlers
    sys.unraisablehook, threading.excepthook = hooks


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OpenSearch, which all tests share: none may stop it, or change its settings for good."""
    with given_or_own(OLD, tmp_path_factory.mktemp("opensearch")) as url:
        yield url


@pytest.fixture(scope="session")
def node_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same of the newer version."""
    with one_for_all(NEW, tmp_path_factory.mktemp("opensearch-3")) as url:
        yield url


@pytest.fixture(scope="session")
def index(node: str) -> Iterator[None]:
    """An index on `node` that tests use one after another; see `tests.support.indices`."""
    with own_names(node) as name:
        indices.use(node, name)
        yield


@pytest.fixture
def prefix(node: str) -> Iterator[str]:
    """What the names of a test's indices on `node` start with; they are deleted after it."""
    with own_names(node) as name:
        yield name
