"""Any bytes where requests are expected: answered or refused, however they are cut, and nothing is done unsigned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fuzz.script import pieces
from tests.support.keys import ALICE, BOB, NOW
from tests.support.operators import ADMIN, headers_for, managed
from tests.support.server import run_threads_inline
from tests.support.wire import open_stream, request, upgrade
from trio_relay import MemoryStore
from trio_relay.policy import lists as operators_lists

BAN: Final = b'{"method":"banpubkey","params":["%b"]}' % ALICE.pubkey.encode()
"""What an operator has signed, and somebody has overheard."""
_STATUSES: Final = frozenset({101, 200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 426, 429, 431, 501, 505})
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_MOST: Final = 60_000
"""Bytes of a connection; longer bodies are another test's."""

_chunked = request("POST", "/", headers_for(BAN) | {"Transfer-Encoding": "chunked"})
VOCABULARY: Final = [
    upgrade(),
    upgrade(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
    request(),
    request("HEAD"),
    request("OPTIONS", "/", {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}),
    request(headers={"Accept": "application/nostr+json", "Host": "relay.example"}),
    request(target="/health"),
    request(target="http://relay.example/health?a=b"),
    request("POST", "/", headers_for(BAN), BAN),
    request("POST", "/", headers_for(BAN), BAN.replace(ALICE.pubkey.encode(), BOB.pubkey.encode())),
    request("POST", "/", headers_for(BAN, BOB), BAN),
    _chunked + b"%x;a=b\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(BAN), BAN),
    request("POST", "/", headers_for(BAN) | {"Expect": "100-continue"}, BAN),
    request("POST", "/nothing", {}, b"x" * 40),
    request(headers={"X-Forwarded-For": "203.0.113.9, 10.0.0.1", "Forwarded": 'for="[2001:db8::1]:80";by=_a'}),
]
"""Requests, whole."""


def feed(script: bytes) -> None:
    """Send what a script says to a relay that an operator manages, cut as it says, and once more in one piece.

    Raises:
        AssertionError: something has come of it that may not.
    """
    cut = pieces(script, VOCABULARY)
    sent = b"".join(cut)
    if sent and len(sent) <= _MOST:
        assert answer_to(cut) == answer_to([sent]), "it depends on how the network cuts it"


def answer_to(sent: Sequence[bytes]) -> bytes:
    """All that is answered, up to the end or to a WebSocket."""
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as told:
        run_threads_inline(patch)
        answer = trio.run(partial(_converse, sent), clock=MockClock(autojump_threshold=0))
    assert {line["log_level"] for line in told} <= {"debug", "info"}, "nobody is alarmed"
    before_websocket, switched, _ = answer.partition(b"HTTP/1.1 101 ")
    statuses = {int(status) for status in _STATUS.findall(before_websocket)}
    assert statuses <= _STATUSES
    assert before_websocket[:9] in (b"", b"HTTP/1.1 "), "answers are all that is said"
    return before_websocket + switched


async def _converse(sent: Sequence[bytes]) -> bytes:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await send_each(wire.stream, sent)
        answer = await wire.receive_end()
        lists = door.relay.rules.lists
        names = [name for name in operators_lists.ListName if name is not operators_lists.ListName.ACTS]
        decided = {(name, item) for name in names for item in lists.entries(name, NOW)}
        acts = lists.entries(operators_lists.ListName.ACTS, NOW).values()
        assert {act.by for act in acts} <= {ADMIN.pubkey}
        assert decided <= {(operators_lists.ListName.BANNED_PUBKEYS, ALICE.pubkey)}, "what no operator has signed"
    return answer


async def send_each(stream: trio.abc.Stream, pieces: Sequence[bytes]) -> None:
    """Send each of these once the one before has had its effect, and then the end."""
    assert isinstance(stream, trio.StapledStream)
    with suppress(trio.BrokenResourceError):
        for piece in pieces:
            await stream.send_all(piece)
            await wait_all_tasks_blocked()
        await stream.send_eof()
