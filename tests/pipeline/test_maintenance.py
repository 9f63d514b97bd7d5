"""The round of upkeep: what fails in one is tried in the next."""

from __future__ import annotations

import structlog
import trio
from trio.testing import MockClock

from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import open_desk


async def test_a_round_that_fails_is_logged_and_the_next_one_comes_all_the_same(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = ObedientStore()
    store.failing["sweep"] = "disk is gone"
    async with open_desk(store) as (relay, _):
        seconds = relay.rules.options.sweep_seconds
        await trio.sleep(seconds / 2)
        del store.failing["sweep"]
        await trio.sleep(2 * seconds)
    assert (store.calls["sweep"], store.completed["sweep"]) == (3, 2)
    assert [(entry["event"], entry["error"]) for entry in logged] == [("not swept", "disk is gone")]
