"""How the relay does, now and over the last hour and day: looks at its totals, and what has come between two of them.

A look costs as much as a page of metrics, so one is taken every ten seconds, and another where somebody asks for the
present; rates are differences between two looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
import trio

from trio_relay.net.statistics import NetStatistics
from trio_relay.pipeline.statistics import Distribution, RelayStatistics

LOOK_SECONDS: Final = 10.0
_FRESH_SECONDS: Final = 1.0
"""How old the present may be: whoever asks meanwhile gets the same."""
_SETTLED_SECONDS: Final = 5.0
"""After the start, before the first count: others have more to do then."""
_RECOUNT_SECONDS: Final = 600.0
_RATE_SECONDS: Final = 5.0
"""The least time that a rate is taken over, where there are so old looks."""

_GROUPS: Final = {
    "stored": "stored",
    "ephemeral": "ephemeral",
    "duplicate": "duplicate",
    "superseded": "outdated",
    "deleted": "outdated",
    "vanished": "outdated",
    "failed": "failed",
}
OUTCOMES: Final = ("stored", "ephemeral", "duplicate", "outdated", "refused", "failed")
"""What becomes of events, in words for operators: all that the pipeline counts otherwise is refused."""

Span: TypeAlias = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Look:
    """The relay at a moment.

    Attributes:
        at: seconds since 1970.
        totals: what only grows, such as events by outcome or seconds of CPU, by name.
        levels: what is so much now, such as connections, by name.
        latency: of stored queries, from the request to EOSE in seconds, all so far, those answered at once too.
    """

    at: float
    totals: Mapping[str, float]
    levels: Mapping[str, float]
    latency: Distribution


class Point(msgspec.Struct, frozen=True):
    """What was the case between two looks: levels as they were at the second, rates a second, `p50` and `p99` of the
    latency in seconds, where there was any.
    """

    at: float
    values: dict[str, float]


def look_at(at: float, relay: RelayStatistics, net: NetStatistics, cpu_seconds: float, resident_bytes: int) -> Look:
    """The look that these statistics give; of all processes together."""
    queries, refused = relay.queries, sum(relay.refused.values())
    became = (*relay.verifier.outcomes.items(), *relay.writer.outcomes.items(), ("refused", refused))
    totals: dict[str, float] = {
        **grouped(became),
        "events": sum(relay.received.values()),
        "requests": sum(queries.outcomes.values()) + sum(queries.counts.values()),
        "deliveries": relay.broadcaster.deliveries,
        "commits": relay.writer.batches.count,
        "accepted": net.accepted,
        "cpu": cpu_seconds,
    }
    levels: dict[str, float] = {
        "connections": net.connections,
        "subscriptions": relay.broadcaster.subscriptions,
        "store_bytes": relay.store.disk_bytes,
        "resident_bytes": resident_bytes,
        "outgoing_bytes": net.held_bytes.get("out", 0),
        **{f"depth_{name}": channel.depth for name, channel in relay.channels.items()},
    }
    return Look(at, totals, levels, together(queries.seconds, queries.at_once_seconds))


def grouped(became: Iterable[tuple[str, float]]) -> dict[str, float]:
    """How many events have come to each of `OUTCOMES`, of numbers by the pipeline's own names for these."""
    outcomes = dict.fromkeys(OUTCOMES, 0.0)
    for outcome, number in became:
        outcomes[_GROUPS.get(outcome, "refused")] += number
    return outcomes


def together(one: Distribution, other: Distribution) -> Distribution:
    """What both have seen, of the same bounds."""
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Distribution(one.bounds, counts, one.total + other.total)


def between(before: Look, after: Look) -> Point:
    """What was the case from one look to the next."""
    seconds = max(after.at - before.at, 0.001)
    values = dict(after.levels)
    for name, total in after.totals.items():
        values[name] = max(0.0, total - before.totals.get(name, 0.0)) / seconds
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        if (found := quantile(before.latency, after.latency, share)) is not None:
            values[name] = found
    return Point(after.at, values)


