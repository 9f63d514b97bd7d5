"""The command line: what each command says, and the exit code of every way to end."""

from __future__ import annotations

import errno
import json
import math
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
import structlog
from click.testing import CliRunner, Result

from tests.support.keys import ALICE
from trio_relay import Judges, Relay, RelayOptions, Rules, Store, __version__, app, importing, open_relay, process
from trio_relay.cli import main
from trio_relay.config import Config
from trio_relay.main_process import StoppedNow
from trio_relay.store.sqlite.lock import PidLock
from trio_relay.version import CODE

pytestmark = pytest.mark.usefixtures("own_logging")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs the command in this process, its store in a folder of the test's own and its ports free ones."""

    def run_command(*arguments: str, **settings: str) -> Result:
        environment = {
            "TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db"),
            "TRIO_RELAY_NET__LISTEN": '["127.0.0.1:0"]',
            "TRIO_RELAY_METRICS__LISTEN": "127.0.0.1:0",
            **{f"TRIO_RELAY_{key.upper()}": value for key, value in settings.items()},
        }
        return CliRunner().invoke(main, arguments, env=environment, prog_name="trio-relay")

    return run_command


def test_the_version_is_told(run: Callable[..., Result]) -> None:
    assert run("--version").output == f"trio-relay, version {__version__} ({CODE})\n"


def test_the_help_documents_every_exit_code(run: Callable[..., Result]) -> None:
    told = " ".join(run("--help").output.split())
    assert "Exit codes: 0 done, or stopped as asked; 1 a part of the relay failed; 2 " in told
    for code in ("3 the store cannot be opened", "4 an address cannot be listened on", "130 interrupted, or stopped"):
        assert code in told


def test_a_variable_names_the_file_where_no_option_does(run: Callable[..., Result], tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("variable", "before", "behind")}
    for path in files.values():
        Path(path).touch()

    def checked(*arguments: str) -> str:
        return run(*arguments, config=files["variable"]).stdout.strip().removesuffix(" is good")

    assert checked("check-config") == files["variable"]
    assert checked("--config", files["before"], "check-config") == files["before"]
    assert checked("--config", files["before"], "check-config", "--config", files["behind"]) == files["behind"]


def test_check_config_without_a_file_checks_the_defaults(run: Callable[..., Result]) -> None:
    ended = run("check-config")
    assert (ended.exit_code, ended.stdout) == (0, "the default configuration is good\n")


