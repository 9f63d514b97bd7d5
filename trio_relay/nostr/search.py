"""Searches (NIP-50): what a client searches for, and which text of an event is searched.

The content is searched, and the tags that say in words what an event is: its title, subject, summary, name, alt text
(NIP-31) and hashtags; of a profile, the fields that are shown; of a list, whose content may be encrypted, its name and
description. Nothing is searched of what is encrypted, is another event, or is data of an application.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec
import orjson

from trio_relay.nostr.errors import invalid
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
    REACTION,
    REPOSTS,
    SEAL,
    is_addressable,
    is_replaceable,
)
from trio_relay.nostr.tokenizer import ANY_END, APART, asked, words

__all__ = [
    "COLOURS",
    "DISLIKES",
    "LIKES",
    "MOST_CHARACTERS",
    "Phrase",
    "Search",
    "Sort",
    "is_searched",
    "marks_of",
    "parse_search",
    "text_of",
    "vote_of",
    "words",
]

Phrase: TypeAlias = tuple[str, ...]
"""Words that must follow one another; a single word is a phrase of one word. The last may end in `ANY_END`, and then
stands for all words that begin so."""
Sort: TypeAlias = Literal["top", "hot", "rising", "controversial"]

MOST_CHARACTERS: Final = 1_000
"""Characters in the longest text of a search."""

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


class Search(msgspec.Struct, frozen=True, gc=False):
    """What a search asks for: every phrase, none of those excluded, and all the rest.

    `language` is a code of ISO 639-1, `domain` the domain of the NIP-05 address that the author's profile claims. With
    `nsfw` False, events marked as not safe for work are left out. This relay detects no spam, so it leaves none out,
    whatever `include_spam` says. `is_void` says that the text has no words: then nothing matches.
    """

    phrases: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()
    sort: Sort | None = None
    language: str | None = None
    domain: str | None = None
    nsfw: bool = True
    include_spam: bool = False
    is_void: bool = False

    @property
    def size(self) -> int:
        """The number of words in it."""
        return sum(map(len, self.phrases)) + sum(map(len, self.excluded))

    @property
    def marks(self) -> tuple[str, ...]:
        """What an event must have among its `marks_of`."""
        return () if self.language is None else (f"language:{self.language}",)

    @property
    def unwanted_marks(self) -> tuple[str, ...]:
        """What an event must not have among its `marks_of`."""
        return () if self.nsfw else ("nsfw",)

    @property
    def author_mark(self) -> str | None:
        """What the profile of an event's author must have among its `marks_of`."""
        return None if self.domain is None else f"domain:{self.domain}"

    def matches(self, event: Event) -> bool:
        """Return True if this event is one that is searched for; `sort` plays no part.

        Always False for a search with a `domain`, which stands in the author's profile and not in the event.
        """
        if self.is_void or self.domain is not None:
            return False
        if self.phrases or self.excluded:
            text = _text_once(event)
            held = _words_in(text)
            if not all(_holds(text, held, phrase) for phrase in self.phrases):
                return False
            if any(_holds(text, held, phrase) for phrase in self.excluded):
                return False
        if self.language is None and self.nsfw:
            return True
        marks = marks_of(event)
        return marks.issuperset(self.marks) and marks.isdisjoint(self.unwanted_marks)


# Many subscriptions ask about the same event, one after another, and each may ask for hundreds of words.
@lru_cache(maxsize=4)
def _words_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


@lru_cache(maxsize=4)
def _sorted_words_in(text: str) -> list[str]:
    return sorted(_words_in(text))


def _holds(text: str, held: frozenset[str], phrase: Phrase) -> bool:
    """Return True if a text has these words one after another; it is only looked through if it has all of them."""
    last = phrase[-1]
    if last.endswith(ANY_END):
        if not held.issuperset(phrase[:-1]):
            return False
        if len(phrase) == 1:
            in_order, begun = _sorted_words_in(text), last[:-1]
            place = bisect_left(in_order, begun)
            return place < len(in_order) and in_order[place].startswith(begun)
        return f" {' '.join(phrase)[:-1]}" in f" {text}"
    if not held.issuperset(phrase):
        return False
    return len(phrase) == 1 or f" {' '.join(phrase)} " in f" {text} "


