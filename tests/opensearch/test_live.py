"""Two relays on one index of a real node: what is published on either is live on both, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.opensearch.inside import inside
from tests.opensearch.live import publish, subscribe
from tests.opensearch.pairs import Relays
from tests.support.indices import make, options_for
from tests.support.keys import ALICE, BOB, NOW
from tests.support.local_bus import LocalBus
from trio_relay import Relay, open_opensearch, open_relay

pytestmark = pytest.mark.exhaustive

EVENTS = 2_000


@asynccontextmanager
async def two(node: str, prefix: str, *, has_bus: bool) -> AsyncIterator[tuple[tuple[Relay, Relay], Relays]]:
    """Two relays and their stores."""
    options = options_for(node, prefix, refresh_seconds=0.5)
    bus = LocalBus() if has_bus else None
    members = [bus.join() for _ in range(2)] if bus is not None else [None, None]
    with trio.fail_after(240):
        await make(options)
        async with (
            open_opensearch(options, bus=members[0]) as one,
            open_opensearch(options, bus=members[1]) as other,
            open_relay(one, clock=lambda: NOW) as relay,
            open_relay(other, clock=lambda: NOW) as second,
        ):
            yield (relay, second), (one, other)


@pytest.mark.parametrize("has_bus", [False, True], ids=["index", "bus"])
async def test_two_thousand_events_published_in_turn_are_live_on_both_once(
    node: str, prefix: str, has_bus: bool
) -> None:
    events = [(ALICE, BOB)[number % 2].event(f"{number}", created_at=NOW - number) for number in range(EVENTS)]
    async with two(node, prefix, has_bus=has_bus) as (relays, stores):
        hearers = [await subscribe(relay) for relay in relays]
        for number, event in enumerate(events):
            assert await publish(relays[number % 2], event) == [(event.id, True, "")]
            if number % 400 == 100:  # whose answers cross with what is on its way
                hearers += [await subscribe(relay) for relay in relays]
        for hearer in hearers:
            await hearer.until(EVENTS)
        for store in stores:
            await inside(store).follower.look(is_fresh=True)  # whatever would come twice
            if has_bus:
                assert inside(store).others.heard["bus"] == EVENTS // 2
        ids = {event.id for event in events}
        assert [Counter(hearer.heard) for hearer in hearers] == [Counter(ids)] * len(hearers)
