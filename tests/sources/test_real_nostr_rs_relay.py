"""From a real nostr-rs-relay to this one: what its clients saw is what ours see."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio_websocket

from perf.servers import free_port
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE, finished, running
from tests.support.program_load import everything, publish_all
from tests.support.server import Talker

pytestmark = pytest.mark.slow

PROGRAM = "nostr-rs-relay"
"""`cargo install nostr-rs-relay` builds it, within a quarter of an hour."""
OLD, NEW = (ALICE.event(f'{{"name":"{name}"}}', kind=0, created_at=NOW + at) for at, name in enumerate(["old", "new"]))
DELETED = ALICE.event("deleted", created_at=NOW + 2)
EVENTS = [
    OLD,
    NEW,
    DELETED,
    ALICE.event(kind=5, created_at=NOW + 3, tags=[["e", DELETED.id]]),
    ALICE.event('é \u2028 \\ " \n\t 🦀', created_at=NOW + 4, tags=[["t", "ü"], ["e"], ["emoji", "x", "y"]]),
    BOB.event("to Alice", kind=1059, created_at=NOW + 5, tags=[["p", ALICE.pubkey]]),
    BOB.event("an article", kind=30023, created_at=NOW + 6, tags=[["d", "a:b"]]),
    BOB.event("the same, later", kind=30023, created_at=NOW + 7, tags=[["d", "a:b"]]),
    BOB.event("for a while", created_at=NOW + 8, tags=[["expiration", str(2**32)]]),
    *(ALICE.event(f"note {number}", created_at=NOW + 10 + number) for number in range(700)),
]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where the program listens until the test ends, or stops it; its database is `theirs/nostr.db`."""
    if (found := shutil.which(PROGRAM)) is None:
        pytest.skip(f"{PROGRAM} is not on PATH")
    port = free_port()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "config.toml").write_text(f'[network]\naddress = "127.0.0.1"\nport = {port}\n', encoding="utf-8")
    command = [found, "--config", str(tmp_path / "config.toml"), "--db", str(tmp_path / "theirs")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[Talker]:
    """A client of the program, once that listens."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(OSError):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                break
            await trio.sleep(0.05)
    async with stream, trio.open_nursery() as nursery:
        yield Talker(await trio_websocket.wrap_client_stream(nursery, stream, f"127.0.0.1:{port}", "/"))
        nursery.cancel_scope.cancel()


async def test_what_its_clients_saw_is_what_ours_see(tmp_path: Path, port: int) -> None:
    file = tmp_path / "theirs" / "nostr.db"
    async with client_of(port) as client:
        answers = await publish_all(client, EVENTS)
        assert [event for event in EVENTS if not answers[event.id][0]] == []
        seen = await everything(client)
        files = {path.name for path in file.parent.iterdir()}
        imported = await finished(tmp_path, "import", str(file))
        assert {path.name for path in file.parent.iterdir()} == files, "nothing is left beside it"
    assert (imported.returncode, imported.stderr) == (0, b"")
    assert imported.stdout.startswith(f"{len(seen)} events: {len(seen)} stored, ".encode())
    assert b"  1 left out: deleted or replaced there\n" in imported.stdout
    exported = await finished(tmp_path, "export")
    assert {event["id"] for event in map(json.loads, exported.stdout.splitlines())} == {event["id"] for event in seen}
    async with running(tmp_path) as program, program.client() as client:
        shown = await everything(client)
    # Gift wraps are shown to those they are for, once these have authenticated.
    assert shown == [event for event in seen if event["kind"] != 1059]
    assert not {OLD.id, DELETED.id} & {event["id"] for event in shown}
