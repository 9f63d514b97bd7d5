"""Any bytes where other processes speak: entries of the bus, messages of a link."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.fuzz.http import send_each
from tests.fuzz.script import pieces, read
from trio_relay.bus import Entry, Ledger, Note, Unreadable, decode, encode
from trio_relay.bus.ledger import MOST_MEMBERS
from trio_relay.link import Link, LinkEnded, Refused

_HONEST: Final = "honest"
BUS_VOCABULARY: Final = [
    encode(Entry("stranger", 0, [b"a", b"b"])),
    encode(Entry("stranger", 7)),
    encode(Entry("stranger", 2, [b"c"], True)),
    encode(Entry("me", 0, [b"not mine"])),
]


def _linked(*message: object) -> bytes:
    packed = msgspec.msgpack.encode(message)
    return len(packed).to_bytes(4) + packed


LINK_VOCABULARY: Final = [
    _linked("note", 0, b"a"),
    _linked("echo", 5, b"a"),
    _linked("answer", 1, b"a"),
    _linked("refusal", 1, b"no"),
    _linked("nothing", 0, b""),
    _linked("nothing", 1, b""),
]


def feed_bus(script: bytes) -> None:
    """Hear what each step says as an entry, and between them notes of an honest member.

    Raises:
        AssertionError: those notes are not heard once each and in order, or too many members are remembered.
    """
    ledger, heard, sent = Ledger("me"), list[bytes](), list[bytes]()
    for place, step in enumerate(read(script)):
        with suppress(Unreadable):
            if (entry := decode(step.payload)).sender != _HONEST:  # the stream is as private as what stands in it
                ledger.hear(str(place), entry, float(place))
        sent.append(b"%d" % place)
        own = Entry(_HONEST, place, sent[-1:])
        heard += [one.payload for one in ledger.hear("", decode(encode(own)), float(place)) if isinstance(one, Note)]
        assert ledger.members <= MOST_MEMBERS
    assert heard == sent


def feed_link(script: bytes) -> None:
    """Let the other end of a link say what a script says, while a question is open.

    Raises:
        AssertionError: the link does not end with its stream, or the question is not given up with it.
    """
    trio.run(partial(_speak, script), clock=MockClock(autojump_threshold=0))


async def _speak(script: bytes) -> None:
    near, far = memory_stream_pair()
    link, heard, outcome = Link(far), list[bytes](), list[str]()

    async def hear(payload: bytes) -> None:
        heard.append(payload)

    async def echo(payload: bytes) -> bytes:
        return payload

    async def ask() -> None:
        try:
            await link.call("question")
            outcome.append("answered")
        except Refused:
            outcome.append("refused")
        except LinkEnded:
            outcome.append("ended")

    async def run() -> None:
        try:
            await link.run({"note": hear}, {"echo": echo})
        except* (msgspec.MsgspecError, KeyError, UnicodeDecodeError):
            pass  # it comes from a process of the same relay, whose fault that is: it is started anew

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(ask)
        await send_each(near, pieces(script, LINK_VOCABULARY))
    assert outcome[0] in ("answered", "refused", "ended")
    assert link.waiting == 0 or outcome == ["ended"]
