"""Who is gone, or whose line fails, is his own affair: nothing is left of him, and the relay goes on."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, open_desk
from tests.support.server import open_door, plain, socket_pair
from tests.support.wire import closing, message, open_wire
from trio_relay import NetOptions, Relay
from trio_relay.net import flush, refusals
from trio_relay.net.answer_line import Subscribed
from trio_relay.net.connection import Connection
from trio_relay.net.frames import text
from trio_relay.net.transport import Transport
from trio_relay.net.websocket import WebSocket
from trio_relay.nostr.event import encode

pytestmark = pytest.mark.usefixtures("inline_threads")

NARROW = partial(socket_pair, 4_096)
LONG = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(12)]
HUGE = ALICE.event("x" * 200_000)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("end", ["leaves", "aborts", "aborts in the middle of an answer", "is sent away"])
async def test_a_client_that_is_gone_needs_no_garbage_collector(
    end: str, is_quick: bool, autojump_clock: MockClock
) -> None:
    store = ObedientStore(is_quick=is_quick)
    await store.save_many(LONG)
    before = number_of_clients()
    async with open_door(store) as door:
        async with open_wire(door, NARROW) as wire:
            assert number_of_clients() == before + 1
            await wire.send(message("REQ", "sub", {"limit": 0}), message("EVENT", ALICE.event("new")))
            assert sorted([(await wire.receive())[0] for _ in range(3)]) == ["EOSE", "EVENT", "OK"]
            if end == "leaves":
                await wire.send(closing(1000))
                assert await wire.receive_close() == (1000, "")
                assert await wire.receive_end() == b""
            elif end == "aborts in the middle of an answer":
                await wire.send(message("REQ", "all", {}))
                await wait_all_tasks_blocked()
            elif end == "is sent away":
                door.stop.set()
                assert await wire.receive_close() == (1012, "the relay is stopping")
        await wait_all_tasks_blocked()
        assert door.server.statistics().connections == 0
        # Each task of the relay still holds what it had last, until it gets something else.
        for number in range(4):
            await door.relay.publish(Replies().batch(ALICE.event(f"newer {number}")))
            door.server._flushes.add(lambda: None)
            await wait_all_tasks_blocked()
        assert number_of_clients() == before


def number_of_clients() -> int:
    """How many there are in memory, whoever holds them."""
    return sum(type(one) is Connection for one in gc.get_objects())


def new_client(stream: trio.abc.Stream, relay: Relay) -> Connection:
    core = ServerProtocol(state=OPEN, logger=logging.getLogger("tests.websockets"))
    noted = refusals.ClientRefusals(refusals.Refusals(), 1, "unknown")
    return Connection(stream, WebSocket(core), relay, NetOptions(), flush.Flushes(relay.flush_collector), noted)


async def cancelled_client(relay: Relay, *, turns: int, waits_for_the_network: bool, live: bool) -> None:
    """Cancel a client, and so many turns later send it more than its line takes."""
    near, far = NARROW()
    client = new_client(far, relay)
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(client.run, message("REQ", "live", {"limit": 0}))
        await wait_all_tasks_blocked()
        running = client.open_requests[0]
        assert isinstance(running, Subscribed)
        subscription = running.subscription
        if waits_for_the_network:
            client._outbox.send_nowait(b"x" * 200_000)
            client._outbox.flush()
            assert client._outbox.statistics().is_draining
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            if live:
                subscription.deliver(HUGE.id, encode(HUGE), {})
            else:
                client._events.unanswered += 1
                client._events.reply(HUGE, True, "x" * 200_000)
            client._outbox.flush()
            await wait_all_tasks_blocked()
    assert client._tasks is None
    assert not client._outbox.statistics().is_draining


@pytest.mark.slow
@pytest.mark.parametrize("waits_for_the_network", [True, False])
@pytest.mark.parametrize("live", [True, False])
async def test_what_comes_for_a_client_that_is_just_cancelled_ends_nothing_else(
    waits_for_the_network: bool,
    live: bool,
    autojump_clock: MockClock,
    logged: list[structlog.typing.EventDict],
) -> None:
    """There is a turn in which its tasks have ended and it is still there: none can be started for it any more."""
    async with open_desk(ObedientStore()) as (relay, replies):
        for turns in range(12):
            await cancelled_client(relay, turns=turns, waits_for_the_network=waits_for_the_network, live=live)
        note = ALICE.event("after all that")
        await relay.publish(replies.batch(note))
        await wait_all_tasks_blocked()
        assert replies.accepted == {note.id}
        assert relay.statistics().broadcaster.subscriptions == 0
    assert logged == []


class AfterTheCut(trio.abc.Instrument):
    """Reads all that has come, and sends the client another message, right after its frame has been cut."""

    def __init__(self, client: Connection, line: int) -> None:
        self.received = b""
        self._client = client
        self._line = line

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if "_drain" in task.name and not self._client._outbox.statistics().is_draining:
            self.read()
            self._client._outbox.send_nowait(b"late")
            self._client._outbox.flush()

    def read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._line, 2**20):
                self.received += data


async def test_nothing_follows_a_frame_that_was_cut_by_cancelling(autojump_clock: MockClock) -> None:
    sent = text(b"x" * 200_000)
    async with open_desk(ObedientStore()) as (relay, _):
        for _ in range(10):  # who of the client's tasks is cancelled first is chance
            near, far = NARROW()
            assert isinstance(near, trio.SocketStream)
            client = new_client(far, relay)
            observer = AfterTheCut(client, near.socket.fileno())
            async with near, trio.open_nursery() as nursery:
                nursery.start_soon(client.run, b"")
                await wait_all_tasks_blocked()
                client._outbox.send_framed_nowait(sent)
                client._outbox.flush()
                await wait_all_tasks_blocked()
                trio.lowlevel.add_instrument(observer)
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
                    trio.lowlevel.remove_instrument(observer)
                    await far.aclose()
                    observer.read()
            assert 0 < len(observer.received) < len(sent)
            assert sent.startswith(observer.received)


class Faulty(Transport):
    """A line with a fault that nobody has foreseen."""

    def send_nowait(self, data: bytes) -> int:
        raise ValueError("out of order")


async def test_a_line_that_fails_unexpectedly_hurts_only_its_client(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_wire(door) as broken, door.client() as speaker:
        await broken.send(message("REQ", "live", {"limit": 0}))
        assert await broken.receive() == ["EOSE", "live"]
        [client] = [client for client in door.server.connections if client.open_requests]
        client._outbox._transport = Faulty(client._transport.stream)
        async with open_wire(door) as other:
            await other.send(message("REQ", "live", {"limit": 0}))
            assert await other.receive() == ["EOSE", "live"]
            for words in ("one", "two"):
                note = ALICE.event(words)
                assert await speaker.publish(note) == ["OK", note.id, True, ""]
                assert await other.receive() == ["EVENT", "live", plain(note)]
            await wait_all_tasks_blocked()
            assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["sending failed"]
            assert client._outbox.statistics().waiting == 0
            assert await broken.receive_end() == b""
            assert door.server.statistics().close_reasons == {"lost": 1}
            assert door.server.statistics().connections == 2
