"""NIP-45: counts are exact and of what may be read, and the canonical filters have a HyperLogLog beside them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author, made_up
from tests.support.named_relay import URL, AuthClient, open_client, open_named, rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.oracles import naive_registers
from trio_relay import Event, Limits, MemoryStore, RelayOptions, Store

TARGET: Final = "3b" * 32
KEYS: Final = [Author(f"voter {number}") for number in range(12)]


def naming(author: Author, kind: int, letter: str = "e", value: str = TARGET, at: int = 0) -> Event:
    return author.event(kind=kind, created_at=NOW + at, tags=[[letter, value]])


def reference(value: str, authors: list[Author]) -> str:
    """What `hll` holds, step by step as "HyperLogLog Approximation" says it."""
    if len(value) == 64 and set(value) <= set("0123456789abcdef"):
        target = value
    elif value.count(":") >= 2:
        target = value.split(":")[1]
    else:
        target = sha256(value.encode("utf-8")).hexdigest()
    offset = "0123456789abcdef".index(target[32]) + 8
    return naive_registers([author.pubkey for author in authors], offset).hex()


async def test_several_filters_are_one_number_and_an_event_counts_once(store: Store) -> None:
    notes = [ALICE.event("a"), ALICE.event("b", kind=7), BOB.event("c")]
    await store.save_many(notes)
    async with open_named(store) as door, open_client(door) as client:
        assert await client.count({"authors": [ALICE.pubkey]}, {"kinds": [1]}) == {"count": 3}
        assert await client.count({"kinds": [1]}, {"kinds": [1]}, {"ids": [notes[0].id]}) == {"count": 2}
        assert await client.count({"kinds": [9]}, {"ids": []}) == {"count": 0}


@pytest.mark.parametrize("one", [{"limit": 1}, {"limit": 0}, {"limit": 10**9}, {}], ids=str)
async def test_limits_play_no_part(store: Store, one: dict[str, Any]) -> None:
    await store.save_many([made_up(str(number)) for number in range(7)])
    limits = Limits(default_limit=2, max_limit=3)
    async with open_named(store, rules_for(limits=limits)) as door, open_client(door) as client:
        assert await client.count(one) == {"count": 7}


async def test_what_has_been_deleted_replaced_or_has_expired_is_not_counted(store: Store) -> None:
    """The request to delete is an event like any other."""
    gone, stays = ALICE.event("gone"), BOB.event("stays")
    for_long, over = (CAROL.event(tags=[["expiration", when]]) for when in ("8589934591", str(NOW)))
    profiles = [ALICE.event(kind=0, created_at=NOW + number) for number in range(3)]
    await store.save_many([gone, stays, for_long, over, *profiles])
    await store.save_many([ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", gone.id]])])
    async with open_named(store) as door, open_client(door) as client:
        assert await client.count({}) == {"count": 4}
        assert await client.count({"kinds": [0]}) == {"count": 1}


async def test_private_events_count_for_those_concerned_alone(store: Store) -> None:
    """A COUNT of nothing else is CLOSED, as in the NIP's example."""
    message = ALICE.event(kind=4, tags=[["p", BOB.pubkey]])
    await store.save_many([message, BOB.event()])
    own: dict[str, Any] = {"kinds": [4], "#p": [BOB.pubkey]}
    async with open_named(store) as door, open_client(door) as client:
        assert await client.count({}) == {"count": 1}
        assert await client.count({"ids": [message.id]}) == {"count": 0}
        reason = await client.ask_refused(own, verb="COUNT")
        assert reason == "auth-required: private events are served to their authors and recipients only"
        await client.authenticate(CAROL)
        assert await client.ask_refused({"kinds": [1_059], "#p": [BOB.pubkey]}, verb="COUNT") == (
            "restricted: these events are for keys other than the authenticated ones"
        )
        assert await client.count({}) == {"count": 1}
        await client.authenticate(BOB)
        assert await client.count(own) == {"count": 1}
        assert await client.count({}) == {"count": 2}


REFUSED: Final[dict[str, tuple[list[Any], str]]] = {
    "an unknown key": ([{"foo": 1}], "unsupported: filter key 'foo' is not known here"),
    "a wrong value": ([{"kinds": ["1"]}], "invalid: kinds must be a list of integers, each 0 or more"),
    "no filter": ([], "invalid: COUNT needs at least one filter"),
    "too many filters": ([{}, {}, {}], "error: at most 2 filters in a COUNT (max_filters)"),
    "too many values": (
        [{"kinds": [1, 2, 3, 4]}],
        "error: at most 8 values in the filters of a connection (max_filter_values)",
    ),
    "a search, where there is none": ([{"search": "tea"}], "unsupported: search is off on this relay"),
}


