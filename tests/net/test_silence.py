"""Silent clients are pinged, dead ones are given up: at which second, on a virtual clock."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door
from tests.support.wire import PING, PONG, frame, message, open_wire
from trio_relay import NetOptions, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")


async def test_after_30_seconds_of_silence_comes_a_ping_and_20_seconds_later_the_end(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_wire(door) as wire:
        assert await wire.receive_frame() == (PING, b"")
        assert trio.current_time() == 30
        assert await wire.receive_end() == b""
        assert trio.current_time() == 50
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"silent": 1}
    assert {"event": "disconnected", "reason": "silent", "log_level": "debug"}.items() <= logged[-2].items()


async def test_the_times_are_configured_and_kept_within_a_second(autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(ping_seconds=3, pong_seconds=1.5)) as door:
        await trio.sleep(0.4)
        async with open_wire(door) as wire:
            assert await wire.receive_frame() == (PING, b"")
            assert trio.current_time() == 4  # 3.4, at the next look
            await wire.receive_end()
            assert trio.current_time() == 6  # 5.5, at the next look


@pytest.mark.parametrize("sign_of_life", [frame(PONG), frame(PING, b"?"), message("CLOSE", "a"), b"\x81"])
async def test_any_sign_of_life_keeps_the_connection(sign_of_life: bytes, autojump_clock: MockClock) -> None:
    patient = NetOptions(message_seconds=60)  # with one that has begun, too
    async with open_door(net=patient) as door, open_wire(door) as wire:
        assert await wire.receive_frame() == (PING, b"")
        await trio.sleep(19)
        await wire.send(sign_of_life)
        while (await wire.receive_frame())[0] != PING:
            pass
        assert trio.current_time() == 49 + 30
        assert door.server.statistics().connections == 1


async def test_a_client_that_answers_pings_stays_for_ever(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        await trio.sleep(600)
        assert await client.ask("still here", {}) == []
        assert door.server.statistics().close_reasons == {}


async def test_a_client_that_is_not_read_is_not_held_to_be_silent(autojump_clock: MockClock) -> None:
    """While the pipeline is full the relay doesn't read; no pong could reach it."""
    notes = [ALICE.event(str(number)) for number in range(4)]
    store = ObedientStore()
    store.block("save_many")
    narrow = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)
    async with open_door(store, options=narrow) as door, open_wire(door) as wire:
        for note in notes:
            await wire.send(message("EVENT", note))
            await wait_all_tasks_blocked()
        await trio.sleep(1000)
        assert door.server.statistics().connections == 1
        store.release("save_many")
        answers = [await wire.receive() for _ in notes]
        assert answers == [["OK", note.id, True, ""] for note in notes]


async def test_a_live_stream_alone_does_not_show_that_the_client_lives(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire, door.client() as speaker:
        await wire.send(message("REQ", "live", {}))
        assert await wire.receive() == ["EOSE", "live"]
        for number in range(60):
            await trio.sleep(1)
            await speaker.publish(ALICE.event(str(number)))
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == {"silent": 1}
