"""What it costs to route an event through one of the pipeline's memory channels, from a task to another.

All of it happens in one thread that never waits, so its CPU is also what it takes on an idle core.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, TypeAlias

import trio

from perf.micro.rows import CPU, Row, each
from trio_relay import RelayOptions, Submission
from trio_relay.nostr.event import Event, encode
from trio_relay.pipeline.batches import Batches

PARCEL: Final = 64
"""Events that one read brings from a busy client: some 600 bytes each, 64 KiB at most."""
_MOST_MICROSECONDS: Final = 10.0

_Parcels: TypeAlias = Sequence[list[Submission]]


def channels(events: Sequence[Event], count: int = 20_000) -> list[Row]:
    """Submissions through a channel of the intake's size, parcel by parcel and batch by batch.

    Args:
        events: at least one; they are taken again and again.
        count: messages of a round.
    """
    messages = [_submission(events[number % len(events)]) for number in range(count)]
    alone = [[message] for message in messages]
    parcels = [messages[start : start + PARCEL] for start in range(0, count, PARCEL)]
    ways = {
        "parcels of one event, received one by one": lambda: trio.run(_one_by_one, alone),
        "parcels of one event, those that wait received together": lambda: trio.run(_as_batches, alone),
        f"parcels of {PARCEL} events, those that wait received together": lambda: trio.run(_as_batches, parcels),
        "parcels of one event, send_nowait and receive_nowait": lambda: trio.run(_nowait, alone),
        f"parcels of {PARCEL} events, send_nowait and receive_nowait": lambda: trio.run(_nowait, parcels),
    }
    return [Row(what, each(way, count), CPU, _MOST_MICROSECONDS) for what, way in ways.items()]


def _submission(event: Event) -> Submission:
    return Submission(event, _hear, 0.0, len(encode(event)))


def _hear(event: Event, accepted: bool, reason: str) -> None:
    """Nobody answers here."""


def _open() -> tuple[trio.MemorySendChannel[list[Submission]], trio.MemoryReceiveChannel[list[Submission]]]:
    return trio.open_memory_channel[list[Submission]](RelayOptions().channel_parcels)


async def _send(parcels: _Parcels, intake: trio.MemorySendChannel[list[Submission]]) -> None:
    with intake:
        for parcel in parcels:
            await intake.send(parcel)


async def _one_by_one(parcels: _Parcels) -> float:
    intake, to_verify = _open()
    start = time.thread_time()
    taken = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, parcels, intake)
        async for parcel in to_verify:
            taken += len(parcel)
    return _seconds(start, taken, parcels)


async def _as_batches(parcels: _Parcels) -> float:
    """As the stages receive."""
    intake, to_verify = _open()
    start = time.thread_time()
    taken = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, parcels, intake)
        async for batch in Batches(to_verify, RelayOptions().verify_batch, attrgetter("size")):
            taken += len(batch)
    return _seconds(start, taken, parcels)


async def _nowait(parcels: _Parcels) -> float:
    """In one task: the channel's own part, without a change of tasks."""
    intake, to_verify = _open()
    start = time.thread_time()
    taken = 0
    for parcel in parcels:
        intake.send_nowait(parcel)
        taken += len(to_verify.receive_nowait())
    return _seconds(start, taken, parcels)


def _seconds(start: float, taken: int, parcels: _Parcels) -> float:
    seconds = time.thread_time() - start
    assert taken == sum(map(len, parcels))
    return seconds
