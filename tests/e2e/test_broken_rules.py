"""Clients that break the rules, on real sockets: each gets the code that is documented, and nobody else notices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.keys import ALICE
from tests.support.program import running
from tests.support.wire import BINARY, TEXT, connected, frame

pytestmark = pytest.mark.slow

_FRAMES = {
    1002: b'\x81\x05["X"]',  # unmasked: RFC 6455, section 5.1
    1003: frame(BINARY, b"\x00\x01"),
    1007: frame(TEXT, b'["REQ","\xff\xfe"]'),
    1009: frame(TEXT, b"[" + b" " * 2_000_000),
}
_REQUESTS = {
    b"400": b"\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n",
    b"404": b"GET /elsewhere HTTP/1.1\r\nHost: relay.localhost\r\nConnection: close\r\n\r\n",
    b"405": b"DELETE / HTTP/1.1\r\nHost: relay.localhost\r\nConnection: close\r\n\r\n",
    b"431": b"GET / HTTP/1.1\r\nHost: relay.localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
}


async def test_every_broken_rule_has_its_code_and_ends_that_connection_alone(tmp_path: Path) -> None:
    settings = {"log.level": "debug", "net.close_seconds": "0.1"}
    async with running(tmp_path, settings) as program, program.client() as bystander:
        await bystander.ask("a", {"kinds": [1]})
        codes = {}
        for code, bad in _FRAMES.items():
            async with connected(program.address) as client:
                await client.open()
                await client.send(bad)
                codes[code], _ = await client.receive_close()
                assert await client.receive_end() == b""
        statuses = {}
        for status, bad in _REQUESTS.items():
            async with connected(program.address) as client:
                await client.send(bad)
                statuses[status] = (await client.receive_end()).split()[1]
        event = ALICE.event("still here")
        async with program.client() as other:
            assert await other.publish(event) == ["OK", event.id, True, ""]
        assert (await bystander.receive())[2]["id"] == event.id
    assert codes == {code: code for code in _FRAMES}
    assert statuses == {status: status for status in _REQUESTS}
    logged = [json.loads(line) for line in program.err.splitlines()]
    assert {entry["level"] for entry in logged} == {"debug"}
    assert [entry["reason"] for entry in logged if entry["event"] == "disconnected"][: len(_FRAMES)] == [
        f"protocol error {code}" for code in _FRAMES
    ]
    assert [entry["status"] for entry in logged if entry["event"] == "request refused"] == [400, 404, 405, 431]
