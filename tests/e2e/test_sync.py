"""The command `sync` of the real program, against the real program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path

import pytest
import trio

from perf.servers import free_ports
from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.page_blocks import shell_blocks
from tests.support.program import MODULE, Program, finished, launcher, running
from trio_relay import Event
from trio_relay.nostr import nip19

pytestmark = pytest.mark.slow

KEY = "a" * 64
INTERRUPTED = """
import os, signal
from trio_relay.peers import intake
note = intake.SyncIntake._note
def noting(self, event, reason, *, accepted):
    note(self, event, reason, accepted=accepted)
    if self._outcomes.counts.total() == 1:
        os.kill(os.getpid(), signal.SIGINT)
intake.SyncIntake._note = noting
"""


def notes(author: Author, number: int) -> list[Event]:
    """Two to a second, so that both sides have events of the same time."""
    return [author.event(f"{author.pubkey[:4]} {at}", created_at=NOW + at // 2) for at in range(number)]


async def imported(folder: Path, events: Iterable[Event], settings: dict[str, str] | None = None) -> None:
    await trio.Path(folder).mkdir(exist_ok=True)
    lines = jsonl(events)
    assert (await finished(folder, "import", stdin=lines, settings=settings)).returncode == 0


async def exported(folder: Path, settings: dict[str, str] | None = None) -> set[str]:
    lines = (await finished(folder, "export", settings=settings)).stdout.splitlines()
    return {json.loads(line)["id"] for line in lines}


def url_of(program: Program) -> str:
    host, port = program.address
    return f"ws://{host}:{port}"


def ids(*events: Event) -> set[str]:
    return {event.id for event in events}


async def test_what_one_side_has_and_the_other_has_not_goes_each_way(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    """A second time nothing is left to be done."""
    here, there, both = notes(ALICE, 300), notes(BOB, 200), notes(Author("carol"), 500)
    await imported(tmp_path / "here", [*here, *both])
    await imported(tmp_path / "there", [*there, *both], serving_settings)
    async with running(tmp_path / "there", serving_settings) as program:
        first = await finished(tmp_path / "here", "sync", url_of(program))
        assert first.stdout.decode().splitlines()[:-1] == ["down: 200 stored", "up: 300 stored"]
        assert first.stdout.decode().splitlines()[-1].startswith("1 spans of time, ")
        assert (first.returncode, first.stderr) == (0, b"")
        again = await finished(tmp_path / "here", "sync", url_of(program))
        assert again.stdout.decode().splitlines()[:-1] == ["down: nothing", "up: nothing"]
    assert await exported(tmp_path / "here") == ids(*here, *there, *both)
    assert await exported(tmp_path / "there", serving_settings) == ids(*here, *there, *both)


async def test_only_what_filters_ask_for_goes_in_one_direction(tmp_path: Path) -> None:
    here, there = notes(ALICE, 5), [*notes(BOB, 5), BOB.event("like", kind=7), BOB.event("other", kind=6)]
    await imported(tmp_path / "here", here)
    await imported(tmp_path / "there", there)
    async with running(tmp_path / "there") as program:
        filters = ('--filter={"kinds":[7]}', f'--filter={{"kinds":[1],"until":{NOW}}}')
        ended = await finished(tmp_path / "here", "sync", "--direction", "down", *filters, url_of(program))
        assert ended.stdout.decode().splitlines()[:-1] == ["down: 3 stored"]
    assert await exported(tmp_path / "here") == ids(*here, *there[:2], there[5])
    assert await exported(tmp_path / "there") == ids(*there)


@pytest.mark.parametrize("way", ["file", "variable"])
async def test_who_is_asked_for_a_key_shows_it(tmp_path: Path, way: str) -> None:
    (port,) = free_ports(1)
    url = f"ws://127.0.0.1:{port}"
    await imported(tmp_path / "there", notes(ALICE, 3))
    await imported(tmp_path / "here", [])
    settings = {"relay.url": url, "net.listen": f'["127.0.0.1:{port}"]', "policy.auth_to_read": "true"}
    async with running(tmp_path / "there", settings):
        stranger = await finished(tmp_path / "here", "sync", "--direction", "down", url)
        assert stranger.returncode == 1
        assert b"auth-required:" in stranger.stdout
        await trio.Path(tmp_path / "key").write_text(f"{KEY}\n")
        key = ["--key-file", "../key"] if way == "file" else []
        variables = {"peer_key": KEY} if way == "variable" else {}
        shown = await finished(tmp_path / "here", "sync", "--direction", "down", *key, url, settings=variables)
        assert shown.stdout.decode().splitlines()[:-1] == ["down: 3 stored"]


async def test_a_connection_that_breaks_off_is_made_again(tmp_path: Path) -> None:
    here, there = notes(ALICE, 500), notes(BOB, 500)
    await imported(tmp_path / "here", here)
    await imported(tmp_path / "there", there)
    async with running(tmp_path / "there") as program, trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(passed_on, program.address, iter([100_000])), 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        ended = await finished(tmp_path / "here", "sync", f"ws://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel()
    assert ended.returncode == 0
    assert b"connection lost" in ended.stderr
    assert await exported(tmp_path / "here") == await exported(tmp_path / "there") == ids(*here, *there)


async def test_ctrl_c_says_what_came_before(tmp_path: Path) -> None:
    await imported(tmp_path / "here", [])
    await imported(tmp_path / "there", notes(BOB, 500))
    async with running(tmp_path / "there") as program:
        ended = await finished(tmp_path / "here", "sync", url_of(program), command=launcher(INTERRUPTED))
    assert ended.returncode == 130
    assert ended.stdout.startswith(b"down: ")
    assert ended.stderr.endswith(b"interrupted; what came before is stored, and the same sync can be run again\n")


async def passed_on(address: tuple[str, int], cuts: Iterator[int], client: trio.SocketStream) -> None:
    """Pass bytes on in both directions, and break off where so many have come from the server, if they are to."""
    async with client, await trio.open_tcp_stream(*address) as server, trio.open_nursery() as nursery:
        left = next(cuts, inf)

        async def up() -> None:
            with suppress(trio.BrokenResourceError):
                async for data in client:
                    await server.send_all(data)

        nursery.start_soon(up)
        with suppress(trio.BrokenResourceError):
            async for data in server:
                left -= len(data)
                if left < 0:
                    break
                await client.send_all(data)
        nursery.cancel_scope.cancel()


async def test_a_sync_of_a_store_on_which_a_relay_runs_is_refused_with_3(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        ended = await finished(tmp_path, "sync", url_of(program))
        assert ended.returncode == 3
        assert f"in use by the process with pid {program.process.pid}".encode() in ended.stderr


async def test_a_relay_that_is_not_there_is_told_with_1(tmp_path: Path) -> None:
    ended = await finished(tmp_path, "sync", "ws://127.0.0.1:9")
    assert ended.returncode == 1
    assert b"ws://127.0.0.1:9: no connection: Connection refused; what came before is stored" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://relay.example",), "is no URL of a relay"),
        (("--filter", "[]", "wss://relay.example"), "not a JSON object"),
        (("--filter", '{"limit":5}', "wss://relay.example"), "has no limit"),
        (("--filter", '{"search":"x"}', "wss://relay.example"), "has no search"),
        (("--filter", '{"kinds":"x"}', "wss://relay.example"), "kinds must be a list"),
        (("--key-file", "key", "wss://relay.example"), "a secret key is 64 hex characters"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "key").write_text("no key")
    ended = await finished(tmp_path, "sync", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr.decode()
    assert b"no key" not in ended.stderr


def test_a_secret_key_is_read_in_both_spellings() -> None:
    """The example of NIP-19."""
    words = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
    assert nip19.secret_of(words).hex() == "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
    assert nip19.secret_of(" " + nip19.secret_of(words).hex() + "\n") == nip19.secret_of(words)


async def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """Each of its lines, with a free port."""
    (block,) = shell_blocks("docs/mirrors.md", "Try it")
    importing, serving, syncing = (line.removesuffix(" &").split()[1:] for line in block.splitlines())
    (tmp_path / "there.toml").write_text('[store]\npath = "there/relay.db"\n')
    (tmp_path / "here.toml").write_text('[store]\npath = "here/relay.db"\n')
    (tmp_path / "events.jsonl").write_bytes(jsonl(notes(ALICE, 9)))
    assert (await finished(tmp_path, *importing)).returncode == 0
    async with running(tmp_path, command=[*MODULE, *serving]) as program:
        assert syncing[-1] == "ws://127.0.0.1:7777"
        ended = await finished(tmp_path, *syncing[:-1], url_of(program))
    assert ended.stdout.decode().splitlines()[:2] == ["down: 9 stored", "up: nothing"]
