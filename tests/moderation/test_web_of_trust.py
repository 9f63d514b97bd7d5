"""The web of trust in time: when it is spun anew, and what a store that fails does to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.obedient_store import ObedientStore
from trio_relay import Event, PolicyOptions, Rules, open_relay
from trio_relay.moderation import web_of_trust

pytestmark = pytest.mark.usefixtures("inline_threads")

ADMIN, DAVE = Author("admin"), Author("dave")


def follows(author: Author, *others: Author, at: int = NOW) -> Event:
    return author.event(kind=3, created_at=at, tags=[["p", key.pubkey] for key in others])


def keys(*authors: Author) -> frozenset[str]:
    return frozenset(author.pubkey for author in authors)


@asynccontextmanager
async def open_web(store: ObedientStore, depth: int = 2) -> AsyncIterator[Rules]:
    options = PolicyOptions(admins=(ADMIN.pubkey,), trust_depth=depth, trust_seconds=100)
    rules = Rules(options=options)
    async with open_relay(store, rules=rules, clock=lambda: NOW):
        yield rules


async def test_from_the_first_moment_on_the_admins_alone_are_trusted() -> None:
    """Before the follows are read: None would let everybody write."""
    store = ObedientStore()
    store.block("query")
    async with open_web(store) as rules:
        assert rules.trusted == keys(ADMIN)


async def test_until_it_is_known_only_admins_are_trusted(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    await store.save_many([follows(ADMIN, ALICE)])
    store.block("query")
    async with open_web(store) as rules:
        await wait_all_tasks_blocked()
        assert rules.trusted == keys(ADMIN)
        assert not rules.may_write(ALICE.pubkey, NOW)
        store.release("query")
        await wait_all_tasks_blocked()
        assert rules.may_write(ALICE.pubkey, NOW)


async def test_it_is_spun_anew_every_so_many_seconds(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    await store.save_many([follows(ADMIN, ALICE), follows(ALICE, BOB)])
    async with open_web(store) as rules:
        await wait_all_tasks_blocked()
        assert rules.trusted == keys(ADMIN, ALICE, BOB)
        await store.save_many([follows(ALICE, CAROL, at=NOW + 1)])
        await trio.sleep(99)
        assert rules.trusted == keys(ADMIN, ALICE, BOB)
        await trio.sleep(2)
        assert rules.trusted == keys(ADMIN, ALICE, CAROL)


async def test_while_the_store_fails_it_stays_as_it_was_and_is_tried_again_soon(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    await store.save_many([follows(ADMIN, ALICE)])
    async with open_web(store) as rules:
        await wait_all_tasks_blocked()
        store.failing["query"] = "disk is gone"
        await store.save_many([follows(ADMIN, BOB, at=NOW + 1)])
        await trio.sleep(101)
        assert rules.trusted == keys(ADMIN, ALICE)
        store.failing.clear()
        await trio.sleep(10)
        assert rules.trusted == keys(ADMIN, BOB)
    told = [entry["error"] for entry in logged if entry["log_level"] == "warning"]
    assert told == ["disk is gone"]


@pytest.mark.parametrize("most", [2, 3])
async def test_a_web_that_is_too_large_is_cut_where_it_is(
    most: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    monkeypatch.setattr(web_of_trust, "MOST_TRUSTED", most)
    store = ObedientStore()
    await store.save_many([follows(ADMIN, ALICE, BOB), follows(ALICE, CAROL), follows(CAROL, DAVE)])
    async with open_web(store, depth=4) as rules:
        await wait_all_tasks_blocked()
        reached = {2: keys(ADMIN, ALICE, BOB), 3: keys(ADMIN, ALICE, BOB, CAROL)}[most]
        assert rules.trusted == reached
    cut = [(entry["keys"], entry["most"]) for entry in logged if entry["event"] == "the web of trust is cut"]
    assert cut == [(most + 1, most)]


async def test_between_two_long_lists_others_get_their_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.turns.SECONDS", -1.0)
    store = ObedientStore()
    authors = [Author(f"author {number}") for number in range(6)]
    await store.save_many([follows(ADMIN, *authors), *(follows(one, Author(f"by {one.pubkey}")) for one in authors)])
    read = web_of_trust.followed

    def watched(event: Event) -> list[str]:
        turns.append(turn)
        return read(event)

    turn, turns = 0, list[int]()
    monkeypatch.setattr(web_of_trust, "followed", watched)
    async with open_web(store):
        while len(turns) < 7:
            await trio.lowlevel.checkpoint()
            turn += 1
    assert len({*turns[1:]}) >= 3  # of six lists; no two turns of this task fall between two of them


async def test_authors_are_asked_for_in_parts_and_no_more_once_there_are_too_many(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_of_trust, "_AUTHORS_AT_A_TIME", 1)
    monkeypatch.setattr(web_of_trust, "MOST_TRUSTED", 3)
    store = ObedientStore()
    first, second, third = sorted((ALICE, BOB, CAROL), key=lambda author: author.pubkey)
    strangers = [Author(f"stranger {number}") for number in range(4)]
    await store.save_many([follows(ADMIN, first, second), follows(first, *strangers), follows(second, third)])
    async with open_web(store) as rules:
        await wait_all_tasks_blocked()
        assert rules.trusted == keys(ADMIN, first, second, *strangers)
        assert store.calls["query"] == 2


async def test_without_a_depth_nobody_is_asked_and_everybody_may_write(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_web(store, depth=0) as rules:
        await wait_all_tasks_blocked()
        assert rules.trusted is None
        assert rules.may_write(ALICE.pubkey, NOW)
        assert store.calls["query"] == 0
