"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.wires import run_threads_inline

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture
def inline_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """For virtual time; see `run_threads_inline`."""
    run_threads_inline(monkeypatch)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged in the test, as structlog's event dicts, and nowhere else."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def own_logging(logged: list[structlog.typing.EventDict]) -> Iterator[None]:
    """For tests that set up logging as the program does; afterwards it is again as other tests expect it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
