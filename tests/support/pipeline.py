"""The pipeline without doors: what a program that embeds the relay holds in its hands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio

from tests.support.keys import NOW
from trio_relay import Filter, Limits, Outbox, Relay, RelayOptions, Submission, Subscription, open_relay
from trio_relay.nostr.event import Event
from trio_relay.pipeline.outbox import unframed
from trio_relay.store.base import Store


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


def new_outbox(most_bytes: int = 2**20) -> Outbox:
    """An outbox of a client in the same process, which does not mind an overflow."""
    return Outbox(unframed, most_bytes, lambda: None)


def subscription(*filters: Filter, sub_id: str = "sub", outbox: Outbox | None = None) -> Subscription:
    """A subscription; what it sends is `waiting` in its outbox."""
    return Subscription(sub_id, filters or (Filter(limit=500),), outbox or new_outbox())


async def waiting(outbox: Outbox) -> list[list[Any]]:
    """The messages that wait in an outbox, taken out of it; their frames must be bare."""
    joined = b""
    with trio.move_on_after(0):
        while True:
            taken, cost = await outbox.take()
            outbox.sent(cost)
            joined += taken
            if not cost:
                break
    return list(_values(joined.decode()))


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
