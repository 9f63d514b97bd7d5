"""Faults of a relay that does not run, really made: doctor names each of them, and nothing else."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from click.testing import CliRunner

from perf.servers import free_port
from tests.doctor.clinic import IS_ROOT, Told, doctor, doctor_here, over_tls, sound, trusting, written
from tests.support.authority import authority
from tests.support.program import MODULE, environment, finished, launcher
from trio_relay import SqliteOptions, cli, open_sqlite
from trio_relay.doctor import software

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_logging")]

as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root, who may mount and give away files")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Of a relay that has a store and does not run."""
    made = sound(tmp_path)

    async def make() -> None:
        async with open_sqlite(SqliteOptions(path=made["store.path"])):
            pass

    trio.run(make)
    return made


def only(told: Told, code: str, words: str = "") -> None:
    """Nothing but this was found, which it says in these words."""
    assert told.codes - {"not-running"} == {code}, told.findings
    assert words in told.findings[code]["what"]
    assert told.findings[code]["advice"]
    is_well = told.findings[code]["severity"] == "note"
    assert (told.healthy, told.code) == (is_well, 0 if is_well else 1)


def configured(folder: Path, text: str = "", mode: int = 0o600) -> str:
    """The path of a configuration."""
    path = folder / "relay.toml"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_text_for_people_and_the_same_exit_code(settings: dict[str, str]) -> None:
    ill = environment(settings | {"plugins.write": "/nowhere/policy"})
    ended = CliRunner().invoke(cli.main, ["doctor"], env=ill)
    assert (ended.exit_code, ended.stderr) == (1, "")
    assert "  fault: program-missing\n    plugins.write: /nowhere/policy is not there" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("Something is wrong: 1 fault, ")


# Files.


def test_a_configuration_with_secrets_that_everybody_may_read(tmp_path: Path, settings: dict[str, str]) -> None:
    path = configured(tmp_path, '[opensearch]\npassword = "secret"\n', 0o644)
    only(doctor_here(settings, "--config", path), "config-exposed", "opensearch.password")


def test_a_configuration_that_everybody_may_change(tmp_path: Path, settings: dict[str, str]) -> None:
    only(doctor_here(settings, "--config", configured(tmp_path, mode=0o666)), "writable-by-others", "mode 0666")


def test_a_list_that_everybody_may_change(tmp_path: Path, settings: dict[str, str]) -> None:
    denied = tmp_path / "denied.txt"
    denied.write_text("spam\n")
    denied.chmod(0o666)
    path = configured(tmp_path, f'[policy]\ndenied_words = "file:{denied}"\n')
    only(doctor_here(settings, "--config", path), "writable-by-others", "denied.txt")


def test_a_list_that_is_not_there(tmp_path: Path, settings: dict[str, str]) -> None:
    told = doctor_here(settings, "--config", configured(tmp_path, '[policy]\ndenied_words = "file:/nowhere"\n'))
    assert (told.codes, told.code, told.healthy) == ({"config-wrong"}, 2, False)
    assert "/nowhere: No such file" in told.findings["config-wrong"]["what"]


def test_a_store_that_others_may_read(settings: dict[str, str]) -> None:
    Path(settings["store.path"]).chmod(0o644)
    only(doctor_here(settings), "store-exposed", "mode 0644")


@as_root
def test_a_store_of_another_user(settings: dict[str, str]) -> None:
    os.chown(settings["store.path"], 65_534, 65_534)
    only(doctor_here(settings), "store-owner", "user 65534")


@as_root
def test_what_root_has_left_for_itself_alone(tmp_path: Path, settings: dict[str, str]) -> None:
    """The user is the one whose the folder of the store is; what lies on the way to it is root's, too."""
    path = Path(configured(tmp_path, '[relay]\nname = "root was here"\n'))
    path.chmod(0o600)
    store = Path(settings["store.path"]).parent
    for one in (store, *store.iterdir()):
        os.chown(one, 65_534, 65_534)
    told = doctor_here(
        {**settings, "backup.every_seconds": "60", "backup.folder": str(tmp_path)}, "--config", str(path)
    )
    assert told.codes - {"not-running"} == {"unreadable", "backups-unreadable"}
    assert "user 65534 may not, by " in told.findings["unreadable"]["what"]


