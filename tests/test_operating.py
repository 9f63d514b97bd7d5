"""`trio-relay query`, `count` and `stats`: what operators read of the store itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from tests.support.keys import ALICE, BOB, NOW
from tests.support.page_blocks import shell_blocks
from trio_relay import SqliteOptions, cli, open_sqlite
from trio_relay.nostr import event, nip19

pytestmark = pytest.mark.usefixtures("own_logging")

NOTES = [ALICE.event(f"tea {n}", created_at=NOW + n) for n in range(1_200)]
SECRET = ALICE.event("?iv=", kind=4, created_at=NOW + 5_000, tags=[["p", BOB.pubkey]])
EXPIRED = BOB.event("old", created_at=NOW, tags=[["expiration", str(NOW)]])

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with more events than a page has, of two kinds."""
    options = SqliteOptions(path=str(tmp_path_factory.mktemp("operating") / "relay.db"))

    async def fill() -> None:
        async with open_sqlite(options, clock=lambda: NOW) as store:
            await store.save_many([*NOTES, SECRET, EXPIRED])

    trio.run(fill)
    return options.path


@pytest.fixture
def run(file: str) -> Run:
    """Runs a command on that store."""

    def run_command(*arguments: str, stdin: str = "", **settings: str) -> Result:
        environment = {"TRIO_RELAY_STORE__PATH": file, "COLUMNS": "80"}
        environment |= {f"TRIO_RELAY_{name.upper()}": text for name, text in settings.items()}
        return CliRunner().invoke(cli.main, arguments, stdin, env=environment, prog_name="trio-relay")

    return run_command


def ids(result: Result) -> list[str]:
    assert (result.exit_code, result.stderr) == (0, "")
    return [event.decode(line).id for line in result.stdout_bytes.splitlines()]


def test_a_query_writes_all_that_matches_newest_first_and_private_kinds_too(run: Run) -> None:
    assert ids(run("query", "{}")) == [SECRET.id, *(note.id for note in reversed(NOTES))]


def test_a_query_ends_at_its_limit_and_each_filter_at_its_own(run: Run) -> None:
    newest = [note.id for note in reversed(NOTES)]
    assert ids(run("query", '{"kinds":[1]}', "--limit", "700")) == newest[:700]
    assert ids(run("query", '{"kinds":[1],"limit":2}', '{"kinds":[4]}')) == [SECRET.id, *newest[:2]]
    assert ids(run("query", "{}", "--limit", "0")) == []


def test_filters_come_from_standard_input_with_keys_as_people_copy_them(run: Run) -> None:
    author, note = nip19.npub_of(ALICE.pubkey), nip19.note_of(NOTES[0].id)
    asked = f'{{"authors":["{author}"],"kinds":[4]}}\n{{"ids":["{note}"]}}'
    assert ids(run("query", "-", stdin=asked)) == [SECRET.id, NOTES[0].id]
    assert run("count", "-", stdin=asked).stdout == "2\n"


def test_a_search_finds_and_a_count_counts_whatever_the_limit(run: Run) -> None:
    assert ids(run("query", '{"search":"tea 7"}')) == [NOTES[7].id]
    assert run("count", '{"search":"tea","limit":1}').stdout == "1200\n"


@pytest.mark.parametrize("command", ["query", "count"])
@pytest.mark.parametrize("text", ["kinds", '{"kind":[1]}', '{"authors":["npub1"]}', "[]"])
def test_a_broken_filter_is_one_sentence_and_exit_code_2(run: Run, command: str, text: str) -> None:
    ended = run(command, text)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("trio-relay: ")
    assert ended.stderr.count("\n") == 1


def test_no_filter_and_no_file_are_refused(run: Run) -> None:
    assert run("query").exit_code == 2
    assert run("query", "{}", store__path="nowhere/relay.db").exit_code == 3
    assert run("stats", store__backend="memory").exit_code == 2


def test_the_numbers_of_the_store_are_told_as_json(run: Run) -> None:
    told = msgspec.json.decode(run("stats", "--json").stdout)
    assert (told["events"], told["kinds"][0]) == (1_202, {"kind": 1, "events": 1_201})
    assert told["space"]["worded"] == 1_201
    assert told["space"]["disk_bytes"] > 100_000
    assert told["space"]["removed_documents"] is None


def test_the_numbers_of_the_store_fit_into_80_columns(run: Run) -> None:
    lines = run("stats").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert ["events", "1,202"] in [line.split() for line in lines]
    assert [ALICE.pubkey, "1,201"] in [line.split() for line in lines]


def test_a_query_of_the_archive_writes_what_has_gone_and_why(run: Run, tmp_path: Path) -> None:
    versions = [ALICE.event(f"{n}", kind=0, created_at=NOW + n) for n in range(4)]
    path = str(tmp_path / "relay.db")

    async def make() -> None:
        async with open_sqlite(SqliteOptions(path=path, archive=True), clock=lambda: NOW + 9) as store:
            await store.save_many([*versions, NOTES[0]])

    trio.run(make)
    named = f'{{"ids":["{nip19.note_of(versions[1].id)}"]}}'
    ended = run("query", "--archive", "--limit", "2", named, '{"kinds":[0]}', store__path=path)
    lines = [msgspec.json.decode(line) for line in ended.stdout.splitlines()]
    assert [(line["event"]["id"], line["by"]) for line in lines] == [
        (versions[1].id, versions[2].id),
        (versions[2].id, versions[3].id),
    ]
    assert [(line["reason"], line["at"]) for line in lines] == [("replaced", NOW + 9)] * 2
    assert ids(run("query", '{"kinds":[0]}', store__path=path)) == [versions[3].id]
    assert run("query", "--archive", "{}", "--limit", "0", store__path=path).stdout == ""
    (block,) = shell_blocks("docs/keeping.md", "The archive")
    shown = [shlex.split(line)[1:] for line in block.splitlines()]
    for arguments in shown:
        arguments = [one.replace("npub1…", nip19.npub_of(ALICE.pubkey)) for one in arguments]
        assert run(*arguments, store__path=path).stdout.count('"reason":"replaced"') == 3
    assert len(shown) == 2


def test_where_there_are_no_words_a_search_ends_with_1(run: Run, tmp_path: Path) -> None:
    async def make() -> None:
        async with open_sqlite(SqliteOptions(path=str(tmp_path / "relay.db"), search=False)) as store:
            await store.save_many(NOTES[:1])

    trio.run(make)
    ended = run("query", '{"search":"tea"}', store__path=str(tmp_path / "relay.db"))
    assert (ended.exit_code, ended.stderr) == (1, "trio-relay: the relay keeps no index of words\n")
