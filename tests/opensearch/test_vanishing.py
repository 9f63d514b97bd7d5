"""Keys that vanish while others write the same index: what crossed is found, and what failed is carried out later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
import trio

from tests.opensearch.inside import inside
from tests.opensearch.pairs import Relays, two_relays
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Filter, Saved, StoreError, StoreRefused
from trio_relay.store.opensearch import OpenSearchStore, open_opensearch, tombstones
from trio_relay.store.opensearch.bulk import Write, Wrote
from trio_relay.store.opensearch.documents import (
    Document,
    Record,
    document,
    request_slot,
    slot_of,
    vanish_slot,
)

pytestmark = pytest.mark.slow

STORED, DUPLICATE, DELETED, VANISHED = Saved.STORED, Saved.DUPLICATE, Saved.DELETED, Saved.VANISHED
NOTE, LATER = ALICE.event("note"), ALICE.event("later", created_at=NOW + 9)
PROFILE = ALICE.event(kind=0)
WRAP = CAROL.event(kind=1_059, tags=[["p", ALICE.pubkey], ["p", BOB.pubkey]])
OTHERS = BOB.event("others", tags=[["p", ALICE.pubkey]])
ALL = Filter()


def vanish(author: Author = ALICE, at: int = NOW + 5) -> Event:
    return author.event(kind=62, created_at=at, tags=[["relay", "ALL_RELAYS"]])


REQUEST = vanish()


@pytest.fixture
async def relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    async with two_relays(node, prefix) as stores:
        yield stores


async def write(store: OpenSearchStore, *events: Event) -> None:
    """What a relay writes that has heard of no request, and what others see of it."""
    arrivals = inside(store).records.arrivals(len(events))
    writes = [
        Write(slot_of(event), Record(), document(event, arrived))
        for event, arrived in zip(events, arrivals, strict=True)
    ]
    await inside(store).bulk.carry_out(writes)
    assert {one.wrote for one in writes} == {Wrote.DONE}
    await show(store)


async def show(store: OpenSearchStore) -> None:
    await inside(store).client.ask("POST", f"/{inside(store).alias}/_refresh")


async def test_what_belongs_to_the_key_goes_whoever_has_written_it(relays: Relays) -> None:
    one, other = relays
    assert await other.save_many([NOTE, PROFILE, WRAP, OTHERS, LATER]) == [STORED] * 5
    assert await one.save_many([REQUEST]) == [STORED]
    assert await ask(one, ALL) == [LATER, REQUEST, OTHERS]
    assert await everything(other) == [OTHERS, LATER, REQUEST]


async def test_the_other_relay_refuses_after_its_next_sweep_and_what_came_between_goes(relays: Relays) -> None:
    one, other = relays
    assert await one.save_many([REQUEST]) == [STORED]
    await one.refresh()
    assert await other.save_many([NOTE, WRAP, LATER]) == [STORED] * 3
    await other.refresh()
    assert await inside(other).deletions.sweep() == 2
    assert await other.save_many([NOTE, PROFILE, WRAP, OTHERS]) == [VANISHED] * 3 + [STORED]
    assert set(map(str, await ask(other, ALL))) == set(map(str, [REQUEST, OTHERS, LATER]))
    assert await inside(one).deletions.sweep() == 0


async def test_a_relay_that_starts_knows_who_has_vanished(relays: Relays) -> None:
    one, _ = relays
    assert await one.save_many([REQUEST]) == [STORED]
    async with open_opensearch(inside(one).options) as third:
        assert await third.save_many([NOTE, LATER]) == [VANISHED, STORED]


async def test_one_that_cannot_learn_it_does_not_start(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the relay's store is away")

    monkeypatch.setattr(OpenSearchStore, "look", fail)
    with pytest.raises(StoreRefused, match=r"^the relay's store is away$"):
        async with open_opensearch(inside(relays[0]).options):
            pass


async def test_only_requests_of_late_are_looked_after_but_all_are_known(
    relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = relays
    assert await one.save_many([REQUEST, vanish(CAROL)]) == [STORED] * 2
    await show(one)
    monkeypatch.setattr(tombstones, "LOOKS_BACK", 0)
    assert await inside(other).deletions.sweep() == 0
    await write(one, NOTE)
    assert await inside(other).deletions.sweep() == 0
    assert inside(other).tombstones.untils == {ALICE.pubkey: NOW + 5, CAROL.pubkey: NOW + 5}
    assert await ask(other, Filter(kinds=frozenset([1]))) == [NOTE]


async def test_many_keys_are_looked_after_in_parts(relays: Relays) -> None:
    one, other = relays
    authors = [Author(f"{number}") for number in range(203)]
    assert await one.save_many([vanish(author) for author in authors]) == [STORED] * len(authors)
    await write(one, *(author.event() for author in authors))
    assert await inside(other).deletions.sweep() == len(authors)
    assert {event.kind for event in await everything(one)} == {62}


async def test_what_is_being_written_while_a_key_vanishes_goes_too(relays: Relays) -> None:
    """The note is on its way, judged by nobody, when the request comes; both end as if it had come before."""
    one, _ = relays
    carry_out = inside(one).bulk.carry_out
    is_held, may_go = trio.Event(), trio.Event()

    async def hold(writes: Sequence[Write]) -> None:
        if writes[0].document.id == NOTE.id:
            is_held.set()
            await may_go.wait()
        await carry_out(writes)
        if writes[0].slot == vanish_slot(ALICE.pubkey):
            may_go.set()

    inside(one).bulk.carry_out = hold  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.save_many, [NOTE])
        await is_held.wait()
        assert await one.save_many([REQUEST]) == [STORED]
    assert await everything(one) == [REQUEST]


async def test_a_request_that_fails_is_refused_and_is_carried_out_when_it_comes_again(
    relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = relays
    assert await one.save_many([NOTE, OTHERS]) == [STORED] * 2

    async def fail(*_: object, **__: object) -> int:
        raise StoreError("the relay's store is busy")

    with monkeypatch.context() as context:
        context.setattr(inside(one).clearing, "empty", fail)
        with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
            await one.save_many([REQUEST])
    assert await one.save_many([PROFILE]) == [VANISHED]  # the key has vanished already
    assert await ask(one, ALL) == sorted([NOTE, OTHERS], key=lambda event: event.id)
    assert await one.save_many([REQUEST]) == [STORED]
    assert set(map(str, await everything(other))) == set(map(str, [OTHERS, REQUEST]))


async def test_a_tombstone_that_cannot_be_written_fails_all_that_depend_on_it(
    relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = relays
    carry_out = inside(one).bulk.carry_out

    async def refuse(writes: Sequence[Write]) -> None:
        for write in writes:
            if write.slot == vanish_slot(ALICE.pubkey):
                write.wrote, write.reason = Wrote.FAILED, "the relay's store is busy"
        await carry_out(writes)

    with monkeypatch.context() as context:
        context.setattr(inside(one).bulk, "carry_out", refuse)
        outcomes = await one.save_many([NOTE, REQUEST, PROFILE, LATER, OTHERS])
    assert outcomes == [Saved.FAILED] * 3 + [STORED] * 2
    assert inside(one).tombstones.untils == {}
    assert {event.id for event in await everything(one)} == {LATER.id, OTHERS.id}
    assert await one.save_many([NOTE, REQUEST, PROFILE]) == [STORED, STORED, VANISHED]


async def test_two_relays_may_hear_two_requests_of_a_key_at_once(relays: Relays) -> None:
    one, other = relays
    earlier, later = vanish(at=NOW + 5), vanish(at=NOW + 6)
    assert await one.save_many([NOTE]) == [STORED]
    outcomes: list[Saved] = []

    async def save(store: OpenSearchStore, event: Event) -> None:
        outcomes.extend(await store.save_many([event]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(save, one, earlier)
        nursery.start_soon(save, other, later)
    assert set(outcomes) <= {STORED, VANISHED}
    assert (await inside(one).records.read([slot := vanish_slot(ALICE.pubkey)]))[slot].until == NOW + 6
    await show(one)
    await inside(one).deletions.sweep()
    assert await everything(one) == [later]


async def test_a_wrap_that_crossed_with_its_recipients_deletion_is_removed(relays: Relays) -> None:
    one, other = relays
    deletion = BOB.event(kind=5, created_at=NOW + 5, tags=[["e", WRAP.id]])
    assert await one.save_many([deletion]) == [STORED]
    await write(one, WRAP)
    assert set(map(str, await ask(other, ALL))) == set(map(str, [deletion, WRAP]))
    assert await inside(other).deletions.sweep() == 1
    assert await other.save_many([WRAP]) == [DELETED]
    await other.refresh()
    assert await ask(one, ALL) == [deletion]


async def test_a_request_to_vanish_that_was_kept_as_a_note_is_carried_out_when_it_comes_again(relays: Relays) -> None:
    """So stand those that came before this layout knew what they ask for."""
    one, _ = relays
    await write(one, REQUEST)
    assert await one.save_many([NOTE]) == [STORED]
    assert await one.save_many([REQUEST]) == [STORED]
    assert await everything(one) == [REQUEST]
    assert await one.count([ALL]) == 1
    assert (await inside(one).records.read([slot := request_slot(REQUEST.id)]))[slot].event == REQUEST


async def test_nothing_but_events_goes(relays: Relays, logged: list[structlog.typing.EventDict]) -> None:
    one, _ = relays
    await one.put_metadata({ALICE.pubkey: b"x"})
    await inside(one).bulk.carry_out([Write("grave", Record(), Document(17, tombstone=f"{NOTE.id}:{ALICE.pubkey}"))])
    assert await one.save_many([NOTE, REQUEST]) == [STORED] * 2
    assert await one.get_metadata() == {ALICE.pubkey: b"x"}
    assert (await inside(one).records.read(["grave"]))["grave"].tombstone == f"{NOTE.id}:{ALICE.pubkey}"
    assert [(entry["event"], entry["keys"], entry["events"]) for entry in logged if "keys" in entry] == [
        ("keys have vanished", 1, 0)
    ]
