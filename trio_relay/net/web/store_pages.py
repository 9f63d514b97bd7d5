"""Pages of the console about what is kept: the store's events, and the settings."""

from __future__ import annotations

from typing import Final

from trio_relay.net.http_responses import Response
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit

_CHANGEABLE: Final = "changerelay"


async def _settings(visit: ConsoleVisit) -> Response:
    settings = await visit.call("listsettings")
    sections: dict[str, list[object]] = {}
    for setting in settings:
        sections.setdefault(setting["section"], []).append(setting)
    return visit.show("settings.html", {"by_section": sections})


PAGES: Final = (ConsolePage("settings", "Settings", "Settings", ("listsettings",), _settings),)