def quantile(before: Distribution, after: Distribution, share: float) -> float | None:
    """The value that this share of what came between two looks does not exceed, as far as the bounds tell.

    Args:
        before: an earlier look, of the same bounds.
        after: a later one.
        share: from 0 to 1.

    Returns:
        None if nothing came; the last bound, if it is more than that.
    """
    counts = [max(0, new - old) for old, new in zip(before.counts, after.counts, strict=True)]
    wanted, lower = share * sum(counts), 0.0
    if not sum(counts):
        return None
    for bound, count in zip(after.bounds, counts, strict=False):
        if count and wanted <= count:
            return lower + (bound - lower) * wanted / count
        wanted, lower = wanted - count, float(bound)
    return lower


class VitalsSource(Protocol):
    """Tells how the whole relay does: `Vitals`, or who asks them in another process."""

    async def now(self) -> Point:
        """How it is now."""
        ...

    async def over(self, span: Span) -> list[Point]:
        """How it was over the last hour or day, the oldest point first."""
        ...


class Ring:
    """The newest points, each so many seconds behind the one before.

    Args:
        seconds: between two points.
        most: points that are kept.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self._points: deque[Point] = deque(maxlen=most)
        self._before: Look | None = None

    def add(self, look: Look) -> None:
        """Take a look into account, of which the next point is made once enough time has passed since the last."""
        if self._before is None:
            self._before = look
        elif look.at >= self._before.at + self.seconds - LOOK_SECONDS / 2:
            self._points.append(between(self._before, look))
            self._before = look

    def points(self) -> list[Point]:
        """All that are kept, the oldest first."""
        return list(self._points)


class Vitals:
    """Takes looks and keeps what they tell: an hour in points of ten seconds, a day in points of five minutes.

    Args:
        look: takes one; of several processes, it waits until they have told.
        count: counts what is stored, or cannot tell; None: nobody does. That takes a while, so it is done every ten
            minutes, and what is stored in between is added: as the level `events_stored`.
    """

    def __init__(
        self, look: Callable[[], Awaitable[Look]], count: Callable[[], Awaitable[int | None]] | None = None
    ) -> None:
        self._look = look
        self._count = count
        self._uncounted: float | None = None
        """How many events are stored that were not counted among `stored`."""
        self._looks: deque[Look] = deque(maxlen=3)
        self._present: Point | None = None
        self._asked = -_FRESH_SECONDS
        self._turn = trio.Lock()
        self._rings: dict[Span, Ring] = {"hour": Ring(LOOK_SECONDS, 360), "day": Ring(300.0, 288)}

    async def run(self) -> None:
        """Take a look every ten seconds, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._count is not None:
                nursery.start_soon(self._recount, self._count)
            await self._take_regularly()

    async def _recount(self, count: Callable[[], Awaitable[int | None]]) -> None:
        await trio.sleep(_SETTLED_SECONDS)
        while True:
            if (number := await count()) is not None:
                self._uncounted = number - (await self._look()).totals["stored"]
            await trio.sleep(_RECOUNT_SECONDS)

    async def _take(self) -> Look:
        look = await self._look()
        if self._uncounted is None:
            return look
        return replace(look, levels={**look.levels, "events_stored": self._uncounted + look.totals["stored"]})

    async def _take_regularly(self) -> None:
        while True:
            look = await self._take()
            self._looks.append(look)
            for ring in self._rings.values():
                ring.add(look)
            await trio.sleep(LOOK_SECONDS)

    async def now(self) -> Point:
        """How it is now, a second ago at most; rates are those of the last seconds."""
        async with self._turn:
            if self._present is None or trio.current_time() >= self._asked + _FRESH_SECONDS:
                look = await self._take()
                self._present = between(self._earlier(look), look)
                self._asked = trio.current_time()
            return self._present

    async def over(self, span: Span) -> list[Point]:
        """How it was over the last hour or day, the oldest point first; it waits for nothing."""
        await trio.lowlevel.checkpoint()
        return self._rings[span].points()

    def _earlier(self, look: Look) -> Look:
        """The newest look that is old enough for rates; else the oldest there is."""
        old_enough = [one for one in self._looks if one.at <= look.at - _RATE_SECONDS]
        return old_enough[-1] if old_enough else next(iter(self._looks), look)


def column(points: Iterable[Point], name: str) -> list[float | None]:
    """The values of this name, one a point; None where there was none."""
    return [point.values.get(name) for point in points]
