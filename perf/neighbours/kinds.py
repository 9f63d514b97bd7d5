"""What hostile neighbours say: eleven kinds, each within the relay's limits, and each at a rate of its own at most.

A kind is a table of frames: `make` gives what one client writes in one turn. Nobody says more than `rate` turns a
second, all clients of the kind together, so that two cores are enough for the relay and for those who ask; and where
the relay answers, no client has more than `window` turns without an answer, so that a slow relay is asked less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random
from typing import Final

import msgspec

from perf.corpus import START, newest_filled, signed_events
from perf.stalls.cases import LIMITS
from perf.wire import frame
from trio_relay.nostr.event import encode

Say = Callable[[int, int], bytes]
"""What a client, by its number, writes in a turn, by its number: frames."""

JUNK: Final = 200_000
"""Bytes of a message of junk."""
VALUES: Final = 1_000
"""Of a tag, in one filter."""
WIDE: Final = 10
"""Filters of a wide request."""
_AUTHORS: Final = 300
"""In each of them."""
_CHURNED: Final = 10
"""Subscriptions that are opened and closed in one turn."""
_UNREAD: Final = 5
"""Requests in a turn of who does not read."""
_BAD: Final = 200
"""Events with wrong signatures that are sent again and again: nobody remembers them."""
_TEXT: Final = ("relay note", "bitcoin people", "the nostr", "café event", "with this that", "key from")
_json: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of hostility.

    Attributes:
        name: on the command line and in the tables.
        title: what they do, in a line.
        make: gives the function that makes turns, once it is known how many events are stored.
        rate: turns a second of all clients together, at most.
        window: turns without an answer that one client may have; 0: nobody waits for answers.
        answers: that the relay gives to one turn.
        reads: False: nothing that comes is ever read.
        stays: False: each turn has a connection of its own.
    """

    name: str
    title: str
    make: Callable[[int], Say]
    rate: float
    window: int = 2
    answers: int = 1
    reads: bool = True
    stays: bool = True


def _said(*message: object) -> bytes:
    return frame(_json(message))


@cache
def _pubkeys(stored: int) -> Sequence[str]:
    return sorted({event.pubkey for event in newest_filled(stored)})


def _scans(stored: int) -> Say:
    """Page after page of all that is stored, the longest answers that there are."""

    def say(client: int, turn: int) -> bytes:
        until = START - (client * 7_919 + turn * LIMITS.max_limit) % max(stored, 1)
        return _said("REQ", "x", {"until": until, "limit": LIMITS.max_limit})

    return say


def _wide(stored: int) -> Say:
    """Ten filters of hundreds of authors each."""
    pubkeys = _pubkeys(stored)

    def say(client: int, turn: int) -> bytes:
        random = Random(client * 1_000_003 + turn)
        some = min(_AUTHORS, len(pubkeys))
        filters = [
            {"authors": random.sample(pubkeys, some), "kinds": [1, 6, 7, 30_023], "limit": LIMITS.max_limit}
            for _ in range(WIDE)
        ]
        return _said("REQ", "x", *filters)

    return say


def _counts(stored: int) -> Say:
    """Counts of most of what there is, no two of them the same."""

    def say(client: int, turn: int) -> bytes:
        since = START - stored + client * 31 + turn
        return _said("COUNT", f"x{turn}", {"kinds": [1, 6, 7], "since": since}, {"kinds": [9_735, 0], "since": since})

    return say


def _searches(_: int) -> Say:
    """Searches for words that a good part of all notes has, the best matches first."""

    def say(client: int, turn: int) -> bytes:
        text = _TEXT[(client + turn) % len(_TEXT)]
        return _said("REQ", "x", {"search": text, "until": START + client + turn, "limit": 100})

    return say


def _values(stored: int) -> Say:
    """Tags with a thousand values, of which each has events."""
    pubkeys = _pubkeys(stored)

    def say(client: int, turn: int) -> bytes:
        some = Random(client * 1_000_003 + turn).sample(pubkeys, min(VALUES, len(pubkeys)))
        return _said("REQ", "x", {"#p": some, "limit": LIMITS.max_limit})

    return say


