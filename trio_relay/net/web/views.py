"""The pages of the console, each from what methods of NIP-86 answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from trio_relay.net.http_responses import Response
from trio_relay.net.vitals import VitalsSource
from trio_relay.net.web.console import ConsoleVisit, View
from trio_relay.net.web.plots import Plot, plot
from trio_relay.net.web.rendering import SECURITY

_PLOTS: Final[dict[str, dict[str, str]]] = {
    "Events a second": {"stored": "stored", "duplicate": "duplicate", "refused": "refused"},
    "Requests a second": {"requests": "requests"},
    "Latency of requests, seconds": {"half are faster": "p50", "99 of 100 are faster": "p99"},
    "Connections": {"connections": "connections", "subscriptions": "subscriptions"},
}


def views(vitals: VitalsSource) -> Mapping[str, View]:
    """All pages, by the last part of their path."""

    async def now(visit: ConsoleVisit) -> Response:
        await visit.call("stats")
        return await visit.show("now.html", await _present(vitals))

    async def now_json(visit: ConsoleVisit) -> Response:
        await visit.call("stats")
        body = msgspec.json.encode(await _present(vitals))
        return Response(200, body, "application/json", [*SECURITY, ("Cache-Control", "no-store")])

    return {"": now, "now.json": now_json}


async def _present(vitals: VitalsSource) -> dict[str, object]:
    now, points = await vitals.now(), await vitals.over("hour")
    plots: dict[str, Plot] = {title: plot([*points, now], names, 3_600, now.at) for title, names in _PLOTS.items()}
    return {"now": now.values, "plots": plots}
