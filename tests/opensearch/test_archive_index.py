"""The archive in a cluster: made when it is wanted, written before anything goes, whoever writes, whatever fails."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from tests.contract.test_archive import BY_ID, LOST, NOTE, ON, ONE, REPLACED, THREE, TWO, Clock, told, vanishes
from tests.opensearch.inside import inside
from tests.opensearch.pairs import swept
from tests.support.backends import everything
from tests.support.indices import made, options_for
from tests.support.keys import NOW, Author
from trio_relay import Filter, Saved, StoreError, StoreRefused
from trio_relay.store import archive, opensearch

pytestmark = pytest.mark.slow

RACES = 100


@pytest.fixture
def options(node: str, prefix: str) -> opensearch.OpenSearchOptions:
    return options_for(node, prefix)


@asynccontextmanager
async def keeping(options: opensearch.OpenSearchOptions) -> AsyncIterator[opensearch.OpenSearchStore]:
    """A relay on an index that is there, with its archive."""
    with trio.fail_after(60):
        async with opensearch.open_opensearch(options, clock=Clock(), archiving=ON) as store:
            await swept(store)
            yield store


def index_of(store: opensearch.OpenSearchStore) -> opensearch.archive.ArchiveIndex:
    """Writes the archive as a relay does that knows nothing of what this store has done."""
    parts = inside(store)
    return opensearch.archive.ArchiveIndex(parts.client, parts.options, ON, parts.records, Clock())


async def test_its_index_is_made_where_it_is_wanted_and_needed_nowhere_else(
    options: opensearch.OpenSearchOptions,
) -> None:
    said: list[str] = []
    await opensearch.migrate(options, lambda line: None)
    async with opensearch.open_opensearch(options, clock=Clock()) as store:
        await store.save_many([ONE, TWO, NOTE, LOST])
        await store.save_many([BY_ID, vanishes()])
        assert await store.remove([Filter()]) == 1
        assert await told(store) == []
    with pytest.raises(StoreRefused, match=r"no alias \S+-archive yet, which store.archive needs: "):
        async with keeping(options):
            raise AssertionError("it was opened")
    for dry_run in (True, False, False):
        await opensearch.migrate(options, said.append, dry_run=dry_run, has_archive=True)
    making = f"make index {options.prefix}-archive-v1, which alias {options.prefix}-archive names"
    assert [line for line in said if "archive" in line] == [
        f"would {making}",
        making,
        f"{options.prefix}-archive has layout 1: nothing to do",
    ]
    async with keeping(options) as store:
        await store.save_many([THREE])
        assert await told(store) == []


async def test_what_stands_is_not_told_although_it_was_to_go(
    options: opensearch.OpenSearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(writes: Sequence[opensearch.bulk.Write]) -> None:
        for write in writes:
            write.wrote = opensearch.bulk.Wrote.FAILED

    async with made(options), keeping(options) as store:
        await store.save_many([ONE])
        with monkeypatch.context() as patch:
            patch.setattr(inside(store).bulk, "carry_out", fail)
            with pytest.raises(StoreError):
                await store.save_many([TWO])
        assert await everything(store) == [ONE]
        assert await told(store) == []
        await store.save_many([THREE])
        assert await told(store) == [(ONE, REPLACED, THREE.id)]


async def test_what_cannot_be_kept_does_not_go(options: opensearch.OpenSearchOptions) -> None:
    async with made(options), keeping(options) as store:
        await store.save_many([ONE, NOTE, LOST])
        await inside(store).client.ask("DELETE", f"/{options.prefix}-archive-v1")
        for batch in ([TWO], [BY_ID]):
            with pytest.raises(StoreError):
                await store.save_many(batch)
        with pytest.raises(StoreError):
            await store.sweep()
        assert await everything(store) == [ONE, NOTE, LOST]
        assert await store.save_many([Author("other").event()]) == [Saved.STORED]


async def test_what_reaches_it_after_its_key_has_vanished_is_swept(options: opensearch.OpenSearchOptions) -> None:
    async with made(options), keeping(options) as one, keeping(options) as other:
        await one.save_many([ONE, vanishes()])
        late = [(ONE, archive.DepartureCause(archive.Departure.REPLACED, TWO.id))]
        await index_of(other).keep(late)
        assert [event for event, _, _ in await told(other)] == [ONE]
        await inside(other).deletions.sweep()
        assert await told(other) == []


async def test_a_later_departure_is_not_undone_by_an_earlier_one(
    options: opensearch.OpenSearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with made(options), keeping(options) as store:
        index = index_of(store)
        cause = archive.DepartureCause(archive.Departure.REPLACED, TWO.id)
        earlier = inside(store).records.arrivals(1)
        await index.keep([(ONE, archive.DepartureCause(archive.Departure.EXPIRED))])
        monkeypatch.setattr(inside(store).records, "arrivals", lambda _: earlier)
        await index.keep([(ONE, cause)])
        assert [reason.value for _, reason, _ in await told(store)] == ["expired"]


async def test_of_versions_that_two_relays_write_at_once_each_that_was_stored_is_kept(
    options: opensearch.OpenSearchOptions,
) -> None:
    chance = random.Random(1)
    races = [
        [Author(f"{number}").event(f"{place}", kind=0, created_at=NOW + chance.randrange(2)) for place in range(2)]
        for number in range(RACES)
    ]
    outcomes: dict[str, Saved] = {}

    async def save(store: opensearch.OpenSearchStore, place: int) -> None:
        for start in range(0, RACES, 10):
            batch = [versions[place] for versions in races[start : start + 10]]
            for event, outcome in zip(batch, await store.save_many(batch), strict=True):
                outcomes[event.id] = outcome

    async with made(options), keeping(options) as one, keeping(options) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(save, one, 0)
            nursery.start_soon(save, other, 1)
        standing = {event.id for event in await everything(one)}
        stored = {event_id for event_id, outcome in outcomes.items() if outcome is Saved.STORED}
        for store in (one, other):
            gone = await told(store)
            assert {event.id for event, _, _ in gone} == stored - standing
            assert all(by in standing for _, _, by in gone)
        assert len(standing) == RACES < len(stored)
