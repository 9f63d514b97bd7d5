"""An index of an older layout becomes one of this layout, while relays go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from tests.opensearch.inside import inside
from tests.support.backends import ask, everything
from tests.support.indices import options_for
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay import Event, Filter, Saved, StoreRefused
from trio_relay.nostr.search import parse_search
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore, migrate, open_opensearch, upgrade
from trio_relay.store.opensearch.bulk import Write, Wrote
from trio_relay.store.opensearch.client import OpenSearchClient, open_client
from trio_relay.store.opensearch.documents import Document, Record, document, id_slot, slot_of
from trio_relay.store.opensearch.mapping import VERSION, alias_of, index_of, layout

pytestmark = pytest.mark.slow

STORED, SUPERSEDED, DELETED = Saved.STORED, Saved.SUPERSEDED, Saved.DELETED
NOTE, GONE = ALICE.event("a note on relays"), ALICE.event("gone")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
ARTICLE = BOB.event(kind=30_023, tags=[["d", "x"]])
REQUEST = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", GONE.id]])
OTHERS = BOB.event(kind=5, created_at=NOW + 5, tags=[["a", f"30023:{BOB.pubkey}:x"]])


@pytest.fixture
async def older(node: str, prefix: str) -> AsyncIterator[tuple[OpenSearchOptions, OpenSearchClient]]:
    """Options of a relay whose alias names an index of layout 0."""
    options = options_for(node, prefix, retry_seconds=30.0)
    old = layout(options)
    old["mappings"]["_meta"] = {"version": 0}
    with trio.fail_after(60):
        async with open_client(options) as client:
            await client.ask("PUT", f"/{index_of(options, 0)}", old | {"aliases": {alias_of(options): {}}})
            yield options, client


Older = tuple[OpenSearchOptions, OpenSearchClient]


@asynccontextmanager
async def running(options: OpenSearchOptions) -> AsyncIterator[OpenSearchStore]:
    """A store that was opened before this version was there."""
    async with open_client(options) as client, trio.open_nursery() as nursery:
        store = OpenSearchStore(client, options, lambda: NOW)
        nursery.start_soon(store.run)
        yield store
        nursery.cancel_scope.cancel()


async def upgraded(options: OpenSearchOptions, **more: Any) -> list[str]:
    lines: list[str] = []
    await migrate(options, lines.append, **more)
    return lines


async def named(client: OpenSearchClient, options: OpenSearchOptions) -> list[str]:
    return list(await client.decoded("GET", f"/_alias/{alias_of(options)}"))


async def fill(store: OpenSearchStore) -> None:
    for event in (NOTE, GONE, OLD, NEW, ARTICLE, REQUEST, OTHERS):
        assert await store.save_many([event]) == [STORED]
    await store.refresh()


async def test_what_stands_and_what_is_deleted_stays_so(older: Older) -> None:
    options, client = older
    async with running(options) as store:
        await fill(store)
        before = await everything(store)
    reason = f"^{alias_of(options)} has layout 0: `trio-relay migrate` brings it to {VERSION}$"
    with pytest.raises(StoreRefused, match=reason):
        async with open_opensearch(options):
            pass
    old, new = index_of(options, 0), index_of(options)
    said = await upgraded(options, dry_run=True)
    assert said[1:3] == [
        f"would copy {old} (layout 0) to {new} (layout {VERSION}), while relays go on",
        f"would block writing for the last copy, and let alias {alias_of(options)} name {new}",
    ]
    assert await named(client, options) == [old]
    said = await upgraded(options)
    # Four events, a tombstone, and an address whose versions are deleted.
    assert said[3:] == [
        "copied 6 documents",
        "copied 0 documents, writing being blocked",
        f"alias {alias_of(options)} names {new}",
        f"{old} stays as it was; once all is well: DELETE /{old}",
    ]
    assert await named(client, options) == [new]
    async with open_opensearch(options) as store:
        assert await everything(store) == before == [NOTE, NEW, REQUEST, OTHERS]
        assert await ask(store, Filter(search=parse_search("relays"), limit=9)) == [NOTE]
        newer = ALICE.event(kind=0, created_at=NOW + 9)
        assert await store.save_many([GONE, OLD, ARTICLE, newer]) == [DELETED, SUPERSEDED, DELETED, STORED]
        assert await everything(store) == [NOTE, REQUEST, OTHERS, newer]


async def test_documents_are_made_anew(older: Older) -> None:
    options, _ = older
    async with running(options) as store:
        made = document(NOTE, 17)
        made.words, made.marks, made.tags = "", [], ["t:wrong"]
        await write(store, Write(slot_of(NOTE), Record(), made))
    await upgraded(options)
    async with open_opensearch(options) as store:
        assert await ask(store, Filter(search=parse_search("note relays"), limit=9)) == [NOTE]
        assert await ask(store, Filter(tags=(("t", frozenset(["wrong"])),))) == []


async def write(store: OpenSearchStore, *writes: Write) -> None:
    await inside(store).bulk.carry_out(writes)
    assert [one.wrote for one in writes] == [Wrote.DONE] * len(writes)


async def test_what_relays_write_meanwhile_is_not_lost(older: Older, monkeypatch: pytest.MonkeyPatch) -> None:
    options, _ = older
    monkeypatch.setattr(upgrade, "FEW_CHANGES", 0)  # as many passes as there can be
    told: list[tuple[Event, Saved]] = []
    done = trio.Event()

    async def keep_saving(store: OpenSearchStore) -> None:
        number = 0
        while not done.is_set():
            plain = [made_up(f"{number} {n}") for n in range(5)]
            batch = [*plain, ALICE.event(f"{number}", kind=0, created_at=NOW + number)]
            told.extend(zip(batch, await store.save_many(batch), strict=True))
            number += 1

    async with running(options) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_saving, store)
            said = await upgraded(options)
            done.set()
        assert (await store.save_many([made_up("afterwards")])) == [STORED]
        told.append((made_up("afterwards"), STORED))
        await store.refresh()
        assert len([line for line in said if line.startswith("copied")]) == 11
        assert {outcome for _, outcome in told} == {STORED}
        *_, newest = (event for event, _ in told if event.kind == 0)
        expected = {event.id for event, _ in told if event.kind == 1} | {newest.id}
        async with open_opensearch(options) as other:
            assert {event.id for event in await everything(other)} == expected
        assert {event.id for event in await ask(store, Filter())} == expected


async def test_a_deletion_that_leaves_a_version_standing_is_not_lost(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrived long before, and what has changed is what nobody sees: until when older ones are deleted."""
    options, _ = older
    request = ALICE.event(kind=5, created_at=NOW, tags=[["a", f"0:{ALICE.pubkey}:"]])
    block = upgrade._block
    async with running(options) as store:
        await write(store, Write(slot_of(NEW), Record(), document(NEW, 17)))

        async def save_and_block(client: OpenSearchClient, index: str, is_blocked: bool) -> None:
            if is_blocked:
                assert await store.save_many([request]) == [STORED]
            await block(client, index, is_blocked)

        monkeypatch.setattr(upgrade, "_block", save_and_block)
        await upgraded(options)
    async with open_opensearch(options) as store:
        record = (await inside(store).records.read([slot_of(NEW)]))[slot_of(NEW)]
        assert (record.event, record.until) == (NEW, NOW)


