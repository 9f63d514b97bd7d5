"""Pages of the console about what is kept: the store in numbers, its events by any filter, and the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from trio_relay.net.http_responses import Response
from trio_relay.net.web.plots import Bar, bars
from trio_relay.net.web.readable import count
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.nip19 import pubkey_of

SECTION: Final = "Store"
_MOST_BARS: Final = 25
_MOST_FOUND: Final = 50


async def _store(visit: ConsoleVisit) -> Response:
    held = await visit.ask("storestats")
    facts: dict[str, object] = {"held": held}
    if held is not None:
        facts["by_kind"] = _bars([(f"kind {row['kind']}", row["events"]) for row in held["kinds"][:_MOST_BARS]])
        facts["by_day"] = _bars([(row["day"], row["events"]) for row in sorted(held["days"], key=_day)])
    return await visit.show("store.html", facts)


def _day(row: Mapping[str, Any]) -> str:
    return str(row["day"])


def _bars(rows: Sequence[tuple[str, int]]) -> list[Bar]:
    return bars([(f"{label}: {count(events)}", label, events) for label, events in rows])


async def _find(visit: ConsoleVisit) -> Response:
    query = visit.place.query
    text = query.get("filter", "").strip()
    facts: dict[str, object] = {"author": "", "text": text, "found": None, "fault": ""}
    try:
        filter_ = msgspec.json.decode(text) if text else _filter_of(query)
        filters = filter_ if isinstance(filter_, list) else [filter_]
        authors = filter_.get("authors") if isinstance(filter_, dict) else None
        if isinstance(authors, list) and len(authors) == 1:
            facts["author"] = str(authors[0])
        if text or filter_:
            facts["text"] = msgspec.json.encode(filter_).decode()
            facts["found"] = (await visit.call("findevents", filters))[:_MOST_FOUND]
    except Rejected as refusal:
        facts["fault"] = f"{refusal.reason}."
    except (ValueError, RecursionError) as error:  # msgspec's errors are such
        facts["fault"] = f"This cannot be read: {error}."
    return await visit.show("find.html", facts)


def _filter_of(query: Mapping[str, str]) -> dict[str, object]:
    """The filter that the fields of the form ask for.

    Raises:
        ValueError: a field is no key, or no number.
    """
    wanted = {name: query.get(name, "").strip() for name in ("author", "id", "kind", "word")}
    found: dict[str, object] = {}
    if wanted["id"]:
        found["ids"] = [wanted["id"]]
    if wanted["author"]:
        found["authors"] = [pubkey_of(wanted["author"])]
    if wanted["kind"]:
        found["kinds"] = [int(wanted["kind"])]
    if wanted["word"]:
        found["search"] = wanted["word"]
    return found | {"limit": _MOST_FOUND} if found else found


async def _settings(visit: ConsoleVisit) -> Response:
    sections: dict[str, list[object]] = {}
    for setting in await visit.call("listsettings"):
        sections.setdefault(setting["section"], []).append(setting)
    return await visit.show("settings.html", {"by_section": sections})


PAGES: Final = (
    ConsolePage("store", "Overview", SECTION, ("storestats", "backupnow", "exportevents"), _store),
    ConsolePage("store/find", "Find events", SECTION, ("findevents",), _find),
    ConsolePage("settings", "Settings", "Settings", ("listsettings",), _settings),
)
