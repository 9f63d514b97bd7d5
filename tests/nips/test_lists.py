"""NIP-02, NIP-51, NIP-65 and NIP-17's kind 10050: lists are taken from anybody, and the newest version stands."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import open_client, open_named
from trio_relay import Event, MemoryStore, Store

REPLACEABLE: Final = {
    "a profile": (0, [], '{"name":"alice"}'),
    "follows": (3, [["p", BOB.pubkey, "wss://relay.example/", "bob"], ["p", CAROL.pubkey]], ""),
    "muted": (10_000, [["p", BOB.pubkey], ["t", "tea"], ["word", "coffee"], ["e", "1" * 64]], "encrypted?iv=1"),
    "pinned notes": (10_001, [["e", "1" * 64]], ""),
    "relays": (
        10_002,
        [["r", "wss://a.example"], ["r", "wss://b.example", "read"], ["r", "wss://c.example", "write"]],
        "",
    ),
    "bookmarks": (10_003, [["e", "1" * 64], ["a", f"30023:{'1' * 64}:tea"]], ""),
    "communities": (10_004, [["a", f"34550:{'1' * 64}:tea"]], ""),
    "blocked relays": (10_006, [["relay", "wss://a.example"]], ""),
    "search relays": (10_007, [["relay", "wss://a.example"]], ""),
    "interests": (10_015, [["t", "tea"], ["a", f"30015:{'1' * 64}:tea"]], ""),
    "emojis": (10_030, [["emoji", "tea", "https://a.example/tea.png"]], ""),
    "relays for messages": (10_050, [["relay", "wss://a.example"], ["relay", "wss://b.example"]], ""),
    "file servers": (10_063, [["server", "https://a.example"]], ""),
    "the last of its range": (19_999, [], ""),
}
ADDRESSABLE: Final = {
    "follow sets": 30_000,
    "relay sets": 30_002,
    "bookmark sets": 30_003,
    "curated articles": 30_004,
    "profile badges": 30_008,
    "interest sets": 30_015,
    "articles": 30_023,
    "emoji sets": 30_030,
    "starter packs": 39_089,
    "the last of its range": 39_999,
}


@pytest.mark.parametrize(("kind", "tags", "content"), REPLACEABLE.values(), ids=REPLACEABLE)
async def test_a_list_is_taken_from_anybody_and_found_by_anybody(
    store: Store, kind: int, tags: list[list[str]], content: str
) -> None:
    """Nobody has authenticated; no kind is left to those who have."""
    sent = ALICE.event(content, kind=kind, tags=tags)
    async with open_named(store) as door, open_client(door) as writer, open_client(door) as reader:
        assert await writer.publish(sent) == [True, ""]
        questions: list[dict[str, Any]] = [{"kinds": [kind]}, {"authors": [ALICE.pubkey], "kinds": [kind], "limit": 1}]
        questions += [{f"#{tag[0]}": [tag[1]]} for tag in tags if len(tag[0]) == 1]
        for one in questions:
            assert await reader.ask(one) == [sent.id]
            assert (await reader.count(one))["count"] == 1


def version(kind: int, at: int, d: str | None = None, author: Author = ALICE) -> Event:
    return author.event(f"{at}", kind=kind, created_at=NOW + at, tags=[] if d is None else [["d", d]])


async def standing(store: Store, *told: tuple[Event, list[Any]]) -> set[str]:
    """Publish these one after another, see how each is answered, and give the ids of what stands."""
    async with open_named(store) as door, open_client(door) as client:
        for event, (accepted, prefix) in told:
            answer = await client.publish(event)
            assert (answer[0], answer[1].partition(":")[0]) == (accepted, prefix)
        return set(await client.ask({}))


TAKEN: Final[list[Any]] = [True, ""]
KNOWN: Final[list[Any]] = [True, "duplicate"]
OLDER: Final[list[Any]] = [False, "duplicate"]


@pytest.mark.parametrize("kind", [kind for kind, _, _ in REPLACEABLE.values()])
async def test_of_a_replaceable_list_the_newest_version_of_each_author_stands(kind: int) -> None:
    """NIP-51: "new items are appended", by a new version that replaces the old one."""
    old, new, other = version(kind, 1), version(kind, 2), version(kind, 0, author=BOB)
    told = [(old, TAKEN), (other, TAKEN), (new, TAKEN), (old, OLDER), (new, KNOWN)]
    assert await standing(MemoryStore(), *told) == {new.id, other.id}


@pytest.mark.parametrize("kind", ADDRESSABLE.values(), ids=ADDRESSABLE)
async def test_of_an_addressable_list_the_newest_version_of_each_name_stands(kind: int) -> None:
    old, new, other_name, no_name = (
        version(kind, 1, "a"),
        version(kind, 2, "a"),
        version(kind, 0, "b"),
        version(kind, 0),
    )
    told = [(old, TAKEN), (other_name, TAKEN), (no_name, TAKEN), (new, TAKEN), (old, OLDER)]
    assert await standing(MemoryStore(), *told) == {new.id, other_name.id, no_name.id}


async def test_every_store_keeps_to_it(store: Store) -> None:
    """Of two versions of one age the lower id stands, in whatever order they come."""
    low, high = sorted((ALICE.event(text, kind=10_050) for text in "ab"), key=lambda event: event.id)
    old, new = version(30_000, 0, "friends"), version(30_000, 1, "friends")
    first, second = version(3, 0), version(3, 1)
    told = [(high, TAKEN), (low, TAKEN), (high, OLDER), (old, TAKEN), (new, TAKEN), (second, TAKEN), (first, OLDER)]
    assert await standing(store, *told) == {low.id, new.id, second.id}


async def test_who_wants_to_write_to_somebody_finds_where_without_a_key(store: Store) -> None:
    """NIP-17: kind 10050 is for everybody, also where the request names private kinds too."""
    relays = BOB.event(kind=10_050, tags=[["relay", "wss://inbox.example"]])
    wrap = Author("random").event(kind=1_059, tags=[["p", BOB.pubkey]])
    async with open_named(store) as door, open_client(door) as client, open_client(door, CAROL) as carol:
        for event in (relays, wrap):
            assert await client.publish(event) == TAKEN
        for each in (client, carol):
            assert await each.ask({"kinds": [10_050], "authors": [BOB.pubkey]}) == [relays.id]
            assert await each.ask({"kinds": [10_050, 1_059]}) == [relays.id]


async def test_a_long_list_is_taken_whole(store: Store) -> None:
    """NIP-02: all follows are in one event."""
    follows = ALICE.event(kind=3, tags=[["p", f"{number:064x}"] for number in range(3_000)])
    async with open_named(store) as door, open_client(door) as client:
        assert await client.publish(follows) == TAKEN
        assert await client.ask({"#p": [f"{2_999:064x}"]}) == [follows.id]
        assert (await client.count({"kinds": [3], "#p": [f"{0:064x}"]}))["count"] == 1


async def test_nip_11_says_so() -> None:
    async with open_named(MemoryStore()) as door:
        document = door.relay.document()
        for nip in (2, 51, 65):
            assert f",{nip},".encode() in document
