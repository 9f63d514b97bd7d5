"""The files of a relay: who may read and write them, and whether what it loads can be loaded."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from trio_relay.config import exposed
from trio_relay.config_tables import Config
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.doctor.rights import of_unreadable
from trio_relay.plugins.hook_modules import load_hooks, options_for
from trio_relay.plugins.hooks import HooksRefused
from trio_relay.plugins.options import words_of
from trio_relay.private_files import unfinished_beside
from trio_relay.store.sqlite.lock import files_of

CONFIG_EXPOSED: Final = Ailment(
    "config-exposed",
    Severity.WARNING,
    "Everybody on this machine may read the configuration, and there are secrets in it.",
    "Take that from others: chmod o= FILE; or set the secrets by variables of the environment.",
)
WRITABLE_BY_OTHERS: Final = Ailment(
    "writable-by-others",
    Severity.FAULT,
    "Everybody on this machine may change what the relay goes by or runs: its configuration, a list, a plugin.",
    "Take that from others: chmod o-w FILE.",
)
KEY_EXPOSED: Final = Ailment(
    "key-exposed",
    Severity.FAULT,
    "Everybody on this machine may read a secret key: of TLS, or of a mirror.",
    "Take that from others: chmod o= FILE; then make a new key, since nobody knows who has read this one.",
)
STORE_EXPOSED: Final = Ailment(
    "store-exposed",
    Severity.WARNING,
    "Others may open the store, in which there are private messages and the relay's own key.",
    "chmod go= FILE. The relay does that itself when it starts, for files that belong to its user.",
)
STORE_OWNER: Final = Ailment(
    "store-owner",
    Severity.FAULT,
    "A file of the store belongs to another user than the relay runs as, so that it cannot be written, or not closed"
    " to others. It is left by a command that was run as another user, or by a copy.",
    "chown it to the relay's user, and run commands as that user: sudo -u USER trio-relay …",
)
STORE_UNWRITABLE: Final = Ailment(
    "store-unwritable",
    Severity.FAULT,
    "The relay's user may not write the folder or the file of the store.",
    "chmod u+rwx the folder, u+rw the file; under systemd, name the folder by StateDirectory or ReadWritePaths.",
)
STORE_MISSING: Final = Ailment(
    "store-missing",
    Severity.NOTE,
    "There is no store yet: the first start makes it. Where there should be one, store.path leads elsewhere; it is"
    " relative to the folder that the relay is started in.",
    "If the relay has run before, compare store.path with the folder it was started in.",
)
UNFINISHED_FILES: Final = Ailment(
    "unfinished-files",
    Severity.NOTE,
    "A command that was killed, such as a backup, has left a file that was not finished, and takes room.",
    "Remove it, if no backup, import or compaction is under way.",
)
HOOKS_BROKEN: Final = Ailment(
    "hooks-broken",
    Severity.FAULT,
    "The module that plugins.hooks names cannot be loaded, or not as hooks: the relay would not start.",
    "Correct the module, or plugins.hooks; docs/plugins.md says what it holds.",
)
HOOKS_SLOW: Final = Ailment(
    "hooks-slow",
    Severity.WARNING,
    "The module that plugins.hooks names takes seconds to load, or waits for something: the relay starts so much later,"
    " or never.",
    "Have the module load at once, and do such work in a task of start(relay, options); docs/plugins.md.",
)
PROGRAM_MISSING: Final = Ailment(
    "program-missing",
    Severity.FAULT,
    "A program that judges events or requests cannot be run: what it judges is refused, or let in, by plugins.fail.",
    "Correct plugins.write or plugins.read; the file must be there, and its x bit set (chmod +x).",
)
RUNS_AS_ROOT: Final = Ailment(
    "runs-as-root",
    Severity.NOTE,
    "The relay runs as root, which it has no need of: a hole in it would be one in the machine.",
    "Give it a user of its own; see docs/operations.md.",
)

_LOAD_SECONDS: Final = 5.0
"""For hooks, which run code of others; less than a group of looks has."""
_OLD_SECONDS: Final = 3_600
"""After so long without a change a file is not being written any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file or folder: what it is called, its owner, its permissions."""

    path: Path
    owner: int
    mode: int


# Verdicts.


def of_shared(paths: Iterable[Seen]) -> Iterator[Finding]:
    """What the relay goes by must be its operator's alone to change."""
    for one in paths:
        if one.mode & stat.S_IWOTH:
            yield WRITABLE_BY_OTHERS.found(f"{one.path} has mode {_shown(one.mode)}.")


def of_keys(paths: Iterable[Seen]) -> Iterator[Finding]:
    """Secret keys must be for their owner, and at most a group."""
    for one in paths:
        if one.mode & stat.S_IROTH:
            yield KEY_EXPOSED.found(f"{one.path} has mode {_shown(one.mode)}.")


