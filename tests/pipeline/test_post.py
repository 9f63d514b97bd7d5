"""The post: one task has everything sent, all that waits in one turn, and gives the loop to others in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.pipeline import counted_steps
from trio_relay.pipeline.post import Flush, Post, carry_out


class Letters:
    """Flushes that tell when they were called, and may take time."""

    def __init__(self, post: Post) -> None:
        self.sent: list[str] = []
        self._post = post

    def add(self, *names: str, then: Callable[[], object] = lambda: None) -> None:
        for name in names:
            self._post.add(self._flush(name, then))

    def _flush(self, name: str, then: Callable[[], object]) -> Callable[[], None]:
        def flush() -> None:
            self.sent.append(name)
            then()

        return flush


@asynccontextmanager
async def running(post: Post) -> AsyncIterator[trio.lowlevel.Task]:
    """The post's task, which has come to rest."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post.run)
            await wait_all_tasks_blocked()
            [task] = nursery.child_tasks
            yield task
            nursery.cancel_scope.cancel()


async def test_all_that_waits_is_sent_in_one_turn_and_in_its_order() -> None:
    post = Post()
    letters = Letters(post)
    async with running(post) as task:
        with counted_steps(task) as steps:
            letters.add("a", "b", "c")
            assert letters.sent == []
            await wait_all_tasks_blocked()
        assert (letters.sent, steps.number) == (["a", "b", "c"], 1)
        letters.add("d")
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c", "d"]


async def test_what_came_before_the_task_began_is_sent() -> None:
    post = Post()
    letters = Letters(post)
    letters.add("a")
    async with running(post):
        assert letters.sent == ["a"]


async def test_what_comes_while_others_are_sent_goes_next() -> None:
    post = Post()
    letters = Letters(post)
    async with running(post):
        letters.add("a", then=lambda: letters.add("c"))
        letters.add("b")
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("seconds_each", "turns_between"), [(0.0, 0), (0.00075, 1), (0.0015, 2), (0.002, 2), (0.0025, 5)]
)
@pytest.mark.parametrize("gathered", [False, True])
async def test_a_long_list_gives_others_a_turn_every_two_milliseconds(
    seconds_each: float, turns_between: int, gathered: bool, mock_clock: MockClock
) -> None:
    post = Post()
    letters = Letters(post)
    own: list[Flush] = []
    post.gather(own if gathered else None)
    letters.add(*"abcde", then=lambda: mock_clock.jump(seconds_each))
    if gathered:
        with counted_steps() as steps:
            await carry_out(own)
        assert steps.number == turns_between
    else:
        task: trio.lowlevel.Task | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post.run)
            [task] = nursery.child_tasks
            with counted_steps(task) as steps:
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert steps.number == 1 + turns_between
    assert letters.sent == list("abcde")


async def test_what_is_gathered_is_left_to_who_gathers_it() -> None:
    post = Post()
    letters = Letters(post)
    one: list[Flush] = []
    other: list[Flush] = []
    async with running(post):
        post.gather(one)
        letters.add("a", "b")
        post.gather(other)
        letters.add("c")
        post.gather(None)
        letters.add("d")
        await wait_all_tasks_blocked()
        assert letters.sent == ["d"]
        await carry_out(other)
        assert letters.sent == ["d", "c"]
        await carry_out(one)
        await wait_all_tasks_blocked()
        assert letters.sent == ["d", "c", "a", "b"]


async def test_what_comes_while_a_gathered_list_is_sent_goes_to_the_task() -> None:
    post = Post()
    letters = Letters(post)
    own: list[Flush] = []
    async with running(post):
        post.gather(own)
        letters.add("a", then=lambda: letters.add("c"))
        letters.add("b")
        post.gather(None)
        await carry_out(own)
        assert letters.sent == ["a", "b"]
        await wait_all_tasks_blocked()
        assert letters.sent == ["a", "b", "c"]


@pytest.mark.parametrize("gathered", [False, True])
async def test_cut_short_it_still_sends_all_that_it_has_taken_up(gathered: bool, mock_clock: MockClock) -> None:
    """An outbox is in the post once: left out here, it would wait for ever."""
    post = Post()
    letters = Letters(post)
    own: list[Flush] = []
    post.gather(own if gathered else None)
    with trio.CancelScope() as scope:

        def cut() -> None:
            mock_clock.jump(1)
            scope.cancel()

        letters.add(*"abc", then=cut)
        await (carry_out(own) if gathered else post.run())
    assert letters.sent == ["a", "b", "c"]
