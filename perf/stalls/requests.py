"""REQ, COUNT, CLOSE, AUTH and the messages of NIP-77, each at its limits, and what is none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from perf.stalls.cases import CONTENT, FILTERS, MESSAGE, SEARCH, VALUES, Messages, filled, in_bytes
from perf.stalls.events import hex64, signed
from trio_relay.nostr.event import encode as encode_event

_json: Final = msgspec.json.Encoder().encode
_LETTERS: Final = [chr(first + number) for first in (65, 97) for number in range(26) if chr(first + number) not in "ep"]
_HEXES: Final = (MESSAGE - 200) // 67
"""Ids or keys that fit in a message."""
_SYNCED: Final = b'["NEG-'
_NEGENTROPY: Final = b"\x61"
_SYNC: Final = 2 * 131_072
"""Most bytes of a client's message in a sync."""


def _hexes() -> list[str]:
    return [hex64(number) for number in range(_HEXES)]


def _short(number: int) -> list[str]:
    return [f"{one:x}" for one in range(number)]


def _twenty(make: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    return [make(number) for number in range(FILTERS)]


def _by_letters(values: int) -> dict[str, Any]:
    return {f"#{letter}": [f"{letter}{one:x}" for one in range(values)] for letter in _LETTERS}


_FILTERS: Final[dict[str, Callable[[], list[dict[str, Any]]]]] = {
    "small": lambda: [{"kinds": [1], "limit": 1}],
    "ids": lambda: [{"ids": _hexes()}],
    "authors": lambda: [{"authors": _hexes()}],
    "authors and kinds": lambda: [{"authors": _hexes()[:10_000], "kinds": list(range(1_000))}],
    "#e": lambda: [{"#e": _hexes()}],
    "tag values": lambda: [{"#t": _short(VALUES)}],
    "50,000 tag values": lambda: [{"#t": _short(49_990)}],
    "120,000 tag values": lambda: [{"#t": _short(120_000)}],
    "kinds": lambda: [{"kinds": list(range(VALUES))}],
    "all letters": lambda: [_by_letters(VALUES // len(_LETTERS))],
    "20 filters of tag values": lambda: _twenty(lambda n: {"#t": [f"{n}-{one:x}" for one in range(VALUES // 20)]}),
    "20 filters of kinds": lambda: _twenty(lambda n: {"kinds": list(range(VALUES // 20)), "since": n}),
    "20 filters of all letters": lambda: _twenty(lambda n: _by_letters(VALUES // 20 // len(_LETTERS))),
    "20 filters of ids and authors": lambda: _twenty(lambda n: {"ids": _hexes()[:350], "authors": _hexes()[350:700]}),
    "20 filters without values": lambda: _twenty(lambda n: {"until": 1, "limit": 0}),
    "20 filters of empty lists": lambda: _twenty(lambda n: {"ids": [], "authors": [], "kinds": [], "#e": []}),
    "everything": lambda: [{"limit": 5_000}],
    "everything 20 times": lambda: _twenty(lambda n: {"limit": 5_000, "since": n}),
    "1,000 authors, whole answers": lambda: [{"authors": _hexes()[:1_000], "kinds": [1, 6, 7], "limit": 5_000}],
    "long texts": lambda: [{"#t": [filled(f"{n} text ", 60_000) for n in range(16)]}],
    "long texts of NFKC": lambda: [{"#t": [filled("\ufdfa", 60_000) for _ in range(5)]}],
    "an unknown key": lambda: [{"x" * (MESSAGE - 100): 1}],
    "unknown keys": lambda: [{f"k{n}": 0 for n in range(80_000)}],
    "values of the wrong type at the end": lambda: [{"ids": [*_hexes(), 1]}],
    "values not hex at the end": lambda: [{"ids": [*_hexes(), "x" * 64]}],
}
_SEARCHES: Final = {
    "words": filled("the relay answers ", SEARCH),
    "one-letter words": filled("a b c d e f g h i j ", SEARCH),
    "all other words": " ".join(f"w{number:x}" for number in range(SEARCH))[:SEARCH],
    "phrases": filled('"the relay" ', SEARCH),
    "quotation marks": '"' * SEARCH,
    "exclusions": filled("-the ", SEARCH),
    "colons": ":" * SEARCH,
    "extensions": filled("language:en ", SEARCH),
    "NFKC": "\ufdfa" * SEARCH,
    "marks": "a" + filled("\u0323\u0301\u0327\u0308", SEARCH - 1),
    "Hangul": filled("각난닫", SEARCH),
    "Han": filled("中文字", SEARCH),
    "emoji": "😀" * SEARCH,
    "a beginning": "a",
    "a Han character": "日",
    "a common word": "the",
    "a domain": "the domain:example.com",
    **{f"sort:{sort}": f"sort:{sort}" for sort in ("top", "hot", "rising", "controversial")},
    "sort of words": "the sort:top",
}
_ENDINGS: Final[dict[str, Callable[[], bytes]]] = {
    "{}": lambda: in_bytes(b"{},", MESSAGE - 100) + b"{}",
    '""': lambda: in_bytes(b'"",', MESSAGE - 100) + b'""',
    "[": lambda: b"[" * (MESSAGE - 100),
    "[]": lambda: in_bytes(b"[],", MESSAGE - 100) + b"[]",
    "{ in {": lambda: in_bytes(b'{"a":', MESSAGE - 100),
    "900 deep": lambda: b'{"a":' * 900 + b"1" + b"}" * 900,
    "900 deep, many": lambda: in_bytes(b"[" * 500 + b"]" * 500 + b",", MESSAGE - 100) + b"1",
    "one number": lambda: b'{"since":' + b"1" * (MESSAGE - 100) + b"}",
    "numbers of 4,300 digits": lambda: b'{"kinds":[' + in_bytes(b"1" * 4_300 + b",", MESSAGE - 100) + b"1]}",
    "numbers of 4,301 digits": lambda: b'{"kinds":[' + in_bytes(b"1" * 4_301 + b",", MESSAGE - 100) + b"1]}",
    "numbers of 4,300 digits, 64 KB": lambda: b'{"kinds":[' + in_bytes(b"1" * 4_300 + b",", 65_000) + b"1]}",
    "fractions": lambda: b'{"kinds":[' + in_bytes(b"0." + b"1" * 700 + b"e-9,", MESSAGE - 100) + b"1]}",
    "powers": lambda: b'{"kinds":[' + in_bytes(b"1e308,", MESSAGE - 100) + b"1]}",
    "numbers": lambda: b'{"kinds":[' + in_bytes(b"1,", MESSAGE - 100) + b"1]}",
    "the same key again": lambda: b"{" + in_bytes(b'"ids":[],', MESSAGE - 100) + b'"ids":[]}',
    "escapes": lambda: b'{"search":"' + in_bytes(b"\\u0041", MESSAGE - 100) + b'"}',
    "lone surrogates": lambda: b'{"search":"' + in_bytes(b"\\ud800", MESSAGE - 100) + b'"}',
    "lone surrogates, 64 KB": lambda: b'{"search":"' + in_bytes(b"\\ud800", 65_000) + b'"}',
    "NaN": lambda: in_bytes(b"NaN,", MESSAGE - 100) + b"1",
    "NaN, 64 KB": lambda: in_bytes(b"NaN,", 65_000) + b"1",
    "spaces": lambda: b" " * (MESSAGE - 100) + b"{}",
}
"""What stands where a filter should."""


def request_cases() -> Iterator[Messages]:
    """REQ and COUNT."""
    for verb in ("REQ", "COUNT"):
        for name, make in _FILTERS.items():
            yield Messages(f"{verb} {name}", _asking(verb, make))
    for name, text in _SEARCHES.items():
        yield Messages(f"REQ search, {name}", _asking("REQ", _searching(text)))
        yield Messages(f"REQ search, {name}, 20 times", _asking("REQ", _searching(text, FILTERS)))
    yield Messages("COUNT search, a common word", _asking("COUNT", _searching("the")))
    for name, ending in _ENDINGS.items():
        yield Messages(f"REQ {name}", _ending(b'["REQ","x",', ending))
    yield Messages("COUNT {}", _ending(b'["COUNT","x",', _ENDINGS["{}"]))
    yield Messages("REQ 300 subscriptions, 20 filters each", _subscriptions)
    yield Messages("REQ opened and closed 2,000 times", _opened_and_closed)
    yield Messages("REQ of a long name", lambda turn: [_json(["REQ", "x" * (MESSAGE - 100), {}])])


def other_cases() -> Iterator[Messages]:
    """CLOSE, AUTH, NIP-77, and what no client says."""
    for verb in ("CLOSE", "NOTICE", "EVENT", "AUTH", "NEG-CLOSE", "x"):
        yield Messages(f"{verb} of a long text", _ending(f'["{verb}",'.encode(), lambda: _json("x" * (MESSAGE - 100))))
        yield Messages(f"{verb} of lists", _ending(f'["{verb}",'.encode(), _ENDINGS["[]"]))
        yield Messages(f"{verb} of [", _ending(f'["{verb}",'.encode(), _ENDINGS["["]))
    yield Messages("EVENT of {}", _ending(b'["EVENT",', _ENDINGS["{}"]))
    yield Messages("EVENT of one object", _ending(b'["EVENT",{"id":', lambda: _json("x" * (MESSAGE - 100)) + b"}"))
    yield Messages("EVENT of unknown fields", _ending(b'["EVENT",', lambda: _json({f"k{n}": 0 for n in range(80_000)})))
    yield Messages("EVENT behind spaces", lambda turn: [b" " * (MESSAGE - 100) + b'["EVENT",{}]'])
    yield Messages("EVENT in escapes", lambda turn: [b'["\\u0045VENT",' + in_bytes(b"[],", MESSAGE - 100) + b"1]"])
    yield Messages("x a verb of a long text", lambda turn: [_json(["é" * (MESSAGE // 2 - 100)])])
    yield Messages("AUTH of another kind", lambda turn: [_auth(1, filled("word ", CONTENT), [], turn)], b'["OK"')
    yield Messages("AUTH with a long content", lambda turn: [_auth(22_242, "\ufdfa" * CONTENT, [], turn)], b'["OK"')
    yield Messages("AUTH with many tags", lambda turn: [_auth(22_242, "", _CHALLENGES, turn)], b'["OK"')
    yield Messages("AUTH 500 times", lambda turn: [_auth(22_242, f"{n}", _CHALLENGES[:2], turn) for n in range(500)])
    yield from _sync_cases()


_CHALLENGES: Final = [["challenge", "x"], ["relay", "ws://127.0.0.1/"]] * 5_000


def _auth(kind: int, content: str, tags: list[list[str]], turn: int) -> bytes:
    return b'["AUTH",' + encode_event(signed(kind, content, tags, 1_761_000_000 + turn)) + b"]"


def _sync_cases() -> Iterator[Messages]:
    opening = _json(["NEG-OPEN", "s", {}, (_NEGENTROPY + _everything()).hex()])
    yield Messages("NEG-OPEN small", lambda turn: [opening], _SYNCED)
    for name, make in _FILTERS.items():
        if name in ("ids", "tag values", "kinds", "all letters", "everything"):
            yield Messages(f"NEG-OPEN {name}", _opening(make), _SYNCED)
    for name, body in _RANGES.items():
        for size in (500, 16_000, _SYNC):
            message = body(size - 100).hex()
            yield Messages(f"NEG-MSG {name}, {size:,} bytes", _going_on(message), _SYNCED, opening)
        yield Messages(f"NEG-OPEN {name}", _opening(lambda: [{}], message), _SYNCED)
    many = [_json(["NEG-MSG", "s", _RANGES["fingerprints"](500).hex()])] * 200
    yield Messages("NEG-MSG 200 of 500 bytes", lambda turn: many, _SYNCED, opening)
    yield Messages("NEG-MSG not hex", _going_on("x" * (MESSAGE - 100)), _SYNCED, opening)
    yield Messages("NEG-MSG of an unknown sync", _going_on("61" * (MESSAGE // 2 - 100)), _SYNCED)
    yield Messages("NEG-MSG too long", _going_on("61" * (MESSAGE // 2 - 100)), _SYNCED, opening)


def _everything() -> bytes:
    """A range up to infinity, whose fingerprint is that of no set."""
    return b"\x00\x00\x01" + bytes(16)


def _varint(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def _ranges(first: bytes, one: bytes, size: int) -> bytes:
    """A message of ranges that follow one another a second apart, from the beginning of the corpus on."""
    return _NEGENTROPY + first + in_bytes(one, size - len(first))


_FROM: Final = _varint(1_760_000_000) + b"\x00\x00"
"""A range that is skipped: all that is older than the corpus."""
_RANGES: Final[dict[str, Callable[[int], bytes]]] = {
    "skipped ranges": lambda size: _ranges(_FROM, b"\x02\x00\x00", size),
    "fingerprints": lambda size: _ranges(_FROM, b"\x02\x00\x01" + bytes(16), size),
    "lists of no ids": lambda size: _ranges(_FROM, b"\x02\x00\x02\x00", size),
    "lists of an id": lambda size: _ranges(_FROM, b"\x02\x00\x02\x01" + bytes(32), size),
    "a list of ids": lambda size: (
        _NEGENTROPY + b"\x00\x00\x02" + _varint(size // 32) + b"".join(map(_id, range(size // 32)))
    ),
    "empty ranges": lambda size: _ranges(_FROM, b"\x01\x20" + bytes(32) + b"\x01" + bytes(16), size),
    "a long number": lambda size: _NEGENTROPY + b"\xff" * size,
}
"""Bodies of a sync's message, about so many bytes."""


def _id(number: int) -> bytes:
    return bytes.fromhex(hex64(number))


def _asking(verb: str, make: Callable[[], list[dict[str, Any]]]) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [_json([verb, "x", *make()])]


def _opening(
    make: Callable[[], list[dict[str, Any]]], message: str = (_NEGENTROPY + b"\x00\x00\x01" + bytes(16)).hex()
) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [_json(["NEG-OPEN", "s", make()[0], message])]


def _going_on(message: str) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [_json(["NEG-MSG", "s", message])]


def _searching(text: str, times: int = 1) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [{"search": text, "since": number} for number in range(times)]


def _ending(start: bytes, ending: Callable[[], bytes]) -> Callable[[int], Sequence[bytes]]:
    return lambda turn: [start + ending() + b"]"]


def _subscriptions(turn: int) -> Sequence[bytes]:
    return [_json(["REQ", f"x{number}", *([{"until": 1, "limit": 0}] * FILTERS)]) for number in range(299)]


def _opened_and_closed(turn: int) -> Sequence[bytes]:
    filters = [{"kinds": list(range(100)), "limit": 0}]
    return [_json(message) for number in range(2_000) for message in (["REQ", "x", *filters], ["CLOSE", "x"])]
