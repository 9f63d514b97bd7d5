"""The real program, managed over HTTP (NIP-86) while clients are connected."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio_websocket

from tests.support.keys import ALICE, BOB, Author
from tests.support.operators import ADMIN, header, signed
from tests.support.program import PATIENCE, Program, running
from tests.support.server import Talker
from trio_relay.net.admin.api import CONTENT_TYPE

pytestmark = pytest.mark.slow

SETTINGS = {"policy.admins": json.dumps([ADMIN.pubkey])}
ELSEWHERE = "127.0.0.2"


async def manage(program: Program, *call: object, key: Author = ADMIN) -> httpx.Response:
    """Send a signed call; the first item is the method."""
    host, port = program.address
    url, body = f"http://{host}:{port}/", msgspec.json.encode({"method": call[0], "params": call[1:]})
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Authorization": header(signed(key, body, url=url, created_at=int(time.time()))),
    }
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.post(url, content=body, headers=headers)


@asynccontextmanager
async def client_from(program: Program, address: str) -> AsyncIterator[Talker]:
    """A client at another address of this machine."""
    stream = await trio.open_tcp_stream(*program.address, local_address=address)
    async with stream, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            connection = await trio_websocket.wrap_client_stream(nursery, stream, "relay.localhost", "/")
        yield Talker(connection)
        nursery.cancel_scope.cancel()


def note(key: Author, content: str) -> Any:
    return key.event(content, created_at=int(time.time()))


async def test_a_key_is_banned_while_it_is_connected_and_stays_so_after_a_restart(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    first, second, others = note(ALICE, "first"), note(ALICE, "second"), note(BOB, "hello")
    refusal = "blocked: the author of this event is banned here"
    async with running(tmp_path, {**SETTINGS, **processes}) as program, client_from(program, ELSEWHERE) as client:
        for event in (first, others):
            assert await client.publish(event) == ["OK", event.id, True, ""]
        assert (await manage(program, "banpubkey", ALICE.pubkey, key=ALICE)).status_code == 403
        assert (await manage(program, "banpubkey", ALICE.pubkey, "spam")).json() == {"result": True}
        assert await client.publish(second) == ["OK", second.id, False, refusal]
        assert [event["id"] for event in await client.ask("all", {})] == [others.id]
    async with running(tmp_path, {**SETTINGS, **processes}) as program, client_from(program, ELSEWHERE) as client:
        assert await client.publish(first) == ["OK", first.id, False, refusal]
        [listed] = (await manage(program, "listbannedpubkeys")).json()["result"]
        assert listed.items() >= {"pubkey": ALICE.pubkey, "reason": "spam", "by": ADMIN.pubkey}.items()
        settings = (await manage(program, "listsettings")).json()["result"]
        assert {one["from"] for one in settings} >= {"default", "variable"}
        [act] = (await manage(program, "listacts")).json()["result"]
        assert (act["method"], act["who"], act["told"]) == ("banpubkey", ADMIN.pubkey, "done; 1 events removed")


async def test_a_blocked_address_is_hung_up_on(tmp_path: Path, processes: dict[str, str]) -> None:
    async with running(tmp_path, {**SETTINGS, **processes}) as program:
        async with client_from(program, ELSEWHERE) as bad, client_from(program, "127.0.0.1") as good:
            assert (await manage(program, "blockip", ELSEWHERE)).json() == {"result": True}
            with pytest.raises(trio_websocket.ConnectionClosed) as closed, trio.fail_after(PATIENCE):
                await bad.connection.get_message()
            close_reason = closed.value.reason
            assert close_reason is not None
            assert (close_reason.code, close_reason.reason) == (1008, "blocked: this address is blocked")
            assert await good.ask("all", {}) == []
        host, port = program.address
        from_elsewhere = httpx.AsyncHTTPTransport(local_address=ELSEWHERE)
        async with httpx.AsyncClient(timeout=PATIENCE, transport=from_elsewhere) as client:
            with pytest.raises(httpx.TransportError):  # the connection ends before anything is said
                await client.get(f"http://{host}:{port}/")
        assert (await manage(program, "unblockip", ELSEWHERE)).json() == {"result": True}
        async with client_from(program, ELSEWHERE) as again:
            assert await again.ask("all", {}) == []


async def test_its_name_changes_at_once(tmp_path: Path, processes: dict[str, str]) -> None:
    async with running(tmp_path, {**SETTINGS, **processes}) as program:
        await manage(program, "changerelayname", "elsewhere")
        host, port = program.address
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            reply = await client.get(f"http://{host}:{port}/", headers={"Accept": "application/nostr+json"})
        assert reply.json()["name"] == "elsewhere"
