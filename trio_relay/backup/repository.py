"""The repository of a cluster of OpenSearch in which snapshots of a relay are kept; the oldest go."""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import trio

from trio_relay.backup.base import BackupMade, BackupRefused, described
from trio_relay.backup.options import WITH_KEY, BackupOptions
from trio_relay.backup.rotation import beyond
from trio_relay.store.opensearch import OpenSearchOptions
from trio_relay.store.opensearch.client import open_client
from trio_relay.store.opensearch.snapshots import Snapshot, SnapshotRepository
from trio_relay.version import __version__

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_STAMP: Final = "%Y%m%dt%H%M%Sz"
"""OpenSearch has no capital letters in names."""


class BackupRepository:
    """Holds snapshots of one relay's indices; those of others in it are not touched.

    Args:
        options: which repository it is.
        index: of which indices the snapshots are.
        say: called with a line about how far a snapshot or a restore is.
    """

    def __init__(
        self, options: BackupOptions, index: OpenSearchOptions, say: Callable[[str], None] = lambda _line: None
    ) -> None:
        self._options = options
        self._index = index
        self._say = say
        self._ours = re.compile(rf"{re.escape(index.prefix)}-([0-9]{{8}}t[0-9]{{6}}z)")

    async def make(self, now: float) -> BackupMade:
        """See `Vault.make`."""
        return await self.make_named(f"{self._index.prefix}-{_stamp(now)}", now)

    async def make_named(self, name: str, now: float) -> BackupMade:
        """Take a snapshot under this name; raises as `Vault.make` does."""
        _check_name(name)
        if not self._options.with_key:
            raise BackupRefused(f"backup.with_key: {WITH_KEY}")
        began = trio.current_time()
        async with self._opened() as repository:
            await repository.register(self._options.location)
            about = {"by": f"trio-relay {__version__}", "made": int(now)}
            found, events = await repository.take(name, about)
        seconds = trio.current_time() - began
        return BackupMade(f"{self._options.repository}/{name}", now, events, True, found.size, seconds)

    async def newest(self, now: float) -> float | None:
        """See `Vault.newest`."""
        async with self._opened() as repository:
            moments = self._moments(await repository.all(), "SUCCESS").values()
        return max((moment for moment in moments if moment <= now), default=None)

    async def rotate(self, keep: int, made: BackupMade, now: float) -> list[str]:
        """See `Vault.rotate`. What is not whole and not being taken goes, too."""
        async with self._opened() as repository:
            found = await repository.all()
            whole, broken = self._moments(found, "SUCCESS"), self._moments(found, "PARTIAL", "FAILED")
            for name in (leaving := [*beyond(whole, keep, made.name.rpartition("/")[2], now), *broken]):
                await repository.remove(name)
        return leaving

    async def check(self, name: str) -> str:
        """Return what a snapshot holds, for the operator.

        Raises:
            BackupRefused: this is no name.
            StoreRefused: there is none of this name that is whole, of this relay, and of no newer version.
            StoreError: the cluster could not answer.
        """
        _check_name(name)
        async with self._opened() as repository:
            await repository.register("")
            return f"{self._options.repository}/{name} is whole: {_told(await repository.whole(name))}"

    async def restore(self, name: str, *, replaces: bool) -> str:
        """Put what a snapshot holds in the place of the relay's indices; returns what was done, for the operator.

        Args:
            name: of the snapshot.
            replaces: whether there may be indices already; they stay, but the aliases name the new ones.

        Raises:
            StoreRefused: as `check` does; or there is something that is not to be replaced.
            StoreError: the cluster could not answer; the aliases are as they were.
        """
        _check_name(name)
        async with self._opened() as repository:
            await repository.register("")
            found = await repository.whole(name)
            before = await repository.restore(found, _stamp(time.time()), replaces=replaces)
        lines = [f"{self._index.prefix}: {_told(found)}"]
        lines += [f"{index}: what was there; once all is well: DELETE /{index}" for index in before]
        return "\n".join(lines)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[SnapshotRepository]:
        if not self._options.repository:
            raise BackupRefused("backup.repository says where snapshots of OpenSearch go; it is empty")
        async with open_client(self._index) as client:
            yield SnapshotRepository(client, self._index, self._options.repository, self._say)

    def _moments(self, found: Iterable[Snapshot], *states: str) -> dict[str, float]:
        """The moments of those that are ours and in one of these states, by their names."""
        named = {one.name: self._moment(one.name) for one in found if one.state in states}
        return {name: moment for name, moment in named.items() if moment is not None}

    def _moment(self, name: str) -> float | None:
        """Return the moment that the name of a snapshot tells; None if it is none of ours."""
        if (found := self._ours.fullmatch(name)) is None:
            return None
        try:
            return float(timegm(time.strptime(found[1], _STAMP)))
        except ValueError:
            return None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):  # others would name several, or none
        raise BackupRefused(f"{name} is no name of a snapshot: it has small letters, digits, and . _ - between them")


def _stamp(now: float) -> str:
    return time.strftime(_STAMP, time.gmtime(now))


def _told(found: Snapshot) -> str:
    about = found.about
    return described(int(about.get("events", 0)), float(about.get("made", 0)), with_key=True)
