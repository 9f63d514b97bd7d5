"""A client and the relay over a memory wire: NIP-01 as a client sees it."""

from __future__ import annotations

import pytest

from tests.keys import ALICE
from tests.wires import open_door

pytestmark = pytest.mark.usefixtures("inline_threads", "autojump_clock")


async def test_an_event_is_stored_and_found() -> None:
    event = ALICE.event("hello")
    async with open_door() as door, door.client() as client:
        assert await client.publish(event) == ["OK", event.id, True, ""]
        assert [found["id"] for found in await client.ask("a", {"ids": [event.id]})] == [event.id]


async def test_a_live_event_reaches_who_subscribed() -> None:
    event = ALICE.event("hello")
    async with open_door() as door, door.client() as listener, door.client() as speaker:
        assert await listener.ask("live", {"kinds": [1]}) == []
        await speaker.publish(event)
        assert (await listener.receive())[:2] == ["EVENT", "live"]
