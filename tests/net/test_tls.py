"""TLS at the door: who is served, what becomes of those who aren't, and the end of a conversation."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.support.authority import NAME, certified, open_secure, shown, trust
from tests.support.keys import ALICE
from tests.support.server import Pair, open_door, socket_pair
from tests.support.wire import CLOSE, Wire, closing, frame, message, open_stream, upgrade
from trio_relay import Limits, NetOptions
from trio_relay.net import listeners
from trio_relay.net import server as server_module
from trio_relay.net.tls import CertifiedKey, Term, Tls, TlsRefused, term_of

pytestmark = pytest.mark.usefixtures("inline_threads")

SECURE = listeners.Preamble(tls=True)
GOOD, OTHER = certified(), certified()
each_pair = pytest.mark.parametrize("pair", [memory_stream_pair, socket_pair], ids=["memory", "sockets"])


@each_pair
async def test_a_client_is_served_as_without(pair: Pair) -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_secure(door, pair) as wire:
        assert (await wire.ask()).body == b"hello\n"
        await wire.open()
        event = ALICE.event("through the tunnel")
        await wire.send(message("EVENT", event), message("REQ", "a", {"limit": 1}))
        assert await wire.receive() == ["OK", event.id, True, ""]
        assert (await wire.receive())[:2] == ["EVENT", "a"]
        assert (await wire.receive())[:2] == ["EOSE", "a"]
        assert door.server.statistics().tls_failures == {}


@pytest.mark.parametrize("most", [None, 1_000], ids=["fast", "a thousand bytes at a time"])
async def test_answers_larger_than_any_record_come_whole_and_in_their_order(most: int | None) -> None:
    limits = Limits(max_content_length=200_000, max_message_length=300_000)
    async with (
        open_door(limits=limits, preamble=SECURE, tls=Tls(GOOD)) as door,
        open_secure(door, lockstep_stream_pair) as wire,  # which buffers nothing
    ):
        await wire.open()
        wire.most_bytes = most
        events = [ALICE.event(f"{number}" * 100_000, created_at=number) for number in range(1, 4)]
        for event in events:
            await wire.send(message("EVENT", event))
            assert await wire.receive() == ["OK", event.id, True, ""]
        await wire.send(message("REQ", "all", {"limit": 10}))
        found = [(await wire.receive())[2]["content"] for _ in events]
        assert found == [event.content for event in reversed(events)]


async def test_a_client_that_does_not_read_is_found_stuck(autojump_clock: MockClock) -> None:
    async with (
        open_door(preamble=SECURE, tls=Tls(GOOD)) as door,
        open_secure(door, lockstep_stream_pair) as wire,
    ):
        await wire.open()
        await wire.send(message("REQ", "a", {"limit": 0}))
        await trio.sleep(NetOptions().send_seconds + 2)
        assert door.server.statistics().close_reasons == {"stuck": 1}


@each_pair
async def test_the_relay_has_its_last_words_and_says_that_they_were_the_last(pair: Pair) -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door:
        stream = await door.listener.connect(pair)
        strict: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(stream, trust(), server_hostname=NAME)
        wire = Wire(strict)
        await wire.open()
        door.stop.set()
        assert (await wire.receive_close())[0] == 1012
        await wire.send(frame(CLOSE, (1012).to_bytes(2)))
        assert await strict.receive_some() == b""  # without the last word of TLS it would raise
        await strict.aclose()


async def test_who_speaks_until_the_end_is_read_until_the_end() -> None:
    """Else the kernel would reset the connection, and the client lose what was said to it."""
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_secure(door, socket_pair) as wire:
        await wire.open()
        await wire.send(closing(1000), frame(1, b"more") * 50)
        assert (await wire.receive_close())[0] == 1000
        await wire.send(frame(1, b"and more") * 50)
        assert await wire.receive_end() == b""
        await wire.stream.aclose()
        await wait_all_tasks_blocked()


@each_pair
async def test_a_client_may_go_without_a_last_word(pair: Pair) -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door:
        async with open_secure(door, pair) as wire:
            await wire.open()
        while not door.server.statistics().close_reasons:
            await trio.lowlevel.checkpoint()
        assert door.server.statistics().close_reasons == {"lost": 1}


async def test_a_response_that_is_the_last_one_ends_with_a_last_word() -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door:
        stream = await door.listener.connect()
        strict: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(stream, trust(), server_hostname=NAME)
        wire = Wire(strict)
        await wire.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert (await wire.reply()).status == 400
        assert await strict.receive_some() == b""
        await trio.aclose_forcefully(stream)


async def test_who_speaks_plain_http_is_told_so() -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_stream(door) as wire:
        await wire.send(upgrade())
        reply = await wire.reply()
        assert (reply.status, reply.body) == (400, b"this address speaks TLS: connect by wss:// or https://\n")
        assert await wire.receive_end() == b""
        statistics = door.server.statistics()
        assert (statistics.tls_failures, statistics.refusals.requests) == ({"http request": 1}, {"400": 1})


async def test_who_speaks_something_else_hears_nothing() -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_stream(door) as wire:
        await wire.send(b"\x00" * 100)
        assert await wire.receive_end() == b""
        statistics = door.server.statistics()
        assert sum((statistics.tls_failures or {}).values()) == 1
        assert statistics.refusals.requests == {"unanswered": 1}


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_who_leaves_in_the_middle_is_no_fault_of_anybody(hello: bytes) -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door:
        async with open_stream(door) as wire:
            if hello:
                await wire.send(hello)
        await wait_all_tasks_blocked()
        statistics = door.server.statistics()
        assert (statistics.tls_failures, statistics.refusals.requests) == ({"closed": 1}, {})


async def test_a_handshake_has_its_time(autojump_clock: MockClock) -> None:
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_stream(door) as wire:
        await wire.send(b"\x16\x03\x01\x02\x00\x01")
        assert await wire.receive_end() == b""
        assert trio.current_time() == NetOptions().handshake_seconds
        assert door.server.statistics().tls_failures == {"too slow": 1}


async def test_half_of_a_handshake_makes_room_for_who_comes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS", 2)
    async with (
        open_door(preamble=SECURE, tls=Tls(GOOD)) as door,
        open_stream(door) as first,
        open_stream(door) as second,
        open_secure(door) as third,
    ):
        await wait_all_tasks_blocked()
        await second.send(b"\x16\x03\x01\x02\x00\x01")
        assert (await third.ask()).status == 200
        assert await first.receive_end() == b""
        assert door.server.statistics().refused == 1


@pytest.mark.parametrize(
    ("offer", "expected"),
    [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)],
)
async def test_of_what_a_client_offers_http_1_1_is_taken(offer: list[str], expected: str | None) -> None:
    context = trust()
    if offer:
        context.set_alpn_protocols(offer)
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_secure(door, context=context) as wire:
        assert (await wire.ask()).status == 200
        assert isinstance(wire.stream, trio.SSLStream)
        assert wire.stream.selected_alpn_protocol() == expected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_either_version_that_is_still_good_will_do(version: ssl.TLSVersion) -> None:
    context = trust()
    context.maximum_version = version
    async with open_door(preamble=SECURE, tls=Tls(GOOD)) as door, open_secure(door, context=context) as wire:
        await wire.open()
        await wire.send(message("REQ", "a", {"limit": 0}))
        assert (await wire.receive())[:2] == ["EOSE", "a"]
        assert isinstance(wire.stream, trio.SSLStream)
        assert wire.stream.version() == version.name.replace("_", ".")
        assert wire.stream.compression() is None


def test_no_older_version_is_spoken() -> None:
    assert certified().context().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_another_certificate_is_for_who_comes_then_and_nobody_leaves() -> None:
    tls = Tls(GOOD)
    async with open_door(preamble=SECURE, tls=tls) as door, open_secure(door) as before:
        await before.open()
        tls.take(certified(ends=datetime(2049, 1, 1, tzinfo=UTC)))
        async with open_secure(door) as after:
            assert (await after.ask()).status == 200
            assert shown(after) != shown(before)
        await before.send(message("REQ", "a", {"limit": 0}))
        assert (await before.receive())[:2] == ["EOSE", "a"]
        assert door.server.statistics().certificate_expiry == datetime(2049, 1, 1, tzinfo=UTC).timestamp()


def locked(pair: CertifiedKey) -> CertifiedKey:
    """The same with a passphrase on its key."""
    key = load_pem_private_key(pair.key, None)
    secret = BestAvailableEncryption(b"a passphrase")
    return CertifiedKey(pair.chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (CertifiedKey(GOOD.chain, OTHER.key), "the key is not the one of the certificate"),
        (CertifiedKey(b"", GOOD.key), "there is no certificate in it"),
        (CertifiedKey(GOOD.key, GOOD.key), "there is no certificate in it"),
        (CertifiedKey(GOOD.chain, b""), "one of them is no PEM"),
        (CertifiedKey(GOOD.chain[:300], GOOD.key), "there is no certificate in it"),
        (locked(GOOD), "the key has a passphrase"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_the_old_one_stays(pair: CertifiedKey, reason: str) -> None:
    with pytest.raises(TlsRefused, match=reason):
        Tls(pair)
    tls = Tls(GOOD)
    with pytest.raises(TlsRefused, match=reason):
        tls.take(pair)
    async with open_door(preamble=SECURE, tls=tls) as door, open_secure(door) as wire:
        assert (await wire.ask()).status == 200
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize(
    ("year", "key"),
    [
        (2027, trustme.KeyType.ECDSA),
        (2049, trustme.KeyType.ECDSA),
        (2050, trustme.KeyType.ECDSA),
        (2199, trustme.KeyType.RSA),
    ],
)
def test_how_long_a_certificate_holds_is_read_as_another_library_reads_it(year: int, key: trustme.KeyType) -> None:
    """From 2050 on it is written in another way (RFC 5280, section 4.1.2.5)."""
    pair = certified(ends=datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC), key=key)
    expected = x509.load_pem_x509_certificate(pair.chain)
    starts, ends = expected.not_valid_before_utc, expected.not_valid_after_utc
    assert pair.term == (starts.timestamp(), ends.timestamp())
    assert ends.year == year


@pytest.mark.parametrize(
    ("hours", "left"),
    [(400 * 24, 14 * 24), (90 * 24, 14 * 24), (84 * 24, 14 * 24), (47 * 24, 47 * 4), (150, 25), (0, 0)],
    ids=["a year", "90 days", "84 days", "47 days", "6 days", "none"],
)
def test_a_certificate_is_late_when_a_sixth_of_its_term_is_left_at_most_two_weeks(hours: int, left: float) -> None:
    assert Term(1_000, 1_000 + 3_600 * hours).late == 1_000 + 3_600 * (hours - left)


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x00", b"\x30\x02\x30\x00", b"\x02\x01\x05", bytes(200)])
def test_what_is_no_certificate_has_no_term(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        term_of(data)