@as_root
def test_somebody_who_may_not_look(tmp_path: Path, settings: dict[str, str]) -> None:
    """Root without what lets it read all files; another user may not be able to read Python's."""
    os.chown(Path(settings["store.path"]).parent, 65_534, 65_534)
    few_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *MODULE]
    only(trio.run(partial(doctor, tmp_path, settings, command=few_rights)), "no-rights", "relay.db cannot be read")


def test_a_file_that_a_killed_command_has_left(settings: dict[str, str]) -> None:
    left = Path(f"{settings['store.path']}.abcd1234.part")
    left.touch()
    assert doctor_here(settings).codes == {"not-running"}  # it may be being written
    os.utime(left, (0, 0))
    only(doctor_here(settings), "unfinished-files", left.name)


def test_what_a_doctor_has_left_that_was_interrupted(settings: dict[str, str]) -> None:
    left = Path(f"{settings['store.path']}.doctor.abcd1234.part")
    left.touch()
    assert doctor_here(settings).codes == {"not-running"}
    assert not left.exists()


def test_a_file_that_is_finished_while_it_is_looked_for(settings: dict[str, str]) -> None:
    """Its name is found, and nothing behind it any more."""
    store = Path(settings["store.path"])
    (backups := store.parent / "backups").mkdir(exist_ok=True)
    for name in (f"{store}.abcd1234.part", backups / "relay-20261130T073549Z.backup.abcd1234.part"):
        Path(name).symlink_to("gone")
    assert doctor_here(settings).codes == {"not-running"}


def test_no_store_where_it_should_be(tmp_path: Path) -> None:
    only(doctor_here(sound(tmp_path)), "store-missing", "relay.db")


def test_hooks_that_cannot_be_loaded(tmp_path: Path, settings: dict[str, str]) -> None:
    hooks = tmp_path / "broken.py"
    hooks.write_text("def judge_event(:\n")
    only(doctor_here(settings | {"plugins.hooks": str(hooks)}), "hooks-broken", "SyntaxError")


def test_hooks_with_options_that_they_do_not_take(tmp_path: Path, settings: dict[str, str]) -> None:
    hooks = tmp_path / "policy.py"
    hooks.write_text("def on_connect(source):\n    return None\n")
    path = configured(tmp_path, f'[plugins]\nhooks = "{hooks}"\nhooks_options = {{tea = 1}}\n')
    only(doctor_here(settings, "--config", path), "hooks-broken", "hooks_options")


def test_a_plugin_that_is_not_there(settings: dict[str, str]) -> None:
    only(doctor_here(settings | {"plugins.write": "/nowhere/policy --fast"}), "program-missing", "/nowhere/policy")


def test_a_store_in_memory_has_no_file_and_no_backups(tmp_path: Path) -> None:
    told = doctor_here(sound(tmp_path) | {"store.backend": "memory", "backup.every_seconds": "0"})
    assert (told.codes, told.code) == ({"not-running"}, 0)
    assert "a store in memory has none" in told.facts


# Disk, store and backups.


@contextmanager
def volume(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder]).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@as_root
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("size=20m", "disk-full", "MB are free"),
        ("size=500m", "disk-low", "MB are free"),
        ("size=2g,nr_inodes=200", "inodes-low", "inodes are free"),
    ],
)
def test_a_disk_that_fills(tmp_path: Path, options: str, code: str, words: str) -> None:
    with volume(tmp_path / "disk", options) as folder:
        told = doctor_here(sound(tmp_path) | {"store.path": str(folder / "relay.db")})
        assert told.codes == {"not-running", "store-missing", code}
        assert words in told.findings[code]["what"]


@as_root
def test_a_disk_that_nobody_may_write_to(tmp_path: Path) -> None:
    with volume(tmp_path / "disk", "ro,size=2g") as folder:
        told = doctor_here(sound(tmp_path) | {"store.path": str(folder / "relay.db")})
    assert told.codes == {"not-running", "store-missing", "read-only-disk"}


