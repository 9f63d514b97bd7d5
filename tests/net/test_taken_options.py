"""Clients that were here before go by what is configured now: what they are refused, held to, and may prove."""

from __future__ import annotations

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import URL, auth_event, open_client, rules_for
from tests.support.server import Door, open_door
from trio_relay import (
    Filter,
    Limits,
    MemberOptions,
    MemoryStore,
    NetOptions,
    RateOptions,
    RelayInfo,
    RelayOptions,
    Rules,
    SyncOptions,
)
from trio_relay.policy import retention

DAY = 86_400


def take(door: Door, rules: Rules, net: NetOptions | None = None) -> None:
    """Have a relay, and who serves its clients, go by these."""
    door.relay.take_options(RelayOptions(), SyncOptions(), rules)
    door.server.take_options(net or NetOptions())


async def test_a_client_is_held_to_other_limits_from_its_next_message_on(autojump_clock: MockClock) -> None:
    async with open_door(limits=Limits()) as door, door.client() as client:
        await client.ask("open", {"kinds": [1]}, {"kinds": [2]})
        take(door, Rules(Limits(max_subscriptions=1, max_filters=1, max_content_length=3)))
        await client.send("REQ", "more", {"kinds": [1]}, {"kinds": [2]})
        assert "max_filters" in (await client.receive())[2]
        await client.send("REQ", "more", {"kinds": [1]})
        assert "max_subscriptions" in (await client.receive())[2]
        assert "max_content_length" in (await client.publish(ALICE.event("long")))[3]
        note = ALICE.event("new")
        await client.send("EVENT", note)  # what was open stays so
        assert {(await client.receive())[0], (await client.receive())[0]} == {"EVENT", "OK"}


async def test_a_longer_message_is_read_and_a_shorter_one_is_the_longest_then(autojump_clock: MockClock) -> None:
    async with open_door(limits=Limits(max_message_length=2_000)) as door, door.client() as client:
        take(door, Rules(Limits(max_message_length=100_000)))
        long = ALICE.event("x" * 10_000)
        assert (await client.publish(long))[2:] == [True, ""]
        take(door, Rules(Limits(max_message_length=2_000)))
        await client.send("EVENT", BOB.event("x" * 10_000))
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await client.receive()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1009