def of_store(folder: Seen, files: Iterable[Seen], user: int | None) -> Iterator[Finding]:
    """The store must be its user's alone.

    Args:
        folder: of the store.
        files: of the store, that are there.
        user: as whom the relay runs; None: nobody knows.
    """
    for one in files:
        if one.mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield STORE_EXPOSED.found(f"{one.path} has mode {_shown(one.mode)}.")
        if user is not None and one.owner != user:
            yield STORE_OWNER.found(f"{one.path} belongs to user {one.owner}, and the relay runs as {user}.")
        elif user and not one.mode & stat.S_IWUSR:
            yield STORE_UNWRITABLE.found(f"{one.path} has mode {_shown(one.mode)}.")
    if user and folder.owner == user and folder.mode & stat.S_IRWXU != stat.S_IRWXU:
        yield STORE_UNWRITABLE.found(f"{folder.path} has mode {_shown(folder.mode)}.")


def of_unfinished(files: Iterable[tuple[Path, float]], now: float) -> Iterator[Finding]:
    """Files that should have been finished or removed, with when each was changed last."""
    for path, changed in files:
        if now - changed > _OLD_SECONDS:
            yield UNFINISHED_FILES.found(f"{path} was written last {(now - changed) / 3_600:.0f} hours ago.")


def _shown(mode: int) -> str:
    return f"{mode:04o}"


# Looks.


async def look_at_files(patient: Patient, chart: Chart) -> None:
    """Look at the configuration, all that it names, and the store's own files."""
    await trio.to_thread.run_sync(_look, patient, chart, abandon_on_cancel=True)
    if not (hooks := patient.config.plugins.hooks):
        return
    with trio.move_on_after(_LOAD_SECONDS) as patience:
        if (fault := await _fault_of_hooks(patient)) is not None:
            chart.add([HOOKS_BROKEN.found(f"{hooks}: {fault}.")])
    if patience.cancelled_caught:
        chart.add([HOOKS_SLOW.found(f"{hooks}: not loaded after {_LOAD_SECONDS:g} seconds.")])


def _look(patient: Patient, chart: Chart) -> None:
    config, path = patient.config, patient.path
    if path is not None:
        chart.facts.append(str(path))
        if secrets := exposed(path):
            chart.add([CONFIG_EXPOSED.found(f"{path} holds {', '.join(secrets)}.")])
    chart.add(of_shared(_seen([*([path] if path else []), *patient.lists, *_code(config)])))
    chart.add(of_keys(_seen(_keys(config))))
    chart.add(of_unreadable(patient, [*([path] if path else []), *patient.lists, *_read(config)]))
    chart.add(_of_programs(config))
    if (store := patient.store_path) is not None:
        _look_at_store(store, patient, chart)


def _look_at_store(store: Path, patient: Patient, chart: Chart) -> None:
    if not store.exists():
        chart.add([STORE_MISSING.found(f"{store.absolute()} is not there.")])
        return
    chart.facts.append(f"store {store}")
    (folder,) = _seen([store.absolute().parent])
    chart.add(of_store(folder, _seen(files_of(store)), patient.user))
    chart.add(of_unfinished(last_changes(unfinished_beside(store)), patient.now))
    if patient.pid is not None and patient.user == 0:
        chart.add([RUNS_AS_ROOT.found(f"The process {patient.pid} is root's.")])


def _code(config: Config) -> list[Path]:
    """Files with code that the relay runs."""
    commands = [words_of(command) for command in (config.plugins.write, config.plugins.read)]
    programs = [Path(found) for words in commands if words and (found := shutil.which(words[0]))]
    hooks = Path(config.plugins.hooks)
    return [*programs, *([hooks] if config.plugins.hooks and hooks.is_file() else [])]


def _keys(config: Config) -> list[Path]:
    names = [config.net.tls_key, *(mirror.key_file for mirror in config.mirror)]
    return [Path(name) for name in names if name]


def _read(config: Config) -> list[Path]:
    """Files that the relay reads at its start, and again at each reload, beside the configuration and its lists."""
    pictures = (config.web.icon, config.web.banner) if config.web.enabled else ()
    names = [config.net.tls_certificate, config.plugins.hooks, *pictures]
    return [*map(Path, filter(None, names)), *_keys(config)]


def _of_programs(config: Config) -> Iterator[Finding]:
    for key, command in (("write", config.plugins.write), ("read", config.plugins.read)):
        words = words_of(command)
        if words and shutil.which(words[0]) is None:
            yield PROGRAM_MISSING.found(f"plugins.{key}: {words[0]} is not there, or cannot be run.")


def _seen(paths: Iterable[Path]) -> list[Seen]:
    """What is there of these; links are followed, since what they name is what counts."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append(Seen(path, status.st_uid, stat.S_IMODE(status.st_mode)))
    return found


def last_changes(paths: Iterable[Path]) -> list[tuple[Path, float]]:
    """When each of these was changed last; what a command has finished or removed since it was found is left out."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append((path, path.stat().st_mtime))
    return found


async def _fault_of_hooks(patient: Patient) -> str | None:
    plugins = patient.config.plugins
    try:
        module = await trio.to_thread.run_sync(load_hooks, plugins.hooks, abandon_on_cancel=True)
        options_for(module, plugins.hooks_options)
    except HooksRefused as refused:
        return str(refused)
    return None
