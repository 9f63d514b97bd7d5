"""A stranger who does as a script says, and an honest client beside it on one relay.

The honest client writes only what it alone can write, and asks only for that, so nothing that the stranger may do
changes a word of its conversation; and what the stranger has made the relay hold has gone with it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache, partial
from typing import Final, TypeAlias

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fuzz.script import Step, read
from tests.fuzz.stranger import (
    DELETION,
    FLEETING,
    LETTER,
    NAME,
    NEWER_PROFILE,
    NOTE,
    OTHER_NOTE,
    PROFILE,
    WRAP,
    address_of,
    open_stranger,
    pair_from,
)
from tests.support.keys import ALICE, NOW
from tests.support.named_relay import auth_event, open_named, rules_for
from tests.support.server import Door, run_threads_inline
from tests.support.syncing import FIRST
from tests.support.wire import PING, PONG, TEXT, Wire, frame, message, open_stream
from trio_relay import Event, Limits, MemoryStore
from trio_relay.net import server as server_module

Heard: TypeAlias = list[list[str]]
"""What the honest client is told in each of its turns."""
_Turn: TypeAlias = Callable[[], Awaitable[list[str]]]

_ADDRESS: Final = "198.51.100.1"
_SETTLED: Final = 3.0
"""Seconds, virtual ones, after which nothing is left of a client that has gone."""


def feed(script: bytes) -> None:
    """Have a stranger do as a script says beside an honest client.

    Raises:
        AssertionError: something has come of it that may not.
    """
    assert _talk(list(read(script))) == _alone(), "the honest client heard something else than it does alone"


@cache
def _alone() -> Heard:
    return _talk([])


def _talk(steps: Sequence[Step]) -> Heard:
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as told:
        run_threads_inline(patch)
        patch.setattr(server_module, "peer_address", address_of)
        heard = trio.run(partial(_meet, steps), clock=MockClock(autojump_threshold=0))
    alarms = [line for line in told if line["log_level"] not in ("debug", "info")]
    assert not alarms, "a stranger writes no warnings into the log, and no tracebacks"
    return heard


async def _meet(steps: Sequence[Step]) -> Heard:
    """The turns of the honest client, and the steps shared out among them."""
    rules = rules_for(limits=Limits(max_subscriptions=5, max_message_length=20_000))
    heard: Heard = []
    async with (
        open_named(MemoryStore(), rules, clock=lambda: NOW) as door,
        open_stream(door, partial(pair_from, _ADDRESS)) as wire,
    ):
        honest = _Honest(wire, door)
        await honest.begin()
        before = await _what_is_held(door)
        turns = list(honest.turns())
        portion = -(-len(steps) // len(turns))
        async with open_stranger(door) as stranger:
            for place, turn in enumerate(turns):
                await stranger.do(steps[place * portion : (place + 1) * portion])
                heard.append(await turn())
        assert await _what_is_held(door) == before, "something is left of a client that has gone"
    return heard


async def _what_is_held(door: Door) -> dict[str, object]:
    """How full the relay's tables are, once it has had time."""
    await trio.sleep(_SETTLED)
    await wait_all_tasks_blocked()
    relay, net = door.relay.statistics(), door.server.statistics()
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "connections": net.connections,
        "bytes": net.held_bytes,
        "subscriptions": relay.broadcaster.subscriptions,
        "filter values": relay.broadcaster.filter_values,
        "keys of the index": relay.broadcaster.index_keys,
        "queries": relay.queries.running,
        "turns": (relay.turns.running, relay.turns.waiting),
        "syncs": (relay.syncing.sessions, relay.syncing.held),
        "channels": {name: channel.depth for name, channel in relay.channels.items()},
    }


class _Honest:
    """Writes, listens, asks, counts and syncs; all about its own events."""

    def __init__(self, wire: Wire, door: Door) -> None:
        self._wire = wire
        self._door = door

    async def begin(self) -> None:
        """Authenticate, so that private events are for it."""
        await self._wire.open()
        _, challenge = await self._wire.receive()
        await self._wire.send(message("AUTH", auth_event(ALICE, challenge, created_at=NOW)))
        assert (await self._wire.receive())[2:] == [True, ""]

    def turns(self) -> Iterator[_Turn]:
        """What it does, one after the other, and what it hears of each, to its end."""
        mine, to_me = {"authors": [ALICE.pubkey]}, {"kinds": [1_059], "#p": [ALICE.pubkey]}
        yield self._publishing(NOTE)
        yield self._asking("EOSE", "REQ", "live", mine, to_me)
        for event in (OTHER_NOTE, PROFILE, LETTER, WRAP, FLEETING):
            yield self._publishing(event, is_live=True)
        yield self._asking("COUNT", "COUNT", "count", mine)
        yield self._asking("EOSE", "REQ", "search", mine | {"search": "tea"})
        yield self._asking("NEG-MSG", "NEG-OPEN", "sync", mine, FIRST.hex())
        yield self._publishing(NEWER_PROFILE, is_live=True)
        yield self._publishing(DELETION, is_live=True)
        yield self._publishing(NOTE)
        yield self._asking("EOSE", "REQ", "all", mine, to_me)
        yield self._visiting
        yield partial(self._closing, "CLOSE", "live", "search", "all")
        yield partial(self._closing, "NEG-CLOSE", "sync")
        yield partial(self._heard_until, Counter())

    def _publishing(self, event: Event, *, is_live: bool = False) -> _Turn:
        async def publish() -> list[str]:
            await self._wire.send(message("EVENT", event))
            return sorted(await self._heard_until(Counter({"OK": 1, "EVENT": is_live})))

        return publish

    def _asking(self, last: str, verb: str, name: str, *rest: object) -> _Turn:
        async def ask() -> list[str]:
            await self._wire.send(message(verb, f"{NAME}{name}", *rest))
            return await self._heard_until(Counter([last]))

        return ask

    async def _closing(self, verb: str, *names: str) -> list[str]:
        await self._wire.send(*(message(verb, f"{NAME}{name}") for name in names))
        return await self._heard_until(Counter())

    async def _visiting(self) -> list[str]:
        """What it is told over HTTP."""
        async with open_stream(self._door, partial(pair_from, _ADDRESS)) as wire:
            document = await wire.ask(Accept="application/nostr+json")
            health = await wire.ask(target="/health")
        return [f"{reply.status} {reply.body!r}" for reply in (document, health)]

    async def _heard_until(self, wanted: Counter[str]) -> list[str]:
        """All texts up to those whose verbs are wanted, and to the answer to a ping behind them."""
        heard: list[str] = []
        while wanted.total() > 0:
            heard += await self._next()
            wanted -= Counter([json.loads(heard[-1])[0]] if heard else [])
        await self._wire.send(frame(PING, b"?"))
        while more := await self._next(PONG):
            heard += more
        return heard

    async def _next(self, end: int | None = None) -> list[str]:
        """The next text; none for a frame of this kind, which is the end of what is heard. Pings are passed over."""
        while (received := await self._wire.receive_frame())[0] == PING:
            pass
        opcode, payload = received
        assert opcode in (TEXT, end), (opcode, payload)
        return [payload.decode()] if opcode == TEXT else []