async def test_a_relay_that_gets_a_name_challenges_who_is_here(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        take(door, rules_for(auth_to_write=True, challenge="needed"))
        await client.send("EVENT", ALICE.event("a note"))
        verb, challenge = await client.receive()
        assert (verb, len(challenge)) == ("AUTH", 32)
        assert (await client.receive())[2] is False
        await client.send("AUTH", auth_event(ALICE, challenge, created_at=NOW))
        assert (await client.receive())[2:] == [True, ""]
        assert (await client.publish(ALICE.event("a note")))[2:] == [True, ""]


async def test_nobody_proves_a_key_by_the_challenge_that_was_none(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        take(door, rules_for(challenge="needed"))
        await client.send("AUTH", auth_event(ALICE, "", created_at=NOW))
        assert (await client.receive())[2] is False


async def test_who_may_read_no_more_hears_no_more(autojump_clock: MockClock) -> None:
    async with open_door(rules=rules_for(), clock=lambda: NOW) as door, open_client(door, ALICE) as client:
        await client.send("REQ", "open", {"kinds": [1]})
        assert (await client.receive())[0] == "EOSE"
        take(door, rules_for(members=MemberOptions(enabled=True, members_read=True)))
        assert (await client.receive())[:2] == ["CLOSED", "open"]


async def test_other_rates_hold_for_who_is_here_and_an_admin_is_free_of_them(autojump_clock: MockClock) -> None:
    tight = RateOptions(events_per_connection="2/hour burst 2")
    async with (
        open_door(rules=rules_for(), clock=lambda: NOW) as door,
        open_client(door, ALICE) as client,
        open_client(door, BOB) as other,
    ):
        take(door, rules_for(rates=tight))
        answers = [await client.publish(ALICE.event(f"note {number}")) for number in range(3)]
        assert [accepted for accepted, _ in answers] == [True, True, False]
        take(door, rules_for(rates=tight, admins=(BOB.pubkey,)))
        answers = [await other.publish(BOB.event(f"note {number}")) for number in range(5)]
        assert all(accepted for accepted, _ in answers)
        take(door, rules_for())
        assert (await client.publish(ALICE.event("one more")))[0] is True


async def test_what_an_address_has_used_stays_used_whatever_changes_beside_it(autojump_clock: MockClock) -> None:
    tight = RateOptions(events_per_connection="2/hour burst 2")
    async with open_door(rules=rules_for(rates=tight), clock=lambda: NOW) as door, open_client(door, ALICE) as client:
        for number in range(2):
            assert (await client.publish(ALICE.event(f"note {number}")))[0]
        take(door, rules_for(rates=tight, limits=Limits(max_filters=3)))
        assert (await client.publish(ALICE.event("one more")))[0] is False


async def test_what_operators_have_decided_stands_above_what_is_configured_anew(autojump_clock: MockClock) -> None:
    async with open_door(rules=rules_for(info=RelayInfo(url=URL, name="first"))) as door:
        lists = door.relay.rules.lists
        take(door, rules_for(info=RelayInfo(url=URL, name="second")))
        assert b'"name":"second"' in door.relay.document()
        assert door.relay.rules.lists is lists


async def test_a_round_of_sweeping_comes_as_soon_as_it_is_due_by_the_new_time(autojump_clock: MockClock) -> None:
    async with open_door(rules=rules_for(sweep_seconds=DAY), clock=lambda: NOW) as door:
        await wait_all_tasks_blocked()
        assert door.relay.next_sweep() == NOW + DAY
        take(door, rules_for(sweep_seconds=60.0))
        await wait_all_tasks_blocked()
        assert door.relay.next_sweep() == NOW + 60


async def test_the_web_of_trust_begins_and_ends_while_the_relay_runs(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.save_many([ALICE.event(kind=3, tags=[["p", BOB.pubkey]], created_at=NOW)])
    async with open_door(store, rules_for(admins=(ALICE.pubkey,)), clock=lambda: NOW) as door:
        trusting = rules_for(admins=(ALICE.pubkey,), trust_depth=1)
        take(door, trusting)
        assert door.relay.rules.trusted == {ALICE.pubkey}  # until the others are found
        await wait_all_tasks_blocked()
        assert door.relay.rules.trusted == {ALICE.pubkey, BOB.pubkey}
        take(door, rules_for(admins=(BOB.pubkey,), trust_depth=1))
        await wait_all_tasks_blocked()
        assert door.relay.rules.trusted == {BOB.pubkey}
        take(door, rules_for(admins=(BOB.pubkey,)))
        assert door.relay.rules.trusted is None
        assert door.relay.rules.may_write("0" * 64, NOW)


async def test_a_round_of_forgetting_comes_as_soon_as_it_is_due_by_the_new_time(autojump_clock: MockClock) -> None:
    store, often = MemoryStore(), forgetting(60)
    often.retention.seconds = 600.0
    async with open_door(store, forgetting(60), clock=lambda: NOW) as door:
        await trio.sleep(130)  # the first round comes soon, however seldom they are
        assert (door.relay.next_retention() or 0) > NOW + DAY / 2
        take(door, often)
        await wait_all_tasks_blocked()
        assert NOW + 400 < (door.relay.next_retention() or 0) < NOW + 700
        await store.save_many([ALICE.event("gone by then", created_at=NOW - 61)])
        await trio.sleep(700)
        assert await store.count([Filter()]) == 0


def forgetting(seconds: int) -> Rules:
    """Rules by which notes go that are older than this."""
    rules = rules_for()
    kept = retention.Retention((retention.RetentionRule(kinds=(1,), max_age_seconds=seconds),), seconds=DAY)
    rules.retention = kept
    return rules


async def test_retention_goes_by_other_rules_soon_and_forgets_what_had_no_room_by_the_old(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with open_door(store, rules_for(), clock=lambda: NOW) as door:
        await store.save_many([ALICE.event(f"note {days}", created_at=NOW - days * DAY) for days in (1, 3, 5)])
        assert door.relay.next_retention() is None
        take(door, forgetting(4 * DAY))
        door.relay.rules.take_floors(retention.Floors({0: NOW}))
        await wait_all_tasks_blocked()
        assert NOW + 60 <= (door.relay.next_retention() or 0) <= NOW + 120
        assert await door.relay.upkeep.forget()
        assert await store.count([Filter()]) == 2
        take(door, forgetting(2 * DAY))
        assert door.relay.rules.retention.floors == retention.NO_FLOORS
        assert await door.relay.upkeep.forget()
        assert await store.count([Filter()]) == 1
        take(door, rules_for())
        await wait_all_tasks_blocked()
        assert door.relay.next_retention() is None


async def test_fewer_places_put_nobody_out(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as first, door.client() as second:
        take(door, Rules(), NetOptions(max_connections=1))
        for client in (first, second):
            await client.expect_silence()
        assert door.server.statistics().connections == 2
