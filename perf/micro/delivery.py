"""How long an accepted event takes to its OK and to its subscribers, in process: the whole pipeline over SQLite.

The time begins when an event is handed to `Relay.publish`, and ends when the sender hears that it is on disk, or when a
subscriber's frame is taken out of its outbox, which is what the network would do next. Who publishes and who listens
shares the relay's thread, so rates are lower bounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import trio

from perf.micro.clients import Listener, Log, Publisher
from perf.micro.rows import RATE, Row, spread
from trio_relay import Relay, SqliteOptions, open_relay, open_sqlite
from trio_relay.net.flush import Flushes
from trio_relay.nostr.event import Event

_CONNECTIONS: Final = 10
_PARCEL: Final = 100
"""Events that one read brings in a flood."""
_MOST_MICROSECONDS: Final = 10_000.0
_LEAST_MESSAGES: Final = 50_000.0


def delivery(events: Sequence[Event], lone: int = 500, flood: int = 5_000, listeners: int = 50) -> list[Row]:
    """One event at a time; as many as go; half as many at random times; and as many as go to many subscribers.

    Args:
        events: at least as many as one of the next two.
        lone: how many one at a time.
        flood: how many in each of the other loads.
        listeners: that get each event of the last load.
    """
    rows = trio.run(_one_at_a_time, events[:lone])
    flooded, rate = trio.run(_flooding, events[:flood])
    halved = trio.run(_at_random_times, events[:flood], rate / 2)
    return [*rows, *flooded, *halved, trio.run(_fanning_out, events[:flood], listeners)]


async def _one_at_a_time(events: Sequence[Event]) -> list[Row]:
    log = Log()
    async with _opened_relay() as relay, _listening(relay, [log.time]):
        publisher = Publisher(relay, log)
        for event in events:
            await publisher.publish([event])
            await log.wait_complete()
    return _rows("a lone event", log)


async def _flooding(events: Sequence[Event]) -> tuple[list[Row], float]:
    """The rows, and the events a second."""
    log = Log()
    async with _opened_relay() as relay, _listening(relay, [log.time]):
        rate = len(events) / await _flood(relay, log, events)
    waiting = min(_CONNECTIONS * _PARCEL, len(events))
    what = f"a flood of {waiting} unanswered events"
    return [Row(f"{what}, stored", rate, RATE), *_rows(what, log)], rate


async def _at_random_times(events: Sequence[Event], rate: float) -> list[Row]:
    """A Poisson process; an event waits from the moment at which it is due, so lateness counts as well, and is told."""
    random = Random(11)
    log = Log()
    late = []
    async with _opened_relay() as relay, _listening(relay, [log.time]):
        publisher = Publisher(relay, log)
        due = trio.current_time()
        for event in events:
            due += random.expovariate(rate)
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)
            await publisher.publish([event], due)
        await log.wait_complete()
    what = f"at half of that rate, {rate:,.0f}/s"
    return [*_rows(what, log, _MOST_MICROSECONDS), *spread(f"{what}, handed in late", late)]


async def _fanning_out(events: Sequence[Event], listeners: int) -> Row:
    log = Log(listeners)
    async with _opened_relay() as relay, _listening(relay, [log.count] * listeners):
        seconds = await _flood(relay, log, events)
    messages = len(events) * (1 + listeners)
    return Row(f"messages, {listeners} subscribers to each event", messages / seconds, RATE, _LEAST_MESSAGES)


async def _flood(relay: Relay, log: Log, events: Sequence[Event]) -> float:
    """Seconds until all of them are answered and delivered."""
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(_CONNECTIONS):
            share = events[number::_CONNECTIONS]
            nursery.start_soon(Publisher(relay, log).publish_all, share, _PARCEL)
    await log.wait_complete()
    return trio.current_time() - start


@asynccontextmanager
async def _opened_relay() -> AsyncIterator[Relay]:
    """A relay as the program runs it, over an empty store."""
    with tempfile.TemporaryDirectory(prefix="perf-") as folder:
        async with open_sqlite(SqliteOptions(path=f"{folder}/relay.db")) as store, open_relay(store) as relay:
            yield relay


@asynccontextmanager
async def _listening(relay: Relay, ears: Sequence[Callable[[bytes], None]]) -> AsyncIterator[None]:
    """A subscriber each, past its EOSE."""
    flushes = Flushes(relay.flush_collector)
    subscriptions = [Listener(flushes, hear).subscription for hear in ears]
    async with trio.open_nursery() as flushing:
        flushing.start_soon(flushes.run)
        for subscription in subscriptions:
            relay.subscribe(subscription)
            assert await relay.answer(subscription).send()
        yield
        for subscription in subscriptions:
            relay.unsubscribe(subscription)
        flushing.cancel_scope.cancel()


def _rows(what: str, log: Log, bar: float | None = None) -> list[Row]:
    return [*spread(f"{what}, OK", log.answers, bar), *spread(f"{what}, delivered", log.deliveries, bar)]
