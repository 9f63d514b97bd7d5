"""The real program reads its configuration again: by command and by SIGHUP, in one process and in two, under load."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP
from typing import Any, Final

import httpx
import pytest
import trio

from tests.support.crew import TWO, pids
from tests.support.keys import ALICE, BOB, Author
from tests.support.program import MODULE, PATIENCE, Program, finished, running
from tests.support.server import Talker

pytestmark = pytest.mark.slow
processes = pytest.mark.parametrize("processes", [{}, TWO], ids=["one process", "two workers"])

FILE: Final = "relay.toml"
NOSTR: Final = "application/nostr+json"


class Reloaded:
    """A relay of a folder, its file, and the command that has it read that again."""

    def __init__(self, folder: Path, settings: dict[str, str], program: Program) -> None:
        self.program = program
        self._folder = folder
        self._settings = settings

    def write(self, text: str) -> None:
        """Put a whole file in the place of the one that is there."""
        new = self._folder / "new.toml"
        new.write_text(text)
        new.replace(self._folder / FILE)

    async def reload(self, text: str | None = None) -> tuple[int, str]:
        """The command's exit code, and what it says."""
        if text is not None:
            self.write(text)
        done = await finished(self._folder, "reload", "--config", FILE, settings=self._settings)
        return done.returncode, (done.stdout + done.stderr).decode()

    async def called(self, text: str) -> dict[str, Any]:
        """What the relay answers to the call by which the command has it read a file."""
        self.write(text)
        transport = httpx.AsyncHTTPTransport(uds=str(self._folder / "data" / "relay.db.sock"))
        async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as client:
            body = {"method": "reloadconfig", "params": []}
            found: dict[str, Any] = (await client.post("http://relay/", json=body)).json()
            return found

    async def document(self) -> dict[str, Any]:
        """What the relay says of itself."""
        found: dict[str, Any] = (await self.program.get("/", Accept=NOSTR)).json()
        return found

    async def is_called(self, name: str) -> None:
        """Wait until it is; whichever worker is asked."""
        with trio.fail_after(PATIENCE):
            while (await self.document())["name"] != name:
                pass


@asynccontextmanager
async def reloaded(folder: Path, settings: dict[str, str], text: str = "") -> AsyncIterator[Reloaded]:
    (folder / FILE).write_text(text)
    async with running(folder, settings, command=(*MODULE, "--config", FILE)) as program:
        yield Reloaded(folder, settings, program)


@processes
async def test_the_command_has_it_change_for_who_is_connected_and_says_what(
    processes: dict[str, str], tmp_path: Path
) -> None:
    async with reloaded(tmp_path, processes) as relay, relay.program.client() as client:
        note = ALICE.event("before")
        assert await client.publish(note) == ["OK", note.id, True, ""]
        assert await relay.reload() == (0, "nothing has changed\n")
        code, said = await relay.reload(
            '[relay]\nname = "renamed"\n[limits]\nmax_filters = 1\n[store]\nreaders = 7\n'
            f'[policy]\ndenied_pubkeys = ["{ALICE.pubkey}"]\n[rates]\nmessages_per_connection = "100/hour burst 3"\n'
        )
        assert (code, said.splitlines()) == (
            0,
            [
                "changed: relay.name, limits.max_filters, policy.denied_pubkeys, rates.messages_per_connection",
                "waits for a restart: store.readers (the store is open)",
            ],
        )
        assert (await client.publish(ALICE.event("after")))[2:] == [
            False,
            "blocked: the author of this event is banned here",
        ]
        await client.send("REQ", "two", {"kinds": [1]}, {"kinds": [2]})
        assert "max_filters" in (await client.receive())[-1]
        other = BOB.event("a note")
        assert await client.publish(other) == ["OK", other.id, True, ""]
        assert str((await client.publish(BOB.event("one more")))[3]).startswith("rate-limited: ")
        document = await relay.document()
        assert (document["name"], document["limitation"]["rates"]["messages_per_connection"]) == (
            "renamed",
            "100/hour burst 3",
        )
        assert (await relay.program.get("/health")).json() == {"status": "ok"}
        assert (await relay.program.get("/")).text.startswith("renamed: ")


