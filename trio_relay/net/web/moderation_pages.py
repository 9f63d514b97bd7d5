"""Pages of the console about what is allowed: the queue of reports, the lists of operators, and what they have done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from trio_relay.net.http_responses import Response
from trio_relay.net.web.deeds import deed
from trio_relay.net.web.rendering import SECURITY
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit, stretch
from trio_relay.nostr.nip19 import pubkey_of

SECTION: Final = "Moderation"
_MOST_EVENTS: Final = 20
"""Reported events on a page."""
_MOST_EXPORTED: Final = 10_000
_CHOSEN: Final = ("who", "method", "item")


@dataclass(frozen=True, slots=True)
class ListOnPage:
    """A list of operators as a page shows it.

    Attributes:
        path: of the page, and
        title: in the menu.
        told: what it means to be on it.
        listing: the method that lists it.
        adding: the one that puts an item on it.
        taking: the one that takes one off.
        field: what the item is called in a listing.
        label: what it is called on the page.
        letter: what its field in a form is, see `console`: a text or a number.
        has_end: True if being on it may end.
    """

    path: str
    title: str
    told: str
    listing: str
    adding: str
    taking: str
    field: str
    label: str
    letter: str = "s"
    has_end: bool = True


LISTS: Final = (
    ListOnPage(
        "moderation/banned-keys",
        "Banned keys",
        "Nothing of these keys is taken; what they had here was removed when they were banned.",
        "listbannedpubkeys",
        "banpubkey",
        "unbanpubkey",
        "pubkey",
        "Key",
    ),
    ListOnPage(
        "moderation/allowed-keys",
        "Allowed keys",
        "While anybody is on this list, these keys alone may write, and those whom the configuration names.",
        "listallowedpubkeys",
        "allowpubkey",
        "unallowpubkey",
        "pubkey",
        "Key",
        has_end=False,
    ),
    ListOnPage(
        "moderation/banned-events",
        "Banned events",
        "These events were removed, and are not taken again.",
        "listbannedevents",
        "banevent",
        "unbanevent",
        "id",
        "Event",
    ),
    ListOnPage(
        "moderation/allowed-events",
        "Allowed events",
        "No report brings these events into the queue again.",
        "listallowedevents",
        "allowevent",
        "unallowevent",
        "id",
        "Event",
        has_end=False,
    ),
    ListOnPage(
        "moderation/refused-kinds",
        "Refused kinds",
        "Events of these kinds are not taken.",
        "listdisallowedkinds",
        "disallowkind",
        "undisallowkind",
        "kind",
        "Kind",
        letter="n",
    ),
    ListOnPage(
        "moderation/allowed-kinds",
        "Allowed kinds",
        "While any kind is on this list, these alone are taken, and those that the configuration names.",
        "listallowedkinds",
        "allowkind",
        "unallowkind",
        "kind",
        "Kind",
        letter="n",
        has_end=False,
    ),
    ListOnPage(
        "moderation/refused-words",
        "Refused words",
        "Events that have one of these words in their content are not taken.",
        "listdeniedwords",
        "denyword",
        "undenyword",
        "word",
        "Word",
    ),
    ListOnPage(
        "moderation/barred-addresses",
        "Barred addresses",
        "Nobody comes in from these addresses and networks.",
        "listblockedips",
        "blockip",
        "unblockip",
        "ip",
        "Address",
    ),
)


async def _queue(visit: ConsoleVisit) -> Response:
    reported = await visit.call("listreportedevents")
    stored = [one for one in reported if one["event"] is not None]
    gone = [one for one in reported if one["event"] is None]
    return await visit.show("queue.html", {"stretch": stretch(stored, visit.place.query, _MOST_EVENTS), "gone": gone})


async def _list(which: ListOnPage, visit: ConsoleVisit) -> Response:
    wanted = visit.place.query.get("q", "").strip()
    lines = list(await visit.ask(which.listing) or ())
    if wanted:
        lines = [line for line in lines if wanted in str(line if isinstance(line, int) else [*line.values()])]
    lines.reverse()
    found = stretch(lines, visit.place.query)
    facts = {"list": which, "stretch": found, "rows": _rows(found.rows, which.field), "wanted": wanted}
    return await visit.show("list.html", facts)


def _rows(listed: Iterable[Any], field: str) -> Iterable[Mapping[str, object]]:
    """Each line of a listing, which has nothing but items where those are kinds."""
    for line in listed:
        row = line if isinstance(line, dict) else {field: line}
        yield {"reason": "", "by": "", "since": None, "until": None, **row, "item": row[field]}


async def _log(visit: ConsoleVisit) -> Response:
    query = visit.place.query
    chosen = {name: query.get(name, "").strip() for name in (*_CHOSEN, "before")}
    acts = await visit.call("listacts", _wanted(chosen))
    facts = {
        "acts": [act | {"deed": deed(act["method"], _params(act))} for act in acts[:100]],
        "chosen": chosen,
        "older": acts[99]["act"] if len(acts) > 100 else "",
    }
    return await visit.show("log.html", facts)


def _wanted(chosen: Mapping[str, str]) -> dict[str, str]:
    """What of the log is asked for: what was left empty is not, and a key may be in any of its spellings."""
    wanted = {name: text for name, text in chosen.items() if text}
    with suppress(ValueError):
        wanted["who"] = pubkey_of(wanted.get("who", ""))
    return wanted


def _params(act: Mapping[str, Any]) -> list[object]:
    """What an act was called with; nothing if that was cut off."""
    params = act["params"]
    if isinstance(params, str):
        try:
            params = msgspec.json.decode(params)
        except ValueError:
            return []
    return params if isinstance(params, list) else []


async def _log_as_lines(visit: ConsoleVisit) -> Response:
    """The log as a file, of one JSON object a line."""
    chosen = _wanted({name: visit.place.query.get(name, "").strip() for name in _CHOSEN})
    acts = await visit.call("listacts", chosen)
    lines = list(acts)
    while acts and len(lines) < _MOST_EXPORTED:
        acts = await visit.call("listacts", {**chosen, "before": acts[-1]["act"]})
        lines += acts
    body = msgspec.json.Encoder().encode_lines(lines)
    name = ("Content-Disposition", 'attachment; filename="acts.jsonl"')
    return Response(200, body, "application/jsonl", [*SECURITY, ("Cache-Control", "no-store"), name])


PAGES: Final = (
    ConsolePage("moderation", "Queue", SECTION, ("listreportedevents",), _queue),
    *(
        ConsolePage(which.path, which.title, SECTION, (which.listing, which.adding), partial(_list, which))
        for which in LISTS
    ),
    ConsolePage("moderation/log", "Log", SECTION, ("listacts",), _log),
    ConsolePage("moderation/log.jsonl", "Log", SECTION, ("listacts",), _log_as_lines, is_listed=False),
)
