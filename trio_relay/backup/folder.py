"""The folder in which a relay keeps backups of its store, each under the name of its moment; the oldest go."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import gmtime, strftime, strptime
from typing import Final

import trio

from trio_relay.backup.base import BackupMade, BackupRefused
from trio_relay.backup.making import back_up_file
from trio_relay.backup.rotation import beyond
from trio_relay.private_files import give_to_owner_of, make_folder
from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite.lock import why_not_there

_NAME: Final = "relay-%Y%m%dT%H%M%SZ.backup"
_NAMED: Final = re.compile(r"relay-[0-9]{8}T[0-9]{6}Z\.backup(\.[a-z0-9_]{8}\.part(?:-journal)?)?")
_LEFT_SECONDS: Final = 3_600.0
"""After so long without a change nobody writes a half-written backup any more: each writes all the time."""


class BackupFolder:
    """Holds backups of one store; nothing else in the folder is touched.

    Args:
        folder: made if it is not there.
        store: the file of the store.
        with_key: whether the relay's own secrets are in them.
    """

    def __init__(self, folder: Path, store: Path, *, with_key: bool) -> None:
        self._folder = folder
        self._store = store
        self._with_key = with_key

    async def make(self, now: float) -> BackupMade:
        """See `Vault.make`."""
        if not self._store.is_file():  # in a wrong folder no place for backups is to be made
            raise StoreRefused(f"{self._store} does not exist")
        with self._saying_where():
            await trio.to_thread.run_sync(self._tidy, now)
        file = self._folder / name_at(now)
        made = await back_up_file(self._store, file, now, with_key=self._with_key)
        with self._saying_where():
            give_to_owner_of(self._store, file)
        return made

    async def newest(self, now: float) -> float | None:
        """See `Vault.newest`."""
        with self._saying_where():
            moments = map(moment_of, await trio.to_thread.run_sync(self._names))
            return max((moment for moment in moments if moment <= now), default=None)

    async def rotate(self, keep: int, made: BackupMade, now: float) -> list[str]:
        """See `Vault.rotate`."""
        with self._saying_where():
            return await trio.to_thread.run_sync(self._rotate, keep, Path(made.name).name, now)

    @contextmanager
    def _saying_where(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackupRefused(f"{error.filename or self._folder}: {error.strerror}") from error

    def _rotate(self, keep: int, made: str, now: float) -> list[str]:
        left, failures = list[str](), list[OSError]()
        for name in beyond({name: moment_of(name) for name in self._names()}, keep, made, now):
            try:
                (self._folder / name).unlink(missing_ok=True)
                left.append(name)
            except OSError as error:  # one that has to stay must not have all others stay
                failures.append(error)
        if failures:
            raise failures[0]
        return left

    def _tidy(self, now: float) -> None:
        """Make the folder, and remove what who was killed has left half written: a command may be writing here, too."""
        missing = [place for place in (self._folder, *self._folder.parents) if not place.exists()]
        make_folder(self._folder)
        for place in missing:  # or what root has made would keep out the relay's own backups
            give_to_owner_of(self._store, place)
        for one in self._folder.iterdir():
            if (found := _NAMED.fullmatch(one.name)) and found[1]:
                with suppress(FileNotFoundError):  # whoever was writing it is done now
                    if one.lstat().st_mtime < now - _LEFT_SECONDS:
                        one.unlink()

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        named = [one for one in self._folder.iterdir() if (found := _NAMED.fullmatch(one.name)) and not found[1]]
        files = [one for one in named if one.is_file()]
        return [one.name for one in files if why_not_there(self._store, one) is None]  # a store may have any name


def name_at(now: float) -> str:
    """Return the name of a backup of this moment, in seconds since 1970."""
    return strftime(_NAME, gmtime(now))


def moment_of(name: str) -> float:
    """Return the moment that a name tells; before all others if it tells none, such as a 32nd of May."""
    try:
        return float(timegm(strptime(name, _NAME)))
    except ValueError:
        return 0.0
