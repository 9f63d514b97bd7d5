"""Signed events to measure with: realistic, the same for the same seed, made once and kept.

The mix follows a public relay: notes, reactions, reposts, zaps, profiles, lists; a few authors write most; replies and
reactions gather under some notes, and most notes have none or one; 600 bytes an event on average. Times lie a year or
so back and rise with each event.
No replaceable event has a second version, so that events may arrive in any order.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

from coincurve import PrivateKey

from trio_relay.nostr.event import Event, compute_id, decode, encode
from trio_relay.nostr.kinds import is_replaceable

START: Final = 1_760_000_000
"""`created_at` of the first event; one more second for each further one."""
EDITION: Final = 2
"""To be raised when the same seed gives other events than before: what is kept of the former ones is then passed by."""
FILLED_SEED: Final = 3
"""Of the unsigned events in filled stores: other authors and other addresses than those of signed corpora."""
_STARS: Final = 10
"""Authors in filled stores whom half of all lists of follows name: thousands, where a million is stored."""
_AUTHORS_PER_EVENT: Final = 1 / 20
_KINDS: Final = {1: 46, 7: 30, 6: 6, 9735: 5, 0: 4, 10_002: 3, 3: 1, 30_023: 2, 1_111: 3}
_POPULAR: Final = 0.1
"""Of the notes, so many get more than their share of the answers: `_TO_POPULAR` of all."""
_TO_POPULAR: Final = 0.6
_TEXT: Final = "the of relay note to and zap is a that bitcoin nostr key 日本 from café event with this ⚡ gm people"
_WORDS: Final = _TEXT.split()
_NEWEST: Final = 100_000
"""Of a filled store: events out of which requests are made."""


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody who writes: seeded, so that the same corpus has the same keys."""

    secret: PrivateKey
    pubkey: str


def folder() -> Path:
    """Where corpora and filled stores are kept; `XDG_CACHE_HOME` moves it."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trio-relay" / "perf"
    path.mkdir(parents=True, exist_ok=True)
    return path


@lru_cache(maxsize=4)
def signed_events(count: int, seed: int = 1) -> Sequence[Event]:
    """So many validly signed events, oldest first; from the cache if they have been made before."""
    path = folder() / f"events-{count}-{seed}-{EDITION}.jsonl"
    if not path.exists():
        _keep(path, generate(count, seed, sign=True))
    return _kept(path)


def filling(count: int) -> Iterator[Event]:
    """Unsigned events to fill a store with, oldest first; the signed ones are newer, as what comes in is.

    Once all of them have been taken, the newest are kept for `newest_filled`.
    """
    newest: deque[Event] = deque(maxlen=_NEWEST)
    for event in generate(count, FILLED_SEED, sign=False, start=START - count, stars=_STARS):
        newest.append(event)
        yield event
    _keep(_newest(count), newest)


@lru_cache(maxsize=1)
def newest_filled(count: int) -> Sequence[Event]:
    """The newest 100,000 of so many events to fill a store with; from the cache if they have been made before."""
    path = _newest(count)
    if not path.exists():
        deque(filling(count), maxlen=0)
    return _kept(path)


def _newest(count: int) -> Path:
    return folder() / f"newest-{count}-{FILLED_SEED}-{EDITION}.jsonl"


def _keep(path: Path, events: Iterable[Event]) -> None:
    """Under its name only once it is whole."""
    partial = path.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as file:
        file.writelines(encode(event) + b"\n" for event in events)
    partial.replace(path)


def _kept(path: Path) -> Sequence[Event]:
    with path.open("rb") as file:
        return [decode(line) for line in file]


def generate(count: int, seed: int, *, sign: bool, start: int = START, stars: int = 0) -> Iterator[Event]:
    """The events of a corpus one by one; unsigned ones have random signatures and serve to fill a store.

    Args:
        count: of events.
        seed: the same seed makes the same events.
        sign: with valid signatures.
        start: `created_at` of the first.
        stars: so many authors are followed by half of those who follow anybody.
    """
    random = Random(seed)
    authors = [_author(seed, number) for number in range(max(20, int(count * _AUTHORS_PER_EVENT)))]
    recent: list[Event] = []
    popular: list[Event] = []
    kinds = random.choices(list(_KINDS), list(_KINDS.values()), k=count)
    numbers: Counter[int] = Counter()
    for number, kind in enumerate(kinds):
        numbers[kind] += 1
        if is_replaceable(kind):
            author = authors[numbers[kind] % len(authors)]
        else:
            author = authors[int(len(authors) * random.random() ** 3)]
        root = _lately(random, popular, 30) if random.random() < _TO_POPULAR else _lately(random, recent, 300)
        tags, content = _body(random, kind, number, root, authors)
        if kind == 3:
            tags = [["p", star.pubkey] for star in authors[:stars] if random.random() < 0.5] + tags
        created_at = start + number
        event_id = compute_id(author.pubkey, created_at, kind, tags, content)
        sig = author.secret.sign_schnorr(bytes.fromhex(event_id), bytes(32)) if sign else random.randbytes(64)
        event = Event(event_id, author.pubkey, created_at, kind, tags, content, sig.hex())
        if kind == 1:
            among = popular if random.random() < _POPULAR else recent
            among.append(event)
            del among[:-3000]
        yield event


def _lately(random: Random, events: Sequence[Event], ago: int) -> Event | None:
    """One of the last ones, this many ago on average."""
    return events[-1 - min(int(random.expovariate(1 / ago)), len(events) - 1)] if events else None


def _author(seed: int, number: int) -> Author:
    secret = PrivateKey(sha256(f"trio-relay {seed} {number}".encode()).digest())
    return Author(secret, secret.public_key.format()[1:].hex())


def _body(
    random: Random, kind: int, number: int, root: Event | None, authors: Sequence[Author]
) -> tuple[list[list[str]], str]:
    """The tags and the content that an event of this kind has."""
    if kind == 0:
        return (
            [],
            f'{{"name":"author {number}","about":"{_text(random, 12)}","picture":"https://example.com/{number}"}}',
        )
    if kind == 3:
        return [["p", random.choice(authors).pubkey] for _ in range(random.randint(5, 60))], ""
    if kind == 10_002:
        return [["r", f"wss://relay{random.randrange(50)}.example.com"] for _ in range(random.randint(2, 8))], ""
    if kind == 30_023:
        return [["d", f"article-{number}"], ["t", random.choice(_WORDS)]], _text(random, 300)
    if root is None or (kind == 1 and random.random() < 0.5):
        return [["t", random.choice(_WORDS)]] if random.random() < 0.2 else [], _text(random, 40)
    tags = [["e", root.id, "", "root"], ["p", root.pubkey]]
    if kind == 7:
        return tags, "+"
    if kind == 6:
        return tags, encode(root).decode()
    if kind == 9735:
        return [*tags, ["bolt11", f"lnbc{random.randrange(10**40)}"], ["preimage", random.randbytes(32).hex()]], ""
    return tags, _text(random, 25)


def _text(random: Random, words: int) -> str:
    """Some words, about so many, as people write them: many short texts, a few long ones."""
    return " ".join(random.choices(_WORDS, k=1 + min(int(random.expovariate(1 / words)), 10 * words)))
