"""Flushes: one task carries out all that wait in one turn, with turns for others; a stage may collect them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.pipeline import counted_steps
from trio_relay.net import flush
from trio_relay.pipeline.recipient import FlushCollector


class Letters:
    """Flushes that tell when they were called, and may take time; of a relay of their own."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.collector = FlushCollector()
        self.flushes = flush.Flushes(self.collector)

    def add(self, *names: str, then: Callable[[], object] = lambda: None) -> None:
        for name in names:
            self.flushes.add(self._flush(name, then))

    def _flush(self, name: str, then: Callable[[], object]) -> Callable[[], None]:
        def flush() -> None:
            self.sent.append(name)
            then()

        return flush


@asynccontextmanager
async def running(letters: Letters) -> AsyncIterator[trio.lowlevel.Task]:
    """The task that carries them out, which has come to rest."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(letters.flushes.run)
            await wait_all_tasks_blocked()
            [task] = nursery.child_tasks
            yield task
            nursery.cancel_scope.cancel()


async def test_all_that_waits_is_sent_in_one_turn_and_in_its_order() -> None:
    letters = Letters()
    async with running(letters) as task:
        with counted_steps(task) as steps:
            letters.add("a", "b", "c")
            assert letters.sent == []
            await wait_all_tasks_blocked()
        assert (letters.sent, steps.number) == (["a", "b", "c"], 1)
        letters.add("d")
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c", "d"]


async def test_what_came_before_the_task_began_is_sent() -> None:
    letters = Letters()
    letters.add("a")
    async with running(letters):
        assert letters.sent == ["a"]


async def test_what_comes_while_others_are_sent_goes_next() -> None:
    letters = Letters()
    async with running(letters):
        letters.add("a", then=lambda: letters.add("c"))
        letters.add("b")
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c"]


TURNS = pytest.mark.parametrize(
    ("seconds_each", "turns_between"), [(0.0, 0), (0.00075, 1), (0.0015, 2), (0.002, 2), (0.0025, 5)]
)


@TURNS
async def test_a_long_list_gives_others_a_turn_every_two_milliseconds(
    seconds_each: float, turns_between: int, mock_clock: MockClock
) -> None:
    letters = Letters()
    letters.add(*"abcde", then=lambda: mock_clock.jump(seconds_each))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(letters.flushes.run)
        [task] = nursery.child_tasks
        with counted_steps(task) as steps:
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert steps.number == 1 + turns_between
    assert letters.sent == list("abcde")


@TURNS
async def test_a_long_collection_gives_others_a_turn_every_two_milliseconds(
    seconds_each: float, turns_between: int, mock_clock: MockClock
) -> None:
    letters = Letters()
    with letters.collector.collected() as collected:
        letters.add(*"abcde", then=lambda: mock_clock.jump(seconds_each))
    with counted_steps() as steps:
        await collected.flush()
    assert steps.number == turns_between
    assert letters.sent == list("abcde")


async def test_what_is_collected_is_left_to_who_collects_it() -> None:
    letters = Letters()
    async with running(letters):
        with letters.collector.collected() as one:
            letters.add("a", "b")
        with letters.collector.collected() as other:
            letters.add("c")
        letters.add("d")
        await wait_all_tasks_blocked()
        assert letters.sent == ["d"]
        await other.flush()
        assert letters.sent == ["d", "c"]
        await one.flush()
        await wait_all_tasks_blocked()
        assert letters.sent == ["d", "c", "a", "b"]


async def test_a_collection_goes_on_in_its_next_block_and_flushes_everything_once() -> None:
    letters = Letters()
    async with running(letters):
        collected = letters.collector.collected()
        with collected:
            letters.add("a")
        letters.add("between")
        with collected:
            letters.add("b")
        await wait_all_tasks_blocked()
        await collected.flush()
        await collected.flush()
        with collected:
            letters.add("c")
        await collected.flush()
        assert letters.sent == ["between", "a", "b", "c"]


async def test_a_collection_that_fails_in_the_middle_is_closed() -> None:
    letters = Letters()
    async with running(letters):
        collected = letters.collector.collected()
        with suppress(ZeroDivisionError), collected:
            letters.add("a")
            1 / 0  # noqa: B018
        letters.add("later")
        await wait_all_tasks_blocked()
        assert letters.sent == ["later"]


def test_two_do_not_collect_at_a_time() -> None:
    """Somebody has waited within a block then, and what others had to send was not theirs."""
    collector = FlushCollector()
    with collector.collected():
        with pytest.raises(AssertionError, match="another stage collects"), collector.collected():
            pass
        assert collector.current == []
    assert collector.current is None


async def test_what_comes_while_a_collection_is_flushed_goes_to_the_task() -> None:
    letters = Letters()
    async with running(letters):
        with letters.collector.collected() as collected:
            letters.add("a", then=lambda: letters.add("c"))
            letters.add("b")
        await collected.flush()
        assert letters.sent == ["a", "b"]
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c"]


@pytest.mark.parametrize("is_collected", [False, True])
async def test_cut_short_it_still_sends_all_that_it_has_taken_up(is_collected: bool, mock_clock: MockClock) -> None:
    """An outbox asks for one flush: left out here, what it holds would wait for ever."""
    letters = Letters()
    with trio.CancelScope() as scope:

        def cut() -> None:
            mock_clock.jump(1)
            scope.cancel()

        if is_collected:
            with letters.collector.collected() as collected:
                letters.add(*"abc", then=cut)
            await collected.flush()
        else:
            letters.add(*"abc", then=cut)
            await letters.flushes.run()
    assert letters.sent == ["a", "b", "c"]
