"""kill -9 of one process of several: who is taken along, who is started again, and what is there afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from signal import SIGKILL, SIGTERM

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.e2e.test_workers_and_ctrl_c import in_a_terminal
from tests.support.crew import TWO, all_gone, client_of, everybody, figures, pids, successor
from tests.support.keys import ALICE, NOW, Author
from tests.support.program import Program, running
from tests.support.program_load import everything, publish_all
from tests.support.server import Talker
from trio_relay import Event

pytestmark = pytest.mark.slow

_WINDOW = 40
_ENOUGH = 200
_PLACES = (1, 2, 1, 2)
"""The workers of the clients."""


async def test_a_killed_worker_takes_only_its_own_clients_along(tmp_path: Path) -> None:
    first, second, third = (ALICE.event(text) for text in ("before", "meanwhile", "after"))
    async with running(tmp_path, TWO) as program, client_of(program, 1) as stays:
        async with client_of(program, 2) as goes:
            assert await goes.publish(first) == ["OK", first.id, True, ""]
            assert [event["id"] for event in await stays.ask("live", {})] == [first.id]
            killed = pids(program)[2]
            os.kill(killed, SIGKILL)
            with pytest.raises(ConnectionClosed):
                await goes.receive()
        async with client_of(program, 1) as another:
            assert await another.publish(second) == ["OK", second.id, True, ""]
        assert (await stays.receive())[2]["id"] == second.id
        await successor(program, 2, killed)
        async with client_of(program, 2) as again:
            assert {event["id"] for event in await again.ask("a", {})} == {first.id, second.id}
            await again.send("CLOSE", "a")
            assert await again.publish(third) == ["OK", third.id, True, ""]
        assert (await stays.receive())[2]["id"] == third.id
        seen = await figures(program)
        program.signal(SIGTERM)
        assert await program.wait() == 0
    assert (seen["trio_relay_workers"], seen["trio_relay_workers_crashed_total"]) == (2, 1)
    restarts = [seen[f'trio_relay_worker_restarts_total{{worker="{number}"}}'] for number in (1, 2)]
    assert restarts == [0, 1]
    [crash] = [line for line in program.log if line["event"] == "worker has crashed"]
    assert (crash["worker"], crash["pid"], crash["signal"]) == (2, killed, "SIGKILL")


async def test_five_crashes_within_a_minute_end_the_whole_with_a_plain_line(tmp_path: Path) -> None:
    async with running(tmp_path, TWO) as program, client_of(program, 1) as client:
        killed = 0
        for _ in range(5):
            killed = await successor(program, 2, killed)
            os.kill(killed, SIGKILL)
        processes = everybody(program)
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert await program.wait() == 1
        await all_gone(processes)
    *_, last = program.err.splitlines()
    assert last.startswith(
        "trio-relay: 5 crashes of workers within a minute; the last: worker 2 was ended by SIGKILL after "
    )
    assert "Traceback" not in program.err
    assert "stopped" not in program.out


async def test_the_end_of_the_keeper_is_the_end_of_all_and_the_next_start_has_everything(tmp_path: Path) -> None:
    events = [ALICE.event(f"{number}", created_at=NOW + number) for number in range(200)]
    async with running(tmp_path, TWO) as program, client_of(program, 1) as one, client_of(program, 2) as other:
        answers = await publish_all(one, events[:100]) | await publish_all(other, events[100:])
        assert set(answers.values()) == {(True, "")}
        processes = everybody(program)
        program.signal(SIGKILL)
        for client in (one, other):
            with pytest.raises(ConnectionClosed):
                await client.receive()
        assert await program.wait() == -SIGKILL
        await all_gone(processes)
    async with running(tmp_path, TWO) as again, client_of(again, 2) as client:
        assert await everything(client) == [msgspec.to_builtins(event) for event in reversed(events)]


async def test_the_end_of_the_keeper_in_the_middle_of_the_start_is_the_end_of_all_too(tmp_path: Path) -> None:
    """When the workers have been started, and have not heard of anything yet."""
    async with in_a_terminal(tmp_path) as program:
        await program.until(lambda log: sum(line["event"] == "worker started" for line in log) == 2)
        processes = everybody(program)
        program.signal(SIGKILL)
        assert await program.wait() == -SIGKILL
        await all_gone(processes)
    assert len(processes) == 3
    async with running(tmp_path, TWO) as again, client_of(again, 2) as client:
        assert await everything(client) == []


class Load:
    """Clients that publish without end, and what has been acknowledged to them.

    Args:
        program: of two workers.
        acknowledged: takes what is.
        strike: called once with the first answer to a window, when a relay that answers too early has not stored it.
    """

    def __init__(self, program: Program, acknowledged: dict[str, Event], strike: Callable[[], None]) -> None:
        self._program = program
        self._acknowledged = acknowledged
        self._enough = len(acknowledged) + _ENOUGH
        self._strike = strike
        self._has_struck = False
        self._connected = 0

    async def publish(self, author: Author, worker: int) -> None:
        """Send a window of events, read the answers, send the next, until the worker is gone, or another was struck."""
        async with client_of(self._program, worker) as client:
            self._connected += 1
            with suppress(ConnectionClosed):
                for start in count(step=_WINDOW):
                    await self._publish_window(client, author, range(start, start + _WINDOW))
                    if self._has_struck:
                        return

    async def _publish_window(self, client: Talker, author: Author, numbers: range) -> None:
        sent = {event.id: event for event in (author.event(f"{n}", created_at=NOW + n) for n in numbers)}
        for event in sent.values():
            await client.send("EVENT", event)
        for answered in range(_WINDOW):
            answer = await client.receive()
            if answered == 0 and self._is_time():
                self._has_struck = True
                self._strike()
            assert answer == ["OK", answer[1], True, ""]
            self._acknowledged[answer[1]] = sent[answer[1]]

    def _is_time(self) -> bool:
        all_are_there = self._connected == len(_PLACES)
        return all_are_there and len(self._acknowledged) >= self._enough and not self._has_struck

    async def run(self, name: str) -> None:
        """Two clients on each worker, until each has come to its end."""
        async with trio.open_nursery() as clients:
            for number, worker in enumerate(_PLACES):
                clients.start_soon(self.publish, Author(f"{name} {number}"), worker)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
async def test_kills_in_the_middle_of_a_load_lose_nothing_that_was_acknowledged(tmp_path: Path, kills: int) -> None:
    """Of a worker, of the keeper, of the other worker, of the keeper, and so on."""
    acknowledged: dict[str, Event] = {}
    for kill in range(0, kills, 2):
        victim = 1 + kill // 2 % 2
        async with running(tmp_path, TWO) as program:
            processes = everybody(program)
            killed = pids(program)[victim]
            await Load(program, acknowledged, partial(os.kill, killed, SIGKILL)).run(f"a worker {kill}")
            async with client_of(program, 3 - victim) as client:
                _compare(await everything(client), acknowledged)
            await successor(program, victim, killed)
            if kill + 1 < kills:
                await Load(program, acknowledged, program.process.kill).run(f"the keeper {kill}")
                assert await program.wait() == -SIGKILL
            else:
                program.signal(SIGTERM)
                assert await program.wait() == 0
            await all_gone([*processes, *everybody(program)])
    async with running(tmp_path, TWO) as program, client_of(program, 1) as client:
        found = await everything(client)
    _compare(found, acknowledged)
    print(f"{kills} kills, {len(acknowledged)} events acknowledged, all of them among {len(found)} found")


def _compare(found: list[dict[str, object]], acknowledged: dict[str, Event]) -> None:
    """Everything that was acknowledged is there as it was."""
    there = {event["id"]: event for event in found}
    expected = {event_id: msgspec.to_builtins(event) for event_id, event in acknowledged.items()}
    assert {event_id: there.get(event_id) for event_id in expected} == expected
