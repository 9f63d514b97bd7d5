"""Searches (NIP-50): what a client searches for, and whether an event is one of these."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Final, Literal, TypeAlias

from trio_relay.frozen import Frozen
from trio_relay.nostr.errors import invalid
from trio_relay.nostr.event import Event
from trio_relay.nostr.event_text import DOMAIN, LANGUAGE, is_searched, marks_of, text_of
from trio_relay.nostr.kinds import REACTION
from trio_relay.nostr.tokenizer import ANY_END, asked_of, split, words, words_of_each

__all__ = [
    "COLOURS",
    "DISLIKES",
    "LIKES",
    "MOST_CHARACTERS",
    "Phrase",
    "Search",
    "Searched",
    "Sort",
    "is_searched",
    "look_at",
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
PHRASE_SIZE: Final = 100
"""What a phrase of several words, or the beginning of a word, counts for beside its words: a long text is looked
through for it, which takes a millisecond, where a word takes a microsecond at most."""


class Search(Frozen, frozen=True):
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
        """What it counts for among the values of a filter: 1 a word, 100 more a phrase or a word that may go on."""
        return self.words + PHRASE_SIZE * sum(not _is_word(phrase) for phrase in (*self.phrases, *self.excluded))

    @property
    def words(self) -> int:
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
        return not self.is_void and self.domain is None and _seen(event).answers(self)


class Searched:
    """An event as searches see it: its words and its marks are made once, however many searches ask about it.

    `judge` may be called in a thread, for one object by one thread at a time; its verdicts are used afterwards.
    """

    def __init__(self, event: Event) -> None:
        self.event = event
        # By identity, since a hash takes as long as a search is; they are kept, so that no other gets the same one.
        self._verdicts: dict[int, tuple[Search, bool]] = {}
        self._asking: dict[int, Search] | None = None

    def answers(self, search: Search) -> bool:
        """Return True if this event is one that is searched for."""
        if self._asking is not None:
            self._asking[id(search)] = search
            return False
        if self._verdicts and (verdict := self._verdicts.get(id(search))) is not None:
            return verdict[1]
        return self._is_found(search)

    def who_asks(self, match: Callable[[Event], object]) -> list[Search]:
        """Return the searches that ask about the event while `match` runs; for the moment they are all told no."""
        self._asking = {}
        try:
            look_at(self)
            match(self.event)
            return list(self._asking.values())
        finally:
            self._asking = None

    def judge(self, searches: list[Search], is_over: Callable[[], bool]) -> None:
        """Make the words and the verdicts on these searches; ends early once `is_over` says so."""
        assert self._text  # for those who ask later
        equal: dict[Search, bool] = {}
        for search in searches:
            if is_over():
                return
            if (verdict := equal.get(search)) is None:
                verdict = equal[search] = self._is_found(search)
            self._verdicts[id(search)] = search, verdict

    def _is_found(self, search: Search) -> bool:
        if not all(map(self._has, search.phrases)) or any(map(self._has, search.excluded)):
            return False
        if search.language is None and search.nsfw:
            return True
        return self._marks.issuperset(search.marks) and self._marks.isdisjoint(search.unwanted_marks)

    @cached_property
    def _text(self) -> str:
        return f" {text_of(self.event)} "

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(split(self._text))

    @cached_property
    def _marks(self) -> frozenset[str]:
        return marks_of(self.event)

    def _has(self, phrase: Phrase) -> bool:
        """Return True if the text has these words one after another; it is only looked through if it has them all."""
        if _is_word(phrase):
            return phrase[0] in self._words
        joined = f" {' '.join(phrase)} "
        if joined.endswith(f"{ANY_END} "):
            return self._words.issuperset(phrase[:-1]) and joined[: -len(ANY_END) - 1] in self._text
        return self._words.issuperset(phrase) and joined in self._text


def _is_word(phrase: Phrase) -> bool:
    return len(phrase) == 1 and not phrase[0].endswith(ANY_END)


def look_at(searched: Searched) -> None:
    """Have all searches that are asked about this event next ask this object."""
    _last[0] = searched


def _seen(event: Event) -> Searched:
    # Many searches ask about the same event, one after another.
    last = _last[0]
    if last is None or last.event is not event:
        last = Searched(event)
        look_at(last)
    return last


_last: Final[list[Searched | None]] = [None]


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
    # At once, which costs a fraction of token by token.
    found = words_of_each([plain or quoted for _, quoted, plain in tokens])
    for place, token in enumerate(tokens):
        minus, _, plain = token
        if _is_extension(token):
            extensions.update(_known(*plain.split(":", 1)))
            continue
        phrase = asked_of(found[place], prefix if place == typed else 0)
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


def _is_link(key: str, value: str) -> bool:
    return value.startswith("//") or key.lower() in _SCHEMES


def _known(key: str, value: str) -> dict[str, str | bool]:
    """Return the fields that one extension sets; none if the extension or its value is unknown."""
    match key.lower(), value.lower():
        case "sort", sort if sort in _SORTS:
            return {"sort": sort}
        case "language", language if LANGUAGE.fullmatch(language):
            return {"language": language}
        case "domain", domain if DOMAIN.fullmatch(domain):
            return {"domain": domain}
        case "nsfw", "true" | "false" as answer:
            return {"nsfw": answer == "true"}
        case "include", "spam":
            return {"include_spam": True}
    return {}


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
