"""Batches are checked side by side and decided in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from tests.support.keys import ALICE
from trio_relay import MemoryStore, Submission
from trio_relay.nostr import schnorr
from trio_relay.pipeline.verifier import Verifier

FIRST, SECOND = ALICE.event("first"), ALICE.event("second")


class SlowForTheFirst(MemoryStore):
    """Does not say whether it knows the first event until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = trio.Event()

    async def known(self, ids: Sequence[str]) -> set[str]:
        if FIRST.id in ids:
            await self.let.wait()
        return await super().known(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return None


@pytest.mark.usefixtures("inline_threads")
async def test_a_quick_batch_does_not_overtake_a_slow_one() -> None:
    store = SlowForTheFirst()
    verifier = Verifier(store, schnorr.open_backend(), trio.CapacityLimiter(2), most=1)
    to_intake, intake = trio.open_memory_channel[list[Submission]](2)
    to_writer, passed = trio.open_memory_channel[list[Submission]](2)
    to_live, _live = trio.open_memory_channel[list[Submission]](2)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(verifier.run, intake.clone(), to_writer.clone(), to_live.clone())
        for event in (FIRST, SECOND):
            to_intake.send_nowait([Submission(event, lambda *_: None, 0.0)])
        await trio.testing.wait_all_tasks_blocked()
        assert passed.statistics().current_buffer_used == 0
        store.let.set()
        with trio.fail_after(10):
            batches = [await passed.receive(), await passed.receive()]
        assert [submission.event for batch in batches for submission in batch] == [FIRST, SECOND]
        nursery.cancel_scope.cancel()
