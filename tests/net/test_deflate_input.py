"""What clients send deflated (RFC 7692): read however it is cut and mixed, bounded by its inflated size."""

from __future__ import annotations

import tracemalloc
import zlib
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB
from tests.support.server import open_door, plain
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    closing,
    deflated,
    frame,
    message,
    open_wire,
    upgrade,
)
from trio_relay import Limits
from trio_relay.net.http import Request
from trio_relay.net.websocket import WebSocket, accept

pytestmark = pytest.mark.usefixtures("inline_threads")

OFFER = "permessage-deflate; client_max_window_bits"
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
NOTE = ALICE.event("words " * 500)
OTHER = BOB.event("words " * 500)
MOST = 4_096
"""Bytes of a message, where its length matters."""


def asks(sub_id: str) -> bytes:
    return msgspec.json.encode(("REQ", sub_id, {"limit": 0}))


def compressed(data: bytes) -> bytes:
    """A message in one deflated frame."""
    return frame(RSV1 | TEXT, deflated(data))


def in_fragments(data: bytes, *, of: int, between: bytes = b"") -> bytes:
    """A deflated message in fragments of so many bytes, with other frames between."""
    packed = deflated(data)
    pieces = [packed[place : place + of] for place in range(0, len(packed), of)]
    assert len(pieces) > 1
    frames = [frame(RSV1 | TEXT, pieces[0], fin=False), *(frame(CONT, piece, fin=False) for piece in pieces[1:-1])]
    return between.join([*frames, frame(CONT, pieces[-1])])


def agreed(most: int = MOST) -> WebSocket:
    """A conversation that has agreed to deflate."""
    lines = upgrade(Sec_WebSocket_Extensions=OFFER).decode().split("\r\n")[1:-2]
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    socket, response = accept(Request("GET", "/", dict(headers), headers, "/"), most, deflate=True)
    assert socket is not None, response
    assert socket.takes_deflated
    return socket


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([compressed(asks("a"))], id="whole"),
        pytest.param([in_fragments(asks("a"), of=10)], id="in fragments"),
        pytest.param([in_fragments(asks("a"), of=1)], id="in fragments of a byte"),
        pytest.param([in_fragments(asks("a"), of=5, between=frame(PONG, b"!"))], id="pongs between fragments"),
        pytest.param([compressed(asks("a"))[:1], compressed(asks("a"))[1:]], id="cut in its head"),
        pytest.param([compressed(asks("a"))[:20], compressed(asks("a"))[20:]], id="cut in its payload"),
        pytest.param([frame(RSV1 | TEXT, fin=False) + frame(CONT, deflated(asks("a")))], id="first fragment empty"),
        pytest.param([frame(RSV1 | TEXT, deflated(asks("a")), fin=False) + frame(CONT)], id="last fragment empty"),
    ],
)
async def test_a_deflated_message_is_read(sent: list[bytes], autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door, offer=OFFER) as wire:
        for data in [*sent, *sent]:
            await wire.send(data)
        assert [await wire.receive() for _ in range(2)] == [["EOSE", "a"]] * 2


async def test_a_ping_between_deflated_fragments_is_answered(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door, offer=OFFER) as wire:
        packed = deflated(asks("a"))
        await wire.send(frame(RSV1 | TEXT, packed[:9], fin=False), frame(PING, b"?"))
        assert await wire.receive_frame() == (PONG, b"?")
        await wire.send(frame(CONT, packed[9:]))
        assert await wire.receive() == ["EOSE", "a"]


async def test_deflated_events_are_stored_as_they_were(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door, offer=OFFER) as wire, door.client() as client:
        await wire.send(*(compressed(msgspec.json.encode(("EVENT", event))) for event in (NOTE, OTHER)))
        answers = [await wire.receive() for _ in range(2)]
        assert sorted(answers) == sorted(["OK", event.id, True, ""] for event in (NOTE, OTHER))
        for event in (NOTE, OTHER):
            assert await client.ask("one", {"ids": [event.id]}) == [plain(event)]


