"""Cut after any turn of the scheduler, a client leaves nothing behind, and what he was sent is whole and in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, open_door, run_threads_inline, socket_pair
from tests.support.wire import PING, closing, frame, message, upgrade
from trio_relay.net.connection import Connection

LONG = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(3)]
NEW = ALICE.event("new")
SENT = [
    upgrade(),
    message("REQ", "all", {}),
    message("EVENT", NEW),
    frame(PING, b"?") + message("REQ", "all", {"limit": 1}) + message("EVENT", ALICE.event("newer")),
    message("CLOSE", "all"),
    message("REQ", "more", {"limit": 1}),
    closing(1000),
]
MOMENTS = range(60)


@dataclass
class Remains:
    """What is left after the end."""

    clients: set[Connection] = field(default_factory=set)
    received: bytes = b""
    is_over: bool = False


async def talk(stream: trio.abc.Stream, remains: Remains, door: Door) -> None:
    """Say everything, and read what comes, a little at a time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, stream, remains)
        for data in SENT:
            await stream.send_all(data)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
                remains.clients.update(door.server.connections)


async def listen(stream: trio.abc.Stream, remains: Remains) -> None:
    while data := await stream.receive_some(10_000):
        remains.received += data
    remains.is_over = True


async def cut(remains: Remains, *, turns: int, cut_client_only: bool, is_quick: bool) -> None:
    store = ObedientStore(page_events=1, is_quick=is_quick)
    await store.save_many(LONG)
    with trio.fail_after(600), trio.CancelScope() as everything:
        async with open_door(store) as door:
            await wait_all_tasks_blocked()
            tasks_before = trio.lowlevel.current_statistics().tasks_living
            stream = await door.listener.connect(partial(socket_pair, 4_096))
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(talk, stream, remains, door)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                (nursery.cancel_scope if cut_client_only else everything).cancel()
            await wait_all_tasks_blocked()
            assert door.relay.statistics().broadcaster.subscriptions == 0
            assert door.server.statistics().connections == 0
            assert trio.lowlevel.current_statistics().tasks_living == tasks_before
            async with door.client() as other:
                assert len(await other.ask("unhurt", {"limit": 1})) == 1


@pytest.mark.slow
@pytest.mark.parametrize("cut_client_only", [True, False])
@pytest.mark.parametrize("is_quick", [True, False])
def test_cut_at_any_moment_a_client_leaves_nothing_behind(
    cut_client_only: bool, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_threads_inline(monkeypatch)
    whole = Remains()
    main = partial(cut, cut_client_only=cut_client_only, is_quick=is_quick)
    trio.run(partial(main, whole, turns=1_000), clock=MockClock(autojump_threshold=0))
    assert whole.is_over
    ends = set()
    for turns in MOMENTS:
        remains = Remains()
        trio.run(partial(main, remains, turns=turns), clock=MockClock(autojump_threshold=0))
        for client in remains.clients:
            assert (client._tasks, client._requests.tasks) == (None, None)
            assert client.open_requests == []
            assert client._outbox.statistics().waiting == 0
        ends.add((len(remains.clients), remains.received == b"", remains.is_over))
    assert len(ends) > 2, "before the handshake, in the middle, and later"
