"""EVENT messages as long as they may be, valid, and wrong in each way that a relay must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from hashlib import sha256
from itertools import count, islice
from typing import Final

import orjson
from coincurve import PrivateKey

from perf.corpus import START
from perf.stalls.cases import CONTENT, ITEM, MESSAGE, TAGS, Messages, filled
from trio_relay.nostr.event import Event, compute_id, encode

Tags = list[list[str]]
_OK: Final = b'["OK"'
_ANY: Final = b'["'
_KEY: Final = PrivateKey(sha256(b"stalls").digest())
_PUBKEY: Final = _KEY.public_key.format()[1:].hex()
_VANISHING: Final = PrivateKey(sha256(b"stalls that vanish").digest())
"""Of requests to vanish: what they remove must be no matter of what was stored before."""
_VANISH: Final = 62
_HEAD: Final = 600
"""Bytes of an event besides its content and tags, at most."""
_ASCII: Final = "the relay answers what it was asked and nothing else "
_STACK: Final = "\u0323\u0301\u0327\u0308"
"""Marks that go below and above a letter, in an order that Unicode's is not."""


def signed(kind: int, content: str, tags: Tags, created_at: int) -> Event:
    """A valid event; where JSON encoders differ from NIP-01, its id is by the latter, which is tried second."""
    key = _VANISHING if kind == _VANISH else _KEY
    pubkey = key.public_key.format()[1:].hex()
    form = orjson.dumps([0, pubkey, created_at, kind, tags, content])
    is_plain = b"\\u00" not in form
    event_id = sha256(form).hexdigest() if is_plain else compute_id(pubkey, created_at, kind, tags, content)
    sig = key.sign_schnorr(bytes.fromhex(event_id), bytes(32)).hex()
    return Event(event_id, pubkey, created_at, kind, tags, content, sig)


def published(event: Event) -> bytes:
    """Its EVENT message."""
    return b'["EVENT",' + encode(event) + b"]"


@cache
def hex64(number: int) -> str:
    """An id or key that nobody has."""
    return sha256(f"stalls {number}".encode()).hexdigest()


