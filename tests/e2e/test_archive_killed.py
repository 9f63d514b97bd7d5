"""kill -9 while versions replace each other: each is in the store or in the archive, never in both or in neither."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.backends import archived, everything
from tests.support.keys import NOW, Author
from tests.support.program import Program, running
from trio_relay import Filter, SqliteOptions
from trio_relay.store import sqlite

pytestmark = pytest.mark.slow

_WINDOW = 20
_ENOUGH = 200
_KILLS = 3


class Editor:
    """Somebody who publishes versions of one article without end, and what became of them."""

    def __init__(self, program: Program, author: Author) -> None:
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self._program = program
        self._author = author

    async def publish(self) -> None:
        """Send a window of versions, read the answers, send the next, until the relay is gone."""
        async with self._program.client() as client:
            with suppress(ConnectionClosed):
                for start in count(step=_WINDOW):
                    for at in range(start, start + _WINDOW):
                        event = self._author.event(f"{at}", kind=30_023, created_at=NOW + at, tags=[["d", "x"]])
                        self.sent.append(event.id)
                        await client.send("EVENT", event)
                    for _ in range(_WINDOW):
                        verb, event_id, accepted, said = await client.receive()
                        assert (verb, accepted, said) == ("OK", True, "")
                        self.acknowledged.append(event_id)
                        if len(self.acknowledged) >= _ENOUGH:
                            self._program.process.kill()


async def test_each_version_is_in_one_place_alone(tmp_path: Path, processes: dict[str, str]) -> None:
    settings = {**processes, "store.archive": "true"}
    sent: set[str] = set()
    acknowledged: set[str] = set()
    for attempt in range(_KILLS):
        async with running(tmp_path, settings) as program:
            editors = [Editor(program, Author(f"{name} {attempt}")) for name in ("alice", "bob", "carol")]
            async with trio.open_nursery() as nursery:
                for editor in editors:
                    nursery.start_soon(editor.publish)
            assert await program.wait() == -SIGKILL
        sent |= {event_id for editor in editors for event_id in editor.sent}
        acknowledged |= {event_id for editor in editors for event_id in editor.acknowledged}
        path = str(tmp_path / "data" / "relay.db")
        async with sqlite.open_sqlite_for_reading(SqliteOptions(path=path)) as store:
            standing = [event.id for event in await everything(store)]
            gone = await store.archived_ids([Filter()])
            assert [one.id for one in await archived(store)] == gone, "although what stands is left out here"
        assert len(gone) == len(set(gone)) > _ENOUGH * (attempt + 1) - 3 * len(editors)
        assert set(gone).isdisjoint(standing)
        assert acknowledged <= {*gone, *standing} <= sent
