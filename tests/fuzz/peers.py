"""Any bytes where other processes speak: entries of the bus, messages of a link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import structlog
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.fuzz.http import send_each
from tests.fuzz.script import Kind, changed, pieces, read
from tests.fuzz.stranger import NOTE, STRANGER
from tests.opensearch.shared_index import BEGAN, SharedIndex, relay_on
from tests.support.keys import BOB, NOW
from tests.support.local_bus import LocalBus
from tests.support.server import open_door
from tests.support.syncing import FIRST
from trio_relay import Event
from trio_relay.bus import Entry, Ledger, Note, Unreadable, decode, encode
from trio_relay.bus import ledger as ledgers
from trio_relay.link import Link, LinkEnded, Refused
from trio_relay.nostr import event as events
from trio_relay.store import opensearch

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
        assert ledger.members <= ledgers.MOST_MEMBERS
    assert heard == sent


def _notes() -> Iterator[bytes]:
    made = [STRANGER.event("tea"), STRANGER.event(kind=0), STRANGER.event(kind=1_059, tags=[["p", BOB.pubkey]])]
    for place, event in enumerate(made):
        text = events.encode(event).decode()
        record = opensearch.remembered.Written(f"slot {place}", 5, SENT + place, text, gone="a" * 64)
        yield msgspec.msgpack.encode(opensearch.exchange.Telling(1, SENT, [record], [text]))
        yield msgspec.msgpack.encode(opensearch.exchange.Telling(1, SENT, [], [text, text]))
    vanished = opensearch.remembered.Written("key", 2, SENT, until=NOW, vanished=f"{STRANGER.pubkey}:{'b' * 64}")
    kept = opensearch.remembered.Written("kept", 3, SENT, name="banned_pubkeys/x", value="e30=")
    yield msgspec.msgpack.encode(opensearch.exchange.Telling(1, SENT, [vanished, kept]))


SENT: Final = (BEGAN + 3_600) * 10**9
"""Later than all that a relay takes for old, in nanoseconds since 1970."""
NOTES_VOCABULARY: Final = list(_notes())


def feed_notes(script: bytes) -> None:
    """Have a relay hear what each step says as a note of another relay on its index, while a client listens.

    Raises:
        AssertionError: the client is not told what it is to be told, or is told of what is no event.
    """
    with structlog.testing.capture_logs() as told:
        trio.run(partial(_hear_notes, script), clock=MockClock(autojump_threshold=0))
    assert {line["event"] for line in told if line["log_level"] not in ("debug", "info")} <= {
        "a note was not understood"
    }


async def _hear_notes(script: bytes) -> None:
    bus = LocalBus()
    async with (
        relay_on(SharedIndex(), bus=bus.join(), refresh_seconds=3_600.0) as (store, _),
        open_door(store) as door,
        door.client() as client,
    ):
        assert await client.ask("live", {"limit": 0}) == []
        await client.send("NEG-OPEN", "sync", {}, FIRST.hex())
        assert (await client.receive())[0] == "NEG-MSG"
        for place, step in enumerate(read(script)):
            payload = step.payload
            if step.kind is Kind.KNOWN and payload:
                payload = changed(NOTES_VOCABULARY[payload[0] % len(NOTES_VOCABULARY)], payload[1:])
            bus.add(payload if step.kind is Kind.RAW else encode(Entry("stranger", place, [payload])))
        await trio.sleep(3)
        await client.send("EVENT", NOTE)
        wanted = {"OK", NOTE.id}
        while wanted:
            verb, _, *rest = await client.receive()
            if verb == "EVENT":
                assert events.check_shape(msgspec.convert(rest[0], Event)) is None
            wanted -= {rest[0]["id"] if verb == "EVENT" else verb}


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
    waiting = link.waiting
    link.tell("note", b"late")
    assert link.waiting == waiting, "nothing more waits for a link that has ended"
    with trio.fail_after(1):
        await link.room(0)
