"""What has gone is shown to no client, however it asks: by REQ, COUNT, search, sync, over HTTP, or as an export."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, Final

import pytest

from tests.contract.test_archive import ON, Clock, asks, wrap
from tests.support.backends import Backend, archived
from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_client, open_named
from tests.support.server import Door
from tests.support.syncing import compared
from tests.support.wire import open_stream
from trio_relay import Store, WebOptions, transfer
from trio_relay.nostr import nip19

OVER: Final = ["expiration", str(NOW + 500)]
TAGS: Final = [["t", "tea"], ["d", "x"]]
OLD, NEW = ALICE.event("gone", kind=30_023, tags=TAGS), ALICE.event("new", kind=30_023, created_at=NOW + 1, tags=TAGS)
BEFORE, PROFILE = ALICE.event('{"name":"gone"}', kind=0), ALICE.event('{"name":"a"}', kind=0, created_at=NOW + 1)
NOTE = ALICE.event("gone note", tags=TAGS)
LOST = ALICE.event("gone soon", tags=[*TAGS, OVER])
MESSAGE = ALICE.event("gone message", kind=4, tags=[["p", BOB.pubkey], OVER])
WRAP = wrap(ALICE, tags=[["t", "tea"]])
REQUEST = asks(["e", NOTE.id], ["e", WRAP.id])
GONE: Final = [OLD, BEFORE, NOTE, LOST, MESSAGE, WRAP]
QUESTIONS: Final[list[dict[str, Any]]] = [
    {},
    {"ids": [event.id for event in GONE]},
    *({"ids": [event.id]} for event in GONE),
    {"authors": [ALICE.pubkey, WRAP.pubkey]},
    {"kinds": [1, 4, 1_059, 30_023]},
    {"kinds": [30_023], "authors": [ALICE.pubkey], "#d": ["x"]},
    {"#t": ["tea"]},
    {"#p": [ALICE.pubkey, BOB.pubkey]},
    {"search": "gone"},
    {"search": "gone sort:top"},
    {"since": NOW, "until": NOW + 50},
]


@pytest.fixture
async def relay(backend: Backend) -> AsyncIterator[tuple[Store, Door]]:
    """A relay from which all of these have gone."""
    async with backend.open(ON, Clock()) as store, open_named(store, clock=Clock(), web=WebOptions()) as door:
        await store.save_many(GONE)
        await store.save_many([NEW, PROFILE, REQUEST])
        await store.sweep()
        assert {one.id for one in await archived(store)} == {event.id for event in GONE}
        yield store, door


def assert_hidden(*told: object) -> None:
    """The tests' own words are "gone"; what names an id may, as the request to delete it does."""
    assert not [event.id for event in GONE if f'"id":"{event.id}"' in str(told)]
    assert "gone" not in str(told).lower()


async def test_no_request_of_its_author_finds_it(relay: tuple[Store, Door]) -> None:
    async with open_client(relay[1], ALICE, BOB) as client:
        for one in QUESTIONS:
            found = await client.ask(one)
            assert set(found).isdisjoint(event.id for event in GONE)
            assert (await client.count(one))["count"] == len(found)
        outcome = await compared(client)
        assert outcome.need == {NEW.id, PROFILE.id, REQUEST.id}
        assert (await compared(client, own=[*GONE, NEW], sync_id="own")).have == {event.id for event in GONE}
        assert await client.count({"kinds": [1], "#t": ["tea"]}) == {"count": 0}


async def test_no_subscription_hears_of_it_when_it_goes(backend: Backend) -> None:
    async with (
        backend.open(ON, Clock()) as store,
        open_named(store, clock=Clock()) as door,
        open_client(door, ALICE) as client,
    ):
        await store.save_many([OLD, NOTE])
        await client.send("REQ", "live", {"limit": 0})
        assert await client.receive() == ["EOSE", "live"]
        for event in (NEW, REQUEST):
            await client.send("EVENT", event)
            assert_hidden([await client.receive(), await client.receive()])
        await client.talker.expect_silence()


async def test_no_page_shows_it(relay: tuple[Store, Door]) -> None:
    _, door = relay
    async with open_stream(door) as wire:
        for event in GONE:
            for name in (event.id, nip19.note_of(event.id)):
                for accept in ("text/html", "application/json"):
                    assert (await wire.ask(target=f"/e/{name}", Accept=accept)).status == 404
        for target in (f"/e/{NEW.id}", f"/p/{nip19.npub_of(ALICE.pubkey)}", "/"):
            reply = await wire.ask(target=target, Accept="text/html")
            assert reply.status == 200, target
            assert "gone" not in reply.body.decode()


async def test_no_export_has_it(relay: tuple[Store, Door]) -> None:
    store, _ = relay
    out = BytesIO()
    assert await transfer.export_lines(store, out, lambda _: None) == 3
    assert_hidden(out.getvalue().decode())
