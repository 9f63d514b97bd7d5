"""The command `sync` with rust-nostr's own relay, which speaks NIP-77."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from nostr_sdk import LocalRelayBuilder, RateLimit  # type: ignore[import-untyped]  # ships no types

from perf.servers import free_ports
from tests.e2e.test_sync import exported, ids, imported, notes
from tests.support.keys import ALICE, BOB, Author
from tests.support.program import PATIENCE, finished, running
from tests.support.rust_nostr import nostr_loop
from trio_relay.peers import peer

pytestmark = pytest.mark.slow


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The relay; gives its URL."""
    (port,) = free_ports(1)
    async with nostr_loop() as loop:
        relay = (
            LocalRelayBuilder()
            .addr("127.0.0.1")
            .port(port)
            .rate_limit(RateLimit(max_reqs=1_000, notes_per_minute=1_000_000))
            .build()
        )
        await loop.wait(relay.run())
        try:
            yield f"ws://127.0.0.1:{port}"
        finally:
            relay.shutdown()


async def sync(folder: Path, url: str, direction: str = "both") -> list[str]:
    ended = await finished(folder, "sync", "--direction", direction, url)
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stdout
    return ended.stdout.decode().splitlines()


async def test_what_one_side_has_and_the_other_has_not_goes_each_way(tmp_path: Path) -> None:
    here, there, both = notes(ALICE, 300), notes(BOB, 700), notes(Author("carol"), 200)
    await imported(tmp_path / "there", [*there, *both])
    await imported(tmp_path / "here", [*here, *both])
    async with serving() as url:
        assert (await sync(tmp_path / "there", url, "up"))[0] == "up: 900 stored"
        assert (await sync(tmp_path / "here", url))[:2] == ["down: 700 stored", "up: 300 stored"]
        assert (await sync(tmp_path / "here", url))[:2] == ["down: nothing", "up: nothing"]
        assert (await sync(tmp_path / "there", url, "down"))[:1] == ["down: 300 stored"]
    assert await exported(tmp_path / "here") == await exported(tmp_path / "there") == ids(*here, *there, *both)


async def test_a_mirror_of_it_catches_up_and_goes_on_live_in_both_directions(tmp_path: Path) -> None:
    mine, live_here, live_there = notes(ALICE, 50), BOB.event("live here"), BOB.event("live there")
    (tmp_path / "here").mkdir()
    async with serving() as url:
        settings = {"mirror": f"[{{url = '{url}', direction = 'both'}}]", "limits.created_at_ahead": "100000000"}
        async with running(tmp_path / "here", settings) as program, peer.open_peer(url) as other:
            for event in mine:
                assert (await other.publish(event)).accepted
            await program.logs("mirror is live")
            async with program.client() as client:
                assert (await client.publish(live_here))[2] is True
            assert (await other.publish(live_there)).accepted
            everything = ids(*mine, live_here, live_there)
            with trio.fail_after(PATIENCE):
                await counted(other, len(everything))
                async with program.client() as client:
                    while {event["id"] for event in await client.ask("a", {})} != everything:
                        await client.send("CLOSE", "a")
                        await trio.sleep(0.1)


async def counted(other: peer.Peer, number: int) -> None:
    """Wait until it has so many events."""
    while True:
        if await other.count({}) >= number:
            return
        await trio.sleep(0.1)
