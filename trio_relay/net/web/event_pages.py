"""Pages of one event, one key and one address, each with its JSON behind `.json`.

What they show is found as a REQ of somebody who has not authenticated would find it: the visitor is asked for no more
and gets no more than any client at its address, and pays for it alike. What may not be read is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from trio_relay.net.http_responses import Response
from trio_relay.net.web.place import Place
from trio_relay.net.web.public import Head, PublicPages, kept_for
from trio_relay.net.web.shown_events import ShownEvent, address_in, cut, shown_event, shown_profile
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event, decode, encode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import NOTE, PROFILE, is_addressable, is_replaceable
from trio_relay.nostr.nip19 import Address, address_of, event_id_of, note_of, npub_of, pubkey_of
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.accounts import Account
from trio_relay.policy.identity import Identity
from trio_relay.policy.rate_limits import RateLimited
from trio_relay.turns import Turn

_PATH: Final = re.compile(r"/([epa])/([0-9A-Za-z]{1,5000})(\.json)?")
_KEPT_SECONDS: Final = 60
"""An event never changes, but it may be deleted."""
_SECONDS: Final = 10.0
"""What looking things up for one page may take, the wait for its turn included."""
_SECONDS_A_PAGE: Final = 0.001
_SECONDS_A_BYTE: Final = 1.2e-7
"""What making a page counts as, beside its look-ups: one of 88 KB takes some 11 ms, in turns."""
_MOST_NOTES: Final = 20
_MOST_OF_CARD: Final = 1_000
"""Characters of a note among others."""
_GONE: Final = (404, "Not here", "This relay has no such thing to show.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a path asks for: the filters that find it, and what shows what they found."""

    filters: tuple[Filter, ...]
    show: Callable[[Place, Identity, list[Event]], Awaitable[Response]]
    as_json: bool


class EventPages:
    """Makes pages of events.

    Args:
        relay: has them.
        public: makes pages.
    """

    def __init__(self, relay: Relay, public: PublicPages) -> None:
        self._relay = relay
        self._public = public

    async def answer(self, place: Place, account: Account) -> Response | None:
        """The response to a GET; None if there is no such page.

        Args:
            place: of the request.
            account: of the visitor, charged for what the page takes.
        """
        path = _PATH.fullmatch(place.path)
        if path is None:
            return None
        as_json = path[3] is not None
        identity = self._relay.admission.new_identity(account.origin, place.request.client)
        identity.account = account
        asked = self._asked(path[1], path[2], as_json)
        try:
            if asked is None:
                raise _nothing()
            if not account.take_read(len(place.request.target), 1, trio.current_time()) and account.too_much:
                raise account.too_much
            with trio.fail_after(_SECONDS):
                found = await self._find(asked.filters, identity)
                if not found:
                    raise _nothing()
                response = await asked.show(place, identity, found)
        except trio.TooSlowError:
            return await self._sorry(place, Rejected(Prefix.ERROR, "looking this up took too long"), as_json)
        except Rejected as refusal:
            return await self._sorry(place, refusal, as_json)
        account.charge(_SECONDS_A_PAGE + len(response.body) * _SECONDS_A_BYTE, trio.current_time())
        return kept_for(response, _KEPT_SECONDS, place)

    def _asked(self, which: str, what: str, as_json: bool) -> _Asked | None:
        """None: that names nothing."""
        try:
            if which == "e":
                ids = frozenset((event_id_of(what),))
                return _Asked((Filter(ids=ids, limit=1),), self._json if as_json else self._event, as_json)
            if which == "p":
                return _of_key(frozenset((pubkey_of(what),)), self._json if as_json else self._key, as_json)
            return _of_address(address_of(what), self._json if as_json else self._event, as_json)
        except ValueError:
            return None

    async def _find(self, filters: tuple[Filter, ...], identity: Identity) -> list[Event]:
        return [decode(json) for json in await self._relay.find(filters, identity)]

    async def _json(self, place: Place, identity: Identity, found: list[Event]) -> Response:
        return self._public.json(encode(found[0]))

    async def _event(self, place: Place, identity: Identity, found: list[Event]) -> Response:
        event = found[0]
        profiles = await self.profiles(frozenset((event.pubkey,)), identity)
        shown = shown_event(event, event if event.kind == PROFILE else profiles.get(event.pubkey))
        address = address_in(event)
        head = Head(shown.title, shown.summary, "article", shown.page, has_json=True)
        facts: dict[str, object] = {
            "shown": shown,
            "note": note_of(event.id),
            "address_page": None if address is None else f"/a/{address}",
            "answers": _answered(event),
        }
        return await self._public.page(place, "event.html", head, facts)

    async def _key(self, place: Place, identity: Identity, found: list[Event]) -> Response:
        pubkey = found[0].pubkey
        profile = next((event for event in found if event.kind == PROFILE), None)
        notes = await _shown((event, profile) for event in found if event.kind == NOTE)
        shown = shown_profile(pubkey, profile)
        summary = cut("".join(part.text for part in shown.about), 200)
        head = Head(shown.name, summary, "profile", f"/p/{shown.npub}", has_json=profile is not None)
        facts: dict[str, object] = {
            "profile": shown,
            "has_profile": profile is not None,
            "notes": notes,
            "most_notes": _MOST_NOTES,
        }
        return await self._public.page(place, "profile.html", head, facts)

    async def profiles(self, pubkeys: frozenset[str], identity: Identity) -> Mapping[str, Event]:
        """What keys say of themselves, by key; without those that say nothing, and nothing if it cannot be told now."""
        wanted = Filter(authors=pubkeys, kinds=frozenset((PROFILE,)), limit=len(pubkeys))
        try:
            return {event.pubkey: event for event in await self._find((wanted,), identity)}
        except Rejected:
            return {}  # a page does without names

    async def notes(self, most: int, identity: Identity) -> list[ShownEvent]:
        """The newest notes that anybody may read; none where not everybody may.

        Raises:
            Rejected: it cannot be told now.
        """
        found = await self._find((Filter(kinds=frozenset((NOTE,)), limit=most),), identity)
        profiles = await self.profiles(frozenset(event.pubkey for event in found), identity) if found else {}
        return await _shown((event, profiles.get(event.pubkey)) for event in found)

    async def _sorry(self, place: Place, refusal: Rejected, as_json: bool) -> Response:
        if isinstance(refusal, RateLimited):
            made = await self._public.sorry(place, 429, "Too much at once", f"{refusal.reason}.", as_json=as_json)
            return _again(made, refusal.seconds)
        if refusal.prefix is Prefix.ERROR:
            made = await self._public.sorry(
                place, 503, "Not now", "The relay cannot tell now. Try again.", as_json=as_json
            )
            return _again(made, 5)
        return await self._public.sorry(place, *_GONE, as_json=as_json)


