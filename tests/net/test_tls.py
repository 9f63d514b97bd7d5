"""TLS at the door: who is served, what becomes of those who aren't, and the end of a conversation."""

from __future__ import annotations

import pytest
from trio.testing import memory_stream_pair

from tests.support.authority import certified, open_secure
from tests.support.keys import ALICE
from tests.support.server import Pair, open_door, socket_pair
from tests.support.wire import message
from trio_relay.net.listeners import Preamble
from trio_relay.net.tls import Tls

pytestmark = pytest.mark.usefixtures("inline_threads")

SECURE = Preamble(tls=True)
LONG = bytes(range(256)) * 4_000
each_pair = pytest.mark.parametrize("pair", [memory_stream_pair, socket_pair], ids=["memory", "sockets"])


@each_pair
async def test_a_client_is_served_as_without(pair: Pair) -> None:
    async with open_door(preamble=SECURE, tls=Tls(certified())) as door, open_secure(door, pair) as wire:
        assert (await wire.ask()).body == b"hello\n"
        await wire.open()
        event = ALICE.event("through the tunnel")
        await wire.send(message("EVENT", event), message("REQ", "a", {"limit": 1}))
        assert await wire.receive() == ["OK", event.id, True, ""]
        assert (await wire.receive())[:2] == ["EVENT", "a"]
        assert (await wire.receive())[:2] == ["EOSE", "a"]
        assert door.server.statistics().tls_failures == {}