@processes
async def test_a_wrong_file_changes_nothing_and_the_command_says_why(processes: dict[str, str], tmp_path: Path) -> None:
    async with reloaded(tmp_path, processes, '[relay]\nname = "first"\n') as relay, relay.program.client() as client:
        wrong = '[relay]\nname = "second"\n[limits]\nmax_filters = 0\n'
        code, said = await relay.reload(wrong)
        assert (code, said) == (2, "trio-relay: limits.max_filters: expected `int` >= 1\n")
        relay.program.signal(SIGHUP)
        line = await relay.program.logs("the configuration stays as it is")
        assert line["error"] == "limits.max_filters: expected `int` >= 1"
        assert (await relay.document())["name"] == "first"
        note = ALICE.event("still here")
        assert await client.publish(note) == ["OK", note.id, True, ""]
        relay.write('[relay]\nname = "third"\n')
        relay.program.signal(SIGHUP)
        assert (await relay.program.logs("configuration read again"))["changed"] == ["relay.name"]
        await relay.is_called("third")  # workers are told when the line is written


async def test_what_a_variable_hides_of_the_file_is_named(tmp_path: Path) -> None:
    async with reloaded(tmp_path, {"limits.max_filters": "7", "relay.name": "ours"}) as relay:
        found = await relay.reload('[relay]\nname = "ours"\n[limits]\nmax_filters = 9\nmax_subscriptions = 5\n')
        assert found == (
            0,
            "changed: limits.max_subscriptions\n"
            "the file has no effect: limits.max_filters (TRIO_RELAY_LIMITS__MAX_FILTERS says something else)\n",
        )
        line = await relay.program.logs("configuration read again")
        assert line["overridden_by"] == ["TRIO_RELAY_LIMITS__MAX_FILTERS"]


async def test_a_file_that_the_relay_alone_finds_wrong_is_told_by_the_relay(tmp_path: Path) -> None:
    """As where the variables of its start do not fit to the file."""
    settings = {"limits.default_limit": "400"}
    async with reloaded(tmp_path, settings) as relay:
        relay.write("[limits]\nmax_limit = 300\n")
        done = await finished(tmp_path, "reload", "--config", FILE, settings={"limits.default_limit": "200"})
        assert (done.returncode, done.stderr.decode()) == (
            2,
            "trio-relay: limits.default_limit: must not be above limits.max_limit; the relay goes on as before\n",
        )


async def test_who_may_not_ask_is_told_so(tmp_path: Path) -> None:
    """Root does without what lets it go everywhere."""
    folder = tmp_path / "of another"
    folder.mkdir(mode=0)
    command: tuple[str, ...] = MODULE
    if os.geteuid() == 0:
        os.chown(folder, 65_534, 65_534)
        command = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", *MODULE)
    place = folder / "control.sock"
    done = await finished(tmp_path, "reload", settings={"control.listen": f"unix:{place}"}, command=command)
    assert (done.returncode, done.stderr.decode()) == (
        1,
        f"trio-relay: {place} cannot be reached: it is for the relay's own user, and root\n",
    )


async def test_where_no_relay_runs_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("")
    done = await finished(tmp_path, "reload", "--config", FILE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"trio-relay: no relay answers at data/relay.db.sock: ")


async def test_a_worker_that_is_started_later_goes_by_what_was_read_last(tmp_path: Path) -> None:
    async with reloaded(tmp_path, dict(TWO)) as relay:
        assert (await relay.reload('[relay]\nname = "renamed"\n'))[0] == 0
        for pid in pids(relay.program).values():
            await trio.run_process(["kill", str(pid)])
        await relay.program.until(lambda log: sum(line["event"] == "worker started" for line in log) == 4)
        await relay.is_called("renamed")


