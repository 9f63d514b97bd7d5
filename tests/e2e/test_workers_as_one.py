"""Several processes that are one relay to the outside: what one knows all know, at once and once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import trio

from tests.support.crew import TWO, client_of, figures, pids, stream_to, successor
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.program import MODULE, Program, finished, running
from tests.support.server import Talker
from tests.support.wire import Wire, upgrade
from trio_relay import Event

pytestmark = pytest.mark.slow

_TURNS = 60
_EVENTS = 2_000
_WINDOW = 50
_LATER = 6
"""Subscriptions on each worker that are opened while events come."""
_EVERY = {"kinds": [1], "limit": 5_000}
_PLACES = """
[net]
max_connections = {}
max_connections_per_address = 1
"""


@asynccontextmanager
async def pair(folder: Path, settings: dict[str, str] | None = None) -> AsyncIterator[tuple[Program, Talker, Talker]]:
    """A program of two workers, and a client of each."""
    async with (
        running(folder, {**TWO, **(settings or {})}) as program,
        client_of(program, 1) as one,
        client_of(program, 2) as other,
    ):
        yield program, one, other


async def ids(client: Talker, *filters: dict[str, Any]) -> list[str]:
    found = [event["id"] for event in await client.ask("a", *filters)]
    await client.send("CLOSE", "a")
    return found


async def stored(client: Talker, event: Event) -> None:
    assert await client.publish(event) == ["OK", event.id, True, ""]


async def test_what_one_has_acknowledged_the_other_finds_counts_and_knows(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, *clients):
        sides = cycle([clients, clients[::-1]])
        for number in range(_TURNS):
            here, there = next(sides)
            note = ALICE.event(f"{number}", created_at=NOW + number)
            await stored(here, note)
            assert await ids(there, {"ids": [note.id]}) == [note.id]
            assert await ids(there, {"authors": [ALICE.pubkey], "limit": 1}) == [note.id]
            assert await there.count("c", {"authors": [ALICE.pubkey]}) == number + 1
            assert await there.publish(note) == ["OK", note.id, True, "duplicate: already have this event"]


async def test_what_one_has_replaced_deleted_or_forgotten_the_other_does_not_find(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, *clients):
        sides = cycle([clients, clients[::-1]])
        old: Event | None = None
        for number in range(_TURNS):
            here, there = next(sides)
            await _replaced(here, there, old, profile := BOB.event(f"{number}", kind=0, created_at=NOW + number))
            old = profile
            await _deleted(here, there, number)
            await _vanished(here, there, Author(f"somebody {number}"))


async def _replaced(here: Talker, there: Talker, old: Event | None, new: Event) -> None:
    await stored(here, new)
    assert await ids(there, {"authors": [BOB.pubkey], "kinds": [0]}) == [new.id]
    if old is not None:
        _, event_id, accepted, reason = await there.publish(old)
        assert (event_id, accepted, reason.partition(":")[0]) == (old.id, False, "duplicate")


async def _deleted(here: Talker, there: Talker, number: int) -> None:
    note = ALICE.event(f"{number}", created_at=NOW + number)
    await stored(here, note)
    await stored(there, ALICE.event(kind=5, created_at=NOW + number, tags=[["e", note.id]]))
    for client in (here, there):
        assert await ids(client, {"ids": [note.id]}) == []
        assert (await client.publish(note))[2] is False


async def _vanished(here: Talker, there: Talker, author: Author) -> None:
    notes = [author.event(text) for text in "abc"]
    for note in notes:
        await stored(here, note)
    await stored(there, author.event(kind=62, created_at=NOW + 1, tags=[["relay", "ALL_RELAYS"]]))
    for client in (here, there):
        assert await ids(client, {"authors": [author.pubkey], "kinds": [1]}) == []
        assert await client.publish(notes[0]) == ["OK", notes[0].id, False, "blocked: its author has asked to vanish"]


async def test_every_subscriber_has_every_event_once_whenever_it_came(tmp_path: Path) -> None:
    """Events are published on both workers in turns, and subscriptions are opened on both meanwhile."""
    events = [ALICE.event(f"{number}", created_at=NOW + number) for number in range(_EVENTS)]
    last = ALICE.event("last", created_at=NOW + _EVENTS)
    seen: dict[str, list[str]] = {}
    async with pair(tmp_path) as (program, *publishers):
        done = 0
        marks = iter(range(0, _EVENTS, _EVENTS // _LATER))
        due = [trio.Event() for _ in marks]

        async def publish(client: Talker, mine: list[Event]) -> None:
            nonlocal done
            for window in _windows(mine):
                for event in window:
                    await client.send("EVENT", event)
                for _ in window:
                    answer = await client.receive()
                    assert answer == ["OK", answer[1], True, ""]
                    done += 1
                for mark in due[: 1 + done * len(due) // _EVENTS]:
                    mark.set()

        async def subscribe(worker: int, mark: trio.Event) -> None:
            async with client_of(program, worker) as client:
                await mark.wait()
                found = seen[f"{worker} {due.index(mark)}"] = []
                await client.send("REQ", "every", _EVERY)
                while (message := await client.receive())[-1] != "every" and message[2]["id"] != last.id:
                    found.append(message[2]["id"])
                if message[0] == "EOSE":
                    while (message := await client.receive())[2]["id"] != last.id:
                        found.append(message[2]["id"])
                assert await ids(client, {"ids": [last.id]}) == [last.id]  # nothing comes in between

        async with trio.open_nursery() as subscribers:
            for mark in due:
                for worker in (1, 2):
                    subscribers.start_soon(subscribe, worker, mark)
            async with trio.open_nursery() as publishing:
                for place, client in enumerate(publishers):
                    publishing.start_soon(publish, client, events[place::2])
            await stored(publishers[0], last)
    expected = sorted(event.id for event in events)
    assert len(seen) == 2 * len(due)
    assert [name for name, found in seen.items() if sorted(found) != expected] == []


def _windows(events: list[Event]) -> Iterator[list[Event]]:
    for start in range(0, len(events), _WINDOW):
        yield events[start : start + _WINDOW]


async def test_what_nobody_stores_comes_to_subscribers_of_all(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, *clients):
        for client in clients:
            assert await client.ask("live", {"kinds": [20_001]}) == []
        for number, client in enumerate(clients):
            event = ALICE.event(f"{number}", kind=20_001)
            await client.send("EVENT", event)
            heard = [[(await each.receive())[:3] for _ in range(1 + (each is client))] for each in clients]
            for each, messages in zip(clients, heard, strict=True):
                assert sorted(message[0] for message in messages) == ["EVENT", *(["OK"] if each is client else [])]


async def knock(program: Program, worker: int, address: str) -> int:
    """The status of a handshake with this worker; who was let in leaves at once."""
    async with await stream_to(program, worker, local_address=address) as stream:
        wire = Wire(stream)
        await wire.send(upgrade())
        return (await wire.reply()).status


async def test_connections_are_counted_over_all_workers_and_of_one_address_too(tmp_path: Path) -> None:
    settings = {**TWO, "net.max_connections": "6", "net.max_connections_per_address": "2"}
    async with running(tmp_path, settings) as program, AsyncExitStack() as guests:
        for worker in (1, 2):
            await guests.enter_async_context(client_of(program, worker, local_address="127.0.0.2"))
        assert [await knock(program, worker, "127.0.0.2") for worker in (1, 2)] == [429, 429]
        for number in range(3, 7):
            await guests.enter_async_context(client_of(program, 1 + number % 2, local_address=f"127.0.0.{number}"))
        assert [await knock(program, worker, "127.0.0.9") for worker in (1, 2)] == [503, 503]
        seen = await figures(program)
        assert seen["trio_relay_connections"] == 6
        assert [seen[f'trio_relay_worker_connections{{worker="{number}"}}'] for number in (1, 2)] == [3, 3]
        await _leave_room_by_a_crash(program)
        assert [await knock(program, worker, "127.0.0.9") for worker in (1, 2)] == [101, 101]


async def test_addresses_are_counted_over_all_workers_where_a_reload_has_let_in_more(tmp_path: Path) -> None:
    (file := tmp_path / "relay.toml").write_text(_PLACES.format(2))
    async with running(tmp_path, TWO, command=(*MODULE, "--config", file.name)) as program, AsyncExitStack() as guests:
        file.write_text(_PLACES.format(500))
        assert (await finished(tmp_path, "reload", "--config", file.name, settings=TWO)).returncode == 0
        addresses = [f"127.0.0.{number}" for number in range(2, 102)]
        for address in addresses:
            await guests.enter_async_context(client_of(program, 1, local_address=address))
        assert {await knock(program, 2, address) for address in addresses} == {429}


async def _leave_room_by_a_crash(program: Program) -> None:
    """Kill the second worker, and wait for the next."""
    killed = pids(program)[2]
    os.kill(killed, SIGKILL)
    await successor(program, 2, killed)
    await (await stream_to(program, 2)).aclose()


async def test_its_health_and_its_numbers_are_those_of_the_whole(tmp_path: Path) -> None:
    async with pair(tmp_path) as (program, one, other):
        for number in range(10):
            await stored(one, ALICE.event(f"{number}"))
        for number in range(5):
            await stored(other, BOB.event(f"{number}"))
        assert await one.ask("a", {"authors": [BOB.pubkey]}) != []
        before = await figures(program)
        killed = pids(program)[2]
        os.kill(killed, SIGKILL)
        while pids(program)[2] == killed:
            assert (await program.get("/health")).json() == {"status": "ok"}
        async with client_of(program, 2) as again:
            await stored(again, BOB.event("again"))
            after = await figures(program)
    assert before['trio_relay_events_total{outcome="stored"}'] == 15
    assert after['trio_relay_events_total{outcome="stored"}'] == 16
    assert before["trio_relay_connections"] == after["trio_relay_connections"] == 2
    assert before["trio_relay_subscriptions"] == after["trio_relay_subscriptions"] == 1
    events = [[seen[f'trio_relay_worker_events_total{{worker="{n}"}}'] for n in (1, 2)] for seen in (before, after)]
    assert events == [[10, 5], [10, 1]]
