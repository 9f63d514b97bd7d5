"""The store under contract: each test of it runs once for every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.support.backends import BACKENDS, Backend
from trio_relay import Store
from trio_relay.store.opensearch import refresh


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """One of the backends, for tests that open stores themselves."""
    chosen = BACKENDS[request.param]
    if chosen.needs_node:
        request.getfixturevalue("index")
    return chosen


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a refresh come when it is asked for: hundreds are."""
    monkeypatch.setattr(refresh, "LEAST_SECONDS", 0.001)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An empty store; the test fails if it takes a minute."""
    with trio.fail_after(60):
        async with backend.open() as store:
            yield store
