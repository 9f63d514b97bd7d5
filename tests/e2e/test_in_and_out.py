"""Import and export as commands, beside a relay and into one."""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGTERM

import msgspec
import pytest

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import finished, running
from tests.support.program_load import everything, publish_all
from trio_relay.nostr.event import encode

pytestmark = pytest.mark.slow

EVENTS = [author.event(f"{n}", created_at=NOW + n) for n in range(700) for author in (ALICE, BOB)]


async def test_a_relay_serves_what_was_imported_and_exports_it_while_it_runs(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    lines = jsonl(EVENTS)
    imported = await finished(tmp_path, "import", settings=store_settings, stdin=lines)
    assert imported.stdout == b"1400 events: 1400 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n"
    assert (imported.returncode, imported.stderr) == (0, b"")
    late = ALICE.event("came by a client", created_at=NOW + 9_999)
    async with running(tmp_path, store_settings) as program, program.client() as client:
        assert await publish_all(client, [late]) == {late.id: (True, "")}
        found = await everything(client)
        exported = await finished(tmp_path, "export", "-", settings=store_settings)
    by_id = {event.id: msgspec.to_builtins(event) for event in [*EVENTS, late]}
    assert {event["id"]: event for event in found} == by_id
    assert (exported.returncode, exported.stderr) == (0, b"1,401 events\n")
    written = [json.loads(line) for line in exported.stdout.splitlines()]
    assert {event["id"]: event for event in written} == by_id
    assert (len(written), written[-1]["id"]) == (1_401, late.id)


async def test_an_import_into_a_store_on_which_a_relay_runs_is_refused_with_3(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        ended = await finished(tmp_path, "import", stdin=encode(ALICE.event()))
        assert (ended.returncode, ended.stdout) == (3, b"")
        assert ended.stderr.decode() == (
            f"trio-relay: data/relay.db is in use by the process with pid {program.process.pid}\n"
        )
        program.signal(SIGTERM)
        assert await program.wait() == 0
    assert (await finished(tmp_path, "export")).stdout == b""


@pytest.mark.parametrize(
    "settings", [{"store.path": "nowhere/relay.db"}, {"limits.max_limit": "none"}], ids=["", "config"]
)
async def test_an_export_that_cannot_be_made_leaves_the_last_one_as_it_is(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    backup = tmp_path / "backup.jsonl"
    backup.write_bytes(b"yesterday")
    assert (await finished(tmp_path, "export", "backup.jsonl", settings=settings)).returncode != 0
    assert backup.read_bytes() == b"yesterday"
