"""Two relays on one index of a real node: what the one writes the other sees, refuses, and puts right."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog
import trio

from tests.opensearch.inside import inside
from tests.opensearch.pairs import Relays, two_relays
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved, StoreError
from trio_relay.store.opensearch import OpenSearchStore, open_opensearch
from trio_relay.store.opensearch.bulk import Write, Wrote
from trio_relay.store.opensearch.documents import Document, Record, address_slot, document, id_slot

pytestmark = pytest.mark.slow

STORED, DUPLICATE, SUPERSEDED, DELETED = Saved.STORED, Saved.DUPLICATE, Saved.SUPERSEDED, Saved.DELETED
NOTE = ALICE.event("note")
OLD, NEW, NEWEST = (ALICE.event(kind=0, created_at=NOW + age) for age in range(3))
PROFILE = address_slot(f"0:{ALICE.pubkey}:")
ALL = Filter()


@pytest.fixture
async def relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    async with two_relays(node, prefix) as stores:
        yield stores


async def test_what_one_writes_the_other_sees_after_a_refresh_and_refuses_at_once(relays: Relays) -> None:
    one, other = relays
    assert await one.save_many([NOTE, NEW]) == [STORED, STORED]
    assert await ask(other, ALL) == []
    assert await other.save_many([NOTE, OLD, NEW]) == [DUPLICATE, SUPERSEDED, DUPLICATE]
    await one.refresh()
    assert await ask(other, ALL) == [NEW, NOTE]
    assert await other.known([NOTE.id]) == {NOTE.id}  # it has met it


async def test_a_deletion_at_one_refuses_at_the_other(relays: Relays) -> None:
    one, other = relays
    article = ALICE.event(kind=30_023, tags=[["d", "x"]])
    assert await one.save_many([NOTE, article, OLD]) == [STORED] * 3
    await one.refresh()
    tags = [["e", NOTE.id], ["a", f"30023:{ALICE.pubkey}:x"], ["e", OLD.id]]
    request = ALICE.event(kind=5, created_at=NOW + 1, tags=tags)
    assert await other.save_many([request]) == [STORED]
    assert await one.save_many([NOTE, article, OLD, request]) == [DELETED, DELETED, DELETED, DUPLICATE]
    assert await ask(other, ALL) == [request]
    await other.refresh()
    await one.refresh()
    assert await ask(one, ALL) == await ask(other, ALL) == [request]


async def test_what_the_other_has_written_since_is_shown_instead_of_ones_own(relays: Relays) -> None:
    one, other = relays
    assert await one.save_many([OLD]) == [STORED]
    assert await other.save_many([NEW]) == [STORED]
    await other.refresh()
    assert await ask(one, ALL) == [NEW]
    assert await one.save_many([NEWEST]) == [STORED]
    assert await ask(one, ALL) == [NEWEST]
    assert await ask(other, ALL) == [NEW]


async def write(store: OpenSearchStore, *writes: Write) -> None:
    """What a relay that has seen nothing of the others writes."""
    await inside(store).bulk.carry_out(writes)
    assert [one.wrote for one in writes] == [Wrote.DONE] * len(writes)
    await inside(store).client.ask("POST", f"/{inside(store).alias}/_refresh")


def crossing(store: OpenSearchStore, until: int = -1) -> list[Write]:
    """A version and its tombstone, written so that neither saw the other."""
    version, tombstone = inside(store).records.arrivals(2)
    deleted = Document(tombstone, tombstone=f"{OLD.id}:{ALICE.pubkey}")
    return [
        Write(PROFILE, Record(), document(OLD, version, until)),
        Write(id_slot(OLD.id, ALICE.pubkey), Record(), deleted),
    ]


async def test_a_version_that_crossed_with_its_deletion_is_removed(relays: Relays) -> None:
    one, other = relays
    await write(one, *crossing(one, until=NOW - 7))
    assert await ask(other, ALL) == [OLD]
    assert await inside(other).deletions.sweep() == 1
    assert await ask(other, ALL) == []
    # What is as old as that version stood for a moment, so nothing of its second comes back either.
    assert (await inside(other).records.read([PROFILE]))[PROFILE].until == OLD.created_at
    # No search sees it yet, so it is found again, and nothing is done.
    assert await inside(one).deletions.sweep() == 0
    await other.refresh()
    assert await inside(one).deletions.sweep() == 0
    assert await one.save_many([OLD, NEW]) == [DELETED, STORED]


async def test_one_that_could_not_be_removed_is_found_again(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = relays
    await write(one, *crossing(one))

    async def fail(writes: list[Write]) -> None:
        writes[0].wrote, writes[0].reason = Wrote.FAILED, "the relay's store is busy"

    with monkeypatch.context() as context:
        context.setattr(inside(other).bulk, "carry_out", fail)
        with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
            await inside(other).deletions.sweep()
    assert await inside(other).deletions.sweep() == 1


async def test_a_relay_sweeps_when_it_starts(relays: Relays) -> None:
    await write(relays[0], *crossing(relays[0]))
    async with open_opensearch(inside(relays[0]).options) as third:
        while (await inside(third).records.read([PROFILE]))[PROFILE].event is not None:
            await trio.lowlevel.checkpoint()
        await third.refresh()
        assert await everything(third) == []


async def test_sweeping_removes_nothing_else(relays: Relays) -> None:
    """Not a request that a request names, nor what another author has asked to delete."""
    one, other = relays
    first = ALICE.event(kind=5, tags=[["e", NOTE.id]])
    second = ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", first.id]])
    foreign = BOB.event(kind=5, created_at=NOW + 2, tags=[["e", NEW.id]])
    assert await one.save_many([first, second, foreign, NEW]) == [STORED] * 4
    await one.refresh()
    assert await inside(other).deletions.sweep() == 0
    assert {event.id for event in await ask(other, ALL)} == {event.id for event in (first, second, foreign, NEW)}


async def test_tombstones_of_long_ago_are_not_looked_at(relays: Relays) -> None:
    one, _ = relays
    version, tombstone = crossing(one)
    tombstone.document.arrived -= 601 * 10**9
    await write(one, version, tombstone)
    assert await inside(one).deletions.sweep() == 0
    assert await ask(one, ALL) == [OLD]


async def test_pages_of_tombstones_are_all_looked_at(relays: Relays) -> None:
    one, _ = relays
    targets = [f"{n:064x}" for n in range(600)]
    assert await one.save_many([ALICE.event(kind=5, tags=[["e", target] for target in targets])]) == [STORED]
    await write(one, *crossing(one))
    assert await inside(one).deletions.sweep() == 1


async def test_a_sweep_that_fails_is_tried_again_later(
    relays: Relays, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    again = trio.Event()

    async def fail() -> int:
        if logged:
            again.set()
        raise StoreError("the relay's store is away")

    monkeypatch.setattr(inside(relays[0]).deletions, "sweep", fail)
    monkeypatch.setattr("trio_relay.store.opensearch.tombstones.SWEEP_SECONDS", 0.0)
    with trio.move_on_after(60) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside(relays[0]).deletions.run)
            await again.wait()
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert logged[0]["event"] == "not swept"
