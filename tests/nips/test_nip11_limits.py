"""NIP-11, "Server Limitations": each is published, holds at the limit, and refuses one more, through the door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.nips.test_nip13 import mined
from tests.support.keys import ALICE, NOW, Author, made_up
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.receiving import NOTHING, answered
from tests.support.server import Door
from tests.support.wire import TEXT, frame, open_stream, open_wire
from trio_relay import Event, Limits, MemoryStore, Store
from trio_relay.nostr.negentropy.protocol import initiate


async def limitation(door: Door) -> dict[str, Any]:
    async with open_stream(door) as wire:
        reply = await wire.ask(Accept="application/nostr+json")
    told: dict[str, Any] = json.loads(reply.body)["limitation"]
    return told


async def verdicts(limits: Limits, field: str, value: int, *events: Event, **policy: Any) -> list[list[Any]]:
    """What senders of events hear on a relay that publishes this limitation."""
    rules = rules_for(limits=limits, **policy)
    async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, open_client(door) as client:
        assert (await limitation(door))[field] == value
        return [await client.publish(event) for event in events]


@pytest.mark.parametrize("character", ["x", "é", "🦀"])
async def test_max_message_length_is_of_bytes(character: str) -> None:
    """ "Calculated from [ to ] and after UTF-8 serialization"."""
    async with open_named(MemoryStore(), rules_for(limits=Limits(max_message_length=1_024))) as door:
        assert (await limitation(door))["max_message_length"] == 1_024
        for over in (0, 1):
            async with open_wire(door) as wire:
                assert (await wire.receive())[0] == "AUTH"
                text = f'["REQ","sub",{{"#t":["{character}"]}}'.encode()
                await wire.send(frame(TEXT, text + b" " * (1_023 - len(text) + over) + b"]"))
                if over:
                    assert (await wire.receive_close())[0] == 1_009
                else:
                    assert await wire.receive() == ["EOSE", "sub"]


async def test_max_subscriptions_is_of_one_connection() -> None:
    reason = "error: at most 3 subscriptions on a connection (max_subscriptions)"
    async with open_named(MemoryStore(), rules_for(limits=Limits(max_subscriptions=3))) as door:
        assert (await limitation(door))["max_subscriptions"] == 3
        async with open_client(door) as client, open_client(door) as other:
            for sub_id in "abc":
                await answered(client, {}, sub_id=sub_id)
            for verb in ("REQ", "COUNT"):
                assert await client.ask_refused({}, verb=verb, sub_id="d") == reason
            await answered(client, {"kinds": [1]}, sub_id="a")
            await answered(other, {}, sub_id="d")
            await client.send("CLOSE", "b")
            await answered(client, {}, sub_id="d")
            assert await client.ask_refused({}, sub_id="e") == reason


async def aged(store: Store, number: int) -> list[str]:
    """The ids of so many events, newest first."""
    events = [made_up(str(age), created_at=NOW - age) for age in range(number)]
    await store.save_many(events)
    return [event.id for event in events]


async def test_max_limit_clamps_each_filter_silently(store: Store) -> None:
    ids = await aged(store, 7)
    async with open_named(store, rules_for(limits=Limits(max_limit=5, default_limit=5))) as door:
        assert (await limitation(door))["max_limit"] == 5
        async with open_client(door) as client:
            for limit, number in ((4, 4), (5, 5), (6, 5), (10**9, 5)):
                assert await client.ask({"limit": limit}) == ids[:number]
            assert await client.ask({"until": NOW - 5}, {"limit": 6}) == ids


async def test_default_limit_is_of_a_filter_that_names_none(store: Store) -> None:
    """ "The maximum returned events if you send a filter without a limit"."""
    ids = await aged(store, 7)
    async with open_named(store, rules_for(limits=Limits(default_limit=3))) as door, open_client(door) as client:
        assert (await limitation(door))["default_limit"] == 3
        assert await client.ask({}) == ids[:3]
        assert await client.ask({"limit": 4}) == ids[:4]
        assert await client.ask({"since": NOW - 2}) == ids[:3]


@pytest.mark.parametrize("character", ["x", "é", "🦀", '"'])
async def test_max_subid_length_is_of_characters(character: str) -> None:
    reason = "invalid: a subscription id has 1 to 64 characters"
    message = initiate(NOTHING).hex()
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert (await limitation(door))["max_subid_length"] == 64
        longest = character * 64
        assert await client.ask({}, sub_id=longest) == []
        assert await client.count({}, sub_id=longest) == {"count": 0}
        await client.send("NEG-OPEN", longest, {}, message)
        assert (await client.receive())[:2] == ["NEG-MSG", longest]
        for sub_id in ("", character * 65):
            assert await client.ask_refused({}, sub_id=sub_id) == reason
            assert await client.ask_refused({}, verb="COUNT", sub_id=sub_id) == reason
            await client.send("NEG-OPEN", sub_id, {}, message)
            assert await client.receive() == ["NEG-ERR", sub_id, reason]


async def test_max_event_tags_is_of_all_tags() -> None:
    most, more = (ALICE.event(tags=[["t", "x"]] * number) for number in (3, 4))
    refused = [False, "invalid: more than 3 tags (max_event_tags)"]
    assert await verdicts(Limits(max_event_tags=3), "max_event_tags", 3, most, more) == [[True, ""], refused]


@pytest.mark.parametrize("character", ["x", "é", "🦀", "\n"])
async def test_max_content_length_is_of_unicode_characters(character: str) -> None:
    longest, longer = (ALICE.event(character * number) for number in (5, 6))
    refused = [False, "invalid: content is longer than 5 characters (max_content_length)"]
    told = await verdicts(Limits(max_content_length=5), "max_content_length", 5, longest, longer)
    assert told == [[True, ""], refused]


async def test_min_pow_difficulty_is_of_leading_zero_bits() -> None:
    refused = [False, "pow: the id has a difficulty of 3, 4 is needed (NIP-13)"]
    told = await verdicts(Limits(), "min_pow_difficulty", 4, mined(4, "4"), mined(3, "4"), min_pow_difficulty=4)
    assert told == [[True, ""], refused]


async def test_created_at_upper_limit_is_of_seconds_from_now() -> None:
    latest, later = (ALICE.event(created_at=NOW + seconds) for seconds in (10, 11))
    refused = [False, "invalid: created_at is more than 10 seconds ahead (created_at_ahead)"]
    told = await verdicts(Limits(created_at_ahead=10), "created_at_upper_limit", 10, latest, later)
    assert told == [[True, ""], refused]


async def test_created_at_lower_limit_is_of_seconds_before_now() -> None:
    oldest, older = (ALICE.event(created_at=NOW - seconds) for seconds in (10, 11))
    refused = [False, "invalid: created_at is more than 10 seconds ago (created_at_behind)"]
    told = await verdicts(Limits(created_at_behind=10), "created_at_lower_limit", 10, oldest, older)
    assert told == [[True, ""], refused]


@pytest.mark.parametrize(("limit", "most"), [(10, 176_400), (176_399, 176_400), (176_401, 176_401)])
async def test_gift_wraps_may_be_two_days_and_an_hour_older_than_they_say(limit: int, most: int) -> None:
    """NIP-59: their time is moved back on purpose."""
    oldest, older = (
        Author("nobody").event(kind=1_059, created_at=NOW - seconds, tags=[["p", ALICE.pubkey]])
        for seconds in (most, most + 1)
    )
    refused = [False, f"invalid: created_at is more than {most} seconds ago (created_at_behind)"]
    told = await verdicts(Limits(created_at_behind=limit), "created_at_lower_limit", limit, oldest, older)
    assert told == [[True, ""], refused]


async def test_without_a_lower_limit_none_is_published_and_nothing_is_too_old() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert "created_at_lower_limit" not in await limitation(door)
        assert await client.publish(ALICE.event(created_at=0)) == [True, ""]


async def test_auth_required_holds_for_every_request() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_read=True)) as door, open_client(door) as client:
        assert (await limitation(door))["auth_required"] is True
        reason = "auth-required: only authenticated clients may read here"
        assert await client.ask_refused({}) == reason
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.ask({}) == []


UNPUBLISHED = {
    "max_filters",
    "max_filter_values",
    "max_filter_values_per_address",
    "max_filter_values_of_all",
    "max_tag_value_length",
}
"""Limits that the document has no field for; they hold too."""


async def test_filters_are_of_one_request() -> None:
    async with (
        open_named(MemoryStore(), rules_for(limits=Limits(max_filters=2))) as door,
        open_client(door) as client,
    ):
        assert not UNPUBLISHED & set(await limitation(door))
        assert await client.ask({}, {}) == []
        assert await client.count({}, {}) == {"count": 0}
        for verb in ("REQ", "COUNT"):
            reason = f"error: at most 2 filters in a {verb} (max_filters)"
            assert await client.ask_refused({}, {}, {}, verb=verb) == reason


async def test_values_are_of_all_filters_of_a_connection() -> None:
    rules = rules_for(limits=Limits(max_filter_values=24))
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        await answered(client, {"kinds": [1, 2], "#t": ["a"]}, {"#t": ["b", "c"]}, sub_id="open")
        assert await client.count({"kinds": [1]}) == {"count": 0}
        assert await client.ask({"kinds": [1]}) == []
        for verb in ("REQ", "COUNT"):
            reason = "error: at most 24 values in the filters of a connection (max_filter_values)"
            assert await client.ask_refused({"kinds": [1], "#t": ["a"]}, verb=verb) == reason
        await client.send("CLOSE", "open")
        assert await client.ask({"kinds": [1], "#t": ["a"]}) == []


async def test_items_of_tags_have_a_length_wherever_they_stand() -> None:
    rules = rules_for(limits=Limits(max_tag_value_length=4))
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        for tag in (["🦀🦀🦀🦀"], ["t", "abcd"], ["t", "a", "abcd"]):
            assert await client.publish(ALICE.event(tags=[tag])) == [True, ""]
        for tag in (["🦀🦀🦀🦀🦀"], ["t", "abcde"], ["t", "a", "abcde"]):
            reason = "invalid: a tag's item is longer than 4 characters (max_tag_value_length)"
            assert await client.publish(ALICE.event(tags=[tag])) == [False, reason]
