"""While a key vanishes, which takes as long as it has written much, others are served; if that fails, so are they."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.opensearch.inside import inside
from tests.opensearch.pairs import Relays, two_relays
from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Event, Saved, StoreError
from trio_relay.store.opensearch import OpenSearchStore
from trio_relay.store.opensearch.query import Query

pytestmark = pytest.mark.slow

STORED, DUPLICATE, DELETED, VANISHED = Saved.STORED, Saved.DUPLICATE, Saved.DELETED, Saved.VANISHED
FAILED = Saved.FAILED
NOTE, LATER = ALICE.event("note"), ALICE.event(kind=0, created_at=NOW + 9)
OTHERS = [BOB.event(kind=0), BOB.event("note"), BOB.event(kind=5, tags=[["e", "f" * 64]])]


def vanish(at: int = NOW + 5) -> Event:
    return ALICE.event(kind=62, created_at=at, tags=[["relay", "ALL_RELAYS"]])


REQUEST = vanish()


@pytest.fixture
async def relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    async with two_relays(node, prefix) as stores:
        yield stores


@asynccontextmanager
async def held(store: OpenSearchStore, *events: Event) -> AsyncIterator[list[Saved]]:
    """A batch that has got as far as removing what vanishes, which goes on when the context ends; its outcomes."""
    empty = inside(store).clearing.empty
    is_held, may_go = trio.Event(), trio.Event()
    outcomes: list[Saved] = []

    async def hold(*meant: Query, **how: Any) -> int:
        inside(store).clearing.empty = empty  # type: ignore[method-assign]
        is_held.set()
        await may_go.wait()
        return await empty(*meant, **how)

    async def save() -> None:
        outcomes.extend(await store.save_many(events))

    inside(store).clearing.empty = hold  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(save)
        await is_held.wait()
        yield outcomes
        may_go.set()


async def test_others_are_judged_and_the_key_may_publish_anew(relays: Relays) -> None:
    one, _ = relays
    assert await one.save_many([NOTE, OTHERS[0]]) == [STORED] * 2
    async with held(one, REQUEST) as outcomes:
        newer = BOB.event(kind=0, created_at=NOW + 9)
        assert await one.save_many([newer, LATER, *OTHERS[1:]]) == [STORED] * 4
        assert await one.save_many([ALICE.event("never seen"), NOTE]) == [VANISHED, DUPLICATE]
        assert outcomes == []
    assert outcomes == [STORED]
    assert {event.id for event in await everything(one)} == {event.id for event in (newer, LATER, *OTHERS[1:], REQUEST)}


async def test_of_two_requests_the_later_one_stays_though_the_earlier_ends_after_it(relays: Relays) -> None:
    one, _ = relays
    assert await one.save_many([NOTE]) == [STORED]
    later = vanish(NOW + 6)
    async with held(one, REQUEST, OTHERS[1]) as outcomes:
        assert await one.save_many([later]) == [STORED]
    assert outcomes == [VANISHED, STORED]
    assert await everything(one) == [OTHERS[1], later]


async def test_the_same_request_sent_twice_at_once_is_stored_once(relays: Relays) -> None:
    one, _ = relays
    assert await one.save_many([NOTE]) == [STORED]
    async with held(one, REQUEST) as outcomes:
        assert await one.save_many([REQUEST]) == [STORED]
    assert outcomes == [DUPLICATE]
    assert await everything(one) == [REQUEST]


async def test_where_it_fails_the_request_alone_is_refused(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = relays
    deletion = BOB.event(kind=5, created_at=NOW + 9, tags=[["e", OTHERS[1].id]])

    async def fail(*_: object, **__: object) -> int:
        raise StoreError("the relay's store is busy")

    with monkeypatch.context() as context:
        context.setattr(inside(one).clearing, "empty", fail)
        batch = [OTHERS[0], OTHERS[1], REQUEST, LATER, NOTE, deletion]
        assert await one.save_many(batch) == [STORED, STORED, FAILED, STORED, VANISHED, STORED]
    assert {event.id for event in await everything(one)} == {OTHERS[0].id, LATER.id, deletion.id}
    assert await one.save_many([REQUEST, OTHERS[1], OTHERS[0]]) == [STORED, DELETED, DUPLICATE]