async def test_an_upgrade_that_was_interrupted_is_run_again(older: Older, monkeypatch: pytest.MonkeyPatch) -> None:
    options, client = older

    async def fail(*_: object) -> None:
        raise StoreRefused("interrupted")

    async with running(options) as store:
        await fill(store)
        with monkeypatch.context() as context:
            context.setattr(upgrade, "_point", fail)
            with pytest.raises(StoreRefused, match="interrupted"):
                await upgraded(options)
        assert await named(client, options) == [index_of(options, 0)]
        # Relays go on as if nothing had been.
        late = BOB.event("late")
        assert await store.save_many([late]) == [STORED]
        await upgraded(options)
        assert await everything(store) == [NOTE, NEW, REQUEST, OTHERS, late]
    assert await named(client, options) == [index_of(options)]


async def test_one_that_is_cancelled_lets_relays_write_again(older: Older, monkeypatch: pytest.MonkeyPatch) -> None:
    options, client = older

    is_blocked = trio.Event()

    async def never(*_: object) -> None:
        is_blocked.set()
        await trio.sleep_forever()

    monkeypatch.setattr(upgrade, "_point", never)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upgraded, options)
        await is_blocked.wait()
        assert (await blocks(client, options))["write"] == "true"
        nursery.cancel_scope.cancel()
    assert (await blocks(client, options))["write"] == "false"
    async with running(replace(options, retry_seconds=0.0)) as store:
        assert await store.save_many([NOTE]) == [STORED]


