"""Who doesn't read is left, and told so if he still listens; who reads slowly is waited for; nobody else is hurt."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Talker, open_door, plain
from tests.support.wire import PING, PONG, Wire, frame, message, open_wire
from trio_relay import Event, NetOptions, RelayOptions

pytestmark = pytest.mark.usefixtures("inline_threads")

SMALL = NetOptions(outbox_bytes=65_536)
LONG = [ALICE.event(str(number) + "x" * 20_000, created_at=NOW - number) for number in range(12)]
"""Three and a bit of these fill the small outbox."""


async def subscribe(wire: Wire, sub_id: str = "live") -> None:
    await wire.send(message("REQ", sub_id, {"limit": 0}))
    assert await wire.receive() == ["EOSE", sub_id]


async def publish(speaker: Talker, number: int) -> None:
    for event in LONG[:number]:
        assert await speaker.publish(event) == ["OK", event.id, True, ""]
    await wait_all_tasks_blocked()


async def test_a_client_that_does_not_read_is_left_within_a_second_and_the_others_get_everything(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with (
        open_door(net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as good,
        door.client() as speaker,
    ):
        await subscribe(wire)
        await good.ask("live", {"limit": 0})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish, speaker, len(LONG))
            for event in LONG:
                assert await good.receive() == ["EVENT", "live", plain(event)]
        assert trio.current_time() == 0
        await trio.sleep(0.99)
        assert door.server.statistics().connections == 3
        await trio.sleep(0.02)
        assert door.server.statistics().connections == 2
        assert door.server.statistics().close_reasons == {"too slow": 1}
        assert door.relay.statistics().broadcaster.subscriptions == 1
        assert await good.ask("again", {"limit": 1}) == [plain(LONG[0])]
    assert ("warning", "too slow") in [(entry["log_level"], entry.get("reason")) for entry in logged]


async def test_a_client_that_reads_again_in_time_is_told_why_it_is_left(autojump_clock: MockClock) -> None:
    async with (
        open_door(net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as speaker,
    ):
        await subscribe(wire)
        await publish(speaker, len(LONG))
        await trio.sleep(0.5)
        assert await wire.receive() == ["EVENT", "live", plain(LONG[0])]  # what was under way
        assert await wire.receive_close() == (1008, "too slow: messages wait to be read")
        assert await wire.receive_end() == b""


async def test_a_full_outbox_whose_content_is_all_under_way_still_ends_with_1008(autojump_clock: MockClock) -> None:
    """The writer finishes in the same moment in which the outbox overflows: the close frame must not be lost."""
    huge = ALICE.event("x" * 100_000)
    async with (
        open_door(net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as speaker,
    ):
        await subscribe(wire)
        await speaker.publish(huge)
        await wait_all_tasks_blocked()
        await speaker.publish(LONG[0])
        assert await wire.receive() == ["EVENT", "live", plain(huge)]
        assert (await wire.receive_close())[0] == 1008


async def test_a_client_that_does_not_read_what_little_there_is_gets_stuck(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_wire(door, lockstep_stream_pair) as wire, door.client() as speaker:
        await subscribe(wire)
        await trio.sleep(3)
        await publish(speaker, 1)
        await trio.sleep(19.9)
        assert door.server.statistics().connections == 2
        await trio.sleep(0.2)
        assert door.server.statistics().close_reasons == {"stuck": 1}
    assert ("warning", "stuck") in [(entry["log_level"], entry.get("reason")) for entry in logged]


@pytest.mark.parametrize(
    ("net", "events", "bytes_a_second", "ends_as"),
    [
        pytest.param(SMALL, LONG, 3_600, {}, id="many events through a small outbox"),
        pytest.param(SMALL, [ALICE.event("x" * 200_000)], 3_600, {}, id="a long event through a small outbox"),
        pytest.param(NetOptions(), LONG, 3_600, {}, id="many events"),
        pytest.param(NetOptions(), LONG, 3_200, {"stuck": 1}, id="too slow"),
        pytest.param(SMALL, [ALICE.event("x" * 200_000)], 3_200, {"stuck": 1}, id="too slow for a long event"),
    ],
)
async def test_a_client_that_reads_slowly_but_steadily_is_waited_for(
    net: NetOptions, events: list[Event], bytes_a_second: int, ends_as: dict[str, int], autojump_clock: MockClock
) -> None:
    """64 KiB must leave within 20 seconds, 3,277 bytes a second; no ping can be answered before it has been read."""
    store = ObedientStore()
    await store.save_many(events)
    async with open_door(store, net=net) as door, open_wire(door, lockstep_stream_pair) as wire:
        await wire.send(message("REQ", "all", {}))
        received = b""
        while not received.endswith(b'["EOSE","all"]'):
            await trio.sleep(1)
            data = bytes(await wire.stream.receive_some(bytes_a_second))
            if not data:
                break
            received += data
        await wait_all_tasks_blocked()
        assert door.server.statistics().close_reasons == ends_as
        assert (len(received) > 200_000) == (not ends_as)


async def test_who_does_not_read_his_answers_is_not_read_either(autojump_clock: MockClock) -> None:
    pings, rounds = frame(PING, b"x" * 98) * 100, 20
    sent: list[int] = []

    async def send_all() -> None:
        for number in range(rounds):
            await wire.stream.send_all(pings)
            sent.append(number)

    async with (
        open_door(net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all)
        await wait_all_tasks_blocked()
        # The pongs of four rounds are 40,000 bytes, over half of the outbox; those of three are not.
        assert len(sent) == 4
        for _ in range(100 * rounds):
            assert await wire.receive_frame() == (PONG, b"x" * 98)
        assert len(sent) == rounds
        assert door.server.statistics().close_reasons == {}


async def test_a_large_answer_that_is_not_read_leaves_room_for_live_events(autojump_clock: MockClock) -> None:
    store = ObedientStore(page_events=1)
    await store.save_many(LONG)
    live = [ALICE.event(f"live {number}", kind=7) for number in range(20)]
    async with (
        open_door(store, net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as speaker,
    ):
        await wire.send(message("REQ", "all", {}))
        await wait_all_tasks_blocked()
        for event in live:
            await speaker.publish(event)
        await trio.sleep(10)
        received: list[Any] = []
        while not received or received[-1] != ["EOSE", "all"]:
            received.append(await wire.receive())
        assert sorted(message[2]["id"] for message in received[:-1]) == sorted(event.id for event in [*LONG, *live])


async def test_a_stop_does_not_spare_who_is_too_slow_already(autojump_clock: MockClock) -> None:
    async with (
        open_door(net=SMALL) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as speaker,
    ):
        await subscribe(wire)
        await publish(speaker, len(LONG))
        await trio.sleep(0.5)
        door.stop.set()
        await trio.sleep(0.51)
        assert door.server.statistics().close_reasons["too slow"] == 1


async def test_a_stuck_client_that_waits_to_publish_has_published_nothing(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    narrow = RelayOptions(channel_parcels=0, verifiers=1, verify_batch=1, write_batch=1)
    async with (
        open_door(store, options=narrow) as door,
        open_wire(door, lockstep_stream_pair) as wire,
        door.client() as speaker,
    ):
        await subscribe(wire)
        await publish(speaker, 1)  # which the client does not read
        store.block("save_many")
        for event in LONG[1:3]:
            await speaker.send("EVENT", event)
            await wait_all_tasks_blocked()
        await wire.send(message("EVENT", LONG[3]))
        await trio.sleep(21)
        assert door.server.statistics().close_reasons == {"stuck": 1}
        store.release("save_many")
        await wait_all_tasks_blocked()
        assert store.contents() == {event.id for event in LONG[:3]}
