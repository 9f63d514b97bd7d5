"""What operators do with the store by commands: beside the running relay, through it, and without it."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from pathlib import Path
from signal import SIGTERM
from typing import Any

import apsw
import pytest
import trio

from tests.support.event_lines import jsonl
from tests.support.indices import place_of, put_document
from tests.support.keys import ALICE, BOB, NOW
from tests.support.page_blocks import shell_blocks, typed
from tests.support.program import MODULE, PATIENCE, Program, environment, finished, running
from tests.support.program_load import everything, publish_all
from tests.support.server import Talker
from trio_relay.nostr import nip19

pytestmark = pytest.mark.slow

NOTES = [ALICE.event(f"note {n}", created_at=NOW + n) for n in range(30)]
LIKES = [BOB.event("+", kind=7, created_at=NOW + n) for n in range(20)]
ALL = [*NOTES, *LIKES]
OF_ALICE = json.dumps({"authors": [ALICE.pubkey]})


@pytest.fixture
def settings(serving_settings: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Settings of a relay with a control line, on each store."""
    return {**serving_settings, "control.listen": f"unix:{tmp_path}/line.sock"}


async def told(folder: Path, settings: dict[str, str], *arguments: str, stdin: bytes = b"") -> str:
    """What a command says that succeeds."""
    ended = await finished(folder, *arguments, settings=settings, stdin=stdin)
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout.decode()


async def found(client: Talker) -> list[dict[str, Any]]:
    """What a client finds of Alice."""
    notes = await client.ask("of alice", {"authors": [ALICE.pubkey]})
    await client.send("CLOSE", "of alice")
    return notes


async def stopped(program: Program) -> None:
    program.signal(SIGTERM)
    assert await program.wait() == 0