@pytest.mark.parametrize("before", [True, False])
def test_check_config_takes_the_file_before_or_after_the_command(
    tmp_path: Path, run: Callable[..., Result], before: bool
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("[limits]\nmax_filters = 3\n")
    option, command = ["--config", str(path)], ["check-config"]
    ended = run(*(option + command if before else command + option))
    assert (ended.exit_code, ended.stdout) == (0, f"{path} is good\n")


@pytest.mark.parametrize(
    ("settings", "policy", "reason"),
    [
        ('hooks = "mine"', "", "plugins.hooks: mine: has none of on_event, on_filters, on_connect"),
        ('hooks = "mine.py"', "import nothing_like_it", "No module named 'nothing_like_it'"),
        ('hooks = "other"', "", "plugins.hooks: other: no such module, here or beside the configuration"),
        ('hooks = "folder/other.py"', "", "plugins.hooks: "),
        (
            'hooks = "mine"\nhooks_options = {x = 1}',
            "def on_connect(source): ...",
            "plugins.hooks: hooks_options: mine",
        ),
        (
            'hooks = "mine"\n[plugins.hooks_options]\nwords = 3',
            "import msgspec\nclass Options(msgspec.Struct):\n    words: str\ndef start(relay, options): ...",
            "plugins.hooks: hooks_options.words: Expected `str`, got `int`",
        ),
    ],
)
@pytest.mark.parametrize("command", [["check-config"], ["serve"]])
def test_hooks_that_cannot_be_asked_are_an_error_of_the_configuration(
    tmp_path: Path, run: Callable[..., Result], settings: str, policy: str, reason: str, command: list[str]
) -> None:
    (tmp_path / "relay.toml").write_text(f"[plugins]\n{settings}\n")
    (tmp_path / "mine.py").write_text(policy)
    ended = run("--config", str(tmp_path / "relay.toml"), *command)
    assert ended.exit_code == 2
    assert reason in ended.stderr


@pytest.mark.parametrize(("settings", "refused"), [({}, 1), ({"plugins__skip_imports": "true"}, 0)])
def test_hooks_are_asked_about_what_an_import_brings(
    tmp_path: Path, run: Callable[..., Result], settings: dict[str, str], refused: int
) -> None:
    (tmp_path / "mine.py").write_text("def on_event(event, source):\n    return f'no {source.way}'\n")
    (tmp_path / "events.jsonl").write_bytes(msgspec.json.encode(ALICE.event()) + b"\n")
    path = str(tmp_path / "events.jsonl")
    ended = run("import", path, plugins__hooks=str(tmp_path / "mine.py"), **settings)
    assert ended.exit_code == refused, ended.output
    assert ("no import" in ended.output) == bool(refused)
    assert run("import", "--backup", path, plugins__hooks=str(tmp_path / "mine.py")).exit_code == 0


SECRET = '[store]\nbackend = "opensearch"\n[opensearch]\nusername = "relay"\npassword = "sesame-open"\n'
BUS = '[store]\nbackend = "opensearch"\n[bus]\nurl = "redis://{}"\n'


@pytest.mark.parametrize(
    ("text", "mode", "secrets"),
    [
        (SECRET, 0o644, ["opensearch.password"]),
        (SECRET, 0o640, []),
        (BUS.format("relay:sesame-open@localhost"), 0o644, ["bus.url"]),
        (BUS.format("localhost"), 0o644, []),
        ("[limits]\nmax_filters = 3\n", 0o644, []),
    ],
)
def test_a_configuration_whose_secrets_everybody_may_read_is_told(
    tmp_path: Path, run: Callable[..., Result], text: str, mode: int, secrets: list[str]
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    path.chmod(mode)
    ended = run("check-config", "--config", str(path))
    assert (ended.exit_code, ended.stdout) == (0, f"{path} is good\n")
    found = [json.loads(line) for line in ended.stderr.splitlines()]
    what = "everybody on this machine may read the configuration"
    assert [(line["event"], line["level"], line["secrets"]) for line in found] == [
        (what, "warning", secrets) for _ in secrets
    ]
    assert "sesame" not in ended.stderr


@pytest.mark.parametrize("command", [[], ["serve"], ["check-config"], ["import", "-"], ["export", "-"]])
def test_every_command_refuses_a_bad_configuration_with_2(
    tmp_path: Path, run: Callable[..., Result], command: list[str]
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("[limits]\nmax_filter = 3\n")
    ended = run("--config", str(path), *command)
    assert ended.exit_code == 2
    assert ended.stderr == "trio-relay: limits.max_filter: unknown key; the nearest known is limits.max_filters\n"
    assert ended.stdout == ""
    assert not (tmp_path / "relay.db").exists()


def test_a_configuration_that_is_not_there_is_2(tmp_path: Path, run: Callable[..., Result]) -> None:
    ended = run("--config", str(tmp_path / "none.toml"), "check-config")
    assert (ended.exit_code, ended.stderr) == (2, f"trio-relay: {tmp_path / 'none.toml'}: No such file or directory\n")


def test_an_unknown_command_or_option_is_2(run: Callable[..., Result]) -> None:
    assert run("serv").exit_code == 2
    assert run("--konfig", "x").exit_code == 2


@pytest.mark.slow
def test_a_start_loads_no_clients_of_others() -> None:
    """While a relay starts, new clients wait: see docs/restarting.md."""
    command = [sys.executable, "-c", "import sys, trio_relay.cli; print(*sys.modules)"]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "trio_relay.app" in loaded
    assert loaded.isdisjoint({"httpx", "trio_websocket", "wsproto", "coredis", "psycopg"})


def test_a_forced_backend_that_is_not_installed_is_2_and_names_the_key(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trio_relay.nostr._batch", None)
    ended = run("serve", pipeline__signatures="batch")
    assert ended.exit_code == 2
    assert ended.stderr.startswith("trio-relay: pipeline.signatures: ")
    assert "_batch" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "import"])
def test_a_store_that_is_held_is_3(tmp_path: Path, run: Callable[..., Result], command: str) -> None:
    lock = PidLock(tmp_path / "relay.db")
    ended = run(command)
    lock.release()
    assert ended.exit_code == 3
    assert ended.stderr.startswith(f"trio-relay: {tmp_path / 'relay.db'} is in use by the process with pid ")


def test_an_export_of_no_store_is_3(tmp_path: Path, run: Callable[..., Result]) -> None:
    ended = run("export")
    assert (ended.exit_code, ended.stderr) == (3, f"trio-relay: {tmp_path / 'relay.db'} does not exist\n")


@pytest.mark.parametrize("key", ["net__listen", "metrics__listen"])
def test_an_address_in_use_is_4_and_named(run: Callable[..., Result], key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(**{key: f'["127.0.0.1:0", "{address}"]' if key == "net__listen" else address})
    assert (ended.exit_code, ended.stderr) == (4, f"trio-relay: cannot listen on {address}: Address already in use\n")
    assert "listening on" not in ended.stdout


@pytest.mark.parametrize(
    ("end", "code", "last"),
    [
        (None, 0, ""),
        (StoppedNow(), 130, "trio-relay: stopped at once\n"),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130, "trio-relay: interrupted\n"),
        (KeyboardInterrupt(), 130, "trio-relay: interrupted\n"),
        (
            BaseExceptionGroup("", [StoppedNow(), KeyboardInterrupt()]),
            130,
            "trio-relay: stopped at once\n",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (RuntimeError("a bug"), 1, "trio-relay: a part of the relay failed, so it has stopped\n"),
        (OSError(errno.EMFILE, "no more"), 1, "trio-relay: a part of the relay failed, so it has stopped\n"),
        (SystemExit(7), 7, ""),
    ],
    ids=repr,
)
@pytest.mark.parametrize("depth", [0, 2])
def test_however_a_run_ends_it_has_its_code(
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException | None,
    code: int,
    last: str,
    depth: int,
) -> None:
    async def run_to_its_end(_config: Config, _announce: Callable[[str], None], _lists: object = None) -> None:
        if end is not None:
            raise _wrapped(type(end)(*end.args), depth)  # a new one, which nobody has raised yet

    monkeypatch.setattr(app, "main", run_to_its_end)
    ended = run()
    assert (ended.exit_code, ended.stderr[-len(last) :] if last else ended.stderr) == (code, last)
    assert ended.stdout == ("stopped\n" if code == 0 else "")


def _wrapped(error: BaseException, depth: int) -> BaseException:
    return error if depth == 0 else BaseExceptionGroup("from a nursery", [_wrapped(error, depth - 1)])


def test_two_faults_at_once_are_both_shown(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail_twice(_config: Config, _announce: Callable[[str], None], _lists: object = None) -> None:
        raise ExceptionGroup("from a nursery", [StoppedNow(), RuntimeError("the writer fell over")])

    monkeypatch.setattr(app, "main", fail_twice)
    ended = run()
    assert ended.exit_code == 1
    assert "RuntimeError: the writer fell over" in ended.stderr
    assert "Traceback (most recent call last):" in ended.stderr


@pytest.mark.parametrize("command", ["import", "export"])
def test_a_store_in_memory_is_nothing_to_import_into_or_export(run: Callable[..., Result], command: str) -> None:
    ended = run(command, store__backend="memory")
    assert ended.exit_code == 2
    assert ended.stderr.startswith("trio-relay: store.backend: ")


def test_an_export_to_where_nothing_can_be_written_is_1(tmp_path: Path, run: Callable[..., Result]) -> None:
    path = tmp_path / "none" / "events.jsonl"
    ended = run("export", str(path))
    assert (ended.exit_code, ended.stderr) == (1, f"trio-relay: cannot write {path}: No such file or directory\n")


def test_a_host_that_is_no_name_is_4(run: Callable[..., Result]) -> None:
    address = f"{'a' * 64}:80"
    ended = run(net__listen=f'["{address}"]')
    assert (ended.exit_code, ended.stderr) == (4, f"trio-relay: cannot listen on {address}: no such name\n")


def test_an_import_takes_the_time_it_needs(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still in the pipeline at the end of the file must not be given up with the relay's drain_seconds."""
    given: list[RelayOptions] = []

    def spied(
        store: Store, options: RelayOptions, *, rules: Rules, judges: Judges
    ) -> AbstractAsyncContextManager[Relay]:
        given.append(options)
        return open_relay(store, options, rules=rules, judges=judges)

    monkeypatch.setattr(importing, "open_relay", spied)
    assert run("import", pipeline__drain_seconds="1").exit_code == 0
    assert [options.drain_seconds for options in given] == [math.inf]


@pytest.mark.parametrize(
    ("limits", "allowed", "warned"),
    [
        ((1_024, 4_096), 1_110, False),
        ((1_024, resource.RLIM_INFINITY), 1_110, False),
        ((1_024, 1_050), 1_050, True),
        ((2_000, 4_096), None, False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, False),
    ],
)
def test_open_files_are_allowed_for_all_connections(
    limits: tuple[int, int], allowed: int | None, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, new: changed.append(new))
    with structlog.testing.capture_logs() as logged:
        process.make_room(10)
    assert changed == ([] if allowed is None else [(allowed, limits[1])])
    assert bool(logged) == warned