async def blocks(client: OpenSearchClient, options: OpenSearchOptions) -> dict[str, str]:
    """What may not be done with the old index."""
    index = index_of(options, 0)
    settings: dict[str, Any] = await client.decoded("GET", f"/{index}/_settings")
    found: dict[str, str] = settings[index]["settings"]["index"].get("blocks", {})
    return found


async def test_what_an_older_layout_did_not_know_is_made_from_its_events(older: Older) -> None:
    """Its documents say nothing of when an event expires."""
    options, _ = older
    over = ALICE.event("over", tags=[["expiration", f"{NOW}"]])
    async with running(options) as store:
        made = document(over, 17)
        made.expires = -1
        await write(store, Write(slot_of(over), Record(), made))
        await store.refresh(of_others=True)
        assert await ask(store, Filter()) == [over]
    await upgraded(options)
    async with open_opensearch(options, clock=lambda: NOW) as store:
        assert await ask(store, Filter()) == []
        assert await store.sweep() == 1


async def test_who_has_vanished_and_what_the_relay_keeps_is_copied_and_what_it_forgot_is_not(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, _ = older
    request = ALICE.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
    block = upgrade._block
    async with running(options) as store:
        await store.put_metadata({"bans": b"some", "name": b"a relay"})
        assert await store.save_many([request]) == [STORED]

        async def forget_and_block(client: OpenSearchClient, index: str, is_blocked: bool) -> None:
            if is_blocked:
                await store.put_metadata({"name": None})
            await block(client, index, is_blocked)

        monkeypatch.setattr(upgrade, "_block", forget_and_block)
        await upgraded(options)
    async with open_opensearch(options) as store:
        assert await store.get_metadata() == {"bans": b"some"}
        assert await store.save_many([NOTE, request]) == [Saved.VANISHED, Saved.DUPLICATE]
        assert await everything(store) == [request]


async def test_a_request_to_vanish_that_was_kept_like_a_note_cannot_be_deleted_any_more(older: Older) -> None:
    options, _ = older
    request = ALICE.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
    async with running(options) as store:
        await write(store, Write(id_slot(request.id, ALICE.pubkey), Record(), document(request, 17)))
        assert await store.save_many([NOTE]) == [STORED]
    await upgraded(options)
    async with open_opensearch(options) as store:
        deletion = ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", request.id]])
        assert await store.save_many([deletion]) == [STORED]
        assert await everything(store) == [request, NOTE, deletion]
        # Nobody has carried it out yet.
        assert await store.save_many([request]) == [STORED]
        assert await everything(store) == [deletion, request]
        assert await store.save_many([NOTE, request]) == [Saved.VANISHED, Saved.DUPLICATE]


async def test_empty_registers_are_copied_too(older: Older) -> None:
    options, _ = older
    async with running(options) as store:
        await write(store, Write("some", Record(), Document(17, tombstone="x:y")))
    await upgraded(options)
    async with open_opensearch(options) as store:
        record = (await inside(store).records.read(["some"]))["some"]
        assert (record.exists, record.arrived, record.event) == (True, 17, None)