async def test_what_is_deleted_through_the_relay_is_gone_for_its_clients(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    async with running(tmp_path, settings) as program, program.client() as client:
        await publish_all(client, ALL)
        assert len(await found(client)) == 30  # what is cached must go, too
        lines = (await told(tmp_path, settings, "query", OF_ALICE)).splitlines()
        assert [json.loads(line)["id"] for line in lines] == [note.id for note in reversed(NOTES)]
        assert await told(tmp_path, settings, "count", "{}") == "50\n"
        assert json.loads(await told(tmp_path, settings, "stats", "--json"))["events"] == 50
        match = "30 events match\n  kind 1: 30\n"
        assert await told(tmp_path, settings, "delete", "--filter", OF_ALICE, "--dry-run") == match
        assert len(await found(client)) == 30
        done = await told(tmp_path, settings, "delete", "--filter", "-", "--yes", stdin=OF_ALICE.encode())
        assert done == f"{match}30 events removed\n"
        assert await found(client) == []
        [act] = json.loads(await told(tmp_path, settings, "call", "listacts"))
        assert (act["who"], act["method"], act["told"]) == ("operator", "removeevents", "30 events removed")
        assert await publish_all(client, NOTES[:1]) == {NOTES[0].id: (True, "")}
        assert len(await everything(client)) == 21
        await stopped(program)
    assert not (tmp_path / "line.sock").exists()


async def test_the_same_is_done_without_a_relay(tmp_path: Path, settings: dict[str, str]) -> None:
    lines = jsonl(ALL)
    assert (await finished(tmp_path, "import", settings=settings, stdin=lines)).returncode == 0
    assert await told(tmp_path, settings, "count", OF_ALICE, '{"kinds":[7]}') == "50\n"
    done = await told(tmp_path, settings, "delete", "--filter", OF_ALICE, "--filter", '{"kinds":[9]}', "--yes")
    assert done == "30 events match\n  kind 1: 30\n30 events removed\n"
    assert await told(tmp_path, settings, "delete", "--filter", "{}", "--all", "--dry-run") == (
        "20 events match\n  kind 7: 20\n"
    )
    found = (await told(tmp_path, settings, "query", "{}", "--limit", "3")).splitlines()
    assert [json.loads(line)["id"] for line in found] == [like.id for like in reversed(LIKES[-3:])]


async def test_a_check_finds_nothing_wrong_beside_the_relay_and_without_it(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    good = "50 events looked at: nothing is wrong\n"
    async with running(tmp_path, settings) as program, program.client() as client:
        await publish_all(client, ALL)
        assert await told(tmp_path, settings, "check", "--signatures") == good
        found = json.loads(await told(tmp_path, settings, "call", "checkstore", "[true]"))
        assert found == {"events": 50, "number": 0, "faults": []}
        await stopped(program)
    assert await told(tmp_path, settings, "check") == good


async def test_the_store_gets_smaller_through_the_relay_and_without_it(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    long = [ALICE.event("x" * 2_000, created_at=NOW + n) for n in range(300)]
    async with running(tmp_path, settings) as program, program.client() as client:
        await publish_all(client, [*long, *LIKES])
        await told(tmp_path, settings, "delete", "--filter", OF_ALICE, "--yes")
        before, after = sizes(await told(tmp_path, settings, "compact"))
        assert settings.get("store.backend") or after < before / 2
        [act, _] = json.loads(await told(tmp_path, settings, "call", "listacts"))
        assert (act["who"], act["method"]) == ("operator", "compactstore")
        assert len(await everything(client)) == 20
        await stopped(program)
    assert sizes(await told(tmp_path, settings, "compact"))
    assert await told(tmp_path, settings, "check") == "20 events looked at: nothing is wrong\n"


def sizes(said: str) -> tuple[float, float]:
    """What `compact` says last, in megabytes."""
    found = re.search(r"^([\d.]+) MB before, ([\d.]+) MB after$", said, re.MULTILINE)
    assert found is not None, said
    return float(found[1]), float(found[2])


async def test_a_check_names_what_is_wrong_and_ends_with_1(tmp_path: Path) -> None:
    lines = jsonl(ALL)
    assert (await finished(tmp_path, "import", stdin=lines)).returncode == 0
    with closing(apsw.Connection(str(tmp_path / "data" / "relay.db"))) as connection:
        connection.execute("UPDATE event SET kind = 9 WHERE seq = 1").fetchall()
    ended = await finished(tmp_path, "check")
    assert (ended.returncode, ended.stderr) == (1, b"trio-relay: the store is not as it should be\n")
    assert ended.stdout.decode().splitlines() == [
        f"columns: {NOTES[0].id}: not as its JSON says: kind",
        "50 events looked at: 1 faults",
    ]


async def test_what_is_wrong_is_repaired_while_no_relay_runs(tmp_path: Path) -> None:
    lines = jsonl(ALL)
    assert (await finished(tmp_path, "import", stdin=lines)).returncode == 0
    with closing(apsw.Connection(str(tmp_path / "data" / "relay.db"))) as connection:
        connection.execute("UPDATE event SET kind = 9 WHERE seq = 1").fetchall()
        connection.execute("UPDATE event SET json = replace(json, 'note 1\"', 'note 9\"') WHERE seq = 2").fetchall()
    async with running(tmp_path) as program:
        ended = await finished(tmp_path, "check", "--repair", "broken.jsonl")
        assert ended.returncode == 3
        assert f"in use by the process with pid {program.process.pid}" in ended.stderr.decode()
        await stopped(program)
    *_, moved, _, last = (await told(tmp_path, {}, "check", "--repair", "broken.jsonl")).splitlines()
    assert moved == f"moved out: event: {NOTES[1].id}: its id is not that of its JSON"
    assert last.startswith("49 events stay, 1 were moved out; the old file is ")
    assert json.loads((tmp_path / "broken.jsonl").read_bytes())["id"] == NOTES[1].id
    assert await told(tmp_path, {}, "check") == "49 events looked at: nothing is wrong\n"
    assert await told(tmp_path, {}, "check", "--repair", "more.jsonl") == "49 events looked at: nothing is wrong\n"
    async with running(tmp_path) as program, program.client() as client:
        assert len(await everything(client)) == 49
        assert len(await client.ask("kind", {"kinds": [1]})) == 29
        await stopped(program)


async def test_an_index_is_repaired_while_a_relay_serves_it(tmp_path: Path, opensearch: dict[str, str]) -> None:
    url, prefix = json.loads(opensearch["opensearch.urls"])[0], opensearch["opensearch.prefix"]
    async with running(tmp_path, opensearch) as program, program.client() as client:
        await publish_all(client, ALL)
        await put_document(url, prefix, place_of(NOTES[0]), NOTES[0], kind="9")
        said = (await told(tmp_path, opensearch, "check", "--repair", "broken.jsonl")).splitlines()
        assert said == [
            f"columns: {NOTES[0].id}: not as its JSON says: kind",
            "50 events looked at: 1 faults",
            "repaired; what was moved out is in broken.jsonl",
            "1 documents were written anew, 0 moved out",
        ]
        assert await told(tmp_path, opensearch, "check") == "50 events looked at: nothing is wrong\n"
        assert len(await found(client)) == 30
        await stopped(program)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["delete", "--filter", "{}", "--yes"], 2, "a filter matches everything; --all says that this is meant"),
        (["delete", "--filter", '{"limit":1}', "--yes"], 2, "a removal has no limit"),
        (["delete", "--filter", "kinds", "--yes"], 2, "a filter must be JSON"),
        (["delete", "--filter", '{"kinds":[7]}'], 2, "nobody can be asked here; --yes removes them"),
        (["delete", "--filter", '{"kinds":[7]}', "--yes"], 3, "data/relay.db is in use by the process with pid "),
        (["compact"], 3, "data/relay.db is in use by the process with pid "),
        (["call", "stats"], 1, "there is no control line (control.listen)"),
        (["call", "stats", "{}"], 2, "PARAMS must be a JSON list"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_line(
    tmp_path: Path, arguments: list[str], code: int, reason: str
) -> None:
    settings = {"control.listen": "off"}
    async with running(tmp_path, settings) as program, program.client() as client:
        await publish_all(client, LIKES)
        ended = await finished(tmp_path, *arguments, settings=settings)
        assert ended.returncode == code
        assert ended.stderr.decode().startswith(f"trio-relay: {reason}")
        assert ended.stderr.count(b"\n") == 1
        assert len(await everything(client)) == 20


@pytest.mark.parametrize(("said", "code", "left"), [(b"n\n", 1, "50\n"), (b"y\n", 0, "20\n")])
async def test_whoever_sits_at_a_terminal_is_asked(tmp_path: Path, said: bytes, code: int, left: str) -> None:
    assert (await finished(tmp_path, "import", stdin=jsonl(ALL))).returncode == 0
    ours, terminal = os.openpty()
    try:
        os.write(ours, said)
        command = [*MODULE, "delete", "--filter", OF_ALICE]
        with trio.fail_after(PATIENCE):
            ended = await trio.run_process(
                command, stdin=terminal, capture_stdout=True, cwd=tmp_path, env=environment(), check=False
            )
    finally:
        os.close(ours)
        os.close(terminal)
    assert ended.returncode == code
    assert b"They leave no tombstone" in ended.stdout
    assert await told(tmp_path, {}, "count", "{}") == left


async def test_any_method_can_be_called_and_its_refusal_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        stats: dict[str, Any] = json.loads(await told(tmp_path, {}, "call", "stats"))
        assert stats["stored"] == 0
        assert json.loads(await told(tmp_path, {}, "call", "denyword", '["pills"]')) is True
        ended = await finished(tmp_path, "call", "denyword")
        assert ended.returncode == 1
        assert ended.stderr.decode().startswith("trio-relay: invalid: parameter 1 of denyword must be a text")
        await stopped(program)
    ended = await finished(tmp_path, "call", "stats")
    assert ended.stderr.decode().startswith("trio-relay: no relay answers at data/relay.db.sock: ")


async def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    blocks = [
        *shell_blocks("docs/store.md", "Looking into the store"),
        *shell_blocks("docs/store.md", "Making it smaller"),
        *shell_blocks("docs/store.md", "Is it whole?"),
        *shell_blocks("docs/store.md", "The control line"),
    ]
    (tmp_path / "relay.toml").write_text("")
    async with running(tmp_path) as program, program.client() as client:
        await publish_all(client, ALL)
        for block in blocks:
            ended = await typed(tmp_path, block.replace("npub1…", nip19.npub_of(ALICE.pubkey)))
            assert (ended.returncode, ended.stderr) == (0, b""), block
        await stopped(program)
    assert len(blocks) == 5
