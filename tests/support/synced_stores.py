"""Two stores, and a sync between them: this relay's own, and that of another relay of ours behind a door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.keys import NOW
from tests.support.other_relays import peer_of
from tests.support.server import open_door
from trio_relay import Event, Limits, MemoryStore, RelayInfo, Rules, Store, SyncOptions, open_relay
from trio_relay.nostr import signer as signing
from trio_relay.peers import intake, outcomes, own_side, passage, peer, synchronizing
from trio_relay.policy.identity import Identity


@asynccontextmanager
async def passage_to(
    one: peer.Peer, store: Store, report: outcomes.SyncReport, *, most_items: int = 100_000, direction: str = "both"
) -> AsyncIterator[passage.Passage]:
    """What passes between a peer and a relay of ours over this store; all that came is stored at its end."""
    async with open_relay(store, clock=lambda: NOW) as relay:
        own = own_side.OwnSide(store, relay.rules.private_kinds, most_items)
        taken = intake.SyncIntake(relay, Identity(is_operator=True), report.down)
        takes, gives = direction != "up", direction != "down"
        yield passage.Passage(one, own, taken, report, takes=takes, gives=gives)


async def synced(
    here: Store,
    there: Store,
    filter_: dict[str, Any] | None = None,
    *,
    direction: str = "both",
    most_items: int = 100_000,
    limits: Limits | None = None,
    sync: SyncOptions | None = None,
    has_sync: bool = True,
    has_hints: bool = False,
    signer: signing.Signer | None = None,
) -> outcomes.SyncReport:
    """Sync two stores, the other one by what its relay is set to; tells how it went."""
    report = outcomes.SyncReport()
    rules = Rules(limits or Limits(), info=RelayInfo(eose_hints=has_hints), has_sync=has_sync)
    async with (
        open_door(there, rules, sync=sync) as door,
        peer_of(door, signer=signer) as one,
        passage_to(one, here, report, most_items=most_items, direction=direction) as way,
    ):
        await synchronizing.synchronize(way, filter_ or {})
    return report


async def store_of(events: Iterable[Event]) -> MemoryStore:
    """One that holds these."""
    store = MemoryStore()
    if batch := list(events):
        await store.save_many(batch)
    return store
