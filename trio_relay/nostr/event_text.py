"""Which text of an event is searched (NIP-50), and how an event marks itself.

The content is searched, and the tags that say in words what an event is: its title, subject, summary, name, alt text
(NIP-31) and hashtags; of a profile, the fields that are shown; of a list, whose content may be encrypted, its name and
description. Nothing is searched of what is encrypted, is another event, or is data of an application.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import orjson

from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import (
    CLIENT_AUTH,
    ENCRYPTED_MESSAGE,
    EPHEMERAL_WRAP,
    FOLLOWS,
    GIFT_WRAP,
    HTTP_AUTH,
    LABEL,
    PROFILE,
    REPOSTS,
    SEAL,
    is_addressable,
    is_replaceable,
)
from trio_relay.nostr.tokenizer import APART, words, words_of_each

_SHOWN: Final = ("name", "display_name", "about", "nip05", "website", "lud16")
"""The fields of a profile that are searched: those that clients show as text (NIP-01, NIP-24)."""
_NAMES: Final = frozenset({"title", "subject", "summary", "name", "alt"})
"""Tags by which an event says in words what it is."""
_TOLD: Final = frozenset({*_NAMES, "t"})
_DESCRIBED: Final = frozenset({*_NAMES, "description"})
_TOLD_OF_ADDRESSABLE: Final = frozenset({*_DESCRIBED, "t"})
"""In the receipt of a zap, which is a regular event, `description` is a whole event once more (NIP-57)."""
_LISTS: Final = frozenset({*range(30_000, 30_008), 30_015, 30_030})
"""Sets and lists with a name (NIP-51): their content may be encrypted, and their tags are their members."""
_PRIVATE: Final = (
    *(ENCRYPTED_MESSAGE, SEAL, 44, 443, 444, 445, GIFT_WRAP, 1060, 7374, 7375, 7376),
    *(EPHEMERAL_WRAP, 23_194, 23_195, 24_133, 30_078, 31_234),
)
_UNSEARCHED: Final = frozenset({FOLLOWS, *REPOSTS, CLIENT_AUTH, HTTP_AUTH, *_PRIVATE})
"""Kinds that are not searched, beside all that is replaceable (lists, relays, wallets) but profiles. The content of a
repost is a whole event once more; that of messages, wraps, groups, wallets and drafts may be encrypted."""


def is_searched(kind: int) -> bool:
    """True for kinds of which anything is searched."""
    return kind == PROFILE or not (kind in _UNSEARCHED or is_replaceable(kind))


MOST_AT_ONCE: Final = 4_096
"""Characters of a text whose words are made within a turn of the loop, whatever they are; longer ones go to threads."""


def is_long(event: Event) -> bool:
    """Return True if the words of this event may take longer than a turn of the loop."""
    if len(event.content) > MOST_AT_ONCE or len(event.tags) > _MOST_TAGS_AT_ONCE:
        return True
    return sum(len(tag[1]) for tag in event.tags if len(tag) > 1) > MOST_AT_ONCE


_MOST_TAGS_AT_ONCE: Final = 500


def text_of(event: Event) -> str:
    """Return the words of an event that are searched, with spaces between; empty for kinds that are not searched.

    What tags say comes after the content, unless the content says the same. All of it together is bounded as the words
    of one text are (`tokenizer.WIDEST`).
    """
    kind = event.kind
    if kind == PROFILE:
        return _profile_text(event.content)
    if not is_searched(kind):
        return ""
    if kind in _LISTS:
        content, names = "", _DESCRIBED
    else:
        content, names = event.content, _TOLD_OF_ADDRESSABLE if is_addressable(kind) else _TOLD
    told = [tag[1] for tag in event.tags if len(tag) > 1 and tag[0] in names]
    if not told:
        return " ".join(words(content))
    text, *more = map(" ".join, words_of_each([content, *told]))
    return _with(text, more)


def _with(text: str, told: list[str]) -> str:
    """Add the words of further texts, unless they are there already, as those of hashtags mostly are."""
    parts, held, padded = [text] if text else [], set(text.split()), f" {text} "
    looks = _MOST_LOOKS
    for more in dict.fromkeys(told):
        several = more.split()
        is_there = held.issuperset(several)
        if is_there and len(several) > 1:
            looks -= 1  # each takes as long as the content is
            is_there = looks >= 0 and f" {more} " in padded
        if not is_there:
            parts.append(more)
            held.update(several)
    return f" {APART} ".join(parts)


_MOST_LOOKS: Final = 20
"""Texts of several words that are looked for in the content; further ones are kept twice at worst."""


def _profile_text(content: str) -> str:
    """Return the searched text of a profile's content; all of it if the content is no profile."""
    shown = _shown(content)
    return " ".join(words(content if shown is None else "\n".join(shown.values())))


# A profile is read for its text and for its marks, one after the other.
@lru_cache(maxsize=4)
def _shown(content: str) -> dict[str, str] | None:
    """Return what a profile shows, in our order; None if the content is no profile."""
    try:
        profile = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(profile, dict):
        return None
    return {key: text for key in _SHOWN if isinstance(text := profile.get(key), str)}


def marks_of(event: Event) -> frozenset[str]:
    """Return how an event marks itself: "nsfw", "language:en", and for a profile "domain:example.com".

    They come from a content warning (NIP-36) or the tag `nsfw`; from a label on itself in the namespace ISO-639-1
    (NIP-32); from the domain of its `nip05`, as claimed and not verified (NIP-05).
    """
    marks: set[str] = set()
    for tag in event.tags:
        if not tag or tag[0] not in _TELLING:
            continue
        if tag[0] == "content-warning" or (tag[0] == "t" and tag[1:2] and tag[1].lower() == "nsfw"):
            marks.add("nsfw")
        # A label event labels others.
        elif tag[0] == "l" and tag[2:3] == ["ISO-639-1"] and event.kind != LABEL and LANGUAGE.fullmatch(tag[1].lower()):
            marks.add(f"language:{tag[1].lower()}")
    if event.kind == PROFILE and (domain := _claimed_domain(event.content)):
        marks.add(f"domain:{domain}")
    return frozenset(marks)


_TELLING: Final = frozenset({"content-warning", "t", "l"})


LANGUAGE: Final = re.compile("[a-z]{2}")
DOMAIN: Final = re.compile(r"[^\s/@:]{1,253}")


def _claimed_domain(content: str) -> str | None:
    address = (_shown(content) or {}).get("nip05", "")
    domain = address.strip().rpartition("@")[2].lower()
    return domain if DOMAIN.fullmatch(domain) else None
