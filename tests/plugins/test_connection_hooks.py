"""Who wants to connect is judged before its handshake is answered."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import trio
from trio.testing import MockClock

from tests.support.server import Door, open_door
from tests.support.wire import Reply, open_stream, upgrade
from trio_relay import Hooks, Judges, NetOptions, Reject, Source

BEHIND_PROXY = NetOptions(trusted_proxies=("192.0.2.1",))


def hooks(on_connect: Callable[[Source], object]) -> Judges:
    return Hooks(SimpleNamespace(on_connect=on_connect), timeout_seconds=1).judges


async def shaken(door: Door, **headers: str) -> Reply:
    """What a handshake is answered; a refused client is disconnected."""
    async with open_stream(door) as wire:
        await wire.send(upgrade(**headers))
        reply = await wire.reply()
        if reply.status != 101:
            await wire.receive_end()
        return reply


async def test_who_is_refused_hears_why_and_is_disconnected(autojump_clock: MockClock) -> None:
    async with open_door(judges=hooks(lambda _source: Reject("come back with an invitation"))) as door:
        reply = await shaken(door)
        assert (reply.status, reply.body) == (403, b"blocked: come back with an invitation\n")
        assert door.server.statistics().refusals.requests == {"403": 1}
        assert door.server.statistics().accepted == 0


async def test_who_is_welcome_connects(autojump_clock: MockClock) -> None:
    async with open_door(judges=hooks(lambda _source: None)) as door, door.client() as client:
        assert await client.ask("a", {"limit": 1}) == []


async def test_a_judge_is_told_the_client_and_not_the_proxy(peers: list[str], autojump_clock: MockClock) -> None:
    seen: list[Source] = []

    async def note(source: Source) -> None:
        await trio.sleep(0.1)
        seen.append(source)

    peers += ["192.0.2.1", "198.51.100.7"]
    async with open_door(net=BEHIND_PROXY, judges=hooks(note)) as door:
        for _ in range(3):
            assert (await shaken(door, X_Forwarded_For="203.0.113.9")).status == 101
    assert seen == [Source("203.0.113.9"), Source("198.51.100.7"), Source("")]


async def test_a_judge_that_fails_refuses_for_now(autojump_clock: MockClock) -> None:
    async def never(_source: Source) -> None:
        await trio.sleep_forever()

    async with open_door(judges=hooks(never)) as door:
        reply = await shaken(door)
        assert (reply.status, reply.body) == (503, b"error: the relay could not judge this; try again later\n")


async def test_nobody_is_judged_for_reading_a_page(autojump_clock: MockClock) -> None:
    async with open_door(judges=hooks(lambda _source: False)) as door, open_stream(door) as wire:
        assert (await wire.ask()).status == 200
        assert (await wire.ask(target="/health")).status == 200
        assert (await wire.ask(Accept="application/nostr+json")).status == 200


async def test_a_relay_stops_while_somebody_is_judged(autojump_clock: MockClock) -> None:
    began = trio.Event()

    async def ponder(_source: Source) -> None:
        began.set()
        await trio.sleep_forever()

    judge = Hooks(SimpleNamespace(on_connect=ponder), timeout_seconds=3_600)
    async with open_door(net=NetOptions(grace_seconds=5), judges=judge.judges) as door, open_stream(door) as wire:
        await wire.send(upgrade())
        await began.wait()
        stopped = trio.current_time()
    assert trio.current_time() - stopped <= 5
