"""The real program with two workers on the same sockets: who serves them, and what is left of them at a stop."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from signal import SIGTERM

import pytest
import trio

from tests.support.program import PATIENCE, running
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


async def test_workers_serve_what_their_keeper_listens_on_until_it_stops(tmp_path: Path) -> None:
    listen = f'["127.0.0.1:0", "unix:{tmp_path}/relay.sock"]'
    patient = {"net.grace_seconds": "3600", "net.close_seconds": "3600"}
    async with running(tmp_path, {"pipeline.workers": "2", "net.listen": listen, **patient}) as program:
        for _ in range(2):
            async with program.client() as client:
                assert await client.ask("a", {"limit": 1}) == []
            async with await trio.open_unix_socket(tmp_path / "relay.sock") as stream:
                with trio.fail_after(PATIENCE):
                    assert (await Wire(stream).ask()).status == 200
        async with await trio.open_tcp_stream(*program.address) as stream:
            await Wire(stream).open()  # and does not answer the frame that closes it, so that its worker goes on
            program.signal(SIGTERM)
            await program.until(lambda log: sum(line["event"] == "listeners closed" for line in log) == 2)
            with socket.socket() as late:
                assert late.connect_ex(program.address) == errno.ECONNREFUSED
            assert "relay.sock" not in os.listdir(tmp_path)
        assert await program.wait() == 0
    assert [line for line in program.log if line["level"] == "error"] == []
