"""The web of trust (`policy.trust_depth`) over follow lists (NIP-02), on every store."""

from __future__ import annotations

import pytest
import trio

from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.server import Door
from trio_relay import Event, RelayInfo, Rules, Store

ADMIN, OWNER = Author("admin"), Author("owner")
REFUSED = [False, "restricted: the author of this event is not among the keys that may write here"]


def follows(author: Author, *followed: Author) -> Event:
    return author.event(kind=3, tags=[["p", key.pubkey, "wss://relay.example", "name"] for key in followed])


CHAIN = [
    follows(ADMIN, ALICE),
    follows(ALICE, BOB, ADMIN),
    follows(BOB, CAROL),
    ADMIN.event(kind=30_000, tags=[["d", "list"], ["p", CAROL.pubkey]]),
    ADMIN.event(tags=[["p", CAROL.pubkey]]),
]


def web(depth: int) -> Rules:
    return rules_for(info=RelayInfo(pubkey=OWNER.pubkey), admins=(ADMIN.pubkey,), trust_depth=depth)


async def spun(door: Door, *authors: Author) -> None:
    """Wait until these are the keys that are trusted."""
    expected = frozenset(author.pubkey for author in authors)
    with trio.fail_after(20):
        while True:
            if door.relay.rules.trusted == expected:
                return
            await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("depth", "reached"),
    [(1, [ALICE]), (2, [ALICE, BOB]), (3, [ALICE, BOB, CAROL]), (4, [ALICE, BOB, CAROL])],
)
async def test_those_within_so_many_follows_of_the_admins_may_write(
    depth: int, reached: list[Author], store: Store
) -> None:
    await store.save_many(CHAIN)
    async with open_named(store, web(depth)) as door, open_client(door) as client:
        await spun(door, ADMIN, OWNER, *reached)
        for author in (ALICE, BOB, CAROL, ADMIN, OWNER):
            is_refused = author not in (*reached, ADMIN, OWNER)
            assert await client.publish(author.event("hello")) == (REFUSED if is_refused else [True, ""])


async def test_whom_nobody_follows_may_not_write_whatever_he_follows(store: Store) -> None:
    await store.save_many([follows(ALICE, ADMIN)])
    async with open_named(store, web(4)) as door, open_client(door) as client:
        await spun(door, ADMIN, OWNER)
        assert await client.publish(ALICE.event("hello")) == REFUSED
        assert await client.publish(ADMIN.event("hello")) == [True, ""]


async def test_wraps_are_judged_by_whom_they_are_for(store: Store) -> None:
    await store.save_many(CHAIN)
    async with open_named(store, web(1)) as door, open_client(door) as client:
        await spun(door, ADMIN, OWNER, ALICE)
        passer = Author("a random key")
        assert await client.publish(passer.event(kind=1_059, tags=[["p", ALICE.pubkey]])) == [True, ""]
        for_bob = passer.event(kind=1_059, tags=[["p", BOB.pubkey]])
        refusal = "restricted: a recipient of this event is not among the keys that may write here"
        assert await client.publish(for_bob) == [False, refusal]


async def test_the_document_says_that_not_everybody_may_write(store: Store) -> None:
    async with open_named(store, web(1)) as door:
        assert b'"restricted_writes":true' in door.relay.document()
