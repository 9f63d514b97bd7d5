"""Rounds of retention: what goes, when, how much of a core that takes, and who hears of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import open_desk
from trio_relay import Filter, MemoryStore, PolicyOptions, Rules, open_relay
from trio_relay.nostr import event as events
from trio_relay.pipeline import retention_rounds
from trio_relay.policy import retention
from trio_relay.store import surveyed

HOUR = 3_600
OLD = [made_up(str(number), created_at=NOW - 2 * HOUR - number) for number in range(1_200)]
YOUNG = [made_up(f"young {number}", created_at=NOW - number) for number in range(10)]
HOURLY = retention.Retention((retention.RetentionRule(max_age_seconds=HOUR),))


class CountingStore(MemoryStore):
    """Takes as long as it is told, and counts what it does.

    Args:
        seconds: of each portion of a survey, and of each removal.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.worked = 0.0
        self.removals: list[int] = []
        self.surveys: list[tuple[int | None, AbstractSet[int] | None, bool]] = []
        self.at: list[float] = []

    async def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = frozenset(), weighs: bool = True
    ) -> AsyncGenerator[list[surveyed.Surveyed], None]:
        self.surveys.append((until, tagged, weighs))
        self.at.append(trio.current_time())
        async with aclosing(super().survey(until, tagged=tagged, weighs=weighs)) as portions:
            async for portion in portions:
                await self._work()
                yield portion

    async def forget(self, ids: Sequence[str]) -> int:
        self.removals.append(len(ids))
        await self._work()
        return await super().forget(ids)

    async def _work(self) -> None:
        self.worked += self.seconds
        await trio.sleep(self.seconds)


def rules_of(kept: retention.Retention, **policy: object) -> Rules:
    rules = Rules(options=PolicyOptions(**policy))  # type: ignore[arg-type]  # fields of the options
    rules.retention = kept
    return rules


def rounds_of(store: surveyed.Forgettable, kept: retention.Retention) -> retention_rounds.RetentionRounds:
    async def known() -> None:
        await trio.lowlevel.checkpoint()

    return retention_rounds.RetentionRounds(store, rules_of(kept), lambda: NOW, known, chance=lambda: 0.5)


