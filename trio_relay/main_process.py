"""The process that a relay is started as: what it was started with, and what goes on in it from first to last.

It serves clients itself (`app`), or keeps workers that do (`workers.serving`).
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
import trio

from trio_relay import heap
from trio_relay.backup.regular import BackupCollector, Backups
from trio_relay.config import Config
from trio_relay.configured import listened
from trio_relay.loop_lag import LoopLag
from trio_relay.metrics import MetricsPage
from trio_relay.net.admin.sight import BackUpNow, ReloadNow, SettingsShown, no_settings
from trio_relay.net.handed_sockets import HandedSockets, assigned
from trio_relay.process import tune_process
from trio_relay.reloading import Prepare, Reloading, Settled
from trio_relay.service import Service, unless_stopped
from trio_relay.tls_files import TakeCertified, TlsFiles, tls_files

log = structlog.get_logger("trio_relay.app")

Announce: TypeAlias = Callable[[str], None]
"""Called with each line for the operator."""


class StoppedNow(Exception):
    """A second signal came: the relay stops without waiting for anything."""


@dataclass(frozen=True, slots=True)
class Origins:
    """What a relay knows beside its configuration: where that comes from, and what its program can do for it.

    Attributes:
        reloading: reads the configuration again; None: there is nothing to read it from.
        backups: made regularly and when somebody asks; None: there is no way to.
        service: what a service manager gave this process, and is told by it.
    """

    reloading: Reloading | None = None
    backups: Backups | None = None
    service: Service = field(default_factory=Service)

    @property
    def settings(self) -> SettingsShown:
        """Tells all of them, as operators may see them."""
        return no_settings if self.reloading is None else self.reloading.settings

    @property
    def reload(self) -> ReloadNow | None:
        """What has the configuration read again."""
        return None if self.reloading is None else self.reloading.reload_now

    @property
    def back_up(self) -> BackUpNow | None:
        """What makes a backup now."""
        return None if self.backups is None else self.backups.make_now

    def add_metrics(self, page: MetricsPage) -> None:
        """Have the metrics page show what goes on beside the relay, too."""
        if self.backups is not None:
            page.add(BackupCollector(self.backups.statistics))

    def degraded(self) -> str | None:
        """What is wrong with what goes on beside the relay, or None."""
        return None if self.backups is None else self.backups.degraded()


@dataclass(frozen=True, slots=True)
class MainProcess:
    """What was there before the store was opened, and is until all is closed.

    Attributes:
        config: as it was at the start.
        announce: tells the operator.
        origins: what the relay knows beside its configuration.
        files: of the certificate; None: the relay speaks no TLS.
        handed: sockets that are taken instead of being bound.
        stop: set when the relay is to stop.
        lag: how late the loop is.
    """

    config: Config
    announce: Announce
    origins: Origins
    files: TlsFiles | None
    handed: HandedSockets
    stop: trio.Event
    lag: LoopLag

    @asynccontextmanager
    async def following(
        self, prepare: Prepare, take_certificate: TakeCertified, settled: Settled | None = None
    ) -> AsyncIterator[None]:
        """Have the relay go by its files as they change, while the context lasts; see `Reloading.serve`."""
        if (reloading := self.origins.reloading) is None:
            yield
            return
        reloading.serve(prepare, self.files, take_certificate, settled)
        async with trio.open_nursery() as following:
            await following.start(reloading.run)
            yield
            following.cancel_scope.cancel(reason="the relay has stopped")


@asynccontextmanager
async def main_process(config: Config, announce: Announce, origins: Origins) -> AsyncIterator[MainProcess]:
    """Make this process fit for a relay, and hear signals, while the context lasts.

    Raises:
        TlsRefused: the certificate or its key cannot be used.
        AddressRefused: a socket that was handed over is in no setting.
        StoppedNow: a second signal came while the relay was stopping; in a group.
    """
    tune_process(config.net.max_connections)
    files = tls_files(config.net)
    stop = trio.Event()
    async with trio.open_nursery() as root:
        await root.start(_hear_signals, stop)
        if origins.reloading is not None:
            await root.start(origins.reloading.hear)
        root.start_soon(heap.give_back_regularly)
        root.start_soon((lag := LoopLag()).measure)
        handed = await assigned(origins.service.sockets, listened(config))
        with unless_stopped(stop):
            yield MainProcess(config, announce, origins, files, handed, stop, lag)
        root.cancel_scope.cancel(reason="the relay has stopped")


async def _hear_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Stop on the first signal; raise `StoppedNow` on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                raise StoppedNow
            log.info("stopping", signal=signal.Signals(number).name, hint="once more to stop now")
            stop.set()
