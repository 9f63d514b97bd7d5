"""What clients are refused leaves a line at debug, one a minute at info, and numbers; never what they have written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import auth_event, open_named, rules_for
from tests.support.server import Door, open_door
from tests.support.wire import Wire, message, open_stream, open_wire, upgrade
from trio_relay import Limits, MemoryStore, NetOptions
from trio_relay.nostr import kinds

pytestmark = pytest.mark.usefixtures("inline_threads")

SECRET = "for your eyes only"
NOTE = ALICE.event(SECRET, tags=[["t", SECRET]])
FORGED = replace(NOTE, sig="0" * 128)
OLD, NEW = ALICE.event("old", kind=0, created_at=NOW - 1), ALICE.event("new", kind=0)
PROTECTED = ALICE.event(SECRET, tags=[["-"]])
FILTERS = {"kinds": [1], "authors": [ALICE.pubkey]}

Lines = list[structlog.typing.EventDict]


@pytest.fixture
def quiet() -> Iterator[None]:
    """The level at which most relays run."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(wrapper_class=before["wrapper_class"])


def told(lines: Lines, event: str) -> list[dict[str, Any]]:
    """What the lines about this say, apart from what they have in common."""
    common = {"event", "log_level", "client", "address"}
    return [
        {key: value for key, value in line.items() if key not in common} for line in lines if line["event"] == event
    ]


async def say(wire: Wire, *sent: bytes) -> list[Any]:
    """Send frames one after another, each answered once; gives the answers' last items."""
    answers = []
    for one in sent:
        await wire.send(one)
        while (answer := await wire.receive())[0] == "AUTH":
            pass
        answers.append(answer[-1])
    return answers


async def test_a_refused_event_is_told_by_id_key_and_kind(autojump_clock: MockClock, logged: Lines) -> None:
    """Wherever it was refused: before the pipeline, by the verifier, or by the store."""
    limits = Limits(max_event_tags=1)
    long = ALICE.event(SECRET, kind=30_023, tags=[["t", SECRET]] * 2)
    async with open_door(limits=limits) as door, open_wire(door) as wire:
        sent = (long, FORGED, NEW, OLD)
        reasons = await say(wire, *(message("EVENT", event) for event in sent))
        assert door.server.statistics().refusals.events == {
            ("30023", "invalid"): 1,
            ("1", "invalid"): 1,
            ("0", "duplicate"): 1,
        }
    named = [{"event_id": event.id, "key": event.pubkey, "kind": event.kind} for event in sent]
    assert told(logged, "refused") == [
        {"verb": "EVENT", "reason": reason, **one} for reason, one in zip(reasons, named, strict=True) if reason
    ]
    assert {(line["client"], line["address"]) for line in logged if line["event"] == "refused"} == {(1, "unknown")}
    assert SECRET not in repr(logged)


async def test_every_other_refused_message_is_told_by_its_verb(autojump_clock: MockClock, logged: Lines) -> None:
    rules = rules_for(auth_to_read=True, auth_to_write=True)
    wrong = auth_event(BOB, SECRET, created_at=NOW)
    async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, open_wire(door) as wire:
        await say(
            wire,
            message("REQ", SECRET, FILTERS),
            message("COUNT", SECRET, FILTERS),
            message("NEG-OPEN", SECRET, FILTERS, "61"),
            message("NEG-MSG", SECRET, "61"),
            message("AUTH", wrong),
            message("EVENT", PROTECTED),
        )
        seen = door.server.statistics().refusals.messages
    to_read = "auth-required: only authenticated clients may read here"
    assert told(logged, "refused") == [
        {"verb": "REQ", "reason": to_read},
        {"verb": "COUNT", "reason": to_read},
        {"verb": "NEG-OPEN", "reason": to_read},
        {"verb": "NEG-MSG", "reason": "closed: no sync of this id is open"},
        {
            "verb": "AUTH",
            "reason": "invalid: the challenge tag is not the challenge of this connection",
            "event_id": wrong.id,
            "key": BOB.pubkey,
            "kind": 22_242,
        },
        {
            "verb": "EVENT",
            "reason": "auth-required: only authenticated clients may write here",
            "event_id": PROTECTED.id,
            "key": ALICE.pubkey,
            "kind": 1,
        },
    ]
    assert seen == {
        ("REQ", "auth-required"): 1,
        ("COUNT", "auth-required"): 1,
        ("NEG-OPEN", "auth-required"): 1,
        ("NEG-MSG", "closed"): 1,
        ("AUTH", "invalid"): 1,
        ("EVENT", "auth-required"): 1,
    }
    assert SECRET not in repr(logged)


@pytest.mark.parametrize(
    ("sent", "verb", "reason"),
    [
        (SECRET.encode(), "other", "invalid: not a JSON array that can be read"),
        (b'["%b"]' % SECRET.encode(), "other", "invalid: unknown verb"),
        (b'["it\'s %b"]' % SECRET.encode(), "other", "invalid: unknown verb"),
        (b' [ "REQ", "%b"]' % SECRET.encode(), "REQ", "invalid: REQ needs at least one filter"),
        (b'["REQ","a",{"%b":1}]' % SECRET.encode(), "REQ", "unsupported: filter key"),
        (b'["NEG-OPEN","%b",{},1]' % SECRET.encode(), "NEG-OPEN", None),
        (b'["EVENT",{"content":"%b"}]' % SECRET.encode(), "EVENT", "invalid: id is missing"),
    ],
)
async def test_what_cannot_be_read_is_told_in_our_words_alone(
    sent: bytes, verb: str, reason: str | None, autojump_clock: MockClock, logged: Lines
) -> None:
    async with open_door() as door, door.client() as client:
        await client.send_text(sent.decode())
        answer = await client.receive()
        [((seen, _prefix), number)] = door.server.statistics().refusals.messages.items()
    [line] = told(logged, "refused")
    assert (seen, number) == (verb, 1)
    assert line == {"verb": verb, "reason": reason or answer[2]}
    assert SECRET not in repr(logged)


