"""What pages have people type to a relay that runs, typed into a shell: for pages that no other test is about."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest

from perf.servers import free_ports
from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, NOW
from tests.support.operators import ADMIN
from tests.support.page_blocks import ROOT, blocks_of, give, shell_blocks, typed
from tests.support.program import MODULE, PATIENCE, finished, running
from tests.support.program_load import everything
from trio_relay.nostr import event

pytestmark = pytest.mark.slow

NOTES = [ALICE.event(f"note {n}", created_at=NOW + n) for n in range(30)]
WIDE = {"COLUMNS": "200"}
NAK = f"""#!{sys.executable}
import json, sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.support.keys import Author

words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
tags = [word.split("=", 1) for flag, word in zip(sys.argv, sys.argv[1:]) if flag == "-t"]
event = Author("admin").event(words["-c"], kind=int(words["-k"]), created_at=int(time.time()), tags=tags)
json.dump({{name: getattr(event, name) for name in event.__struct_fields__}}, sys.stdout)
"""
"""Signs as the admin whatever `nak event` would with that secret key."""


async def test_the_example_of_a_client_publishes(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks_of("README.md") if "nostr_sdk" in block.text]
    async with running(tmp_path) as program:
        (tmp_path / "hello.py").write_text(example.replace("127.0.0.1:7777", "{}:{}".format(*program.address)))
        ended = await typed(tmp_path, "python hello.py")
        assert (ended.returncode, ended.stderr) == (0, b"")
        async with program.client() as client:
            assert [found["content"] for found in await everything(client)] == ["hello"]


async def test_the_commands_of_the_readme_end_well(tmp_path: Path) -> None:
    """What writes into the store before the relay runs, and all else beside it."""
    lines = [
        line.partition("  #")[0]
        for block in shell_blocks("README.md", "Configure and operate")
        for line in block.splitlines()
    ]
    [serving] = [line for line in lines if line.startswith("trio-relay --config")]
    writing = [line for line in lines if line.split()[1] in ("import", "sync")]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "relay.toml").write_text("[web]\nadmin = true\n")
    (tmp_path / "events.jsonl").write_bytes(jsonl(NOTES))
    ports = free_ports(2)
    settings = {"net.listen": f'["127.0.0.1:{ports[0]}"]', "metrics.listen": f"127.0.0.1:{ports[1]}"}
    async with running(tmp_path, {"store.path": "there.db"}) as there:
        url = "ws://{}:{}".format(*there.address)
        for line in writing:
            ended = await typed(tmp_path, line.replace("wss://…", url), settings)
            assert ended.returncode == 0, ended.stderr
    async with running(tmp_path, settings, command=[*MODULE, *serving.split()[1:]]):
        for line in lines:
            if line != serving and line not in writing:
                line = line.replace("trio-relay top", "trio-relay top --once").replace("…", ALICE.pubkey)
                line = line.replace("trio-relay init", "trio-relay init --yes")
                ended = await typed(tmp_path, line, settings)
                assert ended.returncode == 0 or (" doctor " in line and b"Something is wrong" in ended.stdout), line
    assert len(lines) > 9


async def test_a_link_lets_its_bearer_into_the_console(tmp_path: Path) -> None:
    [line] = shell_blocks("docs/console.md", "By a link")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "relay.toml").write_text("")
    [port] = free_ports(1)
    settings = {"net.listen": f'["127.0.0.1:{port}"]', "web.admin": "true"}
    async with running(tmp_path, settings):
        ended = await typed(tmp_path, line, settings)
        assert ended.returncode == 0, ended.stderr
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            link = await http.get(ended.stdout.decode().strip())
    assert (link.status_code, "Log in" in link.text) == (200, True)


async def test_a_reload_says_what_has_changed_and_what_waits(tmp_path: Path) -> None:
    [line] = shell_blocks("docs/reloading.md", "Changing a running relay")
    [said] = [block.text for block in blocks_of("docs/reloading.md") if block.text.startswith("changed: ")]
    config = tmp_path / "relay.toml"
    config.write_text("")
    async with running(tmp_path, command=[*MODULE, "--config", "relay.toml"]):
        config.write_text('[relay]\nname = "ours"\n[limits]\nmax_filters = 7\n[store]\nreaders = 7\n')
        ended = await typed(tmp_path, line)
    assert (ended.returncode, ended.stdout.decode()) == (0, said), ended.stderr


@pytest.mark.parametrize(
    "moved",
    ['[store]\npath = "elsewhere.db"\n', '[store]\nbackend = "memory"\n', '[control]\nlisten = "unix:other.sock"\n'],
    ids=["path", "backend", "control"],
)
async def test_who_has_moved_the_control_line_is_told_how_to_reach_the_relay_and_does(
    tmp_path: Path, moved: str
) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("")
    command = [*MODULE, "--config", "relay.toml"]
    async with running(tmp_path, command=command):
        config.write_text(f'[relay]\nname = "ours"\n{moved}')
        lost = await finished(tmp_path, "reload", command=command)
        old = {"control.listen": "unix:data/relay.db.sock"}
        found = await finished(tmp_path, "reload", settings=old, command=command)
    assert (lost.returncode, b"SIGHUP reaches the running relay" in lost.stderr) == (1, True)
    assert found.stdout.splitlines()[0] == b"changed: relay.name", found.stderr
    assert b"waits for a restart: " in found.stdout


async def test_why_explains_the_requests_and_events_of_the_page(tmp_path: Path) -> None:
    asking, judging = shell_blocks("docs/operations.md", "Why")
    shown, refused = (block.text for block in blocks_of("docs/operations.md") if block.language == "console")
    assert (await finished(tmp_path, "import", stdin=jsonl(NOTES))).returncode == 0
    ended = await typed(tmp_path, asking.replace("4b22…bf8a", ALICE.pubkey), variables=WIDE)
    answer = ended.stdout.decode().replace(ALICE.pubkey, "4b22…bf8a")
    assert _without_numbers(answer) == _without_numbers(shown.partition("\n")[2])
    (tmp_path / "event.json").write_bytes(event.encode(BOB.event("cheap pills", created_at=NOW)))
    ended = await typed(tmp_path, judging, {"policy.denied_words": '["pills"]'}, variables=WIDE)
    said = {" ".join(line.split()) for line in ended.stdout.decode().splitlines()}
    lines = [" ".join(line.split()) for line in refused.splitlines()[1:]]
    assert [line for line in lines if line != "…" and line not in said] == []


def _without_numbers(text: str) -> list[list[str]]:
    return [line.split() for line in re.sub(r"\b[\d.]+\b", "7", text).splitlines()]


async def test_an_operator_bans_a_key_by_hand(tmp_path: Path) -> None:
    [calling] = shell_blocks("docs/moderation.md", "Moderation")
    give(tmp_path, "nak", NAK)
    async with running(tmp_path, {"policy.admins": f'["{ADMIN.pubkey}"]'}) as program:
        url = "http://{}:{}/".format(*program.address)
        text = calling.replace("https://relay.example.org/", url).replace("<key>", BOB.pubkey)
        ended = await typed(tmp_path, text, variables={"SECRET": "1"})
        assert (ended.returncode, ended.stdout) == (0, b'{"result":true}'), ended.stderr
        async with program.client() as client:
            await client.send("EVENT", BOB.event("spam", created_at=NOW))
            assert (await client.receive())[2:] == [False, "blocked: the author of this event is banned here"]