async def test_deflated_and_plain_messages_in_one_read_are_answered_in_turn(autojump_clock: MockClock) -> None:
    """RFC 7692, section 6: who has agreed to deflate need not do so with every message."""
    async with open_door() as door, open_wire(door, offer=OFFER) as wire:
        await wire.send(
            compressed(asks("a")),
            frame(TEXT, asks("b")),
            in_fragments(asks("c"), of=12, between=frame(PONG)),
            compressed(asks("d")),
            frame(TEXT, asks("e")[:5], fin=False),
            frame(CONT, asks("e")[5:]),
            frame(TEXT, asks("f")),
        )
        assert [await wire.receive() for _ in range(6)] == [["EOSE", sub_id] for sub_id in "abcdef"]


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param("f248cdc9c90700", id="fixed codes"),
        pytest.param("000500faff48656c6c6f00", id="nothing compressed"),
        pytest.param("f348cdc9c9070000", id="a final block"),
        pytest.param("f248050000 00ffffcac9c90700", id="two blocks"),
    ],
)
@pytest.mark.parametrize("at", [None, 3])
def test_the_examples_of_the_rfc_are_read(packed: str, at: int | None) -> None:
    """RFC 7692, section 7.2.3."""
    data, socket = bytes.fromhex(packed), agreed()
    whole = frame(RSV1 | TEXT, data)
    parts = whole if at is None else frame(RSV1 | TEXT, data[:at], fin=False) + frame(CONT, data[at:])
    assert socket.receive(parts + parts) == [b"Hello", b"Hello"]
    assert socket.receive(frame(RSV1 | TEXT, b"\x00") + frame(RSV1 | TEXT)) == [b"", b""]
    assert socket.is_open


pieces = st.sampled_from(["words ", "é😀", "0123456789"]) | st.text(max_size=20)
texts = st.builds(lambda parts, times: "".join(parts).encode() * times, st.lists(pieces), st.sampled_from([1, 50]))
PACKED = {"plain": lambda data: frame(TEXT, data), "deflated": compressed}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(texts.filter(lambda data: len(data) < 60_000), st.sampled_from(sorted(PACKED))), max_size=5),
    st.lists(st.integers(0, 10**6), max_size=6),
)
def test_any_mixture_is_read_however_it_is_cut(sent: list[tuple[bytes, str]], cuts: list[int]) -> None:
    data = b"".join(PACKED[form](text) for text, form in sent)
    socket, found = agreed(2**20), list[bytes]()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        found += socket.receive(data[start:end])
    assert found == [text for text, _ in sent]


@pytest.mark.parametrize(
    ("length", "fragments_of", "code"),
    [
        (MOST, None, None),
        (MOST + 1, None, 1009),
        (2**20, None, 1009),
        (MOST - 10, 4, None),  # each fragment counts for its length on the wire where that is more
        (MOST + 1, 4, 1009),
        (2**20, 4, 1009),
    ],
)
def test_the_limit_of_a_message_is_for_what_it_is_inflated(
    length: int, fragments_of: int | None, code: int | None
) -> None:
    data, socket = b"x" * length, agreed()
    sent = compressed(data) if fragments_of is None else in_fragments(data, of=fragments_of)
    assert socket.receive(sent) == ([data] if code is None else [])
    assert socket.broken_rule == code
    assert socket.is_open is (code is None)


@pytest.mark.parametrize("is_fragmented", [False, True])
def test_a_bomb_takes_no_more_memory_than_a_message_may(is_fragmented: bool) -> None:
    bomb = deflated(b" " * 20_000_000)
    most = Limits().max_message_length
    assert len(bomb) < most
    socket = agreed(most)
    if is_fragmented:
        sent = frame(RSV1 | TEXT, bomb[:50], fin=False) + frame(CONT, bomb[50:])
    else:
        sent = frame(RSV1 | TEXT, bomb)
    tracemalloc.start()
    try:
        assert socket.receive(sent) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert socket.broken_rule == 1009
    assert peak < 4 * most + 2 * len(sent)