def choices(number: int) -> list[tuple[str, str]]:
    """Files, with the beginning of what is wrong with them; empty: they change something."""
    return [
        (f'[relay]\nname = "name {number}"\n', ""),
        (f"[limits]\nmax_filters = {number + 10}\n[net]\nping_seconds = {number + 5}\n", ""),
        (f'[rates]\nevents_per_connection = "{number + 1}00000/minute"\n', ""),
        (f'[policy]\ndenied_words = ["word {number}"]\nsweep_seconds = {number + 1}\n', ""),
        (f"[[retention]]\nkinds = [7]\nmax_age_seconds = {number + 60}\n[web]\nnotes = {number % 50}\n", ""),
        (f'[pipeline]\nquery_seconds = {number + 5}\n[log]\nlevel = "warning"\n', ""),
        (f"[limits]\nmax_filters = {number}\nmax_limit = 0\n", "limits.max_limit: "),
        ('[policy]\ndenied_pubkeys = "file:none"\n', "policy.denied_pubkeys: none: "),
        ('[rates]\nevents_per_key = "many"\n', "rates.events_per_key: "),
        ("[relay\n", "relay.toml is not TOML: "),
    ]


@processes
async def test_under_load_nothing_is_lost_and_nobody_disconnected(processes: dict[str, str], tmp_path: Path) -> None:
    chance, over, told = random.Random(7), trio.Event(), list[str]()
    live, heard = set[str](), trio.Event()

    async def write(author: Author) -> None:
        """Publish one event after the other; each must be taken."""
        async with relay.program.client() as client:
            number = 0
            while not over.is_set():
                event = author.event(f"{author.pubkey} {number}")
                assert await client.publish(event) == ["OK", event.id, True, ""]
                told.append(event.id)
                number += 1

    async def ask() -> None:
        """Ask what is stored again and again; each answer must come to its end."""
        async with relay.program.client() as client:
            while not over.is_set():
                await client.ask("stored", {"limit": 5, "kinds": [1]})
                await client.send("CLOSE", "stored")

    async def listen(client: Talker, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on one connection all the time."""
        await client.send("REQ", "live", {"kinds": [1], "limit": 0})
        task_status.started()
        while True:
            message = await client.receive()
            if message[0] == "EVENT":
                live.add(message[2]["id"])
                heard.set()

    async with reloaded(tmp_path, processes) as relay, relay.program.client() as listener:
        async with trio.open_nursery() as listening:
            await listening.start(listen, listener)
            async with trio.open_nursery() as load:
                for work in (lambda: write(ALICE), lambda: write(BOB), ask, ask):
                    load.start_soon(work)
                for number in range(1, 61):
                    text, wrong = chance.choice(choices(number))
                    answer = await relay.called(text)
                    if wrong:
                        assert answer["error"].startswith(f"invalid: {wrong}"), (text, answer)
                    else:
                        assert answer["result"]["changed"], text
                        assert answer["result"]["waiting"] == {}
                    await trio.sleep(0.05)
                over.set()
            assert len(told) > 30
            with trio.fail_after(PATIENCE):
                while not live >= set(told):
                    heard = trio.Event()
                    await heard.wait()
            listening.cancel_scope.cancel()
        async with relay.program.client() as client:
            assert await client.count("all", {}) == len(told)
            for place in range(0, len(told), 100):
                part = told[place : place + 100]
                assert {event["id"] for event in await client.ask("part", {"ids": part})} == set(part)
        assert not any("worker has crashed" in line for line in relay.program.err.splitlines())


@processes
async def test_the_console_opens_for_who_comes_by_a_link_and_closes_again(
    processes: dict[str, str], tmp_path: Path
) -> None:
    async with reloaded(tmp_path, processes) as relay:
        assert (await relay.program.get("/admin")).status_code == 404
        assert (await relay.reload("[web]\nadmin = true\n"))[0] == 0
        done = await finished(tmp_path, "admin-link", "--config", FILE, settings=processes)
        token = done.stdout.decode().strip().partition("token=")[2]
        host, port = relay.program.address
        async with httpx.AsyncClient(timeout=PATIENCE) as browser:
            entered = await browser.post(f"http://{host}:{port}/admin/enter", data={"token": token})
        assert (entered.status_code, entered.headers["location"]) == (303, "/admin")
        assert (await relay.reload("[web]\nadmin = false\n"))[0] == 0
        assert (await relay.program.get("/admin")).status_code == 404
