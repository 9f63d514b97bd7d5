"""Every command ends with the codes that its help and docs/cli.md tell, and with no other."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio
from click.testing import CliRunner, Result

from docs import generate
from tests.support.keys import ALICE, NOW
from trio_relay import SqliteOptions, cli, open_sqlite
from trio_relay.cli import leaving
from trio_relay.store import sqlite

pytestmark = pytest.mark.usefixtures("own_logging")

NPUB = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
ARGUMENTS: dict[str, list[str]] = {
    "": [],
    "admin-link": [],
    "backup": ["out.backup"],
    "call": ["stats"],
    "check": [],
    "check-config": [],
    "compact": [],
    "completion": ["zsh"],
    "count": ["{}"],
    "delete": ["--yes", "--filter", '{"kinds":[1]}'],
    "doctor": [],
    "export": ["out.jsonl"],
    "import": ["in.jsonl"],
    "init": ["--yes"],
    "migrate": [],
    "query": ["{}"],
    "reload": [],
    "restore": ["in.backup"],
    "retention": ["--dry-run"],
    "serve": [],
    "stats": [],
    "sync": ["ws://127.0.0.1:1"],
    "top": ["--once", "--url", "http://127.0.0.1:1/metrics"],
    "trends": [],
    "why": ["{}"],
}
"""What each command needs to do something."""
SETTINGS = {
    "NET__LISTEN": '["127.0.0.1:0"]',
    "METRICS__LISTEN": "",
    "POLICY__ADMINS": f'["{NPUB}"]',
    "STORE__MAX_EVENTS": "1",
    "STORE__PATH": "relay.db",
}
"""Under which each has something to do: there are admins, and a bound by which events go."""
WITHOUT_CONFIGURATION = {"completion", "init"}
TELLS_IN_ITS_OWN_WAY = {"doctor", "top"}
"""Of what is wrong with the configuration: see tests/doctor, and tests/test_top.py."""
MAKES_ITS_STORE = {"", "serve", "import", "migrate", "sync", "delete", "restore"}
HOLDS_ITS_STORE = {"", "serve", "import", "compact", "delete", "restore", "sync"}
"""Commands that cannot work beside a relay that does not answer."""
RUNS_A_LOOP = [
    name for name in ARGUMENTS if name not in ("call", "check-config", "completion", "init", "reload", "restore", "top")
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run_command(name: str, *before: str) -> Result:
        environment = {f"TRIO_RELAY_{key}": value for key, value in SETTINGS.items()}
        arguments = [*before, *([name] if name else []), *ARGUMENTS[name]]
        return CliRunner().invoke(cli.main, arguments, env=environment, prog_name="trio-relay")

    return run_command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three events."""

    async def fill() -> None:
        async with open_sqlite(SqliteOptions(path=str(tmp_path / "relay.db"))) as opened:
            await opened.save_many([ALICE.event(str(number), created_at=NOW + number) for number in range(3)])

    trio.run(fill)
    return tmp_path / "relay.db"


def of(code: int) -> list[str]:
    """The commands that may end with this code."""
    return [name for name, exits in leaving.EXITS.items() if code in exits.codes]


def ended_well(result: Result, name: str, code: int) -> None:
    """Hold the end of a command to what is documented of it."""
    assert result.exit_code == code, result.output
    assert code in leaving.EXITS[name].codes
    assert "Traceback" not in result.stderr
    if code:
        assert result.stderr.splitlines()[-1].startswith(("trio-relay: ", "Error: "))


def test_every_command_has_its_codes_in_the_table_in_its_help_and_in_the_docs() -> None:
    assert set(leaving.EXITS) == {"", *cli.main.commands} == set(ARGUMENTS)
    page = generate.cli_page()
    for name, exits in leaving.EXITS.items():
        told = CliRunner().invoke(cli.main, [*([name] if name else []), "--help"], prog_name="trio-relay").stdout
        assert str(exits) in " ".join(told.split())
        assert f"| `{f'trio-relay {name}'.strip()}` | {exits.failed} |" in page


