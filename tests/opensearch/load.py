"""The real program on a node that a test does harm to: clients that publish without end, and what became of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from tests.support.keys import NOW, Author
from tests.support.program import PATIENCE, Program, finished, running
from tests.support.server import Talker

_WINDOW: Final = 20


@asynccontextmanager
async def relay_on(url: str, prefix: str, folder: Path, **options: str) -> AsyncIterator[Program]:
    """The program on an index that `trio-relay migrate` has made; `options` are those of the store."""
    settings = {"store.backend": "opensearch", "opensearch.urls": f'["{url}"]', "opensearch.prefix": prefix}
    migrated = await finished(folder, "migrate", settings=settings)
    assert (migrated.returncode, migrated.stderr) == (0, b"")
    settings |= {"pipeline.query_seconds": "1.0"} | {f"opensearch.{name}": value for name, value in options.items()}
    async with running(folder, settings) as program:
        yield program


async def health(program: Program, expected: int) -> str:
    """Wait until /health answers with this status; gives what it says."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await program.get("/health")
            if answer.status_code == expected:
                return answer.text
            await trio.sleep(0.05)


async def refusal(client: Talker, *message: object) -> str:
    """Why a request was ended; nothing else may come."""
    await client.send(*message)
    verb, sub_id, reason = await client.receive()
    assert (verb, sub_id) == ("CLOSED", message[1])
    assert isinstance(reason, str)
    return reason


def stored(url: str, prefix: str) -> int:
    """How many documents with an event the index has."""
    httpx.post(f"{url}/{prefix}-events/_refresh", timeout=PATIENCE).raise_for_status()
    answer = httpx.get(f"{url}/{prefix}-events/_count", params={"q": "_exists_:id"}, timeout=PATIENCE)
    number: int = answer.json()["count"]
    return number


class Load:
    """Clients that publish a window of events, read the answers, and publish the next, until they are told to stop.

    Attributes:
        answers: of each event, accepted or not, and why.
        heard: ids in the order in which a client that listens has heard them live.
    """

    def __init__(self, program: Program) -> None:
        self.answers: dict[str, tuple[bool, str]] = {}
        self.sent: dict[str, Any] = {}
        self.heard: list[str] = []
        self._program = program
        self._is_over = False
        self._more = trio.Event()

    @property
    def accepted(self) -> set[str]:
        """The ids that got OK true."""
        return {event_id for event_id, (accepted, _) in self.answers.items() if accepted}

    @property
    def refused(self) -> set[str]:
        """The ids that got OK false."""
        return self.answers.keys() - self.accepted

    @asynccontextmanager
    async def under_way(self, *names: str) -> AsyncIterator[None]:
        """Publish and listen while the context lasts; then everything is answered, and what was accepted is heard."""
        async with self._program.client() as listener, trio.open_nursery() as nursery:
            assert await listener.ask("live", {"limit": 0}) == []
            nursery.start_soon(self._listen, listener)
            async with trio.open_nursery() as clients:
                for name in names:
                    clients.start_soon(self._publish, Author(name))
                yield
                self._is_over = True
            with trio.fail_after(PATIENCE):
                while not self.accepted.issubset(self.heard):
                    await self._more.wait()
            nursery.cancel_scope.cancel()

    async def more(self, number: int, *, accepted: bool) -> None:
        """Wait until so many more events have got this answer."""
        start = len(self.accepted if accepted else self.refused)
        with trio.fail_after(PATIENCE):
            while len(self.accepted if accepted else self.refused) < start + number:
                await self._more.wait()

    async def _listen(self, client: Talker) -> None:
        while True:
            verb, sub_id, event = await _message(client)
            assert (verb, sub_id) == ("EVENT", "live")
            self.heard.append(event["id"])
            self._tell()

    async def _publish(self, author: Author) -> None:
        async with self._program.client() as client:
            for start in count(step=_WINDOW):
                if self._is_over:
                    return
                events = [author.event(f"{n}", created_at=NOW + n) for n in range(start, start + _WINDOW)]
                for event in events:
                    self.sent[event.id] = event
                    await client.send("EVENT", event)
                for _ in events:
                    verb, event_id, accepted, reason = await _message(client)
                    assert verb == "OK"
                    assert event_id not in self.answers
                    self.answers[event_id] = accepted, reason
                    self._tell()

    def _tell(self) -> None:
        self._more.set()
        self._more = trio.Event()


async def _message(client: Talker) -> list[Any]:
    """The next message, however long the node is away."""
    with trio.move_on_after(10 * PATIENCE):
        return await client.receive()
    raise AssertionError("no message")
