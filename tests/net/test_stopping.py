"""The server stops: doors first, then the clients, each with what it is owed, all within the time of grace."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from trio.testing import (
    MockClock,
    lockstep_stream_pair,
    memory_stream_pair,
    memory_stream_pump,
    wait_all_tasks_blocked,
)

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, MemoryListener, open_door, plain, run_threads_inline
from tests.support.wire import CLOSE, TEXT, Wire, closing, frame, message, open_stream, open_wire, request, upgrade
from trio_relay import Endpoints, MemoryStore, NetOptions, RelayOptions, Server, open_relay
from trio_relay.net import lobby
from trio_relay.net.close_reasons import STOPPING as FAREWELL

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(number)) for number in range(6)]
HISTORY = [ALICE.event(str(age), created_at=NOW - age) for age in range(6)]
NARROW = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)
PARTING_SECONDS = lobby.PARTING_SECONDS
STOPPING = (1012, "the relay is stopping")


@asynccontextmanager
async def open_stoppable(
    store: ObedientStore | None = None,
    *,
    net: NetOptions | None = None,
    options: RelayOptions | None = None,
    check: Callable[[], Awaitable[str | None]] | None = None,
) -> AsyncIterator[tuple[Door, trio.Event]]:
    """A door, and the event of its server's having stopped; `check` tells the health, by default the relay does."""
    stopped = trio.Event()
    async with open_relay(store or MemoryStore(), options) as relay, trio.open_nursery() as nursery:
        server = Server(relay, Endpoints(lambda: b"{}", check or relay.check, "hello\n"), net or NetOptions())
        listener, stop = MemoryListener(), trio.Event()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await server.serve([listener], stop, task_status=task_status)
            stopped.set()

        await nursery.start(serve)
        yield Door(relay, server, listener, stop), stopped
        stop.set()


async def wait(stopped: trio.Event) -> float:
    """Wait for the end; gives how long it took."""
    started = trio.current_time()
    with trio.fail_after(100):
        await stopped.wait()
    return trio.current_time() - started


async def test_an_idle_server_stops_at_once(autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped):
        door.stop.set()
        assert await wait(stopped) == 0
        assert door.listener.closed


async def test_doors_close_first(autojump_clock: MockClock, logged: list[structlog.typing.EventDict]) -> None:
    async with open_stoppable() as (door, stopped), open_wire(door) as wire:
        door.stop.set()
        assert await wire.receive_close() == STOPPING
        assert door.listener.closed
        assert not stopped.is_set()
        await wire.send(closing(1012))
        assert await wire.receive_end() == b""
        await trio.aclose_forcefully(wire.stream)
        assert await wait(stopped) == 0
        assert door.server.statistics().close_reasons == {"stopping": 1}
    assert {"event": "listeners closed", "clients": 1, "log_level": "info"} in logged


@pytest.mark.parametrize("sent", [b"", b"GET / HT", request()])
async def test_who_has_not_said_what_he_wants_does_not_hold_up_the_stop(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped), open_stream(door) as wire:
        await wire.send(sent)
        await trio.sleep(PARTING_SECONDS)
        door.stop.set()
        assert await wait(stopped) == 0
        await wire.receive_end()


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_who_has_just_come_has_a_moment_to_say_so_and_no_longer(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped), open_stream(door) as wire:
        await wire.send(sent)
        await trio.sleep(PARTING_SECONDS / 4)
        door.stop.set()
        assert await wait(stopped) == PARTING_SECONDS * 3 / 4
        await wire.receive_end()


async def test_what_comes_from_him_in_that_moment_is_answered(autojump_clock: MockClock) -> None:
    """A connection that is closed before what it has brought is read is reset, and the client believes nobody there."""
    async with open_stoppable() as (door, stopped), open_stream(door) as asking, open_stream(door) as wire:
        await wait_all_tasks_blocked()
        door.stop.set()
        await trio.sleep(PARTING_SECONDS / 2)
        reply = await asking.ask()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await wire.open()
        assert await wire.receive_close() == STOPPING
        await wire.send(closing(1012))
        await trio.aclose_forcefully(wire.stream)
        assert await wait(stopped) == 0


@pytest.mark.parametrize(("takes", "answered"), [(PARTING_SECONDS / 2, True), (PARTING_SECONDS * 2, False)])
async def test_a_request_that_is_worked_on_is_answered_if_that_takes_a_moment(
    takes: float, answered: bool, autojump_clock: MockClock
) -> None:
    async def check() -> str | None:
        await trio.sleep(5 + takes)
        return None

    async with open_stoppable(check=check) as (door, stopped), open_stream(door) as wire:
        await wire.send(request(target="/health"))
        await trio.sleep(5)
        door.stop.set()
        took = await wait(stopped)
        assert took == min(takes, PARTING_SECONDS)
        if answered:
            reply = await wire.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        await wire.receive_end()


