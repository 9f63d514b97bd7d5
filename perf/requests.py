"""Shapes of stored queries that clients ask most, as REQ and COUNT frames with values out of a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec

from perf.wire import frame
from trio_relay.nostr.event import Event
from trio_relay.nostr.tokenizer import words

_json: Final = msgspec.json.Encoder().encode
_ASKED: Final = 2_000
"""Distinct requests of a shape; more of them are these again."""
_CANDIDATES: Final = 20
_POPULAR: Final = 10
"""Authors whose followers are counted: those whom most follow."""
_PHRASE: Final = 3
"""Words of a phrase; each single word of the corpus stands in a good part of all notes."""
_USUAL: Final = {"id": 50, "author-kind": 20, "thread": 20, "authors": 8, "latest": 2}
"""What a client asks how often, of a hundred; the shape "mixed"."""


def requests(shape: str, stored: Sequence[Event], count: int, connections: int, sub_ids: int = 1) -> list[bytes]:
    """So many REQ frames of one shape, to be dealt out to connections in turn.

    On each connection the sub ids `q0`, `q1` … take turns, and no request repeats the one that it replaces: some relays
    give no answer to that.
    """
    asked = _distinct(shape, stored, count, connections * sub_ids)
    return [frame(_json(["REQ", f"q{number // connections % sub_ids}", one])) for number, one in enumerate(asked)]


def counts(shape: str, stored: Sequence[Event], count: int, connections: int) -> list[bytes]:
    """So many COUNT frames of one shape, to be dealt out to connections in turn."""
    return [frame(_json(["COUNT", "q0", one])) for one in _distinct(shape, stored, count, connections)]


def _distinct(shape: str, stored: Sequence[Event], count: int, apart: int) -> list[dict[str, Any]]:
    """Filters, of which none is the same as the one so many before it."""
    make = _SHAPES[shape](stored, Random(7))
    distinct = [make() for _ in range(min(count, _ASKED))]
    filters: list[dict[str, Any]] = []
    for number in range(count):
        replaced = filters[-apart] if number >= apart else None
        candidates = [distinct[number % len(distinct)], *(distinct[:_CANDIDATES])]
        filters.append(next((one for one in candidates if one != replaced), candidates[0]))
    return filters


def _by_id(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    return lambda: {"ids": [random.choice(stored).id]}


def _by_author_and_kind(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    notes = [event.pubkey for event in stored if event.kind == 1]
    # Those of whom there are enough, so that an answer has its 20 events.
    busy = [pubkey for pubkey, count in Counter(notes).items() if count >= 20] or notes
    return lambda: {"authors": [random.choice(busy)], "kinds": [1], "limit": 20}


def _thread(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    roots = _answered(stored, (1, 7))
    return lambda: {"#e": [random.choice(roots)], "kinds": [1, 7], "limit": 50}


def _answered(stored: Sequence[Event], kinds: Sequence[int]) -> list[str]:
    """Events that have answers of these kinds."""
    answers = Counter(tag[1] for event in stored if event.kind in kinds for tag in event.tags if tag[0] == "e")
    # One answer is no thread yet; most threads are short.
    return [root for root, count in answers.items() if count > 1] or list(answers)


def _authors(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    everyone = sorted({event.pubkey for event in stored})
    return lambda: {
        "authors": random.sample(everyone, min(50, len(everyone))),
        "kinds": [1, 6],
        "limit": 100,
    }


def _latest(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    newest = stored[-1].created_at
    return lambda: {"kinds": [1], "limit": 500, "until": newest - random.randrange(len(stored) // 10 + 1)}


def _search(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    texts = _texts(stored)
    return lambda: {"search": " ".join(random.choices(random.choice(texts), k=2)), "kinds": [1], "limit": 20}


def _search_phrase(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    texts = _texts(stored)

    def make() -> dict[str, Any]:
        text = random.choice(texts)
        start = random.randrange(len(text) - _PHRASE + 1)
        return {"search": f'"{" ".join(text[start : start + _PHRASE])}"', "kinds": [1], "limit": 20}

    return make


def _texts(stored: Sequence[Event]) -> list[list[str]]:
    """The words of notes that have enough of them for a phrase."""
    return [text for event in stored if event.kind == 1 and len(text := words(event.content)) >= _PHRASE]


def _answers(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    roots = _answered(stored, (1, 7))
    return lambda: {"#e": [random.choice(roots)], "kinds": [1, 7]}


def _reactions(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    roots = _answered(stored, (7,))
    return lambda: {"#e": [random.choice(roots)], "kinds": [7]}


def _followers(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    follows = Counter(tag[1] for event in stored if event.kind == 3 for tag in event.tags)
    # Nobody follows anybody yet where very little is stored.
    popular = [pubkey for pubkey, _ in follows.most_common(_POPULAR)] or [event.pubkey for event in stored]
    return lambda: {"#p": [random.choice(popular)], "kinds": [3]}


def _followers_since(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    make = _followers(stored, random)
    # Of this time all of them are; but a filter that has one is not canonical for NIP-45, and gets no registers.
    return lambda: make() | {"since": 1}


def _mixed(stored: Sequence[Event], random: Random) -> Callable[[], dict[str, Any]]:
    makers = {shape: _SHAPES[shape](stored, random) for shape in _USUAL}
    return lambda: makers[random.choices(list(_USUAL), list(_USUAL.values()))[0]]()


_SHAPES: Final[dict[str, Callable[[Sequence[Event], Random], Callable[[], dict[str, Any]]]]] = {
    "id": _by_id,
    "author-kind": _by_author_and_kind,
    "thread": _thread,
    "authors": _authors,
    "latest": _latest,
    "search": _search,
    "search-phrase": _search_phrase,
    "mixed": _mixed,
    "answers": _answers,
    "reactions": _reactions,
    "followers": _followers,
    "followers-since": _followers_since,
}