async def test_a_bomb_is_closed_and_others_go_on(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door, offer=OFFER) as wire, door.client() as other:
        await wire.send(compressed(asks("a")), compressed(b" " * 10_000_000), compressed(asks("b")))
        assert await wire.receive() == ["EOSE", "a"]
        assert (await wire.receive_close())[0] == 1009
        await wire.send(closing(1009))
        assert await wire.receive_end() == b""
        assert await other.ask("unhurt", {}) == []
        assert door.relay.statistics().broadcaster.subscriptions == 1


def with_context(*messages: bytes) -> bytes:
    """Deflated messages of which each later one refers to those before it."""
    deflate = zlib.compressobj(wbits=-15)
    packed = [deflate.compress(one) + deflate.flush(zlib.Z_SYNC_FLUSH) for one in messages]
    return b"".join(frame(RSV1 | TEXT, one.removesuffix(b"\x00\x00\xff\xff")) for one in packed)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(RSV1 | TEXT, b"\xff" * 20), 1002, id="no deflate"),
        pytest.param(frame(RSV1 | TEXT, b'["REQ","a",{}]'), 1002, id="a plain message marked as deflated"),
        pytest.param(
            frame(RSV1 | TEXT, b"\xff", fin=False) + frame(CONT, b"\xff" * 9), 1002, id="no deflate, in parts"
        ),
        pytest.param(with_context(asks("a" * 40), asks("a" * 40)), 1002, id="context taken over"),
        pytest.param(frame(RSV1 | CONT, deflated(b"[]")), 1002, id="a deflated continuation of nothing"),
        pytest.param(
            frame(RSV1 | TEXT, deflated(b"[]")[:2], fin=False) + frame(RSV1 | CONT, deflated(b"[]")[2:]),
            1002,
            id="the mark on a continuation",
        ),
        pytest.param(frame(TEXT, b"[", fin=False) + frame(RSV1 | CONT, deflated(b"]")), 1002, id="deflated halfway"),
        pytest.param(in_fragments(asks("a"), of=9, between=frame(TEXT, asks("b"))), 1002, id="a message in a message"),
        pytest.param(frame(RSV1 | PING, deflated(b"?")), 1002, id="a deflated ping"),
        pytest.param(frame(RSV1 | CLOSE, b"\x03\xe8"), 1002, id="a deflated close"),
        *(
            pytest.param(frame(bits | TEXT, deflated(b"[]")), 1002, id=f"reserved bits {bits:#x}")
            for bits in (RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3, RSV2 | RSV3)
        ),
        pytest.param(frame(RSV1 | TEXT, deflated(b"[]"), masked=False), 1002, id="unmasked"),
        pytest.param(frame(RSV1 | BINARY, deflated(b"[]")), 1003, id="deflated and binary"),
        pytest.param(compressed(b"\xff"), 1007, id="not UTF-8 once inflated"),
        pytest.param(compressed("é".encode()[:1]), 1007, id="half a character"),
    ],
)
async def test_what_cannot_be_read_is_closed_with_its_code(sent: bytes, code: int, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door, offer=OFFER) as wire, door.client() as other:
        await wire.send(sent, compressed(asks("late")))
        received = await wire.receive_frame()
        if received[0] == TEXT:  # what came before the broken rule
            received = await wire.receive_frame()
        assert (received[0], int.from_bytes(received[1][:2])) == (CLOSE, code)
        await wire.send(closing(code))
        assert await wire.receive_end() == b""
        assert await other.ask("unhurt", {}) == []
        assert door.server.statistics().close_reasons == {}


@pytest.mark.parametrize("offer", [None, "x-webkit-deflate-frame", "permessage-deflate; bogus"])
async def test_deflated_messages_without_an_agreement_break_the_protocol(
    offer: str | None, autojump_clock: MockClock
) -> None:
    """RFC 6455, section 5.2: RSV1 must be 0 unless an extension that defines it has been negotiated."""
    async with open_door() as door, open_wire(door, offer=offer) as wire:
        await wire.send(message("REQ", "a", {"limit": 0}), compressed(asks("b")))
        assert await wire.receive() == ["EOSE", "a"]
        assert (await wire.receive_close())[0] == 1002
