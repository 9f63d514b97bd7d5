"""The relay that is looked at: its configuration, and whether it runs, as which process of which user."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from trio_relay.config import Config, ConfigRead
from trio_relay.doctor.asking import NoAnswer, call
from trio_relay.doctor.entrances import Unreached, inner_entrances
from trio_relay.net.endpoints import HEALTH
from trio_relay.store.sqlite.lock import holder_of

_KNOCK_SECONDS: Final = 1.0
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Patient:
    """What all looks begin with.

    Attributes:
        config: checked.
        path: of its file; None: there is none.
        lists: files in which lists of the table `policy` stand.
        control: where its control line is; None: it has none.
        is_running: a relay runs on this configuration, for all that can be told.
        has_control: it answers at its control line.
        pid: of the process that holds the store; None: nobody does, or the store is no file.
        now: seconds since 1970.
    """

    config: Config
    path: Path | None
    lists: Sequence[Path]
    control: Path | None
    is_running: bool
    has_control: bool
    pid: int | None
    now: float

    @property
    def store_path(self) -> Path | None:
        """The file of the store; None if it has none."""
        return Path(self.config.store.path) if self.config.store.backend == "sqlite" else None

    @property
    def may_look(self) -> bool:
        """False if whoever asks may not read the store, and so cannot know whether a relay runs on it, either."""
        path = self.store_path
        try:
            return path is None or (path.stat() is not None and os.access(path, os.R_OK))
        except PermissionError:  # of a folder on the way
            return False
        except OSError:  # it is not there
            return True

    @property
    def user(self) -> int | None:
        """The user as whom the relay runs, or will: of its process, or of who asks; None if root asks for others."""
        if self.pid is not None:
            try:
                return (_PROC / str(self.pid)).stat().st_uid
            except OSError:  # it has just ended, or there is no such folder
                pass
        if (own := os.geteuid()) != 0:
            return own
        folder = None if self.store_path is None else self.store_path.parent
        return folder.stat().st_uid if folder is not None and folder.is_dir() else None

    def of_process(self, name: str) -> str | None:
        """What `/proc` says of the relay's process, or of this one while it does not run; None if that is not told."""
        try:
            return (_PROC / str(self.pid or "self") / name).read_text(errors="replace")
        except OSError:
            return None


async def meet(whole: ConfigRead, path: Path | None, now: float) -> Patient:
    """Find out whether the relay runs, within a second or two.

    Who has a store in a file holds its lock. Of any other store it is asked who answers where the relay would.

    Args:
        whole: its configuration, as it was read.
        path: of its file; None: there is none.
        now: seconds since 1970.
    """
    config, pid = whole.config, None
    control = config.control.place(config.store.backend, config.store.path)
    has_control = control is not None and await _answers(call(control, "supportedmethods"))
    if config.store.backend == "sqlite":
        holder = holder_of(Path(config.store.path))
        pid = int(holder) if holder is not None and holder.isdigit() else None
        is_running = has_control or holder is not None
    else:
        entrance = next(inner_entrances(config), None)
        is_running = has_control or (entrance is not None and await _answers(entrance.ask(HEALTH)))
    lists = [file for files in whole.files.values() for file in files]
    return Patient(config, path, lists, control, is_running, has_control, pid, now)


async def _answers(asking: Awaitable[object]) -> bool:
    with trio.move_on_after(_KNOCK_SECONDS):
        try:
            await asking
        except (NoAnswer, Unreached):
            return False
        return True
    return False
