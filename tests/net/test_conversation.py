"""A client and the relay over a memory wire: NIP-01 as a client sees it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, plain
from trio_relay import Event, RelayOptions, Rules

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
HELLO = BOB.event("hello", tags=[["t", "greeting"], ["p", ALICE.pubkey]])


async def test_an_event_is_acknowledged_stored_and_found_as_it_was(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        assert await client.publish(HELLO) == ["OK", HELLO.id, True, ""]
        assert await client.ask("a", {"ids": [HELLO.id]}) == [plain(HELLO)]


async def test_an_event_sent_again_is_a_duplicate_and_true(autojump_clock: MockClock) -> None:
    """NIP-01: `duplicate:` stands in an OK that is true."""
    async with open_door() as door, door.client() as client, door.client() as other:
        await client.publish(HELLO)
        for who in (client, other):
            assert await who.publish(HELLO) == ["OK", HELLO.id, True, "duplicate: already have this event"]


async def test_stored_events_come_newest_first_and_then_eose_once(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    await store.save_many(NOTES)
    async with open_door(store) as door, door.client() as client:
        await client.send("REQ", "feed", {"kinds": [1]}, {"authors": [ALICE.pubkey]})
        messages = [await client.receive() for _ in range(len(NOTES) + 1)]
        assert messages == [*(["EVENT", "feed", plain(note)] for note in NOTES), ["EOSE", "feed"]]
        await client.expect_silence()


async def test_a_live_event_reaches_who_subscribed_and_matches(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as listener, door.client() as other, door.client() as speaker:
        assert await listener.ask("tag", {"#t": ["greeting"]}) == []
        assert await listener.ask("all", {}) == []
        assert await other.ask("tag", {"#t": ["farewell"]}) == []
        await speaker.publish(HELLO)
        received = [await listener.receive(), await listener.receive()]
        assert sorted(message[1] for message in received) == ["all", "tag"]
        assert [message[2] for message in received] == [plain(HELLO), plain(HELLO)]
        await listener.expect_silence()
        await other.expect_silence()


async def test_who_publishes_gets_his_own_event_where_he_subscribed(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        await client.ask("own", {"authors": [BOB.pubkey]})
        await client.send("EVENT", HELLO)
        messages = [await client.receive(), await client.receive()]
        assert ["OK", HELLO.id, True, ""] in messages
        assert ["EVENT", "own", plain(HELLO)] in messages


async def test_a_closed_subscription_gets_nothing_more_and_no_answer(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as listener, door.client() as speaker:
        await listener.ask("live", {})
        await listener.send("CLOSE", "live")
        await listener.send("CLOSE", "never opened")
        await wait_all_tasks_blocked()
        await speaker.publish(HELLO)
        await listener.expect_silence()
        assert door.relay.statistics().broadcaster.subscriptions == 0


async def test_subscriptions_of_one_client_are_apart(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client, door.client() as speaker:
        for number in range(20):
            assert await client.ask(f"sub {number}", {"kinds": [1_000 + number]}) == []
        await client.send("CLOSE", "sub 1")
        await wait_all_tasks_blocked()
        for number in (1, 7, 19):
            await speaker.publish(BOB.event(kind=1_000 + number))
        messages = [await client.receive(), await client.receive()]
        assert [(message[0], message[1], message[2]["kind"]) for message in messages] == [
            ("EVENT", "sub 7", 1_007),
            ("EVENT", "sub 19", 1_019),
        ]
        await client.expect_silence()


async def test_clients_with_the_same_sub_id_do_not_meet(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as one, door.client() as other, door.client() as speaker:
        for client in (one, other):
            await client.ask("sub", {})
        await one.send("CLOSE", "sub")
        await wait_all_tasks_blocked()
        await speaker.publish(HELLO)
        assert await other.receive() == ["EVENT", "sub", plain(HELLO)]
        await one.expect_silence()


async def test_subscriptions_end_with_their_connection(autojump_clock: MockClock) -> None:
    async with open_door() as door:
        async with door.client() as client:
            await client.ask("a", {})
            await client.ask("b", {})
            assert door.relay.statistics().broadcaster.subscriptions == 2
        await wait_all_tasks_blocked()
        assert door.relay.statistics().broadcaster.subscriptions == 0
        assert door.server.statistics().connections == 0


async def test_an_ephemeral_event_is_delivered_and_never_stored(autojump_clock: MockClock) -> None:
    ephemeral = ALICE.event("now", kind=20_001)
    async with open_door() as door, door.client() as listener, door.client() as speaker:
        await listener.ask("live", {"kinds": [20_001]})
        assert await speaker.publish(ephemeral) == ["OK", ephemeral.id, True, ""]
        assert await listener.receive() == ["EVENT", "live", plain(ephemeral)]
        assert await speaker.ask("later", {"kinds": [20_001]}) == []


@pytest.mark.parametrize(
    ("before", "event", "answer"),
    [
        (ALICE.event("new", kind=0), ALICE.event("old", kind=0, created_at=NOW - 1), "duplicate: have a newer version"),
        (
            ALICE.event(kind=5, tags=[["e", NOTES[0].id]]),
            NOTES[0],
            "blocked: deleted by its author, or older than a version that has expired",
        ),
        (
            HELLO,
            replace(BOB.event("forged"), sig="0" * 128),
            "invalid: sig is not a valid signature of the id by the pubkey",
        ),
        (HELLO, replace(NOTES[0], content="other"), "invalid: id is not the hash of the event"),
        (
            HELLO,
            BOB.event(created_at=NOW + 901),
            "invalid: created_at is more than 900 seconds ahead (created_at_ahead)",
        ),
    ],
)
async def test_a_refused_event_gets_ok_false_with_its_reason(
    before: Event, event: Event, answer: str, autojump_clock: MockClock
) -> None:
    async with open_door() as door, door.client() as client:
        await client.publish(before)
        assert await client.publish(event) == ["OK", event.id, False, answer]
        assert event.id not in [found["id"] for found in await client.ask("all", {})]


async def test_a_failing_store_is_told_and_the_connection_stays(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.failing["save_many"] = "no space left"
    async with open_door(store) as door, door.client() as client:
        assert await client.publish(HELLO) == ["OK", HELLO.id, False, "error: no space left"]
        store.failing.clear()
        assert await client.publish(HELLO) == ["OK", HELLO.id, True, ""]


async def test_many_messages_in_one_read_are_all_answered(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        for note in NOTES:
            await client.send("EVENT", note)
        answers = [await client.receive() for _ in NOTES]
        assert sorted(answers) == sorted(["OK", note.id, True, ""] for note in NOTES)


async def test_the_sender_of_an_ephemeral_event_is_told_that_nobody_listened_where_that_is_on(
    autojump_clock: MockClock,
) -> None:
    """NIP-01's `mute:`; alone, and behind another event of the same read."""
    first, second = ALICE.event("now", kind=20_001), ALICE.event("then", kind=20_001)
    heard, unheard = "", "mute: nobody was listening for this event"
    for options, expected in ((RelayOptions(mute_unheard=True), unheard), (RelayOptions(), heard)):
        async with open_door(options=options) as door, door.client() as listener, door.client() as speaker:
            await listener.ask("live", {"kinds": [20_002]})
            assert await speaker.publish(first) == ["OK", first.id, True, expected]
            await speaker.send("EVENT", NOTES[0])
            await speaker.send("EVENT", second)
            answers = [await speaker.receive(), await speaker.receive()]
            assert ["OK", second.id, True, expected] in answers
            await listener.ask("live", {"kinds": [20_001]})
            assert await speaker.publish(second) == ["OK", second.id, True, heard]
            assert (await listener.receive())[2]["id"] == second.id


async def test_who_may_not_read_it_does_not_listen(autojump_clock: MockClock) -> None:
    wrap = BOB.event(kind=21_059, tags=[["p", ALICE.pubkey]])
    rules = Rules(relay_url="wss://relay.example/")
    options = RelayOptions(mute_unheard=True)
    async with open_door(rules=rules, options=options) as door, door.client() as listener, door.client() as speaker:
        await listener.ask("live", {})
        assert (await speaker.publish(wrap))[3].startswith("mute: ")
