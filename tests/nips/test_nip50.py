"""NIP-50 over the wire: words as they are typed find stored and live events alike, as the relay is set."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.receiving import answered, told_until
from trio_relay import Event, Store

NAKAMOTO: Final = ALICE.event("Satoshi Nakamoto, İstanbul", created_at=NOW)
ARTICLE: Final = BOB.event(
    "비트코인을 산다", kind=30_023, created_at=NOW + 1, tags=[["title", "Café Satoshi"], ["t", "bitcoin"]]
)
LAST: Final = ALICE.event("🤙", kind=7, created_at=NOW + 2)
BOTH: Final = [ARTICLE, NAKAMOTO]

TYPED: Final[dict[str, list[Event]]] = {
    "s": [],
    "sa": BOTH,
    "satosh": BOTH,
    "satoshi": BOTH,
    "satosh ": [],
    "satoshi naka": [NAKAMOTO],
    "naka satosh": [],
    "satosh -naka": [],
    "satoshi -nakamoto": [ARTICLE],
    "istanbul": [NAKAMOTO],
    "cafe": [ARTICLE],
    "bitco": [ARTICLE],
    "비트코인": [ARTICLE],
}


@pytest.mark.parametrize(("text", "expected"), TYPED.items(), ids=[repr(text) for text in TYPED])
async def test_stored_and_live_events_are_found_by_what_is_typed(
    store: Store, text: str, expected: list[Event]
) -> None:
    async with open_named(store) as door, open_client(door) as client, open_client(door) as author:
        assert await answered(client, {"search": text}, {"kinds": [7]}) == ([], [])
        for event in (NAKAMOTO, ARTICLE, LAST):
            assert await author.publish(event) == [True, ""]
        assert await told_until(client, LAST) == [event.id for event in expected[::-1]]
        found, _ = await answered(client, {"search": text}, sub_id="again")
        assert set(found) == {event.id for event in expected}
        assert await client.count({"search": text}) == {"count": len(expected)}


@pytest.mark.parametrize(("prefix", "expected"), [(0, []), (4, [NAKAMOTO]), (5, [])])
async def test_from_how_many_characters_on_is_a_setting(store: Store, prefix: int, expected: list[Event]) -> None:
    await store.save_many([NAKAMOTO])
    rules = rules_for()
    rules.search_prefix = prefix
    async with open_named(store, rules) as door, open_client(door) as client:
        assert (await answered(client, {"search": "sato"}))[0] == [event.id for event in expected]
        assert (await answered(client, {"search": "satoshi"}, sub_id="whole"))[0] == [NAKAMOTO.id]
