"""Other relays that send garbage, flood, are silent, lie or are gone: each is borne up to a bound, then given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB
from tests.support.other_relays import ALICE_SIGNS, NAME, Actor, acted, streamed
from tests.support.syncing import FIRST
from trio_relay.peers import dialing, messages, options, peer, waiting

QUICK = options.PeerOptions(connect_seconds=4, answer_seconds=3, idle_seconds=10, max_message_bytes=10_000)


async def silence(actor: Actor) -> None:
    await actor.listen()


async def gone(_actor: Actor) -> None:
    pass


def saying(*message: object, times: int = 1_000) -> Callable[[Actor], Awaitable[None]]:
    async def script(actor: Actor) -> None:
        for _ in range(times):
            await actor.say(*message)
        await actor.listen()

    return script


async def bytes_only(actor: Actor) -> None:
    while True:
        await actor.connection.send_message(b'["NOTICE","bytes"]')


async def too_long(actor: Actor) -> None:
    await actor.say("NOTICE", "x" * 20_000)
    await actor.listen()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (gone, "it closed the connection with code 1000"),
        (saying("NOTICE", "hello"), "it floods: notices"),
        (saying("EVENT", "x", ALICE.event("hello")), "it floods: events of a subscription that nobody has opened"),
        (saying("OK", "a" * 64, True, ""), "it floods: messages that nobody waits for"),
        (saying("AUTH", "word"), "it floods: messages that nobody waits for"),
        (saying("NEG-ERR", "x", "no"), "it floods: messages that nobody waits for"),
        (saying("CLOSED", "x", "no"), "it floods: messages that nobody waits for"),
        (saying("HELLO"), "it floods: a message of a verb that no relay uses, or of another form"),
        (bytes_only, "it floods: a message of bytes"),
        (too_long, "it sent a message of more than 10000 bytes"),
    ],
)
async def test_a_peer_that_is_too_much_is_given_up_and_it_is_said_why(
    autojump_clock: MockClock, script: Callable[[Actor], Awaitable[None]], reason: str
) -> None:
    async with acted(script, settings=QUICK) as one:
        assert str(await one.until_lost()) == reason
        with pytest.raises(waiting.PeerLost, match=reason):
            await one.publish(ALICE.event())
        with pytest.raises(waiting.PeerLost, match=reason):
            await one.count({})


async def test_a_notice_a_second_is_borne_for_ever(autojump_clock: MockClock) -> None:
    async def script(actor: Actor) -> None:
        while True:
            await actor.say("NOTICE", "hello")
            await trio.sleep(1)

    async with acted(script, settings=QUICK) as one:
        with trio.move_on_after(1_000) as listening:
            await one.until_lost()
        assert list(one.remarks) == ["hello"] * 10
        assert listening.cancelled_caught


async def test_events_that_were_not_asked_for_are_dropped() -> None:
    asked, other = ALICE.event("asked"), BOB.event("not asked")

    async def script(actor: Actor) -> None:
        _, sub_id, _ = await actor.hear()
        for event in (other, asked, other):
            await actor.say("EVENT", sub_id, event)
        await actor.say("EOSE", sub_id)
        await actor.say("EOSE", sub_id)
        await actor.listen()

    async with acted(script) as one, one.subscribe([{"authors": [ALICE.pubkey]}]) as subscription:
        assert await anext(subscription) == asked
        assert isinstance(await anext(subscription), messages.StoredEnd)
        assert one.unasked == 2


async def test_events_that_are_late_are_no_fault() -> None:
    async def script(actor: Actor) -> None:
        _, sub_id, _ = await actor.hear()
        await actor.hear()
        for _ in range(1_000):
            await actor.say("EVENT", sub_id, ALICE.event())
        _, count_id, _ = await actor.hear()
        await actor.say("COUNT", count_id, {"count": 7})
        await actor.listen()

    async with acted(script) as one:
        async with one.subscribe([{}]):
            pass
        assert await one.count({}) == 7
        assert one.unasked == 0


async def publish(one: peer.Peer) -> None:
    await one.publish(ALICE.event())


async def listen(one: peer.Peer) -> None:
    async with one.subscribe([{}]) as subscription:
        await anext(subscription)


async def count(one: peer.Peer) -> None:
    await one.count({})


async def compare(one: peer.Peer) -> None:
    async with one.negotiate({}, FIRST):
        pass


@pytest.mark.parametrize("ask", [publish, listen, count, compare])
async def test_what_is_not_answered_ends_by_its_deadline(
    autojump_clock: MockClock, ask: Callable[[peer.Peer], Awaitable[None]]
) -> None:
    async with acted(silence, settings=QUICK) as one:
        with pytest.raises(waiting.Unanswered, match="not answered within 3 seconds"):
            await ask(one)
        assert trio.current_time() == pytest.approx(3)


async def test_a_live_subscription_may_be_silent(autojump_clock: MockClock) -> None:
    async def script(actor: Actor) -> None:
        _, sub_id, _ = await actor.hear()
        await actor.say("EOSE", sub_id)
        await trio.sleep(10_000)
        await actor.say("EVENT", sub_id, ALICE.event("late"))
        await actor.listen()

    async with acted(script, settings=QUICK) as one, one.subscribe([{}]) as subscription:
        assert isinstance(await anext(subscription), messages.StoredEnd)
        assert await anext(subscription) == ALICE.event("late")


async def test_whoever_waits_hears_that_the_peer_is_gone() -> None:
    async def script(actor: Actor) -> None:
        for _ in range(4):
            await actor.hear()

    lost = list[object]()

    async def waits(ask: Callable[[peer.Peer], Awaitable[None]]) -> None:
        with pytest.raises(waiting.PeerLost):
            await ask(one)
        lost.append(ask)

    async with acted(script) as one, trio.open_nursery() as nursery:
        for ask in (publish, listen, count, compare):
            nursery.start_soon(waits, ask)
    assert len(lost) == 4


async def test_a_notice_can_be_all_that_a_relay_says_that_knows_no_sync() -> None:
    async def script(actor: Actor) -> None:
        await actor.hear()
        await actor.say("NOTICE", "welcome")
        await actor.say("NOTICE", "could not parse command")
        await actor.listen()

    async with acted(script) as one:
        with pytest.raises(waiting.PeerRefused, match="could not parse command"):
            async with one.negotiate({}, FIRST):
                pass


async def test_a_key_is_not_shown_for_ever(autojump_clock: MockClock) -> None:
    """To a relay that wants one each time, whatever it is shown."""

    async def script(actor: Actor) -> None:
        await actor.say("AUTH", "word")
        while True:
            verb, *rest = await actor.hear()
            if verb == "EVENT":
                await actor.say("OK", rest[0]["id"], False, "auth-required: who are you")
            elif verb == "AUTH":
                await actor.say("OK", rest[0]["id"], True, "")
            elif verb == "REQ":
                await actor.say("CLOSED", rest[0], "ERROR: auth-required: who are you")

    async with acted(script, signer=ALICE_SIGNS) as one:
        assert not (await one.publish(ALICE.event())).accepted
        async with one.subscribe([{}]) as subscription:
            assert [item async for item in subscription] == [messages.Ending("r1", "ERROR: auth-required: who are you")]


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async def script(actor: Actor) -> None:
        await trio.sleep_forever()

    big = ALICE.event("x" * 9_000)
    async with acted(script, settings=QUICK) as one, trio.open_nursery() as nursery:
        lost = []

        async def publish_big() -> None:
            with pytest.raises(waiting.PeerLost):
                await one.publish(big)
            lost.append(True)

        for _ in range(30):
            nursery.start_soon(publish_big)
    assert len(lost) == 30


async def test_a_peer_of_which_nothing_is_heard_is_given_up(autojump_clock: MockClock) -> None:
    """One that answers pings is not: its library does that as long as it is there."""

    async def script(actor: Actor) -> None:
        await trio.sleep(1_000)
        actor.freeze()
        await trio.sleep_forever()

    async with acted(script, settings=QUICK) as one:
        assert str(await one.until_lost()) == "nothing was heard of it for 20 seconds"
        assert 1_000 < trio.current_time() < 1_030


# Before there is a connection.


async def hangs(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def ends(stream: trio.abc.Stream) -> None:
    await stream.aclose()


def answering(answer: bytes, *, then_more: bytes = b"") -> Callable[[trio.abc.Stream], Awaitable[None]]:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        while then_more:
            await stream.send_all(then_more)
        await trio.sleep_forever()

    return serve


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (hangs, "no handshake within 4 seconds"),
        (ends, "it does not speak WebSocket"),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), "it does not speak WebSocket"),
        (answering(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), "it refused the handshake with status 403"),
        (answering(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), "it refused the handshake with status 502"),
        (
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", then_more=b"x" * 60_000),
            "it does not speak WebSocket",
        ),
    ],
)
async def test_where_no_relay_is_that_is_said(
    autojump_clock: MockClock, serve: Callable[[trio.abc.Stream], Awaitable[None]], reason: str
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(waiting.PeerLost, match=reason)):
        async with streamed(serve, settings=QUICK):
            pass


async def test_nobody_there_is_said() -> None:
    async def dial(_url: dialing.RelayUrl) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(waiting.PeerLost, match="no connection: Connection refused"):
        async with peer.open_peer(NAME, dial=dial):
            pass


async def test_nobody_answers_is_said(autojump_clock: MockClock) -> None:
    async def dial(_url: dialing.RelayUrl) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(waiting.PeerLost, match="no connection within 20 seconds"):
        async with peer.open_peer(NAME, dial=dial):
            pass


@pytest.mark.parametrize("url", ["http://relay.example", "relay.example", "wss://", "ws:///x", "wss://[::1"])
async def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        async with peer.open_peer(url):
            pass


@pytest.mark.parametrize(
    ("url", "authority", "resource"),
    [
        ("wss://relay.example", "relay.example", "/"),
        ("ws://relay.example:80/a?b=c", "relay.example", "/a?b=c"),
        ("wss://relay.example:80/", "relay.example:80", "/"),
        ("ws://[::1]:7777", "[::1]:7777", "/"),
        ("wss://bücher.example", "xn--bcher-kva.example", "/"),
    ],
)
def test_a_url_is_taken_apart(url: str, authority: str, resource: str) -> None:
    parsed = dialing.parse_url(url)
    assert (parsed.authority, parsed.resource) == (authority, resource)