def test_what_a_command_never_does_needs_no_code() -> None:
    never = {code: set(leaving.EXITS) - set(of(code)) for code in (leaving.CRASHED, leaving.STORE_REFUSED)}
    assert never[leaving.CRASHED] == set()  # all say something, and a disk may be full: see tests/e2e
    assert never[leaving.STORE_REFUSED] <= {"call", "check-config", "completion", "doctor", "init", "reload", "top"}
    assert of(leaving.ADDRESS_REFUSED) == ["", "serve"]


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name])
def test_an_option_that_there_is_none_of_is_2(run: Callable[..., Result], name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--nothing-like-it"], prog_name="trio-relay")
    ended_well(result, name, leaving.CONFIG_ERROR)
    assert "No such option '--nothing-like-it'" in result.stderr


@pytest.mark.parametrize(
    "name", [name for name in ARGUMENTS if name not in WITHOUT_CONFIGURATION | TELLS_IN_ITS_OWN_WAY]
)
def test_a_wrong_configuration_is_2(tmp_path: Path, run: Callable[..., Result], name: str) -> None:
    (tmp_path / "wrong.toml").write_text("[limits]\nmax_filters = true\n")
    (tmp_path / "in.jsonl").write_text("")
    result = run(name, "--config", "wrong.toml")
    ended_well(result, name, leaving.CONFIG_ERROR)
    assert result.stderr == "trio-relay: limits.max_filters: expected `int`, got `bool`\n"


@pytest.mark.parametrize("name", [name for name in of(leaving.STORE_REFUSED) if name not in MAKES_ITS_STORE])
def test_a_store_that_is_not_there_is_3(run: Callable[..., Result], name: str) -> None:
    ended_well(run(name), name, leaving.STORE_REFUSED)


@pytest.mark.parametrize("name", sorted(HOLDS_ITS_STORE))
def test_a_store_that_another_process_has_is_3(store: Path, run: Callable[..., Result], name: str) -> None:
    assert run("backup").exit_code == 0
    Path("out.backup").rename("in.backup")
    Path("in.jsonl").write_text("")
    with sqlite.held(store):
        ended_well(run(name), name, leaving.STORE_REFUSED)


DAMAGED = [
    name
    for name in of(leaving.CRASHED)
    if name
    not in {"", "serve", "call", "init", "top", "restore", "migrate", "import", "sync", "admin-link"}
    | {"doctor", "reload", "check-config", "completion"}
]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_store_that_is_damaged_is_1(store: Path, run: Callable[..., Result], name: str) -> None:
    damage(store)
    ended_well(run(name), name, leaving.CRASHED)


def damage(store: Path) -> None:
    """Overwrite the page where events begin, and the index by which they are found."""
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        size = int(connection.pragma("page_size"))
        roots = [
            int(row[0]) for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'event'")
        ]
    with store.open("r+b") as file:
        for root in roots:
            file.seek((root - 1) * size)
            file.write(b"\xee" * size)


@pytest.mark.parametrize("name", ["call", "reload", "top", "sync", "admin-link"])
def test_nobody_to_speak_with_is_1(store: Path, run: Callable[..., Result], name: str) -> None:
    ended_well(run(name), name, leaving.CRASHED)


@pytest.mark.parametrize("name", ["export", "init"])
def test_a_file_that_cannot_be_written_is_1(
    store: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(ARGUMENTS, "export", ["none/out.jsonl"])
    monkeypatch.setitem(ARGUMENTS, "init", ["--yes", "--config", "none/relay.toml"])
    ended_well(run(name), name, leaving.CRASHED)


def test_lines_that_are_refused_are_1(store: Path, run: Callable[..., Result]) -> None:
    Path("in.jsonl").write_text("no event\n")
    ended_well(run("import"), "import", leaving.CRASHED)


@pytest.mark.parametrize("name", of(leaving.ADDRESS_REFUSED))
def test_an_address_that_is_taken_is_4(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setitem(SETTINGS, "NET__LISTEN", f'["127.0.0.1:{taken.getsockname()[1]}"]')
        ended_well(run(name), name, leaving.ADDRESS_REFUSED)


@pytest.mark.parametrize("name", RUNS_A_LOOP)
def test_an_interruption_is_130(
    store: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Path("in.jsonl").write_text("")

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trio, "run", interrupted)
    ended_well(run(name), name, leaving.STOPPED_NOW)


DONE = [
    name for name in ARGUMENTS if name not in {"", "serve", "call", "top", "sync", "admin-link", "doctor", "reload"}
]


@pytest.mark.parametrize("name", DONE)
def test_what_was_done_is_0(store: Path, run: Callable[..., Result], name: str) -> None:
    Path("in.jsonl").write_text("")
    if name == "restore":
        assert run("backup").exit_code == 0
        Path("out.backup").rename("in.backup")
        for path in store.parent.glob("relay.db*"):
            path.unlink()
    ended_well(run(name), name, 0)