@pytest.mark.parametrize(("filters", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_count_that_is_refused_is_closed_and_a_subscription_of_its_id_goes_on(
    filters: list[Any], reason: str
) -> None:
    rules = rules_for(limits=Limits(max_filters=2, max_filter_values=8), has_search=False)
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        await client.send("REQ", "x", {})
        assert await client.receive() == ["EOSE", "x"]
        await client.send("COUNT", "x", *filters)
        assert await client.receive() == ["CLOSED", "x", reason]
        await client.send("EVENT", note := BOB.event())
        assert {tuple(message[:2]) for message in [await client.receive(), await client.receive()]} == {
            ("OK", note.id),
            ("EVENT", "x"),
        }


async def test_where_only_the_authenticated_may_read_only_they_may_count() -> None:
    async with open_named(MemoryStore(), rules_for(auth_to_read=True)) as door, open_client(door) as client:
        reason = "auth-required: only authenticated clients may read here"
        assert await client.ask_refused({}, verb="COUNT") == reason
        await client.authenticate(ALICE)
        assert await client.count({}) == {"count": 0}


async def test_a_count_that_takes_too_long_is_closed() -> None:
    store = ObedientStore()
    store.block("count")
    options = RelayOptions(query_seconds=0.01)
    async with open_named(store, options=options) as door, open_client(door) as client:
        await client.send("COUNT", "x", {})
        reason = "error: the query took more than 0.01 seconds (query_seconds)"
        assert await client.receive() == ["CLOSED", "x", reason]


CANONICAL: Final[dict[str, tuple[str, list[int]]]] = {
    "reactions": ("e", [7]),
    "reposts": ("e", [6]),
    "quotes": ("q", [1, 1_111]),
    "replies": ("e", [1]),
    "comments": ("E", [1_111]),
    "followers": ("p", [3]),
}


@pytest.mark.parametrize(("letter", "kinds"), CANONICAL.values(), ids=CANONICAL)
async def test_a_canonical_filter_has_the_registers_of_the_reference(
    store: Store, letter: str, kinds: list[int]
) -> None:
    said = [naming(author, kind, letter) for author in KEYS for kind in kinds]
    noise = [naming(author, 30_023, letter) for author in (ALICE, BOB)]
    noise += [naming(author, kind, letter, "4c" * 32, at=-1) for author in (ALICE, BOB) for kind in kinds]
    await store.save_many([*said, *noise])
    async with open_named(store) as door, open_client(door) as client:
        found = await client.count({"kinds": kinds, f"#{letter}": [TARGET]})
        assert found == {"count": len(said), "hll": reference(TARGET, KEYS)}
        assert len(found["hll"]) == 512


OFFSETS: Final = {
    "an id": ("e", "0" * 32 + "0" + "f" * 31),
    "the last offset": ("e", "0" * 32 + "f" + "0" * 31),
    "an address": ("q", f"30023:{'5' * 32}a{'0' * 31}:tea:cake"),
    "an address without a name": ("q", f"10002:{'5' * 32}b{'0' * 31}:"),
    "any text": ("q", "tea"),
    "an id in capitals": ("q", "AB" * 32),
}


@pytest.mark.parametrize(("letter", "value"), OFFSETS.values(), ids=OFFSETS)
async def test_where_the_registers_look_is_told_by_the_tags_value(store: Store, letter: str, value: str) -> None:
    kinds = [1] if letter == "e" else [1, 1_111]
    await store.save_many([naming(author, 1, letter, value) for author in KEYS])
    async with open_named(store) as door, open_client(door) as client:
        found = await client.count({"kinds": kinds, f"#{letter}": [value]})
        assert found == {"count": len(KEYS), "hll": reference(value, KEYS)}


PLAIN: Final[dict[str, list[dict[str, Any]]]] = {
    "two filters": [{"kinds": [7], "#e": [TARGET]}, {"kinds": [6], "#e": [TARGET]}],
    "two values": [{"kinds": [7], "#e": [TARGET, "4c" * 32]}],
    "two tags": [{"kinds": [7], "#e": [TARGET], "#p": [ALICE.pubkey]}],
    "two kinds": [{"kinds": [7, 6], "#e": [TARGET]}],
    "one of two kinds": [{"kinds": [1], "#q": [TARGET]}],
    "another kind": [{"kinds": [9_735], "#e": [TARGET]}],
    "another tag": [{"kinds": [7], "#p": [TARGET]}],
    "no kinds": [{"#e": [TARGET]}],
    "no tag": [{"kinds": [7]}],
    "authors": [{"kinds": [7], "#e": [TARGET], "authors": [ALICE.pubkey]}],
    "ids": [{"kinds": [7], "#e": [TARGET], "ids": ["1" * 64]}],
    "since": [{"kinds": [7], "#e": [TARGET], "since": 0}],
    "until": [{"kinds": [7], "#e": [TARGET], "until": NOW}],
    "a search": [{"kinds": [7], "#e": [TARGET], "search": "tea"}],
}


@pytest.mark.parametrize("filters", PLAIN.values(), ids=PLAIN)
async def test_no_other_filter_has_registers(filters: list[dict[str, Any]]) -> None:
    store = MemoryStore()
    await store.save_many([naming(ALICE, 7)])
    async with open_named(store) as door, open_client(door) as client:
        assert (await client.count(*filters)).keys() == {"count"}


async def test_a_limit_leaves_a_canonical_filter_canonical() -> None:
    store = MemoryStore()
    await store.save_many([naming(author, 7) for author in KEYS])
    async with open_named(store) as door, open_client(door) as client:
        found = await client.count({"#e": [TARGET], "limit": 1, "kinds": [7]})
        assert found == {"count": len(KEYS), "hll": reference(TARGET, KEYS)}


async def test_nothing_counts_nothing_with_empty_registers(store: Store) -> None:
    async with open_named(store) as door, open_client(door) as client:
        assert await client.count({"kinds": [7], "#e": [TARGET]}) == {"count": 0, "hll": "00" * 256}


async def test_registers_after_deletions_replacement_and_vanishing_are_those_of_what_remains(store: Store) -> None:
    followed = BOB.pubkey
    async with open_named(store) as door, open_client(door) as client:
        for author in KEYS[:3]:
            await client.publish(naming(author, 7))
            await client.publish(naming(author, 3, "p", followed))
        reactions: dict[str, Any] = {"kinds": [7], "#e": [TARGET]}
        followers: dict[str, Any] = {"kinds": [3], "#p": [followed]}

        async def check(one: dict[str, Any], value: str, authors: list[Author]) -> None:
            assert await client.count(one) == {"count": len(authors), "hll": reference(value, authors)}

        await check(reactions, TARGET, KEYS[:3])
        await check(followers, followed, KEYS[:3])
        taken_back = KEYS[0].event(kind=5, created_at=NOW + 1, tags=[["e", naming(KEYS[0], 7).id]])
        assert await client.publish(taken_back) == [True, ""]
        await check(reactions, TARGET, KEYS[1:3])
        assert await client.publish(naming(KEYS[1], 3, "p", ALICE.pubkey, at=1)) == [True, ""]
        await check(followers, followed, [KEYS[0], KEYS[2]])
        vanishes = KEYS[2].event(kind=62, created_at=NOW + 1, tags=[["relay", URL]])
        assert await client.publish(vanishes) == [True, ""]
        await check(reactions, TARGET, KEYS[1:2])
        await check(followers, followed, KEYS[:1])
        assert await client.publish(naming(KEYS[0], 7, at=2)) == [True, ""]
        await check(reactions, TARGET, KEYS[:2])


async def test_the_larger_of_each_register_is_what_one_relay_with_all_events_would_say() -> None:
    """Each key counts once, wherever it has been heard."""
    many = [Author(f"one of many {number}") for number in range(60)]
    parts = [many[:40], many[20:], many]
    told = []
    for part in parts:
        store = MemoryStore()
        await store.save_many([naming(author, 7) for author in part])
        async with open_named(store) as door, open_client(door) as client:
            told.append(await _registers(client))
    assert bytes(map(max, told[0], told[1])) == told[2]
    assert told[0] != told[2] != told[1]


async def _registers(client: AuthClient) -> bytes:
    return bytes.fromhex((await client.count({"kinds": [7], "#e": [TARGET]}))["hll"])


async def test_nip_11_says_so() -> None:
    async with open_named(MemoryStore()) as door:
        assert b",45," in door.relay.document()
