"""What everybody may see in a browser: the front page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from trio_relay.net.http_responses import Response
from trio_relay.net.vitals import VitalsSource
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.place import Place
from trio_relay.net.web.plots import plot
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.pipeline.relay import Relay

_FRESH_SECONDS: Final = 1.0
"""How old the front page may be: however many ask for it, it is made once a second."""
_MOST_KEPT: Final = 16


class FrontPage:
    """Makes the front page, and what it looks up while it is shown.

    Args:
        relay: which one.
        options: the table `web` of the configuration.
        pages: have the templates.
        vitals: of the whole relay.
    """

    def __init__(self, relay: Relay, options: WebOptions, pages: Pages, vitals: VitalsSource) -> None:
        self._relay = relay
        self._options = options
        self._pages = pages
        self._vitals = vitals
        self._kept: dict[tuple[str, str, str], tuple[float, Response]] = {}

    async def answer(self, place: Place) -> Response | None:
        """The response to a GET; None if there is no such page."""
        if place.path not in ("/", "/live.json"):
            return None
        key = (place.path, place.root, place.origin)
        now = trio.current_time()
        if (found := self._kept.get(key)) is not None and now < found[0] + _FRESH_SECONDS:
            return found[1]
        made = await (self._page(place) if place.path == "/" else self._live())
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = now, made
        return made

    async def _page(self, place: Place) -> Response:
        return self._pages.page("front.html", {"place": place, "info": self._relay.rules.info, **await self._facts()})

    async def _live(self) -> Response:
        facts = await self._facts()
        return Response(200, msgspec.json.encode(facts), "application/json", [*SECURITY, ("Cache-Control", "no-store")])

    async def _facts(self) -> Mapping[str, object]:
        now, points = await self._vitals.now(), await self._vitals.over("hour")
        return {"now": now.values, "plot": plot([*points, now], {"events a second": "events"}, 3_600, now.at)}
