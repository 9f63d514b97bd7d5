"""Whatever another relay sends, on any level: what was asked of it ends, and what is raised is told in words."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.support import strategies
from tests.support.keys import ALICE
from tests.support.marks import examples
from tests.support.other_relays import Actor, acted, shake, streamed
from tests.support.syncing import FIRST
from trio_relay.peers import options, peer, waiting

QUICK = options.PeerOptions(connect_seconds=4, answer_seconds=3, idle_seconds=10, max_message_bytes=10_000, patience=20)

ids = st.sampled_from(["r1", "r2", "r3", "r4", "x", "", ALICE.event().id])
values: st.SearchStrategy[Any] = (
    ids
    | st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=9)
    | strategies.events().map(msgspec.to_builtins)
    | st.just({"count": 3})
    | st.just("61")
    | st.just(["finish"])
    | st.just("auth-required: who are you")
)
verbs = st.sampled_from(["EVENT", "OK", "EOSE", "CLOSED", "COUNT", "AUTH", "NEG-MSG", "NEG-ERR", "NOTICE", "HELLO"])
said = st.builds(
    lambda verb, first, rest: msgspec.json.encode([verb, first, *rest]).decode(),
    verbs,
    ids,
    st.lists(values, max_size=3),
) | st.text(max_size=20)


async def listen(one: peer.Peer) -> None:
    async with one.subscribe([{}]) as subscription:
        async for _ in subscription:
            if subscription.has_all_stored:
                return


async def compare(one: peer.Peer) -> None:
    async with one.negotiate({}, FIRST) as negotiation:
        await negotiation.say(FIRST)


async def publish(one: peer.Peer) -> None:
    await one.publish(ALICE.event())


async def count(one: peer.Peer) -> None:
    await one.count({})


async def ask_everything(one: peer.Peer) -> None:
    async def tolerant(ask: Callable[[peer.Peer], Awaitable[None]]) -> None:
        with contextlib.suppress(waiting.PeerLost, waiting.PeerRefused):
            await ask(one)

    async with trio.open_nursery() as nursery:
        for ask in (listen, compare, count, publish):
            nursery.start_soon(tolerant, ask)


@settings(max_examples=examples(200))
@given(st.lists(said, max_size=40), st.booleans())
def test_whatever_a_relay_says_what_was_asked_ends(texts: list[str], stays: bool) -> None:
    async def script(actor: Actor) -> None:
        for text in texts:
            await actor.connection.send_message(text)
        if stays:
            await actor.listen()

    async def main() -> None:
        async with acted(script, settings=QUICK) as one:
            await ask_everything(one)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=examples(200))
@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\x81\x05hello", b"\x89\x00", b"\x88\x02\x03\xe8"])))
def test_whatever_bytes_come_after_the_handshake_what_was_asked_ends(parts: list[bytes]) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await shake(stream)
        for part in parts:
            await stream.send_all(part)
        await stream.aclose()

    async def main() -> None:
        try:
            async with streamed(serve, settings=QUICK) as one:
                await ask_everything(one)
        except* waiting.PeerLost:
            pass  # and nothing else

    trio.run(main, clock=MockClock(autojump_threshold=0))
