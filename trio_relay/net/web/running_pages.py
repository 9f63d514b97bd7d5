"""Pages of the console about the relay as it runs: how it does now, who is connected, and which relays it mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from trio_relay.net.http_responses import Response
from trio_relay.net.vitals import OUTCOMES, Point, Span, VitalsSource
from trio_relay.net.web.plots import Plot, plot
from trio_relay.net.web.readable import FORMS
from trio_relay.net.web.rendering import SECURITY
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit, stretch

_FRESH_SECONDS: Final = 1.5
"""How old the present may be: however many look on, it is drawn once in that time."""
_SECONDS: Final[Mapping[Span, float]] = {"hour": 3_600.0, "day": 86_400.0}
_DEPTH: Final = "depth_"

_NUMBERS: Final = {
    "connections": ("Connections", "count"),
    "subscriptions": ("Subscriptions", "count"),
    "events": ("Events a second", "count"),
    "requests": ("Requests a second", "count"),
    "p50": ("Half of all requests within", "lasting"),
    "p99": ("99 of 100 within", "lasting"),
    "deliveries": ("Deliveries a second", "count"),
    "commits": ("Commits a second", "count"),
    "store_bytes": ("Store", "size"),
    "outgoing_bytes": ("Waiting to be read by clients", "size"),
    "cpu": ("CPU", "share"),
    "resident_bytes": ("Memory", "size"),
}
"""What is told in numbers: its title, and how it is written."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot with what is written beside it.

    Attributes:
        title: of it.
        plot: its lines.
        top: the value at the upper edge.
        newest: the newest value of each line.
    """

    title: str
    plot: Plot
    top: str
    newest: list[str]


_DRAWINGS: Final = (
    ("Events a second", "count", {outcome: outcome for outcome in OUTCOMES}),
    ("Requests a second", "count", {"requests": "requests"}),
    ("Time that requests take", "lasting", {"half within": "p50", "99 of 100 within": "p99"}),
    ("Deliveries a second", "count", {"deliveries": "deliveries"}),
    ("Commits a second", "count", {"commits": "commits"}),
    ("Connections", "count", {"connections": "connections"}),
    ("Subscriptions", "count", {"subscriptions": "subscriptions"}),
    ("CPU", "share", {"of one core": "cpu"}),
    ("Memory", "size", {"resident": "resident_bytes", "waiting for clients": "outgoing_bytes"}),
    ("Store", "size", {"on disk": "store_bytes"}),
)


class Present:
    """Draws how the relay does, once for all who look on.

    Args:
        vitals: of the whole relay.
    """

    def __init__(self, vitals: VitalsSource) -> None:
        self._vitals = vitals
        self._drawn: dict[Span, tuple[float, Mapping[str, object]]] = {}

    async def page(self, visit: ConsoleVisit) -> Response:
        """The page, which a browser then keeps up to date by itself."""
        await visit.call("stats")
        return await visit.show("now.html", {"span": _span(visit), **await self._facts(_span(visit))})

    async def lines(self, visit: ConsoleVisit) -> Response:
        """The same as JSON."""
        await visit.call("stats")
        body = msgspec.json.encode(await self._facts(_span(visit)))
        return Response(200, body, "application/json", [*SECURITY, ("Cache-Control", "no-store")])

    async def _facts(self, span: Span) -> Mapping[str, object]:
        now = trio.current_time()
        if (kept := self._drawn.get(span)) is not None and now < kept[0] + _FRESH_SECONDS:
            return kept[1]
        point, points = await self._vitals.now(), await self._vitals.over(span)
        self._drawn[span] = now, _drawn([*points, point], point, _SECONDS[span])
        return self._drawn[span][1]


def _span(visit: ConsoleVisit) -> Span:
    return "day" if visit.place.query.get("span") == "day" else "hour"


def _drawn(points: list[Point], now: Point, seconds: float) -> Mapping[str, object]:
    stages = [name for name in now.values if name.startswith(_DEPTH)]
    drawings = [_drawing(title, form, names, points, now.at, seconds) for title, form, names in _DRAWINGS]
    if stages:
        named = {_stage(name): name for name in stages}
        drawings.append(_drawing("Depth of stages", "count", named, points, now.at, seconds))
    numbers = {
        name: {"title": title, "text": FORMS[form](now.values.get(name))} for name, (title, form) in _NUMBERS.items()
    }
    depths = {name: {"title": _stage(name), "text": FORMS["count"](now.values[name])} for name in stages}
    return {"at": now.at, "seconds": seconds, "drawings": drawings, "numbers": numbers, "depths": depths}


def _stage(name: str) -> str:
    return name.removeprefix(_DEPTH).replace("_", " ")


def _drawing(
    title: str, form: str, names: Mapping[str, str], points: list[Point], at: float, seconds: float
) -> Drawing:
    found = plot(points, names, seconds, at)
    return Drawing(title, found, FORMS[form](found.top), [FORMS[form](line.last) for line in found.lines])


async def _clients(visit: ConsoleVisit) -> Response:
    wanted = visit.place.query.get("q", "").strip()
    clients = await visit.call("listclients")
    if wanted:
        clients = [
            one for one in clients if wanted in one["address"] or wanted in one["agent"] or wanted in one["keys"]
        ]
    return await visit.show("clients.html", {"stretch": stretch(clients, visit.place.query), "wanted": wanted})


async def _client(visit: ConsoleVisit) -> Response:
    name = visit.place.query.get("client", "")
    found = next((one for one in await visit.call("listclients") if one["client"] == name), None)
    if found is None:
        return await visit.show("nothing.html", {"reason": "This client is not connected any more."}, 404)
    return await visit.show("client.html", {"one": found})


async def _mirrors(visit: ConsoleVisit) -> Response:
    return await visit.show("mirrors.html", {"mirrors": await visit.call("listmirrors")})


def running_pages(vitals: VitalsSource) -> tuple[ConsolePage, ...]:
    """These pages.

    Args:
        vitals: of the whole relay.
    """
    present = Present(vitals)
    return (
        ConsolePage("", "Now", "Now", ("stats",), present.page),
        ConsolePage("now.json", "Now", "Now", ("stats",), present.lines, is_listed=False),
        ConsolePage("clients", "Clients", "Clients", ("listclients",), _clients),
        ConsolePage("clients/one", "Client", "Clients", ("listclients",), _client, is_listed=False),
        ConsolePage("mirrors", "Mirrors", "Mirrors", ("listmirrors",), _mirrors),
    )
