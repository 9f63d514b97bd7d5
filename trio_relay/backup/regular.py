"""Backups of a running relay: at their time, and when somebody asks; one at a time, beside everything else.

How they go is told by the log, by metrics, and to who looks after the relay's health.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

import structlog
import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from trio_relay.backup.base import BackupMade, BackupRefused, BackupStatistics, Vault
from trio_relay.backup.options import BackupOptions
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.store.base import StoreError, StoreRefused

log = structlog.get_logger("trio_relay.backup")

RETRY_SECONDS: Final = 300.0
"""After one that failed, or sooner if they are made more often."""
_FAILURES: Final = (BackupRefused, StoreError, StoreRefused)


class Backups:
    """Makes backups of one relay's store.

    Args:
        options: how often, and how many are kept.
        vault: where they go; None: the store is in memory.
        clock: seconds since 1970.
    """

    def __init__(self, options: BackupOptions, vault: Vault | None, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._vault = vault
        self._clock = clock
        self._turn = trio.Lock()
        self._changed = trio.Event()
        self._statistics = BackupStatistics()

    def statistics(self) -> BackupStatistics:
        """How they do."""
        return self._statistics

    def degraded(self) -> str | None:
        """What is wrong, if they are to be made regularly and the last one failed; else None."""
        trouble = self._statistics.trouble
        return f"no backup was made: {trouble}" if trouble and self._options.every_seconds else None

    def take_options(self, options: BackupOptions, vault: Vault | None) -> None:
        """Go by these options from now on, with the next backup; see above; sync."""
        if options == self._options:
            return
        self._options = options
        self._vault = vault
        self._changed.set()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Make one whenever it is time to, for ever; none while that is not wanted."""
        while True:
            every, vault, changed = self._options.every_seconds, self._vault, self._changed
            if every and vault is not None:
                await self._make_regularly(vault, every, changed)
            else:
                await changed.wait()

    async def _make_regularly(self, vault: Vault, every: float, changed: trio.Event) -> None:
        """Make them until the options are others."""
        seconds = await self._until_first(vault, every)
        while not changed.is_set():
            with trio.move_on_after(seconds):
                await changed.wait()
                return
            # By a clock that nobody sets: one that was ahead, and is set back, is not to put the next off for years.
            began = trio.current_time()
            try:
                await self._make(vault)
            except _FAILURES:  # it is told, and tried again
                seconds = min(every, RETRY_SECONDS)
            else:
                seconds = every
            seconds = max(0.0, began + seconds - trio.current_time())

    async def make(self) -> BackupMade:
        """Make one after those that are being made, and remove what is beyond those to keep.

        Raises:
            BackupRefused, StoreError, StoreRefused: as `Vault.make` does; it is logged and counted.
        """
        if self._vault is None:
            raise BackupRefused("a store in memory has nothing to back up")
        return await self._make(self._vault)

    async def make_now(self) -> dict[str, object]:
        """Make one after those that are being made, and tell of it as NIP-86's `backupnow` does.

        Raises:
            Rejected: it was not made.
        """
        if self._vault is None:
            raise Rejected(Prefix.UNSUPPORTED, "a store in memory has nothing to back up")
        try:
            made = await self._make(self._vault)
        except _FAILURES as error:
            raise Rejected(Prefix.ERROR, f"no backup: {error}") from error
        return {"file": made.name, "number": made.events, "bytes": made.size, "seconds": round(made.seconds, 3)}

    async def _until_first(self, vault: Vault, every: float) -> float:
        """Seconds until the first of this process is due: restarts neither put it off nor make more of them."""
        now = self._clock()
        try:
            newest = await vault.newest(now)
        except _FAILURES as error:
            self._fail(error)
            return 0.0
        self._statistics = replace(self._statistics, last=newest)
        return 0.0 if newest is None else max(0.0, newest + every - now)

    async def _make(self, vault: Vault) -> BackupMade:
        async with self._turn:
            try:
                made = await vault.make(self._clock())
            except _FAILURES as error:
                self._fail(error)
                raise
            failures = self._statistics.failures
            self._statistics = BackupStatistics(made.moment, made.seconds, made.size, failures)
            log.info("a backup was made", name=made.name, bytes=made.size, seconds=round(made.seconds, 3))
            try:
                if removed := await vault.rotate(self._options.keep, made, self._clock()):
                    log.info("old backups were removed", names=removed)
            except _FAILURES as error:
                log.warning("old backups stay", error=str(error))
            return made

    def _fail(self, error: Exception) -> None:
        log.warning("no backup was made", error=str(error))
        failures = self._statistics.failures + 1
        self._statistics = replace(self._statistics, failures=failures, trouble=str(error))


class BackupCollector(Collector):
    """Gives the metrics of backups; what is not known has no sample."""

    def __init__(self, statistics: Callable[[], BackupStatistics]) -> None:
        self._statistics = statistics

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is asked for yet

    def collect(self) -> Iterator[Metric]:
        backups = self._statistics()
        for name, text, value in (
            ("last_timestamp_seconds", "When the newest backup was made, in seconds since 1970", backups.last),
            ("seconds", "How long the last backup of this process took", backups.seconds),
            ("bytes", "Size of the last backup of this process; of a snapshot what it has added", backups.size),
        ):
            yield GaugeMetricFamily(f"trio_relay_backup_{name}", text, value)
        yield CounterMetricFamily("trio_relay_backups_failed", "Backups that could not be made", backups.failures)
