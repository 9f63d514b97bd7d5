"""Whatever is to hold for a bus holds for both: the real one over a Redis, and its twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
import trio.testing

from tests.bus.redis_server import RedisServer, serving
from tests.support.local_bus import LocalBus
from trio_relay.bus import StreamBus

Join: TypeAlias = Callable[[], StreamBus]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop and kill."""
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def empty_bus(request: pytest.FixtureRequest) -> Join:
    """Gives one more member of a bus, each time it is called."""
    if request.param == "memory":
        return LocalBus().join
    server: RedisServer = request.getfixturevalue("server")
    return server.join


@pytest.fixture
async def join(empty_bus: Join) -> AsyncIterator[Join]:
    """The same, for tests that fail if they take a minute."""
    with trio.fail_after(60):
        yield empty_bus
