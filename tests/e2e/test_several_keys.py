"""Several keys on one connection to the real program (NIP-42), which few clients can do: all of them count."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trio_websocket

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import AuthClient
from tests.support.program import PATIENCE, Program, running
from tests.support.receiving import answered, synced, told_until
from tests.support.server import Talker
from trio_relay import Event

pytestmark = pytest.mark.slow

NOBODY: Final = Author("nobody")


def wrap(author: Author, at: int) -> Event:
    return NOBODY.event("sealed", kind=1_059, created_at=NOW + at, tags=[["p", author.pubkey]])


@asynccontextmanager
async def visiting(program: Program) -> AsyncIterator[AuthClient]:
    """A client that knows its challenge; its connection is dropped at the end."""
    stream = await trio.open_tcp_stream(*program.address)
    async with stream, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            connection = await trio_websocket.wrap_client_stream(nursery, stream, "relay.localhost", "/")
        identity = AuthClient(Talker(connection), lambda: int(time.time()))
        verb, identity.challenge = await identity.receive()
        assert verb == "AUTH"
        yield identity
        nursery.cancel_scope.cancel()


async def test_each_key_adds_what_it_may_read_to_every_way_of_asking(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    note = CAROL.event("note", created_at=NOW + 9)
    wraps = {author: wrap(author, at) for at, author in enumerate((ALICE, BOB, CAROL))}
    live, last = wrap(BOB, 5), CAROL.event("the last")
    async with (
        running(tmp_path, {**store_settings, "policy.challenge": "connect"}) as program,
        visiting(program) as identity,
        visiting(program) as publisher,
    ):
        host, port = program.address
        url = f"ws://{host}:{port}/"
        for event in (note, *wraps.values()):
            assert await publisher.publish(event) == [True, ""]
        expected = [note.id]
        for key in (ALICE, BOB):
            assert await identity.authenticate(key, url=url) == [True, ""]
            expected.insert(1, wraps[key].id)
            assert await identity.ask({}) == expected
            assert await identity.count({}) == {"count": len(expected)}
            assert await synced(identity, {}) == set(expected)
        assert await identity.ask_refused({"kinds": [1_059], "#p": [CAROL.pubkey]}) == (
            "restricted: these events are for keys other than the authenticated ones"
        )
        await answered(identity, {"kinds": [1, 1_059]}, sub_id="live")
        for event in (live, wrap(CAROL, 6), last):
            assert await publisher.publish(event) == [True, ""]
        assert await told_until(identity, last, "live") == [live.id]


async def test_each_key_may_publish_what_only_its_owner_may(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """NIP-70."""
    protected = {author: author.event("here alone", tags=[["-"]]) for author in (ALICE, BOB, CAROL)}
    reason = "a protected event is accepted from its authenticated author only (NIP-70)"
    async with (
        running(tmp_path, {**store_settings, "policy.challenge": "connect"}) as program,
        visiting(program) as identity,
    ):
        host, port = program.address
        assert await identity.publish(protected[ALICE]) == [False, f"auth-required: {reason}"]
        for key in (ALICE, BOB):
            assert await identity.authenticate(key, url=f"ws://{host}:{port}/") == [True, ""]
        assert await identity.publish(protected[ALICE]) == [True, ""]
        assert await identity.publish(protected[BOB]) == [True, ""]
        assert await identity.publish(protected[CAROL]) == [False, f"restricted: {reason}"]
