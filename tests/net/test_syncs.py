"""Syncs that end in the moment in which something else comes: nothing is said of them, and nothing is left."""

from __future__ import annotations

from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.marks import replaces_what_is_compiled
from tests.support.pipeline import LocalClient, turns_of, waiting
from tests.support.syncing import FIRST
from trio_relay import Filter, Judges, MemoryStore, SyncOptions
from trio_relay.net import refusals
from trio_relay.net.client_syncs import ClientSyncs
from trio_relay.nostr.errors import Rejected, invalid
from trio_relay.nostr.message import ContinueSync, OpenSync
from trio_relay.pipeline.sync_sets import Sync, SyncSets
from trio_relay.policy.identity import Identity

REQUEST: Final = OpenSync("x", Filter(), FIRST)
LONG: Final = FIRST + bytes(3_000)
NOTED: Final = refusals.ClientRefusals(refusals.Refusals(), 1, "unknown")


class Desk:
    """A front desk whose set has been read, and is given away when `gate` opens, or refused then."""

    def __init__(self, refusal: Rejected | None = None) -> None:
        self.gate = trio.Event()
        self.judges = Judges()
        self.syncing = SyncSets(MemoryStore(), SyncOptions(), turns_of(10.0))
        self.sync_options = self.syncing.options
        self._refusal = refusal

    async def open_sync(self, filter_: Filter, identity: Identity) -> Sync:
        sync = await self.syncing.open(filter_, identity.reader)
        await self.gate.wait()
        if self._refusal is not None:
            sync.close()
            raise self._refusal
        return sync


@replaces_what_is_compiled
@pytest.mark.parametrize("refusal", [None, invalid("no")], ids=["opened", "refused"])
async def test_a_close_in_the_moment_of_the_opening_counts(refusal: Rejected | None) -> None:
    desk, outbox = Desk(refusal), LocalClient()
    syncs = ClientSyncs(desk, outbox, Identity(), NOTED)  # type: ignore[arg-type]  # a desk for syncs
    async with trio.open_nursery() as nursery:
        nursery.start_soon(syncs.open, trio.CapacityLimiter(1), REQUEST, syncs.expect("x"))
        await wait_all_tasks_blocked()
        desk.gate.set()
        syncs.close("x")
    assert await waiting(outbox) == []
    assert desk.syncing.statistics().sessions == 0


@replaces_what_is_compiled
async def test_a_message_whose_turn_comes_after_the_close_is_not_answered() -> None:
    desk, outbox = Desk(), LocalClient()
    syncs = ClientSyncs(desk, outbox, Identity(), NOTED)  # type: ignore[arg-type]  # a desk for syncs
    desk.gate.set()
    turns = trio.CapacityLimiter(1)
    await syncs.open(turns, REQUEST, syncs.expect("x"))
    assert [message[0] for message in await waiting(outbox)] == ["NEG-MSG"]
    assert syncs.wants_task(ContinueSync("x", LONG))
    syncs.close("x")
    await syncs.open(turns, REQUEST, syncs.expect("x"))
    await syncs.go_on(turns, ContinueSync("x", LONG))
    assert [message[0] for message in await waiting(outbox)] == ["NEG-MSG"]
    syncs.close_all()
    await syncs.go_on(turns, ContinueSync("x", LONG))
    assert await waiting(outbox) == []
    assert desk.syncing.statistics().sessions == 0
