"""The configuration read again while the relay runs: whole, checked whole, and only then taken, all of it at once.

SIGHUP and `trio-relay reload` have all of it read. Lists that stand in files, and the certificate, are looked at by
themselves, too: of the file that names them nothing is taken then.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import structlog
import trio
from msgspec.structs import replace

from trio_relay.config import Config, ConfigRead, check_together, load_whole, read_lists
from trio_relay.config_checks import ConfigError
from trio_relay.list_files import ListFiles
from trio_relay.live_settings import FIXED, Comparison, compared
from trio_relay.net.admin.sight import SettingRecord
from trio_relay.net.options import NetOptions
from trio_relay.net.tls import CertifiedKey, TlsRefused
from trio_relay.net.web.assembly import pages_of
from trio_relay.net.web.rendering import PagesRefused
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.plugins.hook_modules import check_loaded
from trio_relay.plugins.hooks import HooksRefused
from trio_relay.policy.options import PolicyOptions
from trio_relay.shown_settings import shown_settings
from trio_relay.store.base import StoreError
from trio_relay.tls_files import TakeCertified, TlsFiles, read_certified

log = structlog.get_logger("trio_relay.app")

Prepare: TypeAlias = Callable[[Config], Awaitable[Callable[[], None]]]
"""Does all that may fail before a configuration is taken, raising StoreError then; what it gives takes it, and is sync
and does not fail."""
Settled: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Readout:
    """What one reading gives, all of it checked."""

    whole: ConfigRead
    comparison: Comparison
    certified: CertifiedKey | None


class Reloading:
    """Reads a relay's configuration again, and has the relay go by it.

    Args:
        path: of the file; None: there is none.
        environment: its variables.
        whole: what was read from both at the start.
        hears_hangups: True if SIGHUP is for this; else it ends the relay, as a closed terminal does.
    """

    def __init__(
        self, path: Path | None, environment: Mapping[str, str], whole: ConfigRead, *, hears_hangups: bool = False
    ) -> None:
        self._path = path
        self._environment = environment
        self._running = whole.config
        self._has_settings = bool(whole.written)
        self._hears_hangups = hears_hangups
        self._shown = shown_settings(path, environment, whole)
        self._lists = ListFiles(whole.lists, whole.config.policy, read_lists)
        self._turn = trio.Lock()
        self._asked = trio.Event()
        """Set by a hangup that was not obeyed yet."""
        self._prepare: Prepare | None = None
        self._settled: Settled = _at_once
        self._files: TlsFiles | None = None
        self._take_certificate: TakeCertified = lambda _certified: None
        self.telling: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
        """What a reading happens within, for who is told that there is one."""

    def settings(self) -> tuple[SettingRecord, ...]:
        """All settings, as operators may see them."""
        return self._shown()

    def serve(
        self,
        prepare: Prepare,
        files: TlsFiles | None,
        take_certificate: TakeCertified,
        settled: Settled | None = None,
    ) -> None:
        """Say who goes by the configuration, before `run`.

        Args:
            prepare: see there.
            files: of the certificate; None: the relay speaks no TLS.
            take_certificate: gets what they hold when that has changed; sync.
            settled: waits until all processes of the relay go by what was taken.
        """
        self._prepare, self._files, self._take_certificate = prepare, files, take_certificate
        self._settled = settled or _at_once

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at files that are followed, and obey hangups; for ever."""
        async with trio.open_nursery() as following:
            following.start_soon(self._obey_hangups)
            if self._files is not None:
                following.start_soon(self._files.run, self._take_certificate, self._turn)
            following.start_soon(self._lists.run, self._take_lists, self._turn)
            task_status.started()

    async def hear(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear SIGHUP, where it is for this, from before the relay serves until after it; for ever, or not at all.

        One that comes before `run` is obeyed by that: what was read at the start may be older.
        """
        if not self._hears_hangups:
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                self._asked.set()

    async def _obey_hangups(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            with suppress(ConfigError, StoreError):  # it is told
                await self.reload()

    async def reload_now(self) -> dict[str, object]:
        """Read it, and tell of that as the method `reloadconfig` does.

        Raises:
            Rejected: it is wrong, and nothing has changed.
        """
        try:
            found = await self._reload()
        except ConfigError as error:
            raise Rejected(Prefix.INVALID, str(error)) from error
        except StoreError as error:
            raise Rejected(Prefix.ERROR, str(error)) from error
        return {
            "changed": list(found.comparison.changed),
            "waiting": {name: why_waiting(name) for name in found.comparison.waiting},
            **({"overridden": dict(found.whole.overridden)} if found.whole.overridden else {}),
        }

    async def reload(self) -> Comparison:
        """The same, for this program; gives what has changed.

        Raises:
            ConfigError, StoreError: as `_reload`.
        """
        return (await self._reload()).comparison

    async def _reload(self) -> Readout:
        """Read and check all of it, and have the relay go by what can change while it runs.

        Raises:
            ConfigError: it is wrong; the message begins with the key. Nothing has changed.
            StoreError: the relay could not store what it needs for it. Nothing has changed.
        """
        async with self.telling():
            async with self._turn:
                try:
                    found = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
                    take = await self._prepared(found.comparison.config)
                except (ConfigError, StoreError) as error:
                    log.error("the configuration stays as it is", error=str(error))
                    raise
                self._take(found, take)
            comparison, overridden = found.comparison, found.whole.overridden
            log.info(
                "configuration read again",
                changed=list(comparison.changed),
                **({"waiting_for_restart": list(comparison.waiting)} if comparison.waiting else {}),
                **({"overridden_by": list(overridden.values())} if overridden else {}),
            )
            await self._settled()
        return found

    def _take(self, found: Readout, take: Callable[[], None]) -> None:
        config = self._running = found.comparison.config
        self._has_settings = bool(found.whole.written)
        take()
        self._shown = shown_settings(self._path, self._environment, found.whole, config)
        self._lists.go_by(found.whole.lists, config.policy)
        if self._files is not None and found.certified is not None:
            net = config.net
            if self._files.go_by(Path(net.tls_certificate), Path(net.tls_key), found.certified):
                self._take_certificate(found.certified)

    async def _prepared(self, config: Config) -> Callable[[], None]:
        assert self._prepare is not None, "somebody goes by it"
        return await self._prepare(config)

    def _read(self) -> Readout:
        """Read and check all that there is, in a thread.

        Raises:
            ConfigError: something is wrong.
        """
        whole = load_whole(self._path, self._environment)
        if self._has_settings and not whole.written:  # as who writes a file begins with, and a full disk ends with
            raise ConfigError(f"{self._path}: has no setting any more; the defaults alone are for a new start")
        comparison = compared(self._running, whole.config, check_together)
        plugins, net = whole.config.plugins, comparison.config.net
        try:
            if plugins.hooks and plugins.hooks == self._running.plugins.hooks:
                check_loaded(plugins.hooks, plugins.hooks_options)
            certified = None
            if self._files is not None:
                certified = read_certified(Path(net.tls_certificate), Path(net.tls_key))
            self._check_next_start(whole.config, net)
        except HooksRefused as refused:
            raise ConfigError(f"plugins.{refused}") from refused
        except (TlsRefused, PagesRefused) as refused:
            raise ConfigError(str(refused)) from refused
        return Readout(whole, comparison, certified)

    def _check_next_start(self, config: Config, net: NetOptions) -> None:
        """Check the files that only the next start takes, as `check-config` does, but for the code of other hooks.

        To check that it has to be run, and a relay that serves runs no code which it does not need.

        Args:
            config: with which that begins.
            net: what the relay goes by until then; its own certificate is read already.
        """
        pair, read = (config.net.tls_certificate, config.net.tls_key), (net.tls_certificate, net.tls_key)
        if pair[0] and (self._files is None or pair != read):
            read_certified(*map(Path, pair))
        if config.web.enabled and (config.web.templates or config.web.icon or config.web.banner):
            pages_of(config.web).check()

    async def _take_lists(self, policy: PolicyOptions) -> None:
        """Have the relay go by lists that have changed in their files.

        Raises:
            ValueError: it cannot, and nothing has changed.
        """
        config = replace(self._running, policy=policy)
        check_together(config)
        try:
            take = await self._prepared(config)
        except StoreError as error:
            raise ValueError(str(error)) from error
        self._running = config
        take()


def why_waiting(name: str) -> str:
    """Why a setting waits for a restart, in words."""
    return FIXED.get(name, "it needs something else that waits")


async def _at_once() -> None:
    """Nobody else goes by the configuration."""