_NOTHING: Final = Search()


def parse_search(text: str, prefix: int = 0) -> Search | None:
    """Parse the text of a search; None if it asks for nothing: no text, or only extensions that change nothing.

    The text has words, "phrases" in quotation marks (the last mark may be missing), both with a `-` before them to
    exclude them, and extensions `key:value`. NIP-50's extensions that the relay knows are taken, the last one if a key
    comes twice; other extensions and meaningless values are ignored. Links and mentions are text. A text without any
    word, such as an emoji, does ask for something, which no event has.

    While it is being typed, its last word may be the beginning of one: until a space or a closing mark comes after it,
    unless it is excluded.

    Args:
        text: what the client sent.
        prefix: of how many characters or more the last word may be the beginning of a word; 0: it is whole.

    Raises:
        Rejected: the text is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise invalid(f"search must have at most {MOST_CHARACTERS} characters")
    phrases: dict[Phrase, None] = {}
    excluded: dict[Phrase, None] = {}
    extensions: dict[str, str | bool] = {}
    has_text = False
    tokens: list[_Token] = _TOKEN.findall(text)
    typed = _being_typed(text, tokens) if prefix else -1
    for place, token in enumerate(tokens):
        minus, quoted, plain = token
        if _is_extension(token):
            extensions.update(_known(*plain.split(":", 1)))
            continue
        phrase = asked(plain or quoted, prefix if place == typed else 0)
        if phrase:
            (excluded if minus else phrases)[phrase] = None
        has_text = has_text or not minus
    is_void = has_text and not phrases
    search = Search(tuple(phrases), tuple(excluded), is_void=is_void, **extensions)  # type: ignore[arg-type]  # _known
    return None if search == _NOTHING else search


_TOKEN: Final = re.compile(r"""(-?)(?:["“”]([^"“”]*)(?:["“”]|$)|([^\s"“”]+))""")
_EXTENSION: Final = re.compile(r"([A-Za-z]+):(.+)")


_Token: TypeAlias = tuple[str, str, str]
"""A minus, what stands in quotation marks, and what stands without."""


def _is_extension(token: _Token) -> bool:
    """Return True for `key:value` that is neither a link nor excluded."""
    minus, _, plain = token
    extension = None if minus else _EXTENSION.fullmatch(plain)
    return extension is not None and not _is_link(*extension.groups())


def _being_typed(text: str, tokens: list[_Token]) -> int:
    """Return the place of the token whose last word is still being typed; -1 if there is none.

    Extensions do not count: applications add them to what somebody types.
    """
    last = len(tokens) - 1
    place = last
    while place >= 0 and _is_extension(tokens[place]):
        place -= 1
    if place < 0 or tokens[place][0]:
        return -1
    is_over = text[-1] in _ENDS if place == last else not tokens[place][2]
    return -1 if is_over else place


_ENDS: Final = frozenset('"\u201c\u201d \t\r\n\u3000')
"""What ends a word that is being typed: a closing mark, or a space."""
_SCHEMES: Final = frozenset(
    [
        *("http", "https", "ws", "wss", "nostr", "mailto", "magnet"),
        *("lightning", "bitcoin", "tel", "geo", "urn", "did"),
    ]
)
_SORTS: Final = frozenset({"top", "hot", "rising", "controversial"})
_LANGUAGE: Final = re.compile("[a-z]{2}")
_DOMAIN: Final = re.compile(r"[^\s/@:]{1,253}")


def _is_link(key: str, value: str) -> bool:
    return value.startswith("//") or key.lower() in _SCHEMES


def _known(key: str, value: str) -> dict[str, str | bool]:
    """Return the fields that one extension sets; none if the extension or its value is unknown."""
    match key.lower(), value.lower():
        case "sort", sort if sort in _SORTS:
            return {"sort": sort}
        case "language", language if _LANGUAGE.fullmatch(language):
            return {"language": language}
        case "domain", domain if _DOMAIN.fullmatch(domain):
            return {"domain": domain}
        case "nsfw", "true" | "false" as answer:
            return {"nsfw": answer == "true"}
        case "include", "spam":
            return {"include_spam": True}
    return {}


def is_searched(kind: int) -> bool:
    """True for kinds of which anything is searched."""
    return kind == PROFILE or not (kind in _UNSEARCHED or is_replaceable(kind))


def text_of(event: Event) -> str:
    """Return the words of an event that are searched, with spaces between; empty for kinds that are not searched.

    What tags say comes after the content, unless the content says the same.
    """
    kind = event.kind
    if kind == PROFILE:
        return _profile_text(event.content)
    if not is_searched(kind):
        return ""
    if kind in _LISTS:
        text, names = "", _DESCRIBED
    else:
        text, names = _text(event.content), _TOLD_OF_ADDRESSABLE if is_addressable(kind) else _TOLD
    told = [tag[1] for tag in event.tags if len(tag) > 1 and tag[0] in names]
    return _with(text, told) if told else text


def _with(text: str, told: list[str]) -> str:
    """Add the words of further texts, unless they are there already, as those of hashtags mostly are."""
    parts, held, padded = [text] if text else [], set(text.split()), f" {text} "
    looks = _MOST_LOOKS
    for more in dict.fromkeys(map(_text, told)):
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


def _text_once(event: Event) -> str:
    """Return what `text_of` does, for one event after another: many subscriptions ask about the same."""
    last, text = _last[0]
    if last is not event:
        text = text_of(event)
        _last[0] = (event, text)  # in one step, whatever thread asks
    return text


_last: Final[list[tuple[Event | None, str]]] = [(None, "")]


def _text(content: str) -> str:
    return " ".join(words(content))


def _profile_text(content: str) -> str:
    """Return the searched text of a profile's content; all of it if the content is no profile."""
    profile = _profile(content)
    if profile is None:
        return _text(content)
    return _text("\n".join(text for key in _SHOWN if isinstance(text := profile.get(key), str)))