def test_a_damaged_store(settings: dict[str, str]) -> None:
    with Path(settings["store.path"]).open("r+b") as file:
        file.seek(3 * 4_096)
        file.write(b"\xff" * 4_096)
    only(doctor_here(settings), "store-damaged", "relay.db")


def test_a_file_that_is_another_programs(settings: dict[str, str]) -> None:
    Path(settings["store.path"]).unlink()
    with sqlite3.connect(settings["store.path"]) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()
    Path(settings["store.path"]).chmod(0o600)
    only(doctor_here(settings), "store-refused", "not one of trio-relay")


def test_a_folder_where_the_file_should_be(settings: dict[str, str]) -> None:
    Path(settings["store.path"]).unlink()
    Path(settings["store.path"]).mkdir(0o700)
    only(doctor_here(settings), "store-refused", "relay.db")


def test_a_store_of_a_newer_version(settings: dict[str, str]) -> None:
    with sqlite3.connect(settings["store.path"]) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    only(doctor_here(settings), "store-refused", "schema version 99")


def test_no_backups(settings: dict[str, str]) -> None:
    only(doctor_here(settings | {"backup.every_seconds": "0"}), "no-backups")


def test_backups_that_are_too_old(tmp_path: Path, settings: dict[str, str]) -> None:
    made = trio.run(partial(finished, tmp_path, "backup", settings=settings))
    assert made.returncode == 0, made.stderr
    (backup,) = (tmp_path / "data" / "backups").iterdir()
    assert doctor_here(settings).codes == {"not-running"}
    backup.rename(backup.with_name(f"{backup.name.partition('-20')[0]}-20200101T000000Z{''.join(backup.suffixes)}"))
    only(doctor_here(settings), "backup-old", "days old")


# Limits.


