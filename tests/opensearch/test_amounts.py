"""Much of anything: deletions by the thousand are scanned and swept whole, and large events come a few at a time."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from tests.opensearch.cluster import Asked, Reply, scripted
from tests.opensearch.inside import inside
from tests.support.indices import emptied
from tests.support.keys import ALICE, NOW, made_up
from trio_relay import Filter, Saved
from trio_relay.nostr.event import encode
from trio_relay.store.opensearch.pages import newest_first
from trio_relay.store.opensearch.recent import Overlay
from trio_relay.store.opensearch.scan import scan


@pytest.mark.slow
@pytest.mark.usefixtures("index")
async def test_a_scan_finds_each_of_a_thousand_tombstones() -> None:
    named = [f"{number:064x}" for number in range(1_000)]
    async with emptied() as store:
        request = ALICE.event(kind=5, tags=[["e", target] for target in named])
        assert await store.save_many([request]) == [Saved.STORED]
        await store.refresh(of_others=True)
        tombstones = {"exists": {"field": "grave"}}
        async with aclosing(scan(inside(store).client, inside(store).alias, tombstones)) as pages:
            found = [hit.source.tombstone async for hits in pages for hit in hits]
    assert sorted(found) == [f"{target}:{ALICE.pubkey}" for target in named]


async def test_pages_are_small_until_it_is_known_how_large_the_events_are() -> None:
    events = sorted(
        (made_up(f"{number} " + "x" * 100_000, created_at=NOW) for number in range(300)), key=lambda event: event.id
    )
    asked_for: list[int] = []

    async def answer(asked: Asked) -> Reply:
        body = asked.lines[1]
        asked_for.append(body["size"])
        first = next((n for n, event in enumerate(events) if [NOW, event.id] == body.get("search_after")), -1) + 1
        hits = [
            {
                "_id": event.id,
                "_version": 1,
                "sort": [NOW, event.id],
                "_source": {"event": encode(event).decode()},
            }
            for event in events[first : first + body["size"]]
        ]
        return {"responses": [{"hits": {"hits": hits}}]}

    async with (
        scripted(answer) as cluster,
        aclosing(newest_first(cluster.client, "some", [Filter(limit=300)], Overlay().recent(), NOW)) as pages,
    ):
        received = [page async for page in pages]
    assert [json for page in received for json in page] == list(map(encode, events))
    assert {len(page) for page in received} == {11, 3}
    assert asked_for == [64, 41, 41, 41, 41, 41, 32]
