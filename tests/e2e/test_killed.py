"""kill -9 in the middle of a load: whatever got its OK is there afterwards."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.keys import NOW, Author
from tests.support.program import Program, running
from tests.support.program_load import everything
from tests.support.server import Talker
from trio_relay import Event

pytestmark = pytest.mark.slow

_WINDOW = 40
_ENOUGH = 200
_KILLS = 2


class Load:
    """Clients that publish without end, what has been acknowledged to them, and the kill in the middle of it.

    It comes with the first answer to a window, when a relay that answers too early has not stored it yet.
    """

    def __init__(self, program: Program) -> None:
        self.acknowledged: dict[str, Event] = {}
        self._program = program

    async def publish(self, author: Author) -> None:
        """Send a window of events, read the answers, send the next, until the relay is gone."""
        async with self._program.client() as client:
            with suppress(ConnectionClosed):
                for start in count(step=_WINDOW):
                    await self._publish_window(client, author, range(start, start + _WINDOW))

    async def _publish_window(self, client: Talker, author: Author, numbers: range) -> None:
        events = [author.event(f"{number}", created_at=NOW + number) for number in numbers]
        sent = {event.id: event for event in events}
        for event in events:
            await client.send("EVENT", event)
        while sent:
            answer = await client.receive()
            if len(sent) == _WINDOW and len(self.acknowledged) >= _ENOUGH:
                self._program.process.kill()
            assert answer == ["OK", answer[1], True, ""]
            event = sent.pop(answer[1])
            self.acknowledged[event.id] = event


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_a_relay_killed_again_and_again_has_lost_nothing_that_it_acknowledged(
    tmp_path: Path, processes: dict[str, str], synchronous: str
) -> None:
    await _kill_again_and_again(tmp_path, {**processes, "store.synchronous": synchronous})


async def test_nor_has_one_whose_events_are_in_opensearch(tmp_path: Path, opensearch: dict[str, str]) -> None:
    await _kill_again_and_again(tmp_path, opensearch)


async def _kill_again_and_again(tmp_path: Path, settings: dict[str, str]) -> None:
    acknowledged: dict[str, Event] = {}
    for attempt in range(_KILLS):
        async with running(tmp_path, settings) as program:
            load = Load(program)
            async with trio.open_nursery() as clients:
                for name in ("alice", "bob", "carol", "dave"):
                    clients.start_soon(load.publish, Author(f"{name} {attempt}"))
            assert await program.wait() == -SIGKILL
        assert len(load.acknowledged) > _ENOUGH
        acknowledged |= load.acknowledged
    async with running(tmp_path, settings) as program, program.client() as client:
        found = {event["id"]: event for event in await everything(client)}
    expected = {event_id: msgspec.to_builtins(event) for event_id, event in acknowledged.items()}
    assert {event_id: found.get(event_id) for event_id in expected} == expected