async def test_an_event_of_a_wrong_shape_is_told_by_its_id(autojump_clock: MockClock, logged: Lines) -> None:
    async with open_door() as door, door.client() as client:
        await client.send("EVENT", {"id": NOTE.id, "content": SECRET})
        assert (await client.receive())[:3] == ["OK", NOTE.id, False]
    [line] = told(logged, "refused")
    assert line == {"verb": "EVENT", "reason": "invalid: pubkey is missing", "event_id": NOTE.id}


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (upgrade(Connection="keep-alive"), 426, "missing Connection header"),
        (upgrade(Sec_WebSocket_Key=None), 400, "missing Sec-WebSocket-Key header"),
        (upgrade("/nothing"), 404, "Nothing here; the relay is at /"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "GET, HEAD, OPTIONS only"),
        (b'["EVENT",{"content":"' + SECRET.encode() + b'"}]\r\n\r\n', 400, "illegal request line"),
    ],
)
async def test_a_refused_request_is_told_by_address_status_and_reason(
    sent: bytes, status: int, reason: str, autojump_clock: MockClock, logged: Lines
) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent)
        assert (await wire.reply()).status == status
        assert door.server.statistics().refusals.requests == {str(status): 1}
    [line] = [line for line in logged if line["event"] == "request refused"]
    assert line.pop("log_level") == "debug"
    assert line == {"event": "request refused", "address": "unknown", "status": status, "reason": reason}


async def test_who_finds_no_place_is_told_too(autojump_clock: MockClock, logged: Lines) -> None:
    async with open_door(net=NetOptions(max_connections=1)) as door, open_wire(door), open_stream(door) as second:
        await second.send(upgrade())
        assert (await second.reply()).status == 503
        assert (await ask_health(door)) == 200
        assert door.server.statistics().refusals.requests == {"503": 1}
    assert told(logged, "request refused") == [{"status": 503, "reason": "too many connections"}]


async def ask_health(door: Door) -> int:
    async with open_stream(door) as wire:
        return (await wire.ask(target="/health")).status


async def test_who_has_authenticated_is_told_by_the_key(autojump_clock: MockClock, logged: Lines) -> None:
    async with open_named(MemoryStore(), clock=lambda: NOW) as door, open_wire(door) as wire:
        _, challenge = await wire.receive()
        assert await say(wire, message("AUTH", auth_event(ALICE, challenge, created_at=NOW))) == [""]
    assert told(logged, "authenticated") == [{"key": ALICE.pubkey}]


async def test_a_minute_s_refusals_are_one_line_at_info(autojump_clock: MockClock, quiet: None, logged: Lines) -> None:
    net = NetOptions(ping_seconds=3_600)
    async with open_door(net=net) as door, open_wire(door) as wire, open_stream(door) as other:
        await say(wire, *[message("EVENT", FORGED)] * 3, message("CLOSE"))
        await other.ask(target="/nothing")
        await trio.sleep(61.5)
        await say(wire, message("EVENT", FORGED))
        await trio.sleep(30)
        assert told(logged, "refusals") == [
            {"total": 5, "reasons": {"EVENT invalid": 3, "CLOSE invalid": 1, "HTTP 404": 1}}
        ]
        await trio.sleep(30.5)
        assert told(logged, "refusals")[1:] == [{"total": 1, "reasons": {"EVENT invalid": 1}}]
        await trio.sleep(300)
    assert [line["event"] for line in logged] == ["refusals", "refusals", "listeners closed"]


@pytest.mark.parametrize(("sent", "count"), [(b"", 0), (b"GET ", 1)])
async def test_who_was_answered_may_fall_silent(sent: bytes, count: int, autojump_clock: MockClock) -> None:
    """A probe of /health that keeps its connection is refused nothing."""
    async with open_door() as door, open_stream(door) as wire:
        assert (await wire.ask(target="/health")).status == 200
        await wire.send(sent)
        assert (await wire.reply()).status == 408
        assert door.server.statistics().refusals.requests == ({"408": count} if count else {})


async def test_below_debug_none_is_told_by_itself(autojump_clock: MockClock, quiet: None, logged: Lines) -> None:
    async with open_door() as door, open_wire(door) as wire, open_stream(door) as other:
        await say(wire, message("EVENT", FORGED), message("CLOSE"))
        await other.send(upgrade(Connection="keep-alive"))
        assert (await other.reply()).status == 426
        assert door.server.statistics().refusals.requests == {"426": 1}
    assert [line["event"] for line in logged] == ["listeners closed"]


def test_the_labels_of_kinds_are_few_whatever_kinds_come() -> None:
    labels = {kinds.kind_label(kind) for kind in range(kinds.MAX_KIND + 1)}
    ranges = {f"other {name}" for name in ("regular", "replaceable", "ephemeral", "addressable")}
    assert ranges < labels
    assert all(label.isdigit() for label in labels - ranges)
    assert len(labels) < 50


async def test_events_are_counted_by_kind_as_they_come(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        sent = [FORGED, NEW, OLD, ALICE.event(kind=1_234), ALICE.event(kind=20_001), ALICE.event(kind=40_000)]
        await say(wire, *(message("EVENT", event) for event in sent))
        assert door.relay.statistics().received == {"1": 1, "0": 2, "other regular": 2, "other ephemeral": 1}