async def test_what_the_rules_let_go_is_forgotten_in_portions(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = CountingStore()
    await store.save_many([*YOUNG, *OLD])
    rounds = rounds_of(store, HOURLY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        await trio.sleep(120)
        nursery.cancel_scope.cancel()
    assert store.removals == [500, 500, 200]
    assert await store.count([]) == 0
    assert await store.known([event.id for event in [*YOUNG, *OLD]]) == {event.id for event in YOUNG}
    assert rounds.statistics().forgotten == {"1": 1_200}
    assert rounds.statistics().last == NOW
    (entry,) = logged
    assert (entry["event"], entry["events"]) == ("forgotten by retention", {"1": 1_200})


async def test_a_round_works_a_twentieth_of_the_time(autojump_clock: MockClock) -> None:
    store = CountingStore(seconds=0.01)
    await store.save_many([*YOUNG, *OLD])
    began = trio.current_time()
    await retention_rounds.go_through(store, rules_of(HOURLY), NOW, retention_rounds.Leisure(), store.forget)
    took = trio.current_time() - began
    assert store.worked == pytest.approx(0.06)  # three portions of the survey, and three removals
    # Two of the removals count twice, and nobody rests after the last one.
    assert took == pytest.approx(20 * store.worked + 2 * 19 * 0.01 - 19 * 0.01)


async def test_rules_of_ages_alone_look_at_nothing_that_is_younger(autojump_clock: MockClock) -> None:
    store = CountingStore()
    aged = retention.RetentionRule(kinds=(7,), max_age_seconds=9 * HOUR)
    await _once(store, retention.Retention((aged, *HOURLY.rules)))
    await _once(store, retention.Retention((aged, retention.RetentionRule(max_events=5))))
    await _once(store, retention.Retention((retention.RetentionRule(max_bytes=2**20, tags={"t": ("x",)}),)))
    await _once(store, retention.Retention(max_events=5))
    assert store.surveys == [
        (NOW - HOUR - 1, frozenset(), False),
        (None, frozenset(), False),
        (None, None, True),
        *[(None, frozenset({1_059, 21_059}), False)] * 2,
    ]


async def _once(store: surveyed.Forgettable, kept: retention.Retention) -> None:
    await retention_rounds.go_through(store, rules_of(kept), NOW, retention_rounds.Leisure(0), store.forget)


async def test_of_a_whole_store_that_is_too_large_the_oldest_go(autojump_clock: MockClock) -> None:
    store = CountingStore()
    await store.save_many([*YOUNG, *OLD])
    await _once(store, retention.Retention(max_events=700))
    kept = await store.known([event.id for event in [*YOUNG, *OLD]])
    assert kept == {event.id for event in [*YOUNG, *OLD[:690]]}


async def test_rounds_come_again_and_at_once_for_who_asks(autojump_clock: MockClock) -> None:
    store = CountingStore()
    rounds = rounds_of(store, HOURLY)
    assert rounds.seconds_left is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        await trio.sleep(1)
        assert rounds.seconds_left == 89
        await trio.sleep(2 * HOUR)
        await store.save_many(OLD[:7])
        (found,) = await rounds.make()
        nursery.cancel_scope.cancel()
    assert store.at == [90, 90 + HOUR, 1 + 2 * HOUR]
    assert (found.rule, found.text, found.events) == ("1", "All events are kept for 1 hour.", 7)
    assert (found.newest, found.oldest) == (OLD[0].created_at, OLD[6].created_at)


async def test_what_would_go_is_found_and_stays_where_nothing_is_removed(autojump_clock: MockClock) -> None:
    store, rules = CountingStore(), rules_of(HOURLY)
    await store.save_many([*YOUNG, *OLD])
    walk = await retention_rounds.go_through(store, rules, NOW, retention_rounds.Leisure(0), None, weighs=True)
    (found,) = retention_rounds.findings_of(walk, rules)
    assert (found.events, found.bytes) == (1_200, sum(len(events.encode(event)) for event in OLD))
    assert await store.count([Filter()]) == 1_210
    assert store.removals == []
    assert store.surveys[0][2], "sizes were asked for"


async def test_a_round_that_fails_is_told_and_the_next_one_comes_all_the_same(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    await store.save_many(OLD[:5])
    store.failing["forget"] = "disk is gone"
    async with trio.open_nursery() as nursery:
        rounds = rounds_of(store, HOURLY)
        nursery.start_soon(rounds.run)
        await trio.sleep(120)
        assert (rounds.statistics().failures, rounds.statistics().last) == (1, None)
        del store.failing["forget"]
        await trio.sleep(HOUR)
        assert (rounds.statistics().failures, rounds.statistics().last) == (1, NOW)
        nursery.cancel_scope.cancel()
    assert store.contents() == set()
    assert [entry["event"] for entry in logged] == [
        "not all is forgotten that the rules of retention let go",
        "forgotten by retention",
    ]
    assert logged[0]["error"] == "disk is gone"


async def test_a_relay_without_rules_makes_no_rounds(autojump_clock: MockClock) -> None:
    store = CountingStore()
    async with open_desk(store) as (relay, _):
        await trio.sleep(3 * HOUR)
        assert (relay.next_retention(), relay.statistics().retention.last) == (None, None)
    assert store.surveys == []


async def test_who_is_trusted_is_known_before_strangers_events_go(autojump_clock: MockClock) -> None:
    """Until it is, everybody is a stranger."""
    store = ObedientStore()
    follows = ALICE.event(kind=3, tags=[["p", BOB.pubkey]])
    old = BOB.event("old", created_at=NOW - 2 * HOUR)
    await store.save_many([follows, old, *OLD[:5]])
    store.block("query")
    kept = retention.Retention((retention.RetentionRule(authors="others", max_age_seconds=HOUR),))
    rules = rules_of(kept, admins=(ALICE.pubkey,), trust_depth=1)
    async with open_relay(store, rules=rules, clock=lambda: NOW):
        await trio.sleep(HOUR)
        assert len(store.contents()) == 7
        store.release("query")
        await trio.sleep(HOUR)
        assert store.contents() == {follows.id, old.id}


async def test_what_has_no_more_room_is_told_after_a_round(autojump_clock: MockClock) -> None:
    store, told = CountingStore(), list[retention.Floors]()
    await store.save_many([*YOUNG, *OLD])
    rounds = rounds_of(store, retention.Retention((retention.RetentionRule(max_events=4),), max_events=3))
    rounds.follow = told.append
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        await trio.sleep(120)
        nursery.cancel_scope.cancel()
    assert told == [retention.Floors({0: NOW - 3}, {0: NOW - 2}, "store.max_events")]
