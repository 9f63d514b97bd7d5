"""The store under contract: each test of it runs once for every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.contract.backends import BACKENDS, Backend
from trio_relay.store.base import Store


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """One of the backends, for tests that open stores themselves."""
    return BACKENDS[request.param]


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An empty store; the test fails if it takes a minute."""
    with trio.fail_after(60):
        async with backend.open() as store:
            yield store
