"""Events as pages show them: their texts cut to what a page can bear, with the links that are in them (pure).

All of it is strangers' writing: links lead to pages of this relay, or to http and https URLs, and to nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from trio_relay.nostr.event import Event, expiry_of
from trio_relay.nostr.kinds import is_addressable, is_replaceable
from trio_relay.nostr.nip19 import Address, naddr_of, npub_of

_MOST_CHARACTERS: Final = 10_000
"""Of a content; the rest is in the JSON."""
_MOST_LINKS: Final = 100
_MOST_TAGS: Final = 100
_MOST_ITEMS: Final = 8
_MOST_OF_ITEM: Final = 300
_MOST_OF_NAME: Final = 80
_MOST_OF_TITLE: Final = 70
_MOST_OF_SUMMARY: Final = 200
_LETTERS: Final = "023456789acdefghjklmnpqrstuvwxyz"
_ENTITY: Final = rf"nostr:(?:npub|nprofile|note|nevent|naddr)1[{_LETTERS}]{{20,1000}}"
_LINK: Final = re.compile(rf"https?://[^\s<>\"'`\x00-\x1f]{{1,2000}}|{_ENTITY}")
_ENDS: Final = 14
"""Letters of a name by NIP-19 that are shown, and half as many of its end."""
_BEHIND: Final = ".,;:!?"
"""Behind a URL these belong to the sentence."""
_PAGES: Final = {"npub": "p", "nprofile": "p", "note": "e", "nevent": "e", "naddr": "a"}
_WEB: Final = re.compile(r"https?://[^\s\x00-\x1f]{1,2000}")
_NAMED: Final = {
    0: "Profile",
    1: "Note",
    3: "List of follows",
    5: "Request to delete",
    6: "Repost",
    7: "Reaction",
    16: "Repost",
    20: "Picture",
    21: "Video",
    62: "Request to vanish",
    1_063: "File",
    1_111: "Comment",
    1_984: "Report",
    1_985: "Label",
    9_735: "Zap",
    10_000: "List of mutes",
    10_002: "List of relays",
    13_534: "List of members",
    30_000: "List of keys",
    30_023: "Article",
    30_078: "Data of an application",
}


@dataclass(frozen=True, slots=True)
class TextPart:
    """A part of a text.

    Attributes:
        text: as it was written; of a name by NIP-19, its ends.
        page: the path below the relay's own that it leads to; empty if it leads to none.
        url: elsewhere that it leads to; empty if it leads to none.
    """

    text: str
    page: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ShownProfile:
    """What a key says of itself (kind 0), as far as pages show it; empty texts where it says nothing.

    Attributes:
        pubkey: the key, 64 hex characters.
        npub: the same by NIP-19.
        name: what it calls itself, or the beginning of its npub.
        about: in parts.
        picture, website: http or https URLs.
        nip05: its name at some domain, which nobody has looked up.
    """

    pubkey: str
    npub: str
    name: str
    about: list[TextPart]
    picture: str = ""
    website: str = ""
    nip05: str = ""


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event on a page.

    Attributes:
        event: itself.
        page: its path below the relay's own.
        author: who wrote it.
        title: one line.
        summary: a few lines, without links.
        kind: of the event, in a word, and its number.
        parts: its content.
        is_cut: True if that is not all of it.
        tags: the first of them, each item cut.
        more_tags: how many others there are.
        date: when it was written, for people.
        iso: the same for machines; empty if no calendar has that day.
        expires: when it will be gone, for people; empty: never.
    """

    event: Event
    page: str
    author: ShownProfile
    title: str
    summary: str
    kind: str
    parts: list[TextPart]
    is_cut: bool
    tags: list[list[str]]
    more_tags: int
    date: str
    iso: str
    expires: str


