"""What a sweep finds however long none has succeeded, and what a deletion doesn't look at: what is another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.opensearch.inside import inside
from tests.opensearch.pairs import Relays, swept, two_relays
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Filter, Saved, StoreError
from trio_relay.store.opensearch import OpenSearchStore, open_opensearch, tombstones
from trio_relay.store.opensearch.bulk import Write, Wrote
from trio_relay.store.opensearch.documents import Record, document, slot_of

pytestmark = pytest.mark.slow

STORED, DELETED = Saved.STORED, Saved.DELETED
NOTE = ALICE.event("note")
PROFILE = ALICE.event(kind=0)
REQUEST = ALICE.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
DELETION = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", NOTE.id], ["e", PROFILE.id]])
LARGE = [
    *(CAROL.event("x" * 100_000 + str(number)) for number in range(5)),
    *(BOB.event("x" * 100_000, kind=10_002 + number) for number in range(5)),
]


@pytest.fixture
async def relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    async with two_relays(node, prefix) as stores:
        yield stores


async def write(store: OpenSearchStore, event: Event) -> None:
    """What a relay writes that has heard of no request, and what others see of it."""
    writes = [Write(slot_of(event), Record(), document(event, inside(store).records.arrivals(1)[0]))]
    await inside(store).bulk.carry_out(writes)
    assert writes[0].wrote is Wrote.DONE
    await store.show()


async def fail(*_: object, **__: object) -> int:
    raise StoreError("the relay's store is busy")


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that lies before the last sweep that succeeded does so by more than a sweep looks back."""
    monkeypatch.setattr(tombstones, "LOOKS_BACK", 0)


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize(("request_", "crossing"), [(REQUEST, NOTE), (DELETION, PROFILE)], ids=["vanished", "deleted"])
async def test_what_came_since_the_last_sweep_that_was_carried_through_is_looked_after(
    relays: Relays, monkeypatch: pytest.MonkeyPatch, request_: Event, crossing: Event
) -> None:
    one, other = relays
    assert await one.save_many([request_]) == [STORED]
    await write(other, crossing)
    with monkeypatch.context() as context:
        context.setattr(inside(other).clearing, "empty", fail)
        with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
            await inside(other).deletions.sweep()
    assert await inside(other).deletions.sweep() == 1
    assert await everything(one) == [request_]
    # What a sweep has seen to, the next doesn't look at again.
    await write(other, BOB.event())
    assert await inside(other).deletions.sweep() == 0


@pytest.mark.usefixtures("long_ago")
async def test_a_relay_that_starts_ends_what_another_had_begun(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one fell after it had written the tombstone; whose request is stored, was looked after by who stored it."""
    one, _ = relays
    carols = CAROL.event(kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
    assert await one.save_many([NOTE, carols]) == [STORED] * 2
    with monkeypatch.context() as context:
        context.setattr(inside(one).clearing, "empty", fail)
        with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
            await one.save_many([REQUEST])
    await write(one, CAROL.event())
    async with open_opensearch(inside(one).options) as third:
        await swept(third)
        assert await everything(third) == [carols, CAROL.event()]
        assert await third.save_many([REQUEST]) == [STORED]


def _listening(store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all that the cluster answers from now on."""
    sizes: list[int] = []
    ask_cluster = inside(store).client.ask

    async def listen(*args: Any) -> bytes:
        answer = await ask_cluster(*args)
        sizes.append(len(answer))
        return answer

    monkeypatch.setattr(inside(store).client, "ask", listen)
    return sizes


async def test_who_names_the_large_events_of_others_has_none_of_them_read(
    relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = relays
    assert await one.save_many(LARGE) == [STORED] * 10
    await one.refresh()
    sizes = _listening(other, monkeypatch)
    request = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", event.id] for event in LARGE])
    assert await other.save_many([request]) == [STORED]
    await other.refresh()
    assert await inside(other).deletions.sweep() == 0
    assert sum(sizes) < 10_000
    assert len(await everything(one)) == 11


async def test_of_many_who_ask_at_once_each_has_his_own_deleted(relays: Relays) -> None:
    """A version and a gift wrap each, of which the other relay has seen nothing yet; and each names the next one's."""
    one, other = relays
    authors = [Author(f"{number}") for number in range(300)]
    versions = [author.event(kind=0) for author in authors]
    wraps = [CAROL.event(kind=1_059, tags=[["p", author.pubkey]]) for author in authors]
    foreign = BOB.event(kind=0)
    assert await one.save_many([*versions, *wraps, foreign]) == [STORED] * 601
    await one.refresh()
    requests = [
        author.event(kind=5, created_at=NOW + 5, tags=[["e", event.id] for event in (version, wrap, foreign)])
        for author, version, wrap in zip(authors, versions, wraps, strict=True)
    ]
    assert await other.save_many(requests) == [STORED] * 300
    assert await ask(other, Filter(kinds=frozenset([0, 1_059]))) == [foreign]
    assert await one.save_many([versions[0], wraps[-1]]) == [DELETED] * 2
