"""Live searches: what of them takes long is worked out in a thread, once an event, and nobody's order changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.pipeline import LocalClient, Replies, ids, subscription, waiting
from trio_relay import Event, Filter, Submission, Subscription
from trio_relay.nostr import event_text, search
from trio_relay.nostr import filter as filters
from trio_relay.pipeline import broadcaster as broadcasters
from trio_relay.pipeline import pending_ids, recipient

LONG = ALICE.event("tea and " * 2_000, created_at=NOW)
TAGGED = ALICE.event("short", created_at=NOW, tags=[["t", f"tea{number}"] for number in range(1_000)])
SHORT = ALICE.event("tea", created_at=NOW + 1)


class Made:
    """In which threads words were made, once an event each; one that is not the loop's can be made to wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[threading.Thread] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

        def text_of(event: Event) -> str:
            self.threads.append(threading.current_thread())
            if self.threads[-1] is not threading.main_thread():
                self.may_go_on.wait(10)
            return event_text.text_of(event)

        monkeypatch.setattr(search, "text_of", text_of)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    made = Made(monkeypatch)
    yield made
    made.may_go_on.set()


def asking(*texts: str) -> Subscription:
    return subscription(*[filters.parse_filter({"search": text}) for text in texts], recipient=LocalClient(2**30))


def opened(*subscriptions: Subscription) -> broadcasters.Broadcaster:
    broadcaster = broadcasters.Broadcaster(pending_ids.PendingIds(), recipient.FlushCollector(), lambda: NOW)
    for one in subscriptions:
        broadcaster.add(one)
    return broadcaster


async def broadcast(broadcaster: broadcasters.Broadcaster, *events: Event) -> None:
    live_in, live = trio.open_memory_channel[list[Submission]](1)
    live_in.send_nowait(Replies().batch(*events))
    live_in.close()
    with trio.fail_after(10):
        await broadcaster.run(live, 100)


@pytest.mark.parametrize("event", [LONG, TAGGED], ids=["content", "tags"])
async def test_words_of_a_long_text_are_made_once_and_not_on_the_loop(event: Event, made: Made) -> None:
    found, missed, excluding = asking("tea"), asking("coffee", '"and and"'), asking("-tea1 -and")
    others = [asking(f"tea {number}") for number in range(50)]
    await broadcast(opened(found, missed, excluding, *others), event)
    assert len(made.threads) == 1
    assert made.threads[0] is not threading.main_thread()
    assert [len(await waiting(one.recipient)) for one in (found, missed, excluding)] == [event is LONG, 0, 0]


async def test_a_short_text_stays_on_the_loop(made: Made) -> None:
    await broadcast(opened(asking("tea")), SHORT)
    assert made.threads == [threading.main_thread()]


async def test_many_words_are_looked_for_in_a_thread(made: Made) -> None:
    """Of short texts too; so many searches of one kind do not hold up an event of another."""
    many = [asking(" ".join(f"w{number}x{place}" for place in range(100))) for number in range(11)]
    await broadcast(opened(asking("tea"), *many), SHORT)
    assert made.threads != []
    assert threading.main_thread() not in made.threads
    made.threads.clear()
    kinds = [subscription(Filter(kinds=frozenset({7}), search=one.filters[0].search)) for one in many]
    await broadcast(opened(*kinds), SHORT)
    assert made.threads == []


async def test_deliveries_keep_their_order_and_those_before_do_not_wait(made: Made) -> None:
    made.may_go_on.clear()
    everybody, searching = subscription(Filter(), recipient=LocalClient(2**30)), asking("tea")
    first = ALICE.event("first", created_at=NOW - 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broadcast, opened(everybody, searching), first, LONG, SHORT)
        await wait_all_tasks_blocked(0.01)
        assert ids(await waiting(everybody.recipient)) == [first.id]
        made.may_go_on.set()
    assert ids(await waiting(everybody.recipient)) == [LONG.id, SHORT.id]
    assert ids(await waiting(searching.recipient)) == [LONG.id, SHORT.id]


async def test_who_stops_does_not_wait_for_the_thread(made: Made) -> None:
    made.may_go_on.clear()
    with trio.move_on_after(0.05) as scope:
        await broadcast(opened(asking("tea")), LONG)
    assert scope.cancelled_caught


async def test_whoever_subscribes_meanwhile_gets_what_it_asks_for(made: Made) -> None:
    made.may_go_on.clear()
    broadcaster, late, gone = opened(asking("language:en")), asking("tea"), asking("and")
    broadcaster.add(gone)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broadcast, broadcaster, LONG)
        await wait_all_tasks_blocked(0.01)
        broadcaster.add(late)
        broadcaster.remove(gone)
        made.may_go_on.set()
    assert ids(await waiting(late.recipient)) == [LONG.id]
    assert await waiting(gone.recipient) == []
    assert len(made.threads) == 1


async def test_what_may_be_heard_by_a_long_search_counts_as_heard(made: Made) -> None:
    passing = ALICE.event("coffee " * 2_000, kind=20_001)
    assert opened(asking("tea")).is_heard(passing)
    assert not opened(subscription(Filter(kinds=frozenset({1}), search=asking("tea").filters[0].search))).is_heard(
        passing
    )
    assert not opened(subscription(Filter(kinds=frozenset({1})))).is_heard(passing)
    assert made.threads == []