def _syncs(stored: int) -> Say:
    """Syncs of all that is stored (NIP-77), each of a set of its own."""

    def say(client: int, turn: int) -> bytes:
        since = START - stored + client * 31 + turn
        return _said("NEG-CLOSE", "x") + _said("NEG-OPEN", "x", {"since": since}, "6100000200")

    return say


def _signatures(_: int) -> Say:
    """Events whose signatures are wrong, and nothing else."""
    frames = [
        frame(b'["EVENT",' + encode(msgspec.structs.replace(event, sig=event.sig[:-1] + last)) + b"]")
        for event in islice(signed_events(_BAD), _BAD)
        for last in ("1" if event.sig[-1] == "0" else "0",)
    ]
    return lambda client, turn: frames[(client * 7 + turn) % len(frames)]


def _churn(stored: int) -> Say:
    """Subscriptions that are closed as soon as they are open."""
    pubkeys = _pubkeys(stored)

    def say(client: int, turn: int) -> bytes:
        said = []
        for number in range(turn * _CHURNED, (turn + 1) * _CHURNED):
            first = (client * 97 + number * 7) % len(pubkeys)
            name = f"x{number}"
            said.append(_said("REQ", name, {"authors": pubkeys[first : first + 5], "kinds": [1], "limit": 10}))
            said.append(_said("CLOSE", name))
        return b"".join(said)

    return say


def _junk(_: int) -> Say:
    """Messages of 200 KB that say nothing: letters, lists, an object of unknown keys, an event with a wrong id."""
    event = signed_events(_BAD)[0]
    text = ("the relay answers what it was asked " * (JUNK // 36 + 1))[: JUNK - 700]
    frames = [
        frame(b"x" * JUNK),
        frame(b"[" + b"[]," * ((JUNK - 3) // 3) + b"1]"),
        frame(_json(["REQ", "x", {f"k{number:06}": number for number in range(JUNK // 17)}])[:JUNK]),
        frame(b'["EVENT",' + encode(msgspec.structs.replace(event, content=text)) + b"]"),
    ]
    return lambda client, turn: frames[(client + turn) % len(frames)]


def _unread(stored: int) -> Say:
    """Long answers that nobody reads, until the relay hangs up; then again."""

    def say(client: int, turn: int) -> bytes:
        asked = range(turn * _UNREAD, (turn + 1) * _UNREAD)
        untils = [START - (client * 7_919 + one * LIMITS.max_limit) % max(stored, 1) for one in asked]
        return b"".join(_said("REQ", f"x{until}", {"until": until, "limit": LIMITS.max_limit}) for until in untils)

    return say


def _storms(stored: int) -> Say:
    """Connections that ask once and are gone."""
    pubkeys = _pubkeys(stored)
    return lambda client, turn: _said("REQ", "x", {"authors": [pubkeys[(client + turn) % len(pubkeys)]], "limit": 10})


KINDS: Final = {
    one.name: one
    for one in (
        Kind("scans", "whole-store scans, page by page", _scans, rate=200),
        Kind("wide", "ten filters of 300 authors each", _wide, rate=100),
        Kind("counts", "COUNT of most of the store", _counts, rate=400),
        Kind("searches", "ranked search for common words", _searches, rate=400),
        Kind("values", "tags of a thousand values", _values, rate=200),
        Kind("syncs", "NIP-77 over the whole store", _syncs, rate=100),
        Kind("signatures", "events with wrong signatures", _signatures, rate=5_000, window=50),
        Kind("churn", "subscriptions opened and closed, ten at a time", _churn, rate=400, window=0, answers=0),
        Kind("junk", "messages of 200 KB that say nothing", _junk, rate=400, window=4),
        Kind("unread", "long answers that nobody reads", _unread, rate=200, window=0, answers=0, reads=False),
        Kind("storms", "connections that ask once and are gone", _storms, rate=500, window=0, answers=0, stays=False),
    )
}
"""In the order in which they come."""