def test_who_comes_in_the_moment_of_the_stop_does_not_hold_it_up_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    run_threads_inline(monkeypatch)

    async def meet(turns: int) -> float:
        async with open_stoppable() as (door, stopped):
            await wait_all_tasks_blocked()
            stream = await door.listener.connect()
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            door.stop.set()
            took = await wait(stopped)
            await trio.aclose_forcefully(stream)
            return took

    times = {trio.run(meet, turns % 5, clock=MockClock(autojump_threshold=0)) for turns in range(50)}
    assert times <= {0, PARTING_SECONDS}


async def test_a_handshake_whose_answer_is_not_taken_does_not_hold_up_the_stop(autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped), open_stream(door, lockstep_stream_pair) as wire:
        await wire.send(upgrade())
        await wait_all_tasks_blocked()
        door.stop.set()
        assert await wait(stopped) == PARTING_SECONDS
        await wire.receive_end()


async def test_a_client_whose_handshake_is_answered_in_the_moment_of_the_stop_is_told(
    autojump_clock: MockClock,
) -> None:
    def pair() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        near, far = memory_stream_pair()
        far.send_stream.send_all_hook = leave
        streams.append((near, far))
        return near, far

    async def leave() -> None:
        """The answer is out, and the stop comes before the sender knows."""
        near, far = streams[0]
        memory_stream_pump(far.send_stream, near.receive_stream)
        if not door.stop.is_set():
            door.stop.set()
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()

    streams: list[Any] = []
    async with open_stoppable() as (door, stopped), open_stream(door, pair) as wire:
        await wire.open()
        assert await wire.receive_close() == STOPPING
        await wire.send(closing(1012))
        await trio.aclose_forcefully(wire.stream)
        assert await wait(stopped) == 0


