"""Any bytes where a proxy's header or TLS is expected: without it nothing is served, however they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.fuzz.http import send_each
from tests.fuzz.script import pieces
from tests.support.authority import certified
from tests.support.proxies import SIGNATURE, header
from tests.support.server import open_door, run_threads_inline
from tests.support.wire import open_stream, request
from trio_relay import NetOptions
from trio_relay.net import listeners, tls
from trio_relay.net import server as server_module

_PROXY: Final = "10.0.0.1"
_NET: Final = NetOptions(trusted_proxies=(_PROXY,))
_MOST: Final = 4_000
"""Bytes; more are another test's."""
_ADDRESS_BYTES: Final = {0: 0, 1: 12, 2: 36, 3: 216}
"""Of both ends, by the family: none, IPv4, IPv6, Unix."""
PROXY_VOCABULARY: Final = [
    header("203.0.113.7"),
    header("2001:db8::7", fields=b"\x20\x00\x02ab"),
    header("203.0.113.7", is_local=True),
    header(""),
    request(target="/health"),
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n",
]
TLS_VOCABULARY: Final = [request(target="/health"), request(), b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"]


def feed_proxy(script: bytes) -> None:
    """Send what a script says on a proxy's connection, cut as it says, and once more in one piece.

    Raises:
        AssertionError: something is served without a header, or it depends on the pieces.
    """
    cut = pieces(script, PROXY_VOCABULARY)
    sent = b"".join(cut)
    if sent and len(sent) <= _MOST:
        answer = _answer(cut, listeners.Preamble(proxy=True))
        assert answer == _answer([sent], listeners.Preamble(proxy=True))
        length = _header_length(sent)
        assert answer[:9] in ((b"",) if length is None else (b"", b"HTTP/1.1 "))
        if length is not None and sent[length:].startswith(request(target="/health")):
            assert answer.startswith(b"HTTP/1.1 200 "), "a header, and a request behind it"


def _header_length(sent: bytes) -> int | None:
    """Bytes of the header, read word by word as the specification has it; None: there is none, or not all of it."""
    if len(sent) < 16 or sent[:12] != SIGNATURE or sent[12] not in (0x20, 0x21):
        return None
    family, transport, length = sent[13] >> 4, sent[13] & 15, int.from_bytes(sent[14:16])
    is_known = sent[13] == 0 or (family in (1, 2, 3) and transport in (1, 2))
    if not is_known or (sent[12] == 0x21 and length < _ADDRESS_BYTES[family]) or len(sent) < 16 + length:
        return None
    return 16 + length


def feed_tls(script: bytes) -> None:
    """Send what a script says, none of which is a handshake, where TLS is spoken.

    Raises:
        AssertionError: anything is served.
    """
    sent = pieces(script, TLS_VOCABULARY)
    answer = _answer(sent, listeners.Preamble(tls=True))
    assert not answer.startswith(b"HTTP/1.1 ") or answer.startswith(b"HTTP/1.1 400 ")
    assert b'"status"' not in answer


def _answer(sent: Sequence[bytes], preamble: listeners.Preamble) -> bytes:
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as told:
        run_threads_inline(patch)
        patch.setattr(server_module, "peer_address", lambda _stream: _PROXY)
        answer = trio.run(partial(_converse, sent, preamble), clock=MockClock(autojump_threshold=0))
    alarms = {line["event"] for line in told if line["log_level"] not in ("debug", "info")}
    assert alarms <= {"a proxy does not tell its client"}
    return answer


async def _converse(sent: Sequence[bytes], preamble: listeners.Preamble) -> bytes:
    secure = tls.Tls(certified()) if preamble.tls else None
    async with open_door(net=_NET, preamble=preamble, tls=secure) as door, open_stream(door) as wire:
        await send_each(wire.stream, sent)
        return await wire.receive_end()
