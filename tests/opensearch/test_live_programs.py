"""Two programs on one index of a real node and one real Redis: this is killed, stopped and emptied, and one of them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.bus.redis_server import RedisServer, serving
from tests.support.indices import make, options_for
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import Program, running
from tests.support.server import Talker
from trio_relay import Event

pytestmark = pytest.mark.exhaustive

AT_A_TIME = 150
"""Events between two faults."""


class Reader:
    """A client that is subscribed to all, and remembers what comes."""

    def __init__(self, client: Talker) -> None:
        self.heard: list[str] = []
        self._client = client
        self._came = trio.Event()

    async def run(self) -> None:
        """Read until cancelled, or until the relay is killed."""
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                message = await self._client.receive()
                if message[0] == "EVENT":
                    self.heard.append(message[2]["id"])
                    self._came.set()
                    self._came = trio.Event()

    async def until(self, ids: Sequence[str]) -> None:
        """Wait until all of these have come."""
        with trio.fail_after(60):
            while not set(ids) <= set(self.heard):
                await self._came.wait()


class Both:
    """The programs, a writer and a reader of each, and what was acknowledged."""

    def __init__(self, programs: Sequence[Program], writers: Sequence[Talker], readers: Sequence[Reader]) -> None:
        self.programs = programs
        self.writers = writers
        self.readers = readers
        self.acknowledged: list[str] = []
        self._made = 0

    def more(self, number: int = AT_A_TIME) -> list[Event]:
        """So many new events."""
        numbers = range(self._made, self._made + number)
        self._made += number
        return [(ALICE, BOB)[one % 2].event(f"{one}", created_at=NOW - one) for one in numbers]

    async def publish(self, events: Sequence[Event]) -> None:
        """In turn to the one and to the other."""
        for number, event in enumerate(events):
            assert await self.writers[number % 2].publish(event) == ["OK", event.id, True, ""]
            self.acknowledged.append(event.id)

    async def all_is_heard(self) -> None:
        """Everything acknowledged has come to both readers, once."""
        for reader in self.readers:
            await reader.until(self.acknowledged)
            assert Counter(reader.heard) == Counter(self.acknowledged)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with serving(tmp_path) as server:
        yield server


@asynccontextmanager
async def both(node: str, prefix: str, redis: RedisServer, folder: Path, workers: int = 1) -> AsyncIterator[Both]:
    await make(options_for(node, prefix))
    settings = {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{node}"]',
        "opensearch.prefix": prefix,
        "opensearch.refresh_seconds": "0.5",
        "bus.url": redis.url,
        "pipeline.workers": str(workers),
    }
    async with AsyncExitStack() as opened:
        programs = [await opened.enter_async_context(running(folder, settings)) for _ in range(2)]
        writers = [await opened.enter_async_context(program.client()) for program in programs]
        clients = [await opened.enter_async_context(program.client()) for program in programs]
        readers = list(map(Reader, clients))
        async with trio.open_nursery() as nursery:
            for client, reader in zip(clients, readers, strict=True):
                assert await client.ask("all", {}) == []
                nursery.start_soon(reader.run)
            yield Both(programs, writers, readers)
            nursery.cancel_scope.cancel()


async def is_degraded(program: Program) -> bool:
    """Whether it says so; it stores everything in any case."""
    health = await program.get("/health")
    assert health.status_code == 200
    return bool(health.json()["status"] == "degraded")


async def becomes(program: Program, *, degraded: bool) -> None:
    """Wait until it says so."""
    with trio.fail_after(60):
        while await is_degraded(program) != degraded:
            await trio.lowlevel.checkpoint()


async def test_whatever_becomes_of_redis_everything_acknowledged_is_live_on_both_once(
    node: str, prefix: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with both(node, prefix, redis, tmp_path) as relays:
        await relays.publish(relays.more())
        await relays.all_is_heard()
        assert not await is_degraded(relays.programs[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(relays.publish, relays.more())
            redis.kill()
        for program in relays.programs:
            await becomes(program, degraded=True)
        await relays.publish(relays.more())
        await relays.all_is_heard()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(relays.publish, relays.more())
            redis.start()  # empty, and from the beginning
        await relays.all_is_heard()
        for program in relays.programs:
            await becomes(program, degraded=False)

        for fault in ("FLUSHALL", "pause"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relays.publish, relays.more())
                if fault == "pause":
                    redis.pause()
                else:
                    redis.ask(fault)
            await relays.all_is_heard()
        redis.resume()
        await relays.publish(relays.more())
        await relays.all_is_heard()


async def test_two_workers_of_each_are_one_relay_with_those_of_the_other(
    node: str, prefix: str, redis: RedisServer, tmp_path: Path
) -> None:
    """Each program's writer and reader are at different workers, since who has fewer clients accepts first."""
    async with both(node, prefix, redis, tmp_path, workers=2) as relays:
        await relays.publish(relays.more())
        await relays.all_is_heard()
        redis.kill()
        for program in relays.programs:
            await becomes(program, degraded=True)
        await relays.publish(relays.more())
        await relays.all_is_heard()


async def test_of_a_relay_that_is_killed_in_mid_load_the_other_hears_all_that_was_acknowledged(
    node: str, prefix: str, redis: RedisServer, tmp_path: Path
) -> None:
    async with both(node, prefix, redis, tmp_path) as relays:
        program, client, reader = relays.programs[0], relays.writers[0], relays.readers[1]
        events = relays.more(1_000)
        acknowledged: list[str] = []

        async def hear() -> None:
            while True:
                message = await client.receive()
                assert (message[0], message[2]) == ("OK", True), message
                acknowledged.append(message[1])
                if len(acknowledged) == 300:
                    program.signal(signal.SIGKILL)
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            with suppress(trio_websocket.ConnectionClosed):
                for event in events[:400]:
                    await client.send("EVENT", event)
        await reader.until(acknowledged)
        assert max(Counter(reader.heard).values()) == 1
        assert set(reader.heard) <= {event.id for event in events}