async def test_unanswered_events_are_answered_before_the_close(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire:
        await wire.send(*(message("EVENT", note) for note in NOTES))
        await wait_all_tasks_blocked()
        door.stop.set()
        await trio.sleep(9)
        store.release("save_many")
        answers = [await wire.receive() for _ in NOTES]
        assert answers == [["OK", note.id, True, ""] for note in NOTES]
        assert await wire.receive_close() == STOPPING
        await wire.send(closing(1012))
        await trio.aclose_forcefully(wire.stream)
        assert await wait(stopped) == 0


async def test_an_event_that_waits_for_the_pipeline_is_stored_and_answered_all_the_same(
    autojump_clock: MockClock,
) -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_stoppable(store, options=NARROW) as (door, stopped), open_wire(door) as wire:
        for note in NOTES[:3]:  # the third waits at the intake
            await wire.send(message("EVENT", note))
            await wait_all_tasks_blocked()
        await wire.send(message("EVENT", NOTES[3]))  # and this one is not read
        door.stop.set()
        await trio.sleep(5)
        store.release("save_many")
        assert [await wire.receive() for _ in range(3)] == [["OK", note.id, True, ""] for note in NOTES[:3]]
        assert await wire.receive_close() == STOPPING
        await wire.send(closing(1012))
        await trio.aclose_forcefully(wire.stream)
        await wait(stopped)
    assert store.contents() == {note.id for note in NOTES[:3]}


async def test_a_client_whose_events_are_never_answered_is_cut_at_the_end_of_the_grace(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    store.block("save_many")
    async with open_stoppable(store, net=NetOptions(grace_seconds=7)) as (door, stopped), open_wire(door) as wire:
        await wire.send(message("EVENT", NOTES[0]))
        await wait_all_tasks_blocked()
        door.stop.set()
        assert await wait(stopped) == 7
        assert await wire.receive_end() == b""
        assert door.server.statistics().close_reasons == {"cancelled": 1}
        store.release("save_many")
    assert ("warning", 7.0) in [(entry["log_level"], entry.get("seconds")) for entry in logged]
    assert store.contents() == {NOTES[0].id}


@pytest.mark.parametrize(("grace", "close", "takes"), [(10, 4, 4), (3, 4, 3), (0, 4, 0)])
async def test_a_client_that_never_leaves_is_cut_after_the_closing_time_or_the_grace(
    grace: float, close: float, takes: float, autojump_clock: MockClock
) -> None:
    net = NetOptions(grace_seconds=grace, close_seconds=close)
    async with open_stoppable(net=net) as (door, stopped), open_wire(door):
        door.stop.set()
        assert await wait(stopped) == takes


@pytest.mark.parametrize("sent", [frame(TEXT, b"?"), message("REQ", "late", {}), message("EVENT", NOTES[0])])
async def test_what_a_client_still_says_is_not_heard(sent: bytes, autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire:
        door.stop.set()
        assert await wire.receive_close() == STOPPING
        await wire.send(sent, closing(1012))
        assert await wire.receive_end() == b""
        await trio.aclose_forcefully(wire.stream)
        assert await wait(stopped) == 0
    assert store.contents() == set()


async def test_an_answer_that_has_begun_comes_to_its_end_before_the_close(autojump_clock: MockClock) -> None:
    """Else clients that ask again from the newest event on that they have never see the rest."""
    store = await paging_store(page_events=2)
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire:
        received = await begin(wire, store, 2, message("REQ", "all", {}))
        door.stop.set()
        for _ in range(2):
            await trio.sleep(4)
            store.step("page")
            received += [await wire.receive() for _ in range(2)]
        store.release("page")
        assert [answer[2]["id"] for answer in received] == [note.id for note in HISTORY]
        assert await wire.receive() == ["EOSE", "all"]
        await expect_parting(wire, stopped)


@pytest.mark.parametrize("verb", ["REQ", "COUNT"])
@pytest.mark.parametrize(("takes", "answered"), [(PARTING_SECONDS / 2, True), (PARTING_SECONDS * 2, False)])
async def test_what_was_asked_and_has_not_begun_is_answered_if_that_takes_a_moment(
    verb: str, takes: float, answered: bool, autojump_clock: MockClock
) -> None:
    """It is not CLOSED after that: who only loses the connection asks again."""
    store = ObedientStore()
    store.block("query")
    store.block("count")
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire, trio.open_nursery() as nursery:
        await wire.send(message(verb, "a", {}))
        await wait_all_tasks_blocked()
        door.stop.set()
        nursery.start_soon(release_after, takes, store, "query", "count")
        started = trio.current_time()
        if answered:
            assert (await wire.receive())[:2] in (["EOSE", "a"], ["COUNT", "a"])
        await expect_parting(wire, stopped)
        assert trio.current_time() - started == min(takes, PARTING_SECONDS)
        assert store.cancelled["query"] + store.cancelled["count"] == (not answered)
        assert door.relay.statistics().broadcaster.subscriptions == 0
        nursery.cancel_scope.cancel()


async def test_what_waits_behind_an_answer_that_has_begun_ends_after_a_moment(autojump_clock: MockClock) -> None:
    store = await paging_store(page_events=3)
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire:
        received = await begin(wire, store, 6, *(message("REQ", name, {}) for name in "abc"))
        door.stop.set()
        await trio.sleep(PARTING_SECONDS * 2)
        store.release("page")
        received += [await wire.receive() for _ in range(8)]
        assert Counter((answer[0], answer[1]) for answer in received) == {
            ("EVENT", "a"): 6, ("EOSE", "a"): 1, ("EVENT", "b"): 6, ("EOSE", "b"): 1
        }  # fmt: skip
        await expect_parting(wire, stopped)


async def test_an_answer_counts_as_begun_when_only_a_live_event_has_come(autojump_clock: MockClock) -> None:
    store = await paging_store(page_events=6)
    store.block("query")
    async with open_stoppable(store) as (door, stopped), open_wire(door) as wire, door.client() as speaker:
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        live = ALICE.event("live")
        await speaker.publish(live)
        assert await wire.receive() == ["EVENT", "all", plain(live)]
        door.stop.set()
        await trio.sleep(PARTING_SECONDS * 2)
        store.release("query")
        store.release("page")
        assert [(await wire.receive())[2]["id"] for _ in HISTORY] == [note.id for note in HISTORY]
        assert await wire.receive() == ["EOSE", "all"]
        assert await wire.receive_close() == STOPPING
        await trio.aclose_forcefully(speaker.connection._stream)
        await expect_end(wire, stopped)


async def test_a_store_that_finds_nothing_more_of_an_answer_holds_the_stop_for_the_closing_time(
    autojump_clock: MockClock,
) -> None:
    store = await paging_store(page_events=2)
    async with open_stoppable(store, net=NetOptions(close_seconds=3)) as (door, stopped), open_wire(door) as wire:
        await begin(wire, store, 2, message("REQ", "all", {}))
        started = trio.current_time()
        door.stop.set()
        await expect_parting(wire, stopped)
        assert trio.current_time() - started == 3
        assert store.cancelled["page"] == 1


async def test_the_grace_bounds_answers_too(autojump_clock: MockClock) -> None:
    store = await paging_store(page_events=2)
    async with open_stoppable(store, net=NetOptions(grace_seconds=2)) as (door, stopped), open_wire(door) as wire:
        await begin(wire, store, 2, message("REQ", "all", {}))
        door.stop.set()
        assert await wait(stopped) == 2
        assert door.server.statistics().close_reasons == {"cancelled": 1}


async def paging_store(page_events: int) -> ObedientStore:
    """A store of `HISTORY`, which gives each page of an answer when it is told to."""
    store = ObedientStore(page_events)
    await store.save_many(HISTORY)
    store.block("page")
    return store


async def begin(wire: Wire, store: ObedientStore, events: int, *asked: bytes) -> list[list[Any]]:
    """Ask, and give what comes of the first page of each answer."""
    await wire.send(*asked)
    await wait_all_tasks_blocked()
    store.step("page")
    received = [await wire.receive() for _ in range(events)]
    assert {answer[0] for answer in received} == {"EVENT"}
    return received


async def release_after(seconds: float, store: ObedientStore, *methods: str) -> None:
    await trio.sleep(seconds)
    for method in methods:
        store.release(method)


async def expect_parting(wire: Wire, stopped: trio.Event) -> None:
    """The close frame is next, and what answers it ends the relay."""
    assert await wire.receive_close() == STOPPING
    await expect_end(wire, stopped)


async def expect_end(wire: Wire, stopped: trio.Event) -> None:
    await wire.send(closing(1012))
    await trio.aclose_forcefully(wire.stream)
    assert await wait(stopped) == 0


async def test_a_client_that_does_not_read_its_last_words_is_cut(autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped), open_wire(door, lockstep_stream_pair):
        door.stop.set()
        assert await wait(stopped) == NetOptions().close_seconds


async def test_many_clients_leave_side_by_side(autojump_clock: MockClock) -> None:
    async with open_stoppable() as (door, stopped), trio.open_nursery() as nursery:
        for seconds in range(5):
            nursery.start_soon(leave_after, door, seconds)
        await wait_all_tasks_blocked()
        door.stop.set()
        assert await wait(stopped) == 4
        assert door.server.statistics().close_reasons == {"stopping": 5}


async def leave_after(door: Door, seconds: float) -> None:
    async with open_wire(door) as wire:
        assert await wire.receive_close() == STOPPING
        await trio.sleep(seconds)
        await wire.send(closing(1012))
        await receive_end(wire)


async def receive_end(wire: Wire) -> None:
    assert await wire.receive_end() == b""


async def test_what_arrives_together_with_the_stop_holds_nothing_up(autojump_clock: MockClock) -> None:
    """The reader has its bytes and has not run yet when it is told: its events must not be waited for."""
    async with open_door() as door, open_wire(door) as wire:
        (client,) = door.server.connections
        started = trio.current_time()
        await wire.send(message("EVENT", ALICE.event()))
        client.hang_up(FAREWELL)
        assert await wire.receive_frame() == (CLOSE, (1012).to_bytes(2) + b"the relay is stopping")
        assert trio.current_time() == started


async def test_two_servers_of_one_relay_deliver_side_by_side_and_stop_by_themselves(autojump_clock: MockClock) -> None:
    notes = [ALICE.event(words) for words in ("to both", "to one")]
    async with open_stoppable() as (door, stopped), trio.open_nursery() as nursery:
        server = Server(door.relay, Endpoints(lambda: b"{}", door.relay.check, "hello\n"), NetOptions())
        other = Door(door.relay, server, MemoryListener(), trio.Event())
        await nursery.start(server.serve, [other.listener], other.stop)
        async with open_wire(other) as far, other.client() as speaker:
            async with open_wire(door) as near:
                for wire in (near, far):
                    await wire.send(message("REQ", "live", {"limit": 0}))
                    assert await wire.receive() == ["EOSE", "live"]
                await speaker.publish(notes[0])
                for wire in (near, far):
                    assert await wire.receive() == ["EVENT", "live", plain(notes[0])]
            door.stop.set()
            await wait(stopped)
            assert await speaker.publish(notes[1]) == ["OK", notes[1].id, True, ""]
            assert await far.receive() == ["EVENT", "live", plain(notes[1])]
        other.stop.set()
