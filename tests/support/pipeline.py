"""The pipeline without doors: what a program that embeds the relay holds in its hands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from tests.support.keys import NOW
from trio_relay import Event, Filter, Limits, Relay, RelayOptions, Store, Submission, Subscription, open_relay
from trio_relay.pipeline.queries import Queries
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.pipeline.recipient import Frame, Recipient, unframed


class Replies:
    """Hears the answers to events, in their order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool, str]] = []

    def __call__(self, event: Event, accepted: bool, reason: str) -> None:
        self.heard.append((event.id, accepted, reason))

    def batch(self, *events: Event) -> list[Submission]:
        """Events that are answered here."""
        return [Submission(event, self, trio.current_time()) for event in events]

    @property
    def accepted(self) -> set[str]:
        """The ids that got OK true."""
        return {event_id for event_id, accepted, _ in self.heard if accepted}


@asynccontextmanager
async def open_desk(
    store: Store, *, limits: Limits | None = None, **options: Any
) -> AsyncIterator[tuple[Relay, Replies]]:
    """A relay whose clock stands at `NOW`, and an ear for its answers; `options` are those of the pipeline."""
    async with open_relay(store, RelayOptions(**options), limits, clock=lambda: NOW) as relay:
        yield relay, Replies()


def turns_of(seconds: float) -> QueryTurns:
    """Turns of four steps at a time, each of which may take so long."""
    return QueryTurns(4, seconds)


def queries(
    store: Store,
    seconds: float = 10.0,
    pending_ids: Collection[str] = frozenset(),
    *,
    most: int = 5_000,
    hints: bool = False,
) -> Queries:
    """Queries without a relay."""
    return Queries(store, turns_of(seconds), pending_ids, most, hints=hints)


class LocalClient:
    """A client in the same process: it is bounded as others are, and reads when the test does."""

    def __init__(self, most_bytes: int = 2**20, frame: Frame = unframed, chunk_bytes: int = 2**20) -> None:
        self.frame = self.live_frame = frame
        self.chunk_bytes = min(chunk_bytes, most_bytes // 2)
        self.is_gone = False
        """True once it has been too slow, or was told to be gone."""
        self._most = most_bytes
        self._waiting: list[bytes] = []
        self._has_read = trio.Event()

    def send_nowait(self, message: bytes) -> None:
        self.send_framed_nowait(self.frame(message))

    def send_framed_nowait(self, framed: bytes) -> None:
        self.is_gone = self.is_gone or (bool(self._waiting) and _cost([*self._waiting, framed]) > self._most)
        if not self.is_gone:
            self._waiting.append(framed)

    def has_room_for(self, size: int) -> bool:
        return _cost(self._waiting) + size <= self._most // 2 and not self.is_gone

    async def wait_for_room(self, framed: Sequence[bytes] = (), page: Sequence[bytes] = ()) -> None:
        below = min(self._most // 2, self._most - _cost(framed))
        while self._waiting and _cost(self._waiting) > below and not self.is_gone:
            await self._has_read.wait()

    def read(self) -> bytes:
        """All that waits."""
        taken, self._waiting = self._waiting, []
        self._has_read.set()
        self._has_read = trio.Event()
        return b"".join(taken)


def _cost(framed: Sequence[bytes]) -> int:
    return sum(len(one) + 64 for one in framed)


def subscription(*filters: Filter, sub_id: str = "sub", recipient: Recipient | None = None) -> Subscription:
    """A subscription; what it sends is `waiting` for its client."""
    return Subscription(sub_id, filters or (Filter(limit=500),), recipient or LocalClient())


async def waiting(client: Recipient) -> list[list[Any]]:
    """The messages that wait for a local client, which reads them; their frames must be bare."""
    assert isinstance(client, LocalClient)
    return list(_values(client.read().decode()))


def _values(text: str) -> list[list[Any]]:
    values, position = [], 0
    while position < len(text):
        value, position = json.JSONDecoder().raw_decode(text, position)
        values.append(value)
    return values


def ids(messages: list[list[Any]]) -> list[str]:
    """What messages tell a client: the id of each EVENT, the verb of all else."""
    return [message[2]["id"] if message[0] == "EVENT" else message[0] for message in messages]


class Steps(trio.abc.Instrument):
    """How often a task has been resumed."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.number = 0
        self._task = task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.number += task is self._task


@contextmanager
def counted_steps(task: trio.lowlevel.Task | None = None) -> Iterator[Steps]:
    """Count how often this task, or the current one, is resumed."""
    steps = Steps(task or trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(steps)
    yield steps
    trio.lowlevel.remove_instrument(steps)
