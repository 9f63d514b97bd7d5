"""Search (NIP-50) and counts (NIP-45) on the real program, on both stores: by a client by others, and word for word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from nostr_sdk import Filter, Keys, Kind  # type: ignore[import-untyped]  # ships no types

from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import running
from tests.support.program_load import publish_all
from tests.support.rust_nostr import nostr_client, nostr_loop, signed
from tests.support.server import Talker

pytestmark = pytest.mark.slow

KEYS: Final = Keys.parse("a" * 64)

# By age. Of all that speak of cats, the first is most about them.
NOTES: Final = [
    ALICE.event("Cats! Cats, cats.", created_at=NOW),
    BOB.event("A black cat and a white dog met in the old town by night", created_at=NOW + 1),
    BOB.event("The night was long, and there were cats in the old town, and dogs", created_at=NOW + 2),
    ALICE.event("The town is old. Nobody knows the way: 東京タワー", created_at=NOW + 3, tags=[["t", "towers"]]),
    ALICE.event("ÉTÉ à la plage", created_at=NOW + 4, tags=[["content-warning", ""]]),
]
SEARCHES: Final[dict[str, tuple[dict[str, Any], list[int]]]] = {
    "a word, the most relevant first though it is the oldest": ({"search": "cats"}, [0, 2]),
    "the limit comes after the order": ({"search": "cats", "limit": 1}, [0]),
    "all words, the newest first where they are equally relevant": ({"search": "night town"}, [2, 1]),
    "a phrase": ({"search": '"old town" "by night"'}, [1]),
    "an excluded word": ({"search": "town -cats -dog"}, [3]),
    "an excluded phrase alone, newest first": ({"search": '-"old town"'}, [4, 3, 0]),
    "any case and form": ({"search": "e\u0301te\u0301"}, [4]),
    "a part of a text without spaces": ({"search": "京タ"}, [3]),
    "with other keys": ({"search": "town", "authors": [ALICE.pubkey]}, [3]),
    "what a hashtag says": ({"search": "towers", "#t": ["towers"]}, [3]),
    "without accents": ({"search": "ete a la plage"}, [4]),
    "a single character": ({"search": "タ"}, [3]),
    "the beginning of the last word": ({"search": "la plag"}, [4]),
    "a word that is not the last is whole": ({"search": "plag la"}, []),
    "nsfw:false": ({"search": "plage nsfw:false"}, []),
    "an extension that nobody knows": ({"search": "plage colour:blue"}, [4]),
    "no event has these words": ({"search": "unicorn"}, []),
}


@asynccontextmanager
async def _told(folder: Path, settings: dict[str, str]) -> AsyncIterator[Talker]:
    """A client of a relay that has `NOTES`, and has delivered them: what comes live may come out of order."""
    async with running(folder, settings) as program, program.client() as client, program.client() as other:
        assert await client.ask("live", {"limit": 0}) == []
        assert set((await publish_all(other, NOTES)).values()) == {(True, "")}
        assert {(await client.receive())[2]["id"] for _ in NOTES} == {event.id for event in NOTES}
        await client.send("CLOSE", "live")
        yield client


async def test_searches_find_by_words_and_put_the_most_relevant_first(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    places = {event.id: place for place, event in enumerate(NOTES)}
    found = {}
    async with _told(tmp_path, store_settings) as client:
        for name, (wanted, _) in SEARCHES.items():
            found[name] = [places[event["id"]] for event in await client.ask("sub", wanted)]
            await client.send("CLOSE", "sub")
    assert found == {name: expected for name, (_, expected) in SEARCHES.items()}


async def test_several_searches_are_answered_one_after_another_and_no_event_twice(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    async with _told(tmp_path, store_settings) as client:
        found = await client.ask("sub", {"search": "plage"}, {"search": "cats"}, {"search": "town -dog"})
    # The last one finds the third note too, which has come by then.
    assert [event["id"] for event in found] == [NOTES[place].id for place in (4, 0, 2, 3)]


async def test_a_count_of_several_filters_counts_each_event_once(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    async with _told(tmp_path, store_settings) as client:
        counts = [
            await client.count("a", {"kinds": [1]}),
            await client.count("b", {"kinds": [1], "limit": 2}),
            await client.count("c", {"authors": [ALICE.pubkey]}, {"since": NOW + 3}),
            await client.count("d", {"search": "town"}),
            await client.count("e", {"search": "cats"}, {"search": "town"}, {"kinds": [7]}),
            await client.count("f", {"ids": [BOB.event("unheard of").id]}),
        ]
    assert counts == [5, 5, 3, 3, 4, 0]


async def test_what_was_acknowledged_a_moment_ago_is_found_and_counted(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    async with running(tmp_path, store_settings) as program, program.client() as client:
        for number in range(5):
            event = ALICE.event(f"apple {number}", created_at=NOW + number)
            assert await client.publish(event) == ["OK", event.id, True, ""]
            wanted: list[dict[str, Any]] = [
                {"ids": [event.id]},
                {"search": f"apple {number}"},
                {"kinds": [1], "limit": 1},
            ]
            for sub_id, one in enumerate(wanted):
                assert [found["id"] for found in await client.ask(f"{sub_id}", one)] == [event.id]
                await client.send("CLOSE", f"{sub_id}")
            assert await client.count(f"{number}", {"kinds": [1]}, {"search": "apple"}) == number + 1


async def test_a_live_search_hears_of_new_events_with_its_words_and_of_no_others(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    async with running(tmp_path, store_settings) as program, program.client() as client, program.client() as other:
        assert await client.ask("live", {"search": '"old town" -dogs'}) == []
        await publish_all(other, NOTES)
        last = ALICE.event("Back in the OLD, old town", created_at=NOW - 9)
        await other.publish(last)
        heard = [await client.receive(), await client.receive()]
    assert [(verb, sub_id, event["id"]) for verb, sub_id, event in heard] == [
        ("EVENT", "live", NOTES[1].id),
        ("EVENT", "live", last.id),
    ]


async def test_a_client_by_others_searches_and_counts(tmp_path: Path, store_settings: dict[str, str]) -> None:
    contents = ["a fox", "a fox and a hare", "a hare"]
    async with (
        running(tmp_path, store_settings) as program,
        nostr_loop() as loop,
        nostr_client(loop, program) as client,
    ):
        for number, content in enumerate(contents):
            assert await client.publish(signed(KEYS, content, created_at=NOW + number)) is None
        assert sorted(await client.find(Filter().search("fox"))) == contents[:2]
        assert await client.find(Filter().search("hare -fox").kind(Kind(1))) == ["a hare"]
        assert await client.count(Filter().search("hare")) == 2
        assert await client.count(Filter().author(KEYS.public_key())) == 3