async def _shown(events: Iterable[tuple[Event, Event | None]]) -> list[ShownEvent]:
    """Events, each with its author's profile, made ready for a page; others are served meanwhile."""
    turn, shown = Turn(), []
    for event, profile in events:
        shown.append(shown_event(event, profile, most=_MOST_OF_CARD))
        if turn.is_over:
            await turn.give()
    return shown


def _of_key(authors: frozenset[str], show: Callable[..., Awaitable[Response]], as_json: bool) -> _Asked:
    profile = Filter(authors=authors, kinds=frozenset((PROFILE,)), limit=1)
    notes = Filter(authors=authors, kinds=frozenset((NOTE,)), limit=_MOST_NOTES)
    return _Asked((profile,) if as_json else (profile, notes), show, as_json)


def _of_address(address: Address, show: Callable[..., Awaitable[Response]], as_json: bool) -> _Asked | None:
    named: tuple[tuple[str, frozenset[str]], ...] = ()
    if is_addressable(address.kind):
        named = (("d", frozenset((address.name,))),)
    elif not is_replaceable(address.kind):
        return None
    wanted = Filter(authors=frozenset((address.pubkey,)), kinds=frozenset((address.kind,)), tags=named, limit=1)
    return _Asked((wanted,), show, as_json)


def _answered(event: Event) -> list[str]:
    """Ids of the events that this one answers or is about (NIP-10, NIP-22): the last few that it names."""
    named = [tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "e"]
    return [one for one in dict.fromkeys(named) if re.fullmatch("[0-9a-f]{64}", one)][-3:]


def _nothing() -> Rejected:
    return Rejected(Prefix.RESTRICTED, "nothing here")


def _again(response: Response, seconds: int) -> Response:
    headers = [*response.headers, ("Retry-After", str(seconds))]
    return Response(response.status, response.body, response.content_type, headers)


def operator_page(pubkey: str) -> str:
    """The path of the page of the relay's operator, below the relay's own; empty if nobody is named."""
    return f"/p/{npub_of(pubkey)}" if pubkey else ""
