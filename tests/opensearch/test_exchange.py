"""What relays on one index tell each other over a bus; in virtual time, without a node and without Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.opensearch.ears import Ear
from tests.opensearch.inside import inside
from tests.opensearch.shared_index import BEGAN, SharedIndex, relay_on
from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.local_bus import LocalBus
from trio_relay import Filter, Saved
from trio_relay.bus import StreamBus
from trio_relay.store.opensearch import OpenSearchStore

pytestmark = pytest.mark.usefixtures("inline_threads")  # else the clock runs on while a long batch is written

STORED = Saved.STORED
NOTE, OTHER = ALICE.event("note"), BOB.event("other")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
TYPING = ALICE.event("typing", kind=20_001)
ALL = Filter()
SELDOM = 3_600.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two relays on one index and one bus, and who listens to each."""

    one: OpenSearchStore
    other: OpenSearchStore
    ear_of_one: Ear
    ear: Ear
    index: SharedIndex
    bus: LocalBus
    members: tuple[StreamBus, StreamBus]


@asynccontextmanager
async def pair(*, ahead: float = 0.0, **changes: Any) -> AsyncIterator[Pair]:
    """Both have heard the gap that a start is."""
    index, bus = SharedIndex(), LocalBus()
    members = bus.join(), bus.join()
    async with (
        relay_on(index, bus=members[0], **changes) as (one, _),
        relay_on(index, bus=members[1], ahead=ahead, **changes) as (other, _),
    ):
        ears = Ear(), Ear()
        one.hear(ears[0])
        other.hear(ears[1])
        await trio.sleep(3)
        yield Pair(one, other, *ears, index, bus, members)


async def test_what_one_stores_is_found_and_delivered_at_the_other_before_any_refresh(
    autojump_clock: MockClock,
) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        assert await both.one.save_many([NOTE]) == [STORED]
        assert await both.one.save_many([OLD]) == [STORED]
        await trio.sleep(0.05)
        assert both.ear.pending == both.ear.delivered == [NOTE, OLD]
        assert await ask(both.other, ALL) == [NOTE, OLD]
        assert await both.other.known([NOTE.id]) == {NOTE.id}
        assert await both.other.save_many([NEW]) == [STORED]
        await trio.sleep(0.05)
        assert await ask(both.one, ALL) == await ask(both.other, ALL) == [NEW, NOTE]
        both.index.refresh()
        assert await ask(both.one, ALL) == await ask(both.other, ALL) == [NEW, NOTE]
        await trio.sleep(200)
        assert (both.ear.delivered, both.ear_of_one.delivered) == ([NOTE, OLD], [NEW])
        assert inside(both.other).others.heard == {"bus": 2}


async def test_what_one_deletes_or_removes_the_other_shows_no_longer(autojump_clock: MockClock) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        await both.one.save_many([NOTE, OTHER, OLD])
        both.index.refresh()
        await both.other.save_many([ALICE.event(kind=5, tags=[["e", NOTE.id], ["a", f"0:{ALICE.pubkey}:"]])])
        await trio.sleep(0.05)
        assert [event.kind for event in await ask(both.one, Filter(authors=frozenset([ALICE.pubkey])))] == [5]
        assert await both.one.known([NOTE.id]) == set()
        assert await both.other.remove([Filter(ids=frozenset([OTHER.id]))]) == 1
        await trio.sleep(0.05)
        assert await ask(both.one, Filter(authors=frozenset([BOB.pubkey]))) == []
        assert await both.one.known([OTHER.id]) == set()


async def test_a_key_that_vanishes_at_one_is_barred_at_the_other_at_once(autojump_clock: MockClock) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        await both.other.save_many([OTHER])
        vanish = BOB.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
        assert await both.one.save_many([vanish]) == [STORED]
        await trio.sleep(1)
        assert await both.other.save_many([BOB.event("late", created_at=NOW + 4)]) == [Saved.VANISHED]
        assert await ask(both.other, ALL) == [vanish]
        assert both.ear.delivered == [vanish]


async def test_what_operators_decide_is_told_at_once(autojump_clock: MockClock) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        before = both.ear.decisions, both.ear_of_one.decisions
        await both.one.put_metadata({"banned": b"1", "blocked": b""})
        await trio.sleep(0.05)
        assert await both.other.get_metadata() == {"banned": b"1", "blocked": b""}
        await both.one.put_metadata({"banned": None})
        await both.other.put_metadata({"name": b"2"})
        await trio.sleep(0.05)
        for store in (both.one, both.other):
            assert await store.get_metadata() == {"blocked": b"", "name": b"2"}
        assert (both.ear.decisions, both.ear_of_one.decisions) == (before[0] + 3, before[1] + 1)


