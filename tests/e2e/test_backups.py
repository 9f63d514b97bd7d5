"""Backups of the real program: by the very commands of docs/backups.md, by the relay itself, by its operators."""

from __future__ import annotations

import json
import re
import shutil
import time
from contextlib import closing
from pathlib import Path
from signal import SIGTERM
from typing import Any

import apsw
import httpx
import pytest

from tests.e2e.test_managing import SETTINGS, manage
from tests.store.files import exists
from tests.support.keys import ALICE, BOB
from tests.support.page_blocks import shell_blocks, typed
from tests.support.program import Program, running
from tests.support.program_load import everything, publish_all

pytestmark = pytest.mark.slow


def note(content: str) -> Any:
    return ALICE.event(content, created_at=int(time.time()))


async def contents_of(program: Program) -> list[str]:
    async with program.client() as client:
        return sorted(event["content"] for event in await everything(client))


async def publish(program: Program, content: str) -> None:
    async with program.client() as client:
        [(accepted, _)] = (await publish_all(client, [note(content)])).values()
    assert accepted


async def test_a_relay_goes_back_to_a_backup_by_the_steps_of_the_page(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    making, restoring, apart = shell_blocks("docs/backups.md", "Backups")
    (tmp_path / "relay.toml").write_text("")
    settings = processes | SETTINGS
    async with running(tmp_path, settings) as program:
        await publish(program, "before")
        assert "result" in (await manage(program, "banpubkey", BOB.pubkey, "spam")).json()
        ended = await typed(tmp_path, making, settings)
        assert ended.returncode == 0, ended.stderr
        assert b"\nrelay.backup is whole: 1 events as of 20" in ended.stdout
        await publish(program, "after")
        ended = await typed(tmp_path, restoring, settings)
        holder = (tmp_path / "data" / "relay.db.lock").read_text().strip()
        assert (ended.returncode, ended.stdout) == (3, b"")
        assert ended.stderr == f"trio-relay: data/relay.db is in use by the process with pid {holder}\n".encode()
        assert await contents_of(program) == ["after", "before"]
        program.signal(SIGTERM)
        assert await program.wait() == 0
    ended = await typed(tmp_path, restoring, settings)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1].startswith(b"data/relay.db.before-restore: the store that was there")
    async with running(tmp_path, settings) as program:
        assert await contents_of(program) == ["before"]
        [banned] = (await manage(program, "listbannedpubkeys")).json()["result"]
        assert banned["pubkey"] == BOB.pubkey
    kept = settings | {"store.path": "data/relay.db.before-restore"}
    async with running(tmp_path, kept) as program:
        assert await contents_of(program) == ["after", "before"]
    await take_apart(tmp_path, apart.splitlines())


async def take_apart(folder: Path, lines: list[str]) -> None:
    """By the tools that the page names."""
    if not all(map(shutil.which, ("zstd", "xxd", "sha256sum"))):
        pytest.skip("not all the tools are here that the page names")
    head, sums, store = lines
    assert json.loads((await typed(folder, head, {})).stdout)["events"] == 1
    computed, written = (await typed(folder, sums, {})).stdout.decode().splitlines()
    assert computed == f"{written}  -"
    assert (await typed(folder, store, {})).returncode == 0
    with closing(apsw.Connection(str(folder / "relay.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        assert connection.execute("SELECT count(*) FROM event").get == 1


def number_of(log: list[dict[str, Any]]) -> int:
    """How many backups a relay has told of."""
    return sum(line["event"] == "a backup was made" for line in log)


async def health(program: Program) -> dict[str, str]:
    told: dict[str, str] = (await program.get("/health")).json()
    return told


async def test_a_relay_makes_them_by_itself_and_says_when_it_cannot(tmp_path: Path, processes: dict[str, str]) -> None:
    folder = tmp_path / "data" / "backups"
    own = processes | {"backup.every_seconds": "1", "backup.keep": "2"}
    async with running(tmp_path, own) as program:
        await program.until(lambda log: number_of(log) >= 3)
        assert await health(program) == {"status": "ok"}
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_bytes(b"")
        told = await program.logs("no backup was made")
        assert await health(program) == {"status": "degraded", "reason": f"no backup was made: {told['error']}"}
        folder.unlink()
        before = number_of(program.log)
        await program.until(lambda log: number_of(log) > before)
        assert await health(program) == {"status": "ok"}
        program.signal(SIGTERM)
        assert await program.wait() == 0
    assert len(list(folder.iterdir())) <= 2


async def test_operators_have_them_made(tmp_path: Path, processes: dict[str, str]) -> None:
    settings = processes | SETTINGS | {"backup.folder": "copies"}
    async with running(tmp_path, settings) as program:
        await publish(program, "one")
        [address] = re.findall(r"http://(\S+)/metrics", program.out)
        told = (await manage(program, "backupnow")).json()["result"]
        assert exists(tmp_path / told["file"])
        assert (told["number"], Path(told["file"]).parent) == (1, Path("copies"))
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"http://{address}/metrics")).text
        assert f"\ntrio_relay_backup_bytes {float(told['bytes'])}\n" in page
        assert "\ntrio_relay_backups_failed_total 0.0\n" in page
        ended = await typed(tmp_path, "trio-relay backup", settings)
        assert ended.stdout.startswith(b"copies/relay-20")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"store.backend": "memory"}, "backup.every_seconds: a store in memory has nothing to back up"),
        (
            {"store.backend": "opensearch"},
            "backup.every_seconds: needs backup.repository, where snapshots of OpenSearch go",
        ),
        (
            {"store.backend": "opensearch", "backup.repository": "relay"},
            "backup.with_key: a snapshot of OpenSearch has the relay's own keys in it, so it must be true",
        ),
    ],
)
async def test_what_cannot_be_made_regularly_is_told_before_it_starts(
    tmp_path: Path, settings: dict[str, str], why: str
) -> None:
    ended = await typed(tmp_path, "trio-relay check-config", settings | {"backup.every_seconds": "60"})
    assert (ended.returncode, ended.stderr.decode()) == (2, f"trio-relay: {why}\n")
