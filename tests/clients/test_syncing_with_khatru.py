"""The command `sync` with a relay by khatru, which pages by time and counts; see docs/mirrors.md for its NIP-77."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from perf.servers import free_ports
from tests.clients import install
from tests.clients.libraries import BUILT
from tests.e2e.test_sync import exported, ids, imported, notes
from tests.support.keys import ALICE, BOB
from tests.support.program import PATIENCE, finished

KHATRU = BUILT / "khatru-relay"
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not KHATRU.exists(), reason=install.LACKS),
]


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The relay; gives its URL."""
    (port,) = free_ports(1)
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, [str(KHATRU), f"127.0.0.1:{port}"], stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        with trio.fail_after(PATIENCE):
            assert await process.stdout.receive_some(9) == b"listening"
            while not await is_open(port):
                await trio.lowlevel.checkpoint()
        yield f"ws://127.0.0.1:{port}"
        process.kill()


async def is_open(port: int) -> bool:
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True


async def sync(folder: Path, url: str, direction: str) -> list[str]:
    ended = await finished(folder, "sync", "--direction", direction, url)
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout.decode().splitlines()


async def test_what_one_side_has_and_the_other_has_not_goes_each_way(tmp_path: Path) -> None:
    """More than it gives at once; what is offered a second time is nothing, since it counts."""
    here, there = notes(ALICE, 700), notes(BOB, 1_300)
    await imported(tmp_path / "there", there)
    await imported(tmp_path / "here", here)
    async with serving() as url:
        assert (await sync(tmp_path / "there", url, "up"))[0] == "up: 1300 stored"
        assert "up: 700 stored" in await sync(tmp_path / "here", url, "both")
        assert await exported(tmp_path / "here") == ids(*here, *there)
        assert (await sync(tmp_path / "there", url, "both"))[0].startswith("down: 700 stored, ")
        assert (await sync(tmp_path / "there", url, "up"))[0] == "up: nothing"
    assert await exported(tmp_path / "there") == ids(*here, *there)