async def test_values_are_asked_for_anew_after_a_gap_and_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        assert await both.other.get_metadata() == {}
        inside(both.one).others.teller = None  # it is killed before it tells
        await both.one.put_metadata({"banned": b"1"})
        assert await both.other.get_metadata() == {}
        both.bus.is_gone = True
        await trio.sleep(5)
        assert await both.other.get_metadata() == {"banned": b"1"}
        both.bus.is_gone = False
        await trio.sleep(5)
        await both.one.put_metadata({"banned": None})
        both.bus.empty()
        await trio.sleep(30)  # a look finds a record without a name
        assert await both.other.get_metadata() == {}


async def test_what_nobody_stores_is_delivered_everywhere_once(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.bus.comes_twice = True
        both.one.spread([TYPING])
        await trio.sleep(1)
        both.one.spread([TYPING])  # sent by its author once more
        await trio.sleep(60)
        assert both.ear.delivered == [TYPING, TYPING]
        assert both.ear.pending == []
        assert both.ear_of_one.delivered == []


async def test_an_older_version_that_comes_late_is_neither_shown_nor_delivered(autojump_clock: MockClock) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        both.bus.cut_off(both.members[0])
        await both.one.save_many([OLD])
        await both.other.save_many([NEW])
        before = list(both.ear.delivered)
        both.bus.mend(both.members[0])
        await trio.sleep(60)
        assert await ask(both.one, ALL) == await ask(both.other, ALL) == [NEW]
        assert before == both.ear.delivered == [OLD]  # it was met when the newer one was judged
        assert both.ear_of_one.delivered == [NEW]


@pytest.mark.parametrize("seconds", [5.0, 300.0])
async def test_what_is_written_while_one_is_cut_off_comes_by_the_index_and_not_again(
    autojump_clock: MockClock, seconds: float
) -> None:
    async with pair() as both:
        both.bus.cut_off(both.members[1])
        events = [made_up(f"{number}") for number in range(30)]
        for event in events[:20]:
            await both.one.save_many([event])
            await trio.sleep(seconds / 20)
        assert both.other.statistics().degraded is not None
        await trio.sleep(10)
        assert both.ear.delivered == events[:20]
        assert set(inside(both.other).others.heard) == {"index"}
        both.bus.mend(both.members[1])
        await trio.sleep(30)
        assert both.other.statistics().degraded is None
        await both.one.save_many(events[20:])
        await trio.sleep(0.05)
        assert both.ear.pending == both.ear.delivered == events
        await trio.sleep(200)
        assert both.ear.pending == both.ear.delivered == events


@pytest.mark.parametrize("what", ["lose", "trim", "empty", "restart"])
async def test_what_the_bus_has_lost_comes_by_the_index(autojump_clock: MockClock, what: str) -> None:
    async with pair() as both:
        events = [made_up(f"{number}") for number in range(40)]
        both.bus.cut_off(both.members[1])
        await both.one.save_many(events[:10])
        await trio.sleep(0.1)
        if what == "lose":
            both.bus.lose(100)
        elif what == "trim":
            both.bus.trim(0)
        else:
            both.bus.empty(step_back=500 if what == "restart" else 0)
        await both.one.save_many(events[10:20])
        both.bus.mend(both.members[1])
        await both.one.save_many(events[20:30])
        await trio.sleep(20)
        await both.one.save_many(events[30:])
        await trio.sleep(60)
        assert sorted(map(repr, both.ear.delivered)) == sorted(map(repr, events))
        assert both.ear.pending == both.ear.delivered


async def test_what_a_gap_hides_is_read_from_the_index_at_once(autojump_clock: MockClock) -> None:
    """Though neither relay would refresh, nor look, for long."""
    async with pair(refresh_seconds=SELDOM) as both:
        both.bus.cut_off(both.members[1])
        await both.one.save_many([NOTE, OTHER])
        await trio.sleep(0.1)
        both.bus.empty()
        both.bus.mend(both.members[1])
        await trio.sleep(3)
        assert both.ear.delivered == [NOTE, OTHER]


async def test_what_comes_between_the_opening_of_a_store_and_its_audience_is_heard_with_the_first_look(
    autojump_clock: MockClock,
) -> None:
    index, bus = SharedIndex(), LocalBus()
    async with (
        relay_on(index, refresh_seconds=SELDOM) as (one, _),
        relay_on(index, bus=bus.join(), refresh_seconds=SELDOM) as (other, _),
    ):
        await one.save_many([NOTE])
        await trio.sleep(1)  # the gap that its start is has come by now
        other.hear(ear := Ear())
        await trio.sleep(1)
        assert ear.delivered == [NOTE]


async def test_of_versions_that_come_late_none_is_delivered_after_a_newer_one(autojump_clock: MockClock) -> None:
    """The index has only the newest; both come by the bus, once it is there again."""
    async with pair() as both:
        both.bus.cut_off(both.members[1])
        await both.one.save_many([OLD])
        await both.one.save_many([NEW])
        await trio.sleep(30)
        assert both.ear.delivered == [NEW]
        both.bus.mend(both.members[1])
        await trio.sleep(30)
        sharing = both.other.statistics().sharing
        assert sharing is not None
        assert sharing.notes is not None
        assert sharing.notes.heard == 2
        assert both.ear.pending == both.ear.delivered == [NEW]
        assert await ask(both.other, ALL) == [NEW]


async def test_of_a_relay_that_was_killed_before_it_told_all_is_heard_by_the_index(autojump_clock: MockClock) -> None:
    """Neither its note nor its refresh came; the index refreshes by itself within half a minute."""
    async with pair(refresh_seconds=SELDOM) as both:
        await trio.sleep(100)
        inside(both.one).others.teller = None
        await both.one.save_many([NOTE])
        await trio.sleep(29)
        both.index.refresh()
        await trio.sleep(16)
        assert both.ear.delivered == [NOTE]


async def test_a_note_of_another_form_is_read_from_the_index(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with pair() as both:
        for payload in (b"what", b"\x94\x02\x00\x90\x90"):
            both.members[0].send(payload)
        inside(both.one).others.teller = None
        await both.one.save_many([NOTE])
        await trio.sleep(1)
        assert both.ear.delivered == [NOTE]
    assert [entry["event"] for entry in logged].count("a note was not understood") == 2


@pytest.mark.parametrize("fields", [{"id": "x"}, {"pubkey": ""}, {"created_at": 2**70}, {"kind": -1}])
@pytest.mark.parametrize("is_stored", [False, True], ids=["that passes", "in a record"])
async def test_what_has_not_the_shape_of_an_event_is_delivered_to_nobody(
    fields: dict[str, Any], is_stored: bool, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with pair(refresh_seconds=SELDOM) as both:
        text = msgspec.json.encode(msgspec.structs.replace(NOTE, **fields)).decode()
        sent = (BEGAN + 60) * 10**9
        note = (1, sent, [("slot", 1, sent, text)], []) if is_stored else (1, sent, [], [text])
        both.members[0].send(msgspec.msgpack.encode(note))
        await both.one.save_many([OTHER])
        await trio.sleep(1)
        assert both.ear.delivered == [OTHER]
    assert [entry["event"] for entry in logged].count("a note was not understood") == 1


_DEEP = 100_000
"""Brackets in each other, which no decoder follows down."""


@pytest.mark.parametrize(
    "payload",
    [
        b"\x95\x01\x00\x90\x90" + b"\x91" * _DEEP,
        msgspec.msgpack.encode((1, 0, [], ['{"deep":' + "[" * _DEEP])),
        msgspec.msgpack.encode((1, 0, [("slot", 1, 0, '{"deep":' + "[" * _DEEP)], [])),
    ],
    ids=["note", "event that passes", "record"],
)
async def test_a_note_that_is_nested_without_end_is_read_from_the_index(
    payload: bytes, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with pair() as both:
        both.members[0].send(payload)
        inside(both.one).others.teller = None
        await both.one.save_many([NOTE])
        await trio.sleep(1)
        assert both.ear.delivered == [NOTE]
    assert [entry["event"] for entry in logged].count("a note was not understood") == 1


@pytest.mark.parametrize("ahead", [-19.0, 19.0])
async def test_clocks_may_differ_while_the_bus_comes_and_goes(autojump_clock: MockClock, ahead: float) -> None:
    async with pair(ahead=ahead) as both:
        await trio.sleep(40)
        for number in range(10):
            if number % 3 == 1:
                both.bus.cut_off(both.members[number % 2])
            await both.one.save_many([made_up(f"one {number}")])
            await both.other.save_many([made_up(f"other {number}")])
            await trio.sleep(7)
            if number % 3 == 2:
                both.bus.mend(both.members[0])
                both.bus.mend(both.members[1])
        await trio.sleep(20)
        for ear, name in ((both.ear_of_one, "other"), (both.ear, "one")):
            assert sorted(event.content for event in ear.delivered) == [f"{name} {number}" for number in range(10)]


async def test_with_a_bus_the_index_is_asked_seldom(autojump_clock: MockClock) -> None:
    index, bus = SharedIndex(), LocalBus()
    async with relay_on(index, bus=bus.join()) as (store, cluster):
        store.hear(Ear())
        await trio.sleep(100)
        cluster.asked.clear()
        await trio.sleep(60)
        assert 3 <= len([asked for asked in cluster.asked if "hits.hits.sort" in asked.query]) <= 4


async def test_many_records_go_out_in_several_notes(autojump_clock: MockClock) -> None:
    async with pair() as both:
        events = [made_up(f"{number}" + "x" * 60_000) for number in range(20)]
        before = both.members[0].statistics().notes_sent
        await both.one.save_many(events)
        await trio.sleep(1)
        assert both.ear.delivered == events
        assert both.members[0].statistics().notes_sent - before == 5


async def test_it_tells_how_it_is(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.one.save_many([NOTE])
        await trio.sleep(1)
        sharing = both.other.statistics().sharing
        assert sharing is not None
        assert sharing.heard == {"bus": 1, "index": 0}
        assert 0 <= sharing.seconds_behind <= 15
        assert sharing.notes is not None
        assert (sharing.notes.is_connected, sharing.notes.heard, sharing.notes.gaps) == (True, 1, 1)