def _profile(content: str) -> dict[str, object] | None:
    try:
        profile = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return profile if isinstance(profile, dict) else None


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
        elif (
            tag[0] == "l" and tag[2:3] == ["ISO-639-1"] and event.kind != LABEL and _LANGUAGE.fullmatch(tag[1].lower())
        ):
            marks.add(f"language:{tag[1].lower()}")
    if event.kind == PROFILE and (domain := _claimed_domain(event.content)):
        marks.add(f"domain:{domain}")
    return frozenset(marks)


_TELLING: Final = frozenset({"content-warning", "t", "l"})


def _claimed_domain(content: str) -> str | None:
    address = (_profile(content) or {}).get("nip05")
    if not isinstance(address, str):
        return None
    domain = address.strip().rpartition("@")[2].lower()
    return domain if _DOMAIN.fullmatch(domain) else None


def vote_of(event: Event) -> int:
    """Return +1 for a reaction that likes, -1 for one that dislikes, 0 for everything else (NIP-25)."""
    if event.kind != REACTION:
        return 0
    reaction = event.content.rstrip(COLOURS)
    return (reaction in LIKES) - (reaction in DISLIKES)


LIKES: Final = frozenset(["", "+", *"❤♥🧡💛💚💙💜🖤🤍🤎💖💗💓💕💞💘💝🩷🩵🩶🤙👍"])
DISLIKES: Final = frozenset("-👎")
COLOURS: Final = "\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""Characters that may follow an emoji: its form, and a skin colour. They do not change the vote."""
