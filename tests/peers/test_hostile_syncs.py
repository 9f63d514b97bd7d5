"""Syncs with relays that lie, cap, refuse or never end: each ends, takes what is right, and says what was missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import msgspec
import orjson
import pytest
import trio
from trio.testing import MockClock

from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, NOW
from tests.support.other_relays import Actor, Script, acted
from tests.support.synced_stores import passage_to, store_of
from tests.support.syncing import opening, replied
from trio_relay import Event
from trio_relay.peers import options, outcomes, passage, synchronizing, waiting

pytestmark = pytest.mark.usefixtures("inline_threads")

Handle = Callable[[Actor, list[Any]], Awaitable[None]]
EVENTS = [ALICE.event(str(place), created_at=NOW - place // 3) for place in range(100)]
MINE = [BOB.event(str(place), created_at=NOW - place) for place in range(50)]


def relay(events: list[Event], **verbs: Handle) -> Script:
    """One that has these events, and does for each verb what a test says; without NIP-77 unless a test has it."""

    async def script(actor: Actor) -> None:
        while True:
            verb, *rest = await actor.hear()
            await (verbs.get(verb.replace("-", "_")) or usual[verb])(actor, rest)

    async def answer_req(actor: Actor, rest: list[Any]) -> None:
        await give(actor, rest, events)

    async def answer_event(actor: Actor, rest: list[Any]) -> None:
        await actor.say("OK", rest[0]["id"], True, "")

    async def answer_count(actor: Actor, rest: list[Any]) -> None:
        await actor.say("CLOSED", rest[0], "unsupported: no counts")

    async def answer_sync(actor: Actor, rest: list[Any]) -> None:
        await actor.say("NEG-ERR", rest[0], "unsupported: no syncs")

    usual = {
        "REQ": answer_req,
        "EVENT": answer_event,
        "COUNT": answer_count,
        "NEG-OPEN": answer_sync,
        "CLOSE": nothing,
        "NEG-CLOSE": nothing,
    }
    return script


async def nothing(_actor: Actor, _rest: list[Any]) -> None:
    pass


def found(rest: list[Any], events: list[Event]) -> list[Event]:
    filter_ = rest[1]
    matching = [
        event
        for event in events
        if event.id in filter_.get("ids", [event.id])
        and event.kind in filter_.get("kinds", [event.kind])
        and event.pubkey in filter_.get("authors", [event.pubkey])
        and filter_.get("since", 0) <= event.created_at <= filter_.get("until", NOW)
    ]
    return sorted(matching, key=lambda event: (-event.created_at, event.id))[: filter_.get("limit", 1_000)]


async def give(actor: Actor, rest: list[Any], events: list[Event], most: int = 1_000) -> None:
    for event in found(rest, events)[:most]:
        await actor.say("EVENT", rest[0], event)
    await actor.say("EOSE", rest[0])


def comparing(events: list[Event]) -> dict[str, Handle]:
    """The verbs of NIP-77, as a relay that has these answers them."""

    async def answer(actor: Actor, rest: list[Any]) -> None:
        await actor.say("NEG-MSG", rest[0], replied(events, bytes.fromhex(rest[-1])).hex())

    return {"NEG_OPEN": answer, "NEG_MSG": answer}


async def sync_with(
    script: Script, own: list[Event] | None = None, direction: str = "both", **settings: Any
) -> tuple[outcomes.SyncReport, set[str], str]:
    """Sync; tells how it went, which events are here then, and why the peer was lost, if it was."""
    store, report, lost = await store_of(own or []), outcomes.SyncReport(), ""
    chosen = options.PeerOptions(answer_seconds=10, **settings)
    async with acted(script, settings=chosen) as one, passage_to(one, store, report, direction=direction) as way:
        try:
            await synchronizing.synchronize(way, {})
        except waiting.PeerLost as error:
            lost = str(error)
    return report, {event.id for event in await everything(store)}, lost


def ids(*events: Event) -> set[str]:
    return {event.id for event in events}


async def test_a_relay_without_sync_and_without_counts_gets_and_gives_everything(autojump_clock: MockClock) -> None:
    got = []

    async def take(actor: Actor, rest: list[Any]) -> None:
        got.append(rest[0]["id"])
        await actor.say("OK", rest[0]["id"], True, "")

    report, here, lost = await sync_with(relay(EVENTS, EVENT=take), MINE)
    assert (here, lost) == (ids(*EVENTS, *MINE), "")
    assert sorted(got) == sorted(ids(*MINE))
    assert report.is_whole


async def test_a_relay_that_says_nothing_of_syncs_is_paged(autojump_clock: MockClock) -> None:
    report, here, lost = await sync_with(relay(EVENTS, NEG_OPEN=nothing), direction="down")
    assert (here, lost) == (ids(*EVENTS), "")
    assert "was not answered within 10 seconds" in report.remarks[0]


async def test_a_relay_that_gives_few_events_for_many_ids_is_asked_until_all_are_there(
    autojump_clock: MockClock,
) -> None:
    async def give_few(actor: Actor, rest: list[Any]) -> None:
        await give(actor, rest, EVENTS, most=7)

    report, here, _ = await sync_with(relay(EVENTS, REQ=give_few, **comparing(EVENTS)))
    assert here == ids(*EVENTS)
    assert report.down.counts == {outcomes.Fate.STORED: 100}


async def test_a_relay_that_refuses_many_ids_is_asked_for_fewer(autojump_clock: MockClock) -> None:
    async def refuse_many(actor: Actor, rest: list[Any]) -> None:
        if len(rest[1]["ids"]) > 10:
            await actor.say("CLOSED", rest[0], "invalid: too many ids")
        else:
            await give(actor, rest, EVENTS)

    report, here, _ = await sync_with(relay(EVENTS, REQ=refuse_many, **comparing(EVENTS)))
    assert here == ids(*EVENTS)
    assert report.down.counts == {outcomes.Fate.STORED: 100}


async def test_what_is_not_given_is_counted_and_asked_for_once(autojump_clock: MockClock) -> None:
    asked: list[list[str]] = []

    async def give_all_but_ten(actor: Actor, rest: list[Any]) -> None:
        asked.append(rest[1]["ids"])
        await give(actor, rest, EVENTS[10:])

    report, here, lost = await sync_with(relay(EVENTS, REQ=give_all_but_ten, **comparing(EVENTS)))
    assert (here, lost) == (ids(*EVENTS[10:]), "")
    assert report.down.counts == {outcomes.Fate.STORED: 90, outcomes.Fate.MISSING: 10}
    assert len(asked) == 2


async def test_a_relay_that_withholds_some_of_all_gives_the_others_in_full_answers(autojump_clock: MockClock) -> None:
    """As one that compares with everybody what it shows to few."""
    asked = list[int]()

    async def give_four_of_five(actor: Actor, rest: list[Any]) -> None:
        asked.append(len(rest[1]["ids"]))
        await give(actor, rest, shown)

    many = [ALICE.event(str(place), created_at=NOW - place // 3) for place in range(3_000)]
    shown = [event for place, event in enumerate(many) if place % 5]
    script = relay([], REQ=give_four_of_five, **comparing(many))
    report, here, lost = await sync_with(script, direction="down", max_message_bytes=2**22)
    assert (here, lost) == (ids(*shown), "")
    assert report.down.counts == {outcomes.Fate.STORED: 2_400, outcomes.Fate.MISSING: 600}
    assert len(asked) == 2 * 3_000 / 250


async def test_a_relay_that_withholds_many_events_in_a_row_gives_what_is_behind_them(autojump_clock: MockClock) -> None:
    """As those of a second sync, where all that is not withheld is here already."""
    many = [ALICE.event(str(place), created_at=NOW - place) for place in range(12_000)]
    script = relay(many[:10], **comparing(many))
    report, here, lost = await sync_with(script, direction="down", max_message_bytes=2**22)
    assert (here, lost) == (ids(*many[:10]), "")
    assert report.down.counts == {outcomes.Fate.STORED: 10, outcomes.Fate.MISSING: 11_990}


async def test_a_relay_that_has_nothing_of_what_it_says_is_given_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "MOST_WITHHELD", 10_000)
    made_up = [BOB.event(str(place), created_at=NOW - place) for place in range(20_000)]
    _, here, lost = await sync_with(relay([], **comparing(made_up)), max_message_bytes=2**22)
    assert (here, lost) == (set(), "it gives nothing of what it says that it has")


async def test_a_comparison_that_never_ends_is_given_up(autojump_clock: MockClock) -> None:
    """All is different, whatever was said."""

    async def differ(actor: Actor, rest: list[Any]) -> None:
        await actor.say("NEG-MSG", rest[0], opening(EVENTS).hex())

    _, _, lost = await sync_with(relay([], NEG_OPEN=differ, NEG_MSG=differ), MINE, direction="down")
    assert lost == "its comparison of sets comes to no end"


@pytest.mark.parametrize("message", [b"", b"\x60", b"\x61\x00", b"\x61\x00\x00\x09", b"\x61" + b"\xff" * 100])
async def test_a_comparison_that_cannot_be_read_is_given_up(autojump_clock: MockClock, message: bytes) -> None:
    async def answer(actor: Actor, rest: list[Any]) -> None:
        await actor.say("NEG-MSG", rest[0], message.hex())

    _, here, lost = await sync_with(relay(EVENTS, NEG_OPEN=answer), MINE)
    assert lost.startswith("its comparison of sets cannot be read: ")
    assert here == ids(*MINE)


@pytest.mark.parametrize("reason", ["blocked: this query is too big", "error: too many results", "blocked: go away"])
async def test_a_relay_to_which_everything_is_too_large_is_paged(autojump_clock: MockClock, reason: str) -> None:
    refused = 0

    async def refuse(actor: Actor, rest: list[Any]) -> None:
        nonlocal refused
        refused += 1
        await actor.say("NEG-ERR", rest[0], reason)

    _, here, lost = await sync_with(relay(EVENTS, NEG_OPEN=refuse), MINE)
    assert (here, lost) == (ids(*EVENTS, *MINE), "")
    assert refused < 120


async def test_a_comparison_that_was_idle_too_long_is_begun_again(autojump_clock: MockClock) -> None:
    opened = 0
    verbs = comparing(EVENTS)

    async def open_late(actor: Actor, rest: list[Any]) -> None:
        nonlocal opened
        opened += 1
        if opened < 3:
            await actor.say("NEG-ERR", rest[0], "closed: idle")
        else:
            await verbs["NEG_OPEN"](actor, rest)

    report, here, _ = await sync_with(relay(EVENTS, NEG_OPEN=open_late))
    assert here == ids(*EVENTS)
    assert (opened, report.pages) == (3, 0)


async def test_events_that_are_not_signed_are_refused_and_told(autojump_clock: MockClock) -> None:
    wrong = [ALICE.signed("f" * 64, NOW, 1, [], "of another id")]
    forged = [msgspec.structs.replace(BOB.event("x"), sig="0" * 128)]
    report, here, _ = await sync_with(relay([*EVENTS, *wrong, *forged]), direction="down")
    assert here == ids(*EVENTS)
    assert report.down.counts[outcomes.Fate.REFUSED] >= 2
    assert {reason for fate, reason in report.down.reasons if fate is outcomes.Fate.REFUSED} == {
        "id is not the hash of the event",
        "sig is not a valid signature of the id by the pubkey",
    }


async def test_a_relay_whose_pages_never_end_is_given_up(autojump_clock: MockClock) -> None:
    async def flood(actor: Actor, rest: list[Any]) -> None:
        place = 0
        while True:
            place += 1
            await actor.say("EVENT", rest[0], ALICE.signed(f"{place:064x}", NOW, 1, [], ""))

    _, here, lost = await sync_with(relay([], REQ=flood), direction="down")
    assert (here, lost) == (set(), "it sends many times as many events as it was asked for")


async def test_a_relay_that_gives_no_events_is_told(autojump_clock: MockClock) -> None:
    async def refuse(actor: Actor, rest: list[Any]) -> None:
        await actor.say("CLOSED", rest[0], "restricted: members only")

    report, here, lost = await sync_with(relay([], REQ=refuse), MINE)
    assert (here, lost) == (ids(*MINE), "")
    assert report.remarks[1] == "it does not give its events: restricted: members only"
    assert not report.is_whole
    assert report.up.counts == {outcomes.Fate.STORED: 50}


@pytest.mark.parametrize("counts", [True, False])
async def test_what_cannot_be_had_of_a_crowded_second_is_said(autojump_clock: MockClock, counts: bool) -> None:
    """Forty events of one author and kind in a second, of which the other side gives ten."""
    crowd = [ALICE.event(str(place), created_at=NOW) for place in range(40)]
    old = [ALICE.event(str(place), created_at=NOW - 10 - place) for place in range(30)]

    async def give_ten(actor: Actor, rest: list[Any]) -> None:
        await give(actor, rest, [*crowd, *old], most=10)

    async def count(actor: Actor, rest: list[Any]) -> None:
        await actor.say("COUNT", rest[0], {"count": len(found(rest, [*crowd, *old]))})

    verbs = {"COUNT": count} if counts else {}
    report, here, _ = await sync_with(relay([], REQ=give_ten, **verbs), direction="down")
    assert ids(*old) <= here
    assert len(here) == 40
    assert not report.is_whole
    words = "30 events are missing" if counts else "some events may be missing"
    assert report.remarks[1].startswith(f"of second {NOW} {words}")


async def test_who_is_offered_too_much_is_offered_it_again_later(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def take_ten_a_minute(actor: Actor, rest: list[Any]) -> None:
        recent = [at for at in times if at > trio.current_time() - 60]
        if len(recent) >= 10:
            await actor.say("OK", rest[0]["id"], False, "rate-limited: slow down")
        else:
            times.append(trio.current_time())
            await actor.say("OK", rest[0]["id"], True, "")

    report, _, lost = await sync_with(relay([], EVENT=take_ten_a_minute), MINE, direction="up")
    assert (lost, report.up.counts) == ("", {outcomes.Fate.STORED: 50})
    assert 240 <= times[-1] - times[0] < 600


async def test_who_never_takes_more_is_left_alone(autojump_clock: MockClock) -> None:
    async def refuse(actor: Actor, rest: list[Any]) -> None:
        await actor.say("OK", rest[0]["id"], False, "rate-limited: slow down")

    _, _, lost = await sync_with(relay([], EVENT=refuse), MINE, direction="up")
    assert lost == "it takes no more events: rate-limited: slow down"
    assert trio.current_time() < 600


async def test_who_says_nothing_of_events_is_left_alone(autojump_clock: MockClock) -> None:
    _, _, lost = await sync_with(relay([], EVENT=nothing), [*MINE, *EVENTS], direction="up")
    assert lost == "it says nothing of the events that it is sent"


@pytest.mark.parametrize(
    "beside", [("AUTH", "who are you?"), ("NOTICE", "I do not like that"), ("OK", "", False, "twice"), ("EOSE", "r0")]
)
async def test_a_relay_that_says_more_than_ok_of_each_event_is_borne(
    autojump_clock: MockClock, beside: tuple[object, ...]
) -> None:
    async def refuse(actor: Actor, rest: list[Any]) -> None:
        await actor.say(*beside)
        await actor.say("OK", rest[0]["id"], False, "blocked: not yours")

    many = [ALICE.event(str(place), created_at=NOW - place) for place in range(1_500)]
    report, _, lost = await sync_with(relay([], EVENT=refuse), many, direction="up")
    assert (lost, report.up.counts) == ("", {outcomes.Fate.REFUSED: 1_500})


async def test_a_relay_that_confirms_the_end_of_each_question_is_borne(autojump_clock: MockClock) -> None:
    async def confirm(actor: Actor, rest: list[Any]) -> None:
        await actor.say("CLOSED", rest[0], "")

    async def give_few(actor: Actor, rest: list[Any]) -> None:
        await give(actor, rest, many, most=7)

    many = [ALICE.event(str(place), created_at=NOW - place) for place in range(1_500)]
    _, here, lost = await sync_with(relay([], REQ=give_few, CLOSE=confirm), direction="down")
    assert (lost, here) == ("", ids(*many))


@pytest.mark.parametrize(
    "total", [{"count": 200, "approximate": True}, {"count": 12_345}, {"count": 12_345, "hll": ""}]
)
async def test_counts_that_are_estimates_or_cannot_be_of_the_ids_keep_no_event_back(
    autojump_clock: MockClock, total: dict[str, object]
) -> None:
    async def count(actor: Actor, rest: list[Any]) -> None:
        await actor.say("COUNT", rest[0], total)

    many = [ALICE.event(str(place), created_at=NOW - place) for place in range(500)]
    report, _, lost = await sync_with(relay([], COUNT=count), many, direction="up")
    assert (lost, report.up.counts) == ("", {outcomes.Fate.STORED: 500})


async def test_a_crowded_second_of_which_only_an_estimate_is_given_may_lack_some(autojump_clock: MockClock) -> None:
    async def count(actor: Actor, rest: list[Any]) -> None:
        await actor.say("COUNT", rest[0], {"count": 5, "approximate": True})

    async def give_few(actor: Actor, rest: list[Any]) -> None:
        await give(actor, rest, crowd, most=5)

    crowd = [ALICE.event(str(place), created_at=NOW - 9) for place in range(20)]
    report, _, _ = await sync_with(relay([], COUNT=count, REQ=give_few), direction="down")
    assert not report.is_whole


async def test_private_and_protected_events_are_not_offered(autojump_clock: MockClock) -> None:
    private = ALICE.event("psst", kind=4, tags=[["p", BOB.pubkey]])
    protected = ALICE.event("mine", tags=[["-"]])
    got = []

    async def take(actor: Actor, rest: list[Any]) -> None:
        got.append(rest[0]["id"])
        await actor.say("OK", rest[0]["id"], True, "")

    for verbs in ({}, comparing([])):
        report, _, _ = await sync_with(relay([], EVENT=take, **verbs), [private, protected, MINE[0]])
        assert report.up.counts == {outcomes.Fate.STORED: 1, outcomes.Fate.KEPT_BACK: 1}
    assert got == [MINE[0].id] * 2


async def test_what_was_deleted_here_stays_away_and_is_told(autojump_clock: MockClock) -> None:
    deletion = ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", EVENTS[0].id]])
    report, here, _ = await sync_with(relay(EVENTS, **comparing(EVENTS)), [deletion], direction="down")
    assert here == ids(deletion, *EVENTS[1:])
    assert report.down.counts == {outcomes.Fate.STORED: 99, outcomes.Fate.GONE: 1}


async def test_ids_of_both_forms_of_control_characters_are_right(autojump_clock: MockClock) -> None:
    """Those that NIP-01 says, and those that most JSON encoders hash (`\\u0001`)."""
    verbatim = ALICE.event("a\x01b")
    escaped = escaped_form("a\x01b")
    assert verbatim.id != escaped.id
    _, here, _ = await sync_with(relay([verbatim, escaped], **comparing([verbatim, escaped])))
    assert here == ids(verbatim, escaped)


def escaped_form(content: str) -> Event:
    canonical = orjson.dumps([0, ALICE.pubkey, NOW, 1, [], content])
    return ALICE.signed(sha256(canonical).hexdigest(), NOW, 1, [], content)