def _chunks() -> str:
    """Short chunks that are not ASCII, each another one."""
    return " ".join(islice((f"é{number:x}" for number in count()), CONTENT // 4))[:CONTENT]


def _spread(part: str, bytes_each: int) -> str:
    return filled(part, min(CONTENT, (MESSAGE - _HEAD) * len(part) // bytes_each))


_CONTENTS: Final[dict[str, Callable[[], str]]] = {
    "small": lambda: "hello",
    "64 KB of ASCII": lambda: filled(_ASCII, 65_000),
    "ASCII": lambda: filled(_ASCII, CONTENT),
    "one ASCII word": lambda: "a" * CONTENT,
    "one-letter words": lambda: filled("a ", CONTENT),
    "ASCII words, all other": lambda: " ".join(f"{number:x}" for number in range(CONTENT))[:CONTENT],
    "spaces": lambda: " " * CONTENT,
    "punctuation": lambda: "." * CONTENT,
    "quotes and backslashes": lambda: filled('"\\', CONTENT),
    "line feeds": lambda: "\n" * CONTENT,
    "control characters": lambda: _spread("\u0001", 6),
    "emoji": lambda: _spread("😀", 4),
    "letters of 4 bytes": lambda: _spread("\U0001d49c\U0001d4cf\U0001d7d7", 12),
    "emoji joined": lambda: _spread("👩\u200d💻", 11),
    "accented words": lambda: filled("é è ", CONTENT),
    "accented chunks, all other": _chunks,
    "ligature of 18": lambda: filled("\ufdfa", CONTENT),
    "ligatures of 18, apart": lambda: filled("\ufdfa ", CONTENT),
    "squared words": lambda: filled("㌀㌃㌰", CONTENT),
    "marks, one kind": lambda: "a" + "\u0301" * (CONTENT - 1),
    "marks in stacks": lambda: "a" + filled(_STACK, CONTENT - 1),
    "marks in stacks of 30": lambda: filled("a" + filled(_STACK, 30), CONTENT),
    "letters with two marks": lambda: filled("ǖṩ", CONTENT),
    "Hangul": lambda: filled("각난닫", CONTENT),
    "Hangul letters": lambda: filled("\u1100\u1161\u11a8", CONTENT),
    "Han": lambda: filled("中文字本語", CONTENT),
    "Han and Latin in turn": lambda: filled("中a", CONTENT),
    "Thai": lambda: filled("ภาษาไทย", CONTENT),
    "Arabic with points": lambda: filled("مُحَمَّد ", CONTENT),
    "Cyrillic": lambda: filled("ёйЁЙ ", CONTENT),
    "folded to others": lambda: filled("ßẞﬃĿ", CONTENT),
    "apostrophes": lambda: filled("a\u02bc", CONTENT),
    "invisible": lambda: filled("a\u00ad\u200d", CONTENT),
    "unassigned": lambda: _spread("\U000e0fff", 4),
}
"""Of notes, kind 1."""


def _many(*items: str) -> Callable[[], Tags]:
    return lambda: [list(items)] * TAGS


def _numbered(name: str) -> Callable[[], Tags]:
    return lambda: [[name, str(number)] for number in range(TAGS)]


def _named(name: str, *more: str) -> Callable[[], Tags]:
    return lambda: [[name, hex64(number), *more] for number in range(TAGS)]


def _long(*names: str, part: str = "word ", bytes_each: int = 5) -> Callable[[], Tags]:
    """As many of the longest items as fit in a message."""
    length = ITEM * bytes_each // len(part) + 20
    return lambda: [[names[number % len(names)], filled(part, ITEM)] for number in range((MESSAGE - _HEAD) // length)]


def _embedded() -> str:
    return encode(signed(1, filled(_ASCII, CONTENT - _HEAD), [], START)).decode()


def _embedded_tags() -> str:
    return encode(signed(1, "", [["t", str(number)] for number in range(TAGS)], START)).decode()


def _no_tags() -> Tags:
    return []


_RELAYS: Final[Tags] = [["relay", "ALL_RELAYS"]]
_KINDS: Final[dict[str, tuple[int, Callable[[], str], Callable[[], Tags]]]] = {
    "tags, short": (1, str, _numbered("t")),
    "tags, the same": (1, str, _many("t", "a")),
    "tags without a value": (1, str, _many("t")),
    "tags of long names": (1, str, _numbered("x" * 80)),
    "tags e": (1, str, _named("e")),
    "tags p": (1, str, _named("p")),
    "tags of all letters": (1, str, lambda: [[chr(97 + number % 26), f"{number}"] for number in range(TAGS)]),
    "tags, the longest": (1, str, _long("t", "x")),
    "tags of NFKC": (1, str, _long("t", "title", part="\ufdfa", bytes_each=3)),
    "tags of titles": (1, str, _long("title", "subject", "summary", "alt")),
    "titles and content": (1, lambda: filled(_ASCII, CONTENT), lambda: [["title", f"a {n}"] for n in range(TAGS)]),
    "hashtags of NFKC": (1, str, lambda: [["t", f"\ufdfa{number}"] for number in range(TAGS)]),
    "a tag of many items": (1, str, lambda: [["x"] + [""] * ((MESSAGE - _HEAD) // 3)]),
    "labels of languages": (1, str, _many("l", "en", "ISO-639-1")),
    "expirations": (1, str, _many("expiration", "9" * 60)),
    "profile": (0, lambda: f'{{"name":"a","about":"{filled(_ASCII, CONTENT - 60)}"}}', _no_tags),
    "profile of NFKC": (0, lambda: '{"about":"' + filled("\ufdfa", CONTENT - 12) + '"}', _no_tags),
    "profile, nested": (0, lambda: filled('{"a":', CONTENT), _no_tags),
    "profile, nested lists": (0, lambda: '{"a":' + "[" * 900 + "]" * 900 + "}", _no_tags),
    "profile of many fields": (0, lambda: "{" + ",".join(f'"{n}":0' for n in range(25_000)) + "}", _no_tags),
    "profile of a long domain": (0, lambda: '{"nip05":"' + filled("@a", CONTENT - 12) + '"}', _no_tags),
    "profile of digits": (0, lambda: '{"a":' + "1" * (CONTENT - 10) + "}", _no_tags),
    "follows": (3, str, _named("p")),
    "relay list": (10_002, str, lambda: [["r", f"wss://{number}.example.com"] for number in range(TAGS)]),
    "repost": (6, _embedded, lambda: [["e", hex64(0)], ["p", _PUBKEY]]),
    "repost of tags": (16, _embedded_tags, lambda: [["e", hex64(0)], ["p", _PUBKEY], ["k", "1"]]),
    "repost, nested": (6, lambda: filled('{"tags":[', CONTENT), lambda: [["e", hex64(0)]]),
    "deletion of ids": (5, str, _named("e")),
    "deletion of addresses": (5, str, lambda: [["a", f"30023:{_PUBKEY}:{number}"] for number in range(TAGS)]),
    "reaction to many": (7, lambda: "+", _named("e")),
    "reaction, long": (7, lambda: filled("\ufe0f\U0001f3fb", CONTENT), lambda: [["e", hex64(0)]]),
    "report of many": (1_984, str, _named("e", "spam")),
    "label of many": (1_985, str, lambda: [["L", "x"], *([["l", str(number), "x"] for number in range(TAGS - 1)])]),
    "gift wrap for many": (1_059, lambda: filled("a", 10_000), _named("p")),
    "zap receipt": (9_735, str, lambda: [["description", _embedded_tags()[:ITEM]], ["bolt11", "lnbc" + "1" * 60_000]]),
    "article": (30_023, lambda: filled(_ASCII, CONTENT), lambda: [["d", "x" * ITEM], ["title", filled("a ", ITEM)]]),
    "set with names": (30_000, str, lambda: [["d", "x"], *_long("title", "description", "name")()]),
    "ephemeral": (20_001, lambda: filled(_ASCII, CONTENT), _named("p")),
    "request to join": (28_934, lambda: filled(_ASCII, CONTENT), _many("claim", "x")),
    "request to vanish": (_VANISH, lambda: filled(_ASCII, CONTENT), lambda: _RELAYS),
    "request to vanish from many": (_VANISH, str, lambda: [["relay", f"wss://{n}.example.com"] for n in range(TAGS)]),
}
"""Of other kinds, or with many tags."""
_SPOILT: Final = (
    *("small", "ASCII", "emoji", "control characters", "ligature of 18"),
    *("tags, short", "tags e", "a tag of many items", "profile", "repost"),
)
"""Those that come in wrong forms too."""


def _wrong_id(event: Event) -> bytes:
    wrong = event.id[:-1] + ("1" if event.id[-1] == "0" else "0")
    return published(event).replace(event.id.encode(), wrong.encode(), 1)


def _wrong_signature(event: Event) -> bytes:
    wrong = event.sig[:-1] + ("1" if event.sig[-1] == "0" else "0")
    return published(event).replace(event.sig.encode(), wrong.encode(), 1)


def _bad_end(event: Event) -> bytes:
    return published(event)[:-1] + b"}"


def _with_last(text: bytes) -> Callable[[Event], bytes]:
    """Puts this at the end of the last text of the event but its signature."""

    def spoil(event: Event) -> bytes:
        return published(event).replace(b'","sig":', text + b'","sig":', 1)

    return spoil


_WRONG: Final[dict[str, Callable[[Event], bytes]]] = {
    "wrong id": _wrong_id,
    "wrong signature": _wrong_signature,
    "bad JSON at its end": _bad_end,
    "a lone surrogate": _with_last(b"\\ud800"),
    "a raw control character": _with_last(b"\x01"),
}


def _make(kind: int, content: Callable[[], str], tags: Callable[[], Tags], turn: int) -> Event:
    """The event of this turn: the next one is newer, so that it replaces this one where kinds do so."""
    return signed(kind, content(), tags(), START + 1_000_000 + turn)


def event_cases() -> Iterator[Messages]:
    """All of them."""
    sorts = {name: (1, content, _no_tags) for name, content in _CONTENTS.items()} | _KINDS
    for name, parts in sorts.items():
        make = partial(_make, *parts)
        yield Messages(f"EVENT {name}", _one(make, published), _OK)
        if name in _SPOILT:
            for fault, spoil in _WRONG.items():
                yield Messages(f"EVENT {name}: {fault}", _one(make, spoil), _ANY)
            yield Messages(f"EVENT {name}: twice", _twice(make), _OK)


def _one(make: Callable[[int], Event], write: Callable[[Event], bytes]) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [write(make(turn))]


def _twice(make: Callable[[int], Event]) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [published(make(turn))] * 2
