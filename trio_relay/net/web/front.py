"""The front page: who the relay is, how to connect, what its rules are, and what goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec
import trio
from markupsafe import Markup

from trio_relay.net.http_responses import Response
from trio_relay.net.vitals import Point, VitalsSource
from trio_relay.net.web.event_pages import EventPages, operator_page
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.place import Place
from trio_relay.net.web.plots import Plot, plot
from trio_relay.net.web.public import ANYBODY, Head, PublicPages, address_of
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.net.web.shown_events import ShownEvent, cut, parts_of
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.relay_info import NIP_TITLES, SUPPORTED_NIPS, RelayInfo
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.capabilities import capabilities_of, relay_info_of
from trio_relay.policy.sentences import sentences_of, span

_FRESH_SECONDS: Final = 1.0
"""How old what is shown may be: however many ask for it, it is made once a second."""
_NOTES_SECONDS: Final = 5.0
"""The same of the newest notes."""
_NUMBER: Final = re.compile("[0-9]{4,}")
_NIPS: Final = "https://github.com/nostr-protocol/nips/blob/master"
_LINKED: Final = ("https://", "http://", "mailto:", "xmpp:", "matrix:")
"""What an operator's contact may begin with to be a link."""


class FrontPage:
    """Makes the front page, and what it looks up while it is shown.

    Args:
        relay: which one.
        options: the table `web` of the configuration.
        pages: have the files.
        public: makes pages.
        events: looks up notes.
        vitals: of the whole relay.
    """

    def __init__(
        self,
        relay: Relay,
        options: WebOptions,
        pages: Pages,
        public: PublicPages,
        events: EventPages,
        vitals: VitalsSource,
    ) -> None:
        self._relay = relay
        self._most_notes = options.notes
        self._pages = pages
        self._public = public
        self._events = events
        self._vitals = vitals
        self._made: dict[tuple[str, str, str], tuple[float, Response]] = {}
        """By path, root and address: all of them the relay's own, so there are no more than it has names."""
        self._codes: dict[str, Markup] = {}
        self._notes: tuple[float, list[ShownEvent]] | None = None
        self._making = trio.Lock()

    def take_options(self, options: WebOptions) -> None:
        """Go by other options, and by the rules as they have become, from now on."""
        self._most_notes = options.notes
        self._notes = None
        self._made.clear()

    async def answer(self, place: Place) -> Response | None:
        """The response to a GET; None if there is no such page."""
        if place.path == "/":
            key = (place.path, place.root, address_of(place.origin, self._relay.rules.names))
        elif place.path == "/live.json":
            key = (place.path, "", "")
        else:
            return None
        if (kept := self._kept(key)) is not None:
            return kept
        async with self._making:  # a thousand who come at once wait for one of them
            if (kept := self._kept(key)) is not None:
                return kept
            made = await (self._page(place, key[2]) if place.path == "/" else self._live())
            self._made[key] = trio.current_time(), made
            return made

    def _kept(self, key: tuple[str, str, str]) -> Response | None:
        found = self._made.get(key)
        return found[1] if found is not None and trio.current_time() < found[0] + _FRESH_SECONDS else None

    async def _page(self, place: Place, address: str) -> Response:
        rules, now = self._relay.rules, self._relay.now()
        info, judges = relay_info_of(rules), self._relay.judges
        said = sentences_of(
            rules,
            now,
            judges_events=judges.events is not None,
            judges_filters=judges.filters is not None,
        )
        nips = sorted({*SUPPORTED_NIPS, *capabilities_of(rules).nips})
        facts: dict[str, object] = {
            "description": list(parts_of(info.description)),
            "has_banner": self._pages.has("banner"),
            "operator_page": operator_page(info.pubkey),
            **_links(info),
            "code": await self._code(address),
            "writing": said.writing,
            "reading": said.reading,
            "keeping": said.keeping,
            "nips": [(f"{nip:02}", NIP_TITLES.get(nip, ""), f"{_NIPS}/{nip:02}.md") for nip in nips],
            "limits": self._limits(),
            "notes": await self._newest_notes(),
            **await self._present(),
        }
        head = Head(info.name, cut(info.description, 200), "website", "/")
        made = await self._public.page(place, "front.html", head, facts)
        return replace(made, headers=[*made.headers, ("Cache-Control", "no-cache")])

    async def _code(self, address: str) -> Markup:
        """The address as a QR code, which takes some 20 ms to be made, once."""
        if address not in self._codes:
            self._codes[address] = await trio.to_thread.run_sync(_drawn, address)
        return self._codes[address]

    def _limits(self) -> list[tuple[str, str]]:
        limits, rules = self._relay.limits, self._relay.rules
        rates = capabilities_of(rules).rates
        return [
            ("Longest message", f"{limits.max_message_length:,} bytes"),
            ("Longest content", f"{limits.max_content_length:,} characters"),
            ("Tags of an event", f"{limits.max_event_tags:,}"),
            ("Subscriptions of a connection", f"{limits.max_subscriptions:,}"),
            ("Filters of a request", f"{limits.max_filters:,}"),
            ("Stored events for a filter", f"{limits.max_limit:,}, {limits.default_limit:,} without a limit"),
            ("Time of an event", f"{span(limits.created_at_ahead)} ahead at most"),
            *((name.replace("_", " ").capitalize(), _NUMBER.sub(_apart, rate)) for name, rate in rates.items()),
        ]

    async def _newest_notes(self) -> list[ShownEvent]:
        most, now = self._most_notes, trio.current_time()
        if not most:
            return []
        if self._notes is None or now >= self._notes[0] + _NOTES_SECONDS:
            try:
                notes = await self._events.notes(most, self._relay.admission.new_identity())
            except Rejected:  # reading is for some alone, or the store is busy
                notes = []
            self._notes = now, notes
        return self._notes[1]

    async def _live(self) -> Response:
        body = msgspec.json.encode(await self._present())
        return Response(200, body, "application/json", [*SECURITY, ANYBODY, ("Cache-Control", "no-store")])

    async def _present(self) -> Mapping[str, object]:
        """What moves: nothing that is the operator's business alone."""
        now, points = await self._vitals.now(), await self._vitals.over("hour")
        each_minute: Plot = plot(
            [Point(one.at, {"events": 60 * one.values.get("events", 0.0)}) for one in (*points, now)],
            {"": "events"},
            3_600,
            now.at,
        )
        numbers: dict[str, int | None] = {
            "connections": int(now.values.get("connections", 0)),
            "subscriptions": int(now.values.get("subscriptions", 0)),
            "events": round(60 * now.values.get("events", 0.0)),
            "events_stored": None if (stored := now.values.get("events_stored")) is None else int(stored),
        }
        return {"now": numbers, "plot": each_minute}


def _drawn(address: str) -> Markup:
    """A QR code as SVG; our own markup, of the relay's own address."""
    if not address:
        return Markup()
    import segno  # once somebody looks

    code = segno.make(address, error="m")
    return Markup(code.svg_inline(omitsize=True, border=2, svgclass="qr", lineclass=None))


def _apart(number: re.Match[str]) -> str:
    """A number with its thousands apart."""
    return f"{int(number[0]):,}"


def _links(info: RelayInfo) -> dict[str, object]:
    """How to reach the operator, and what holds for visitors: as links where they are such as can be followed."""
    contact, terms = info.contact.strip(), info.terms_of_service.strip()
    return {
        "contact": contact,
        "contact_link": contact if contact.lower().startswith(_LINKED) else "",
        "terms": terms,
        "terms_link": terms if terms.lower().startswith(_LINKED[:2]) else "",
    }
