"""Work that is done when it is due, and tried again."""

from __future__ import annotations

import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_relay import StoreError
from trio_relay.moderation.due import RETRY_SECONDS, Due


async def test_it_is_done_once_for_all_who_ask_and_again_for_who_asks_meanwhile(autojump_clock: MockClock) -> None:
    due, done = Due(), list[float]()

    async def work() -> None:
        done.append(trio.current_time())
        await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(due.run, work, "failed")
        await wait_all_tasks_blocked()
        assert (done, due.is_set) == ([], False)
        for _ in range(3):
            due.set()
        await trio.sleep(1)
        assert done == [0]
        due.set()
        await trio.sleep(60)
        assert done == [0, 5]
        nursery.cancel_scope.cancel()


async def test_what_the_store_failed_is_tried_again(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    due, tries = Due(is_set=True), list[float]()

    async def work() -> None:
        tries.append(trio.current_time())
        if len(tries) < 3:
            raise StoreError("disk is gone")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(due.run, work, "not done")
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert tries == [0, RETRY_SECONDS, 2 * RETRY_SECONDS]
    assert [(entry["event"], entry["error"]) for entry in logged] == [("not done", "disk is gone")] * 2