def test_too_few_open_files(tmp_path: Path, settings: dict[str, str]) -> None:
    few = launcher("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    told = trio.run(partial(doctor, tmp_path, settings, command=few))
    only(told, "open-files-few", "256 files")


def test_more_memory_than_the_machine_has(settings: dict[str, str]) -> None:
    only(doctor_here(settings | {"memory.total_bytes": str(10**15)}), "memory-over-machine", "1e+03 TB")


# Software.


def test_signatures_that_are_verified_in_python(settings: dict[str, str]) -> None:
    told = doctor_here(settings | {"pipeline.signatures": "python"})
    assert told.findings["signatures-slow"]["what"] == "They are verified by python."


def test_signatures_that_nothing_verifies(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError("no libsecp256k1")

    monkeypatch.setattr(software, "open_backend", missing)
    only(doctor_here(settings), "signatures-none", "no libsecp256k1")


# Certificate and name.

DAY = timedelta(days=1)


def test_a_certificate_that_does_not_hold_yet(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    now = datetime.now(UTC)
    made = authority().issue_cert("localhost", not_before=now + 2 * DAY, not_after=now + 90 * DAY)
    only(doctor_here(settings | over_tls(tmp_path, made)), "certificate-ended", "does not hold yet")


@pytest.mark.parametrize(
    ("ends", "code"), [(-DAY, "certificate-ended"), (5 * DAY, "certificate-ends")], ids=["ended", "ends"]
)
def test_a_certificate_at_its_end(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, ends: timedelta, code: str
) -> None:
    trusting(tmp_path, monkeypatch)
    now = datetime.now(UTC)
    made = authority().issue_cert("localhost", not_before=now - 90 * DAY, not_after=now + ends)
    only(doctor_here(settings | over_tls(tmp_path, made)), code, "end")


def test_a_certificate_for_another_name(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    made = authority().issue_cert("other.example")
    only(doctor_here(settings | over_tls(tmp_path, made)), "certificate-name", "localhost")


def test_a_certificate_without_those_in_between(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    made = authority().create_child_ca().issue_cert("localhost")
    assert doctor_here(settings | over_tls(tmp_path, made)).codes == {"not-running"}
    only(doctor_here(settings | over_tls(tmp_path, made, whole=False)), "certificate-chain", "local issuer")


def test_a_certificate_of_nobody_that_anybody_trusts(tmp_path: Path, settings: dict[str, str]) -> None:
    made = trustme.CA().issue_cert("localhost")
    only(doctor_here(settings | over_tls(tmp_path, made)), "certificate-chain", "OpenSSL says")


def test_a_key_of_another_certificate(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    secure = over_tls(tmp_path, authority().issue_cert("localhost"))
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other", authority().issue_cert("localhost"))
    told = doctor_here(settings | secure | {"net.tls_key": other["net.tls_key"]})
    only(told, "certificate-unusable", "not the one of the certificate")


def test_a_key_that_everybody_may_read(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    secure = over_tls(tmp_path, authority().issue_cert("localhost"))
    Path(secure["net.tls_key"]).chmod(0o644)
    only(doctor_here(settings | secure), "key-exposed", "relay.key has mode 0644")


def test_a_name_that_leads_nowhere(settings: dict[str, str]) -> None:
    only(doctor_here(settings | {"relay.url": "wss://relay.invalid/"}), "name-unknown", "relay.invalid")


def test_a_name_of_another_machine(settings: dict[str, str]) -> None:
    """An address is a name, too."""
    only(doctor_here(settings | {"relay.url": "wss://203.0.113.9/"}), "name-elsewhere", "203.0.113.9")


def test_no_name_for_a_relay_that_others_reach(settings: dict[str, str]) -> None:
    open_to_all = {"net.listen": f'["0.0.0.0:{free_port()}"]', "relay.url": ""}
    only(doctor_here(settings | open_to_all), "url-missing")


def test_a_name_of_this_machine_alone_for_a_relay_that_others_reach(settings: dict[str, str]) -> None:
    only(doctor_here(settings | {"net.listen": f'["0.0.0.0:{free_port()}"]'}), "url-local")


def test_another_program_where_the_relay_would_listen(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = {"net.listen": f'["127.0.0.1:{other.getsockname()[1]}"]'}
        told = doctor_here(settings | taken)
    assert (told.codes, told.code) == ({"address-taken"}, 1)


async def test_hooks_that_end_the_program_do_not_end_doctor(tmp_path: Path, settings: dict[str, str]) -> None:
    hooks = tmp_path / "leaving.py"
    hooks.write_text("raise SystemExit(3)\n")
    assert (await doctor(tmp_path, settings | {"plugins.hooks": str(hooks)})).code in (1, 2)


async def test_an_empty_file_is_a_store_that_the_relay_will_make(tmp_path: Path, settings: dict[str, str]) -> None:
    empty = tmp_path / "empty.db"
    empty.touch(0o600)
    told = await doctor(tmp_path, settings | {"store.path": str(empty)})
    assert "store-refused" not in told.codes


@pytest.mark.parametrize("host", ["a..example", f"{'a' * 70}.example"])
async def test_a_name_that_cannot_be_one_is_no_fault_of_the_looks(
    tmp_path: Path, settings: dict[str, str], host: str
) -> None:
    told = await doctor(tmp_path, settings | {"relay.url": f"wss://{host}/"})
    assert "look-failed" not in told.codes


async def test_a_folder_of_backups_that_cannot_be_made(tmp_path: Path, settings: dict[str, str]) -> None:
    told = await doctor(tmp_path, settings | {"backup.folder": "/dev/null/x"})
    assert (told.codes, told.code) == ({"not-running", "backups-unreadable"}, 1)
    assert told.findings["backups-unreadable"]["what"] == "/dev/null/x: /dev/null is no folder."


async def test_hooks_that_wait_while_they_are_loaded(tmp_path: Path, settings: dict[str, str]) -> None:
    hooks = tmp_path / "waiting.py"
    hooks.write_text("import threading\nthreading.Event().wait()\n")
    told = await doctor(tmp_path, settings | {"plugins.hooks": str(hooks)})
    assert (told.codes, told.code) == ({"not-running", "hooks-slow"}, 1)