def shown_event(event: Event, profile: Event | None = None, most: int = _MOST_CHARACTERS) -> ShownEvent:
    """Make an event ready for a page.

    Args:
        event: that may be shown to anybody.
        profile: of its author, kind 0, if there is one.
        most: characters of its content that are shown.
    """
    author = shown_profile(event.pubkey, profile)
    kind = _NAMED.get(event.kind)
    text = " ".join(event.content[: _MOST_OF_SUMMARY * 2].split())
    headline = value_of(event, "title") or value_of(event, "subject")
    expiry = expiry_of(event)
    return ShownEvent(
        event,
        f"/e/{event.id}",
        author,
        cut(headline, _MOST_OF_TITLE) or f"{kind or f'Kind {event.kind}'} by {author.name}",
        cut(text, _MOST_OF_SUMMARY),
        f"Kind {event.kind}" if kind is None else f"{kind}, kind {event.kind}",
        list(parts_of(event.content[:most])),
        len(event.content) > most,
        [[cut(item, _MOST_OF_ITEM) for item in tag[:_MOST_ITEMS]] for tag in event.tags[:_MOST_TAGS]],
        max(0, len(event.tags) - _MOST_TAGS),
        date_of(event.created_at),
        iso_of(event.created_at),
        "" if expiry is None else date_of(expiry),
    )


def shown_profile(pubkey: str, event: Event | None) -> ShownProfile:
    """Make a profile ready for a page.

    Args:
        pubkey: whose.
        event: kind 0, if there is one.
    """
    said = _said_by(event)
    spelled = npub_of(pubkey)
    return ShownProfile(
        pubkey,
        spelled,
        cut(said.get("display_name", "") or said.get("name", ""), _MOST_OF_NAME) or f"{spelled[:12]}…",
        list(parts_of(said.get("about", "")[:_MOST_CHARACTERS])),
        web_url(said.get("picture", "")),
        web_url(said.get("website", "")),
        cut(said.get("nip05", ""), _MOST_OF_NAME),
    )


def _said_by(event: Event | None) -> dict[str, str]:
    """The texts among the fields of a profile."""
    try:
        said = {} if event is None else msgspec.json.decode(event.content, type=dict[str, object])
    except (ValueError, RecursionError):  # msgspec's errors are the former
        return {}
    return {name: value.strip() for name, value in said.items() if isinstance(value, str)}


def parts_of(text: str) -> Iterator[TextPart]:
    """Split a text into what is plain and what is a link, in its order; names by NIP-19 are cut in their middle."""
    at = 0
    for number, found in enumerate(_LINK.finditer(text)):
        if number >= _MOST_LINKS:
            break
        link = found[0].rstrip(_BEHIND)
        if not link.startswith("nostr:") and not web_url(link):
            continue
        if found.start() > at:
            yield TextPart(text[at : found.start()])
        if link.startswith("nostr:"):
            entity = link.removeprefix("nostr:")
            shown = f"{entity[:_ENDS]}…{entity[-_ENDS // 2 :]}"
            yield TextPart(shown, page=f"/{_PAGES[entity.partition('1')[0]]}/{entity}")
        else:
            yield TextPart(link, url=link)
        at = found.start() + len(link)
    if at < len(text):
        yield TextPart(text[at:])


def web_url(text: str) -> str:
    """The text if it is an http or https URL, else nothing."""
    return text if _WEB.fullmatch(text) else ""


def value_of(event: Event, name: str) -> str:
    """The value of the first tag of this name; empty if there is none."""
    return next((tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == name), "")


def address_in(event: Event) -> str | None:
    """The address at which an event stands, as `naddr1…`; None if it stands at none, or its name is too long."""
    if is_addressable(event.kind):
        return naddr_of(Address(event.kind, event.pubkey, value_of(event, "d")))
    return naddr_of(Address(event.kind, event.pubkey, "")) if is_replaceable(event.kind) else None


def cut(text: str, most: int) -> str:
    """The text on one line, with an ellipsis for what is more than so many characters."""
    line = " ".join(text[: 2 * most].split())
    return line if len(line) <= most and len(text) <= 2 * most else f"{line[: most - 1]}…"


def date_of(seconds: int) -> str:
    """A time in words, UTC."""
    at = _at(seconds)
    return f"{seconds} seconds after 1970" if at is None else f"{at.day} {at:%B %Y, %H:%M} UTC"


def iso_of(seconds: int) -> str:
    """A time as HTML has it; empty if no calendar has that day."""
    at = _at(seconds)
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _at(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
