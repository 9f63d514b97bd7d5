"""A new operator at a terminal: five questions, and a relay that serves by the answers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.keys import ALICE, BOB
from tests.support.program import MODULE, finished, running
from tests.support.terminal import COLUMNS, CTRL_C, CTRL_D, Terminal, on_terminal
from trio_relay import config

pytestmark = pytest.mark.slow


async def answer(window: Terminal, question: str, typed: str) -> None:
    await window.shows(question)
    if not question.endswith("> "):
        await window.shows("> ")
    await window.type(f"{typed}\n")


async def test_enter_alone_makes_a_relay_that_serves_this_machine(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, "init") as window:
        await window.shows("Five questions.")
        for question in ("1. What is the relay called?\r\n   [trio-relay]> ", "2. ", "3. ", "4. ", "5. "):
            await answer(window, question, "")
        assert await window.ends() == 0
    assert "relay.toml is written, and good." in window.shown
    checked = await finished(tmp_path, "check-config", "--config", "relay.toml")
    assert (checked.returncode, checked.stdout) == (0, b"relay.toml is good\n")
    async with running(tmp_path, command=[*MODULE, "--config", "relay.toml"]) as program, program.client() as client:
        await client.send("EVENT", ALICE.event("hello"))
        assert (await client.receive())[2] is True
    assert (tmp_path / "data" / "relay.db").exists()


async def test_what_is_answered_is_served(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, "init", "--config", "mine.toml") as window:
        await answer(window, "1. ", "Zoë's „relay“")
        await answer(window, "2. ", "wss://relay.example.org")
        await answer(window, "Who speaks TLS there", "")
        await answer(window, "does the proxy connect?\r\n   [127.0.0.1]> ", "10.0.0.2, 10.0.0.3")
        await answer(window, "3. ", "listed")
        await answer(window, "Whose keys", ALICE.pubkey)
        await answer(window, "4. ", "events.db")
        await answer(window, "5. ", "none")
        assert await window.ends() == 0
    found = config.load(tmp_path / "mine.toml", {})
    assert found.net.trusted_proxies == ("10.0.0.2", "10.0.0.3")
    async with running(tmp_path, command=[*MODULE, "--config", "mine.toml"]) as program:
        told = (await program.get("/", Accept="application/nostr+json")).json()
        assert told["name"] == "Zoë's „relay“"
        async with program.client() as client:
            for author, is_taken in ((ALICE, True), (BOB, False)):
                await client.send("EVENT", author.event("hello"))
                assert (await client.receive())[2] is is_taken
    assert (tmp_path / "events.db").exists()


async def test_each_answer_is_checked_at_once_and_asked_for_again(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, "init") as window:
        await answer(window, "1. ", "n" * 30)
        await window.shows("Error: that is 30 characters: 29 at most, as NIP-11 asks")
        await answer(window, "> ", "mine")
        await answer(window, "2. ", "https://relay.example")
        await window.shows("Error: clients type wss://relay.example")
        await answer(window, "> ", "local")
        await answer(window, "3. ", "members")
        await window.shows("needs a public address, not local")
        await answer(window, "> ", "trust")
        await answer(window, "4. ", ".")
        await window.shows("Error: . is a folder: name a file in it")
        await answer(window, "> ", "")
        await answer(window, "5. ", "none")
        await window.shows("so it needs a key")
        await answer(window, "> ", BOB.pubkey)
        assert await window.ends() == 0
    assert config.load(tmp_path / "relay.toml", {}).policy.trust_depth == 2


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
async def test_whoever_leaves_has_written_nothing(tmp_path: Path, key: str) -> None:
    async with on_terminal(tmp_path, "init") as window:
        await answer(window, "1. ", "mine")
        await window.shows("2. ")
        await window.shows("> ")
        assert await window.leaves(key) == 130
    assert window.shown.endswith("\r\ntrio-relay: interrupted: nothing is written\r\n")
    assert os.listdir(tmp_path) == []


async def test_the_questions_fit_a_terminal_and_need_no_colour(tmp_path: Path) -> None:
    async with on_terminal(tmp_path, "init", variables={"TERM": "dumb"}) as window:
        for question in ("1. ", "2. ", "3. ", "4. ", "5. "):
            await answer(window, question, "")
        assert await window.ends() == 0
    assert "\x1b" not in window.written
    assert [line for line in re.split(r"\r?\n", window.shown) if len(line) > COLUMNS] == []


async def test_a_name_that_no_file_can_have_is_told_as_that(tmp_path: Path) -> None:
    ended = await finished(tmp_path, "init", "--yes", "--config", f"{'a' * 300}.toml")
    assert ended.stderr.startswith(b"trio-relay: "), ended.stderr


@pytest.mark.parametrize(
    "answers", [("--address", "wss://a..b"), ("--address", "ws://a.example:0"), ("--store", "http://[")]
)
async def test_what_no_client_nor_relay_can_reach_is_refused(tmp_path: Path, answers: tuple[str, str]) -> None:
    ended = await finished(tmp_path, "init", "--yes", *answers)
    assert (ended.returncode, (tmp_path / "relay.toml").exists()) == (2, False)
