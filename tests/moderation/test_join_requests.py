"""Membership beside the pipeline: what a failing or slow store does to it, and what is published when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies, ids, subscription, waiting
from trio_relay import Event, Filter, MemberOptions, PolicyOptions, Relay, RelayOptions, Rules, Subscription, open_relay
from trio_relay.nostr.access import Reader
from trio_relay.nostr.kinds import INVITE, JOIN, LEAVE, MEMBER_ADDED, MEMBERS
from trio_relay.pipeline import join_stage
from trio_relay.policy.lists import Change, ListEntry, ListName

pytestmark = pytest.mark.usefixtures("inline_threads")

WELCOME = "info: welcome to trio-relay"


class Notebook(ObedientStore):
    """Whose `keep` has a gate, too."""

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self._pass("put_metadata")
        await super().put_metadata(changes)


@asynccontextmanager
async def open_club(
    store: ObedientStore, clock: Callable[[], float] = lambda: NOW, **options: Any
) -> AsyncIterator[tuple[Relay, Replies]]:
    rules = Rules(
        options=PolicyOptions(admins=(ALICE.pubkey,)),
        members=MemberOptions(enabled=True, claims=("sesame",)),
        relay_url="wss://relay.example/",
    )
    async with open_relay(store, RelayOptions(**options), rules=rules, clock=clock) as relay:
        yield relay, Replies()


def join(author: Author) -> Event:
    return author.event(kind=JOIN, tags=[["-"], ["claim", "sesame"]])


def inviting(author: Author) -> Subscription:
    sub = subscription(Filter(kinds=frozenset({INVITE}), limit=1))
    return Subscription(sub.sub_id, sub.filters, sub.recipient, Reader({author.pubkey}))


async def lists(store: ObedientStore) -> list[tuple[int, int]]:
    """When the newest list of members was made, and how many it has."""
    found = await ask(store, Filter(kinds=frozenset({MEMBERS})))
    return [(event.created_at - NOW, len(event.tags) - 1) for event in found]


async def test_who_cannot_be_kept_has_not_joined(autojump_clock: MockClock) -> None:
    store = Notebook()
    async with open_club(store) as (relay, replies):
        store.failing["put_metadata"] = "no space left"
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
        assert replies.heard == [(join(BOB).id, False, "error: no space left")]
        assert not relay.rules.is_member(BOB.pubkey, NOW)
    assert await lists(store) == []


async def test_more_requests_than_can_wait_are_told_so_and_other_events_pass(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_stage, "_MOST_WAITING", 1)
    store, note = Notebook(), ALICE.event("hello")
    async with open_club(store) as (relay, replies):
        store.block("put_metadata")
        for author in (ALICE, BOB, CAROL):  # one is no change, one waits for the store, one in front of the stage
            await relay.publish(replies.batch(join(author)))
            await wait_all_tasks_blocked()
        too_many = Author("too many")
        await relay.publish(replies.batch(join(too_many), note))
        await wait_all_tasks_blocked()
        assert replies.heard[1:] == [
            (join(too_many).id, False, "rate-limited: too many requests to join or to leave; try again"),
            (note.id, True, ""),
        ]
        store.release("put_metadata")
        await wait_all_tasks_blocked()
        assert replies.heard[3:] == [(join(author).id, True, WELCOME) for author in (BOB, CAROL)]


async def test_a_request_takes_the_long_way_and_is_no_business_of_subscribers(autojump_clock: MockClock) -> None:
    async with open_club(Notebook()) as (relay, replies):
        watching = subscription(Filter(kinds=frozenset({JOIN}), limit=1))
        relay.subscribe(watching)
        (one,) = replies.batch(join(BOB))
        assert not relay.publish_nowait(one)
        await relay.publish([one])
        await wait_all_tasks_blocked()
        assert replies.heard == [(join(BOB).id, True, WELCOME)]
        assert await waiting(watching.recipient) == []


async def test_lists_follow_one_another_after_a_second_and_say_all_that_came_meanwhile(
    autojump_clock: MockClock,
) -> None:
    store = Notebook()
    async with open_club(store) as (relay, replies):
        for author in (BOB, CAROL, Author("dave")):
            await relay.publish(replies.batch(join(author)))
            await wait_all_tasks_blocked()
            assert await lists(store) == [(0, 1)]
        await trio.sleep(0.999)
        assert await lists(store) == [(0, 1)]
        await trio.sleep(0.002)
        assert await lists(store) == [(1, 3)]
        assert len(await ask(store, Filter(kinds=frozenset({MEMBER_ADDED})))) == 3


async def test_leaving_says_what_is_still_to_be_said(autojump_clock: MockClock) -> None:
    store = Notebook()
    started = trio.current_time()
    async with open_club(store) as (relay, replies):
        for author in (BOB, CAROL):
            await relay.publish(replies.batch(join(author)))
            await wait_all_tasks_blocked()
    assert await lists(store) == [(1, 2)]
    assert trio.current_time() == started


async def test_leaving_while_a_list_is_being_stored_leaves_the_right_one(autojump_clock: MockClock) -> None:
    store = Notebook()
    async with trio.open_nursery() as nursery, open_club(store) as (relay, replies):
        store.block("save_many")
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
        nursery.start_soon(release_later, store)
    assert [members for _, members in await lists(store)] == [1]


async def test_what_is_on_its_way_while_the_relay_stops_is_not_said_twice(autojump_clock: MockClock) -> None:
    store, clock = Notebook(), Clock()
    async with trio.open_nursery() as nursery, open_club(store, clock=clock) as (relay, replies):
        store.block("save_many")
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
        clock.now += 1  # the same, said in another second, would be another event
        nursery.start_soon(release_later, store)
    assert len(await ask(store, Filter(kinds=frozenset({MEMBER_ADDED})))) == 1
    assert await lists(store) == [(0, 1)]


async def test_of_two_relays_that_start_together_on_one_store_both_sign_with_the_key_that_stands(
    autojump_clock: MockClock,
) -> None:
    """Each finds none, and makes one; the later one's is kept."""
    store, signers = Notebook(), list[str]()

    async def start() -> None:
        async with open_club(store) as (relay, _):
            signers.append(relay.rules.signer)

    store.block("put_metadata")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        store.release("put_metadata")
    async with open_club(store) as (relay, _):
        assert signers == [relay.rules.signer] * 2


class Clock:
    """The time of day that a test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


async def release_later(store: ObedientStore) -> None:
    await trio.sleep(5)
    store.release("save_many")


@pytest.mark.parametrize("method", ["query", "save_many"])
async def test_what_could_not_be_published_is_tried_again(
    method: str, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Notebook()
    async with open_club(store) as (relay, replies):
        await wait_all_tasks_blocked()
        store.failing[method] = "disk is gone"
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
        assert replies.heard == [(join(BOB).id, True, WELCOME)]
        store.failing.clear()
        await trio.sleep(9.9)
        assert await lists(store) == []
        await trio.sleep(0.2)
        assert await lists(store) == [(0, 1)]
    told = [entry["error"] for entry in logged if entry["event"] == "members and roles are not published"]
    assert told == [{"query": "disk is gone", "save_many": "error: disk is gone"}[method]]


async def test_what_cannot_be_published_at_the_end_is_published_after_the_next_start(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Notebook()
    async with open_club(store) as (relay, replies):
        await wait_all_tasks_blocked()
        store.failing["query"] = "disk is gone"
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
    assert sorted(entry["log_level"] for entry in logged) == ["info", "warning", "warning"]
    store.failing.clear()
    async with open_club(store):
        await wait_all_tasks_blocked()
        assert await lists(store) == [(0, 1)]


async def test_changes_of_other_lists_publish_nothing(autojump_clock: MockClock) -> None:
    store = Notebook()
    async with open_club(store) as (relay, _):
        await wait_all_tasks_blocked()
        before = store.calls["query"]
        await relay.moderation.state.amend([Change(ListName.BANNED_EVENTS, "a" * 64, ListEntry())])
        await wait_all_tasks_blocked()
        assert store.calls["query"] == before


async def test_who_joins_and_leaves_is_told_in_one_line_a_minute(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    def told() -> list[structlog.typing.EventDict]:
        return [entry for entry in logged if entry["event"] == "membership"]

    store, guests = Notebook(), [Author(f"guest {number}") for number in range(12)]
    async with open_club(store) as (relay, replies):
        await relay.publish(replies.batch(join(BOB)))
        await wait_all_tasks_blocked()
        assert told() == [{"event": "membership", "log_level": "info", "joined": 1, "keys": [BOB.pubkey]}]
        for guest in guests:
            for event in (join(guest), guest.event(kind=LEAVE, tags=[["-"]])) * 5:
                await relay.publish(replies.batch(event))
                await wait_all_tasks_blocked()
        await trio.sleep(59)
        assert len(told()) == 1
        await trio.sleep(2)
        keys = [guest.pubkey for guest in guests[:10]]
        assert told()[1:] == [{"event": "membership", "log_level": "info", "joined": 60, "left": 60, "keys": keys}]
        await relay.publish(replies.batch(join(CAROL)))
        await wait_all_tasks_blocked()
        assert len(told()) == 2
    assert told()[2:] == [{"event": "membership", "log_level": "info", "joined": 1, "keys": [CAROL.pubkey]}]


async def test_a_code_that_cannot_be_kept_is_not_given(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Notebook()
    async with open_club(store) as (relay, _):
        store.failing["put_metadata"] = "no space left"
        asking = inviting(ALICE)
        relay.subscribe(asking)
        answer = relay.answer(asking)
        assert not answer.send_nowait()
        assert await answer.send()
        assert ids(await waiting(asking.recipient)) == ["EOSE"]
        assert not relay.rules.lists.holds_any(ListName.CLAIMS)
    assert [(entry["event"], entry["error"]) for entry in logged] == [("no invite", "no space left")]


async def test_who_closes_his_request_gets_no_code_any_more(autojump_clock: MockClock) -> None:
    store = Notebook()
    async with open_club(store) as (relay, _), trio.open_nursery() as nursery:
        store.block("put_metadata")
        asking = inviting(ALICE)
        relay.subscribe(asking)
        nursery.start_soon(relay.answer(asking).send)
        await wait_all_tasks_blocked()
        relay.unsubscribe(asking)
        store.release("put_metadata")
        await wait_all_tasks_blocked()
        assert await waiting(asking.recipient) == []
