"""The certificate and its key in files: read at the start, and again when they change or somebody asks for it.

One process reads them, for all workers: what it hands on are bytes that are known to fit together.
"""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.list_files import bytes_in, stamp_of
from trio_relay.net.options import NetOptions
from trio_relay.net.tls import CertifiedKey, TlsRefused

log = structlog.get_logger("trio_relay.app")

LOOK_SECONDS: Final = 5.0
"""Between two looks at the files."""
_DAY: Final = 86_400
_WARN_DAYS: Final = 14
"""Before the certificate ends: then it is said once a day."""

Take: TypeAlias = Callable[[CertifiedKey], None]
Ask: TypeAlias = Callable[[], None]


class TlsFiles:
    """Reads the files, and hands on what they hold when that has changed.

    What cannot be read, or does not fit together, changes nothing; it is said once, and tried again at each look.

    Args:
        certificate: the file with the certificate, and with those that lead from it to an authority.
        key: the file with its private key.
        clock: the time of day, seconds since 1970.

    Raises:
        TlsRefused: the files cannot be used as they are.
    """

    def __init__(self, certificate: Path, key: Path, clock: Callable[[], float] = time.time) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._taken = self._stamps()  # before they are read: what is written meanwhile is seen at the next look
        self.certified = self._read()
        """What they held when they last fitted together."""
        self._expiry = self.certified.expiry
        self._complaint = ""
        self._next_warning = 0.0
        self._asked = trio.Event()
        if _is_open_to_all(key):
            log.warning("everybody on this machine may read the TLS key", path=str(key), hint="chmod o= …")

    @asynccontextmanager
    async def followed(self, take: Take, also: Sequence[Ask] = ()) -> AsyncIterator[None]:
        """Look at the files every few seconds, and at once on SIGHUP, while the context lasts.

        Args:
            take: gets what they hold when that has changed; sync.
            also: called on SIGHUP, too.
        """
        async with trio.open_nursery() as following:
            following.start_soon(self._follow, take)
            await following.start(_hear_hangups, (self.ask, *also))
            yield
            following.cancel_scope.cancel(reason="the relay has stopped")

    def ask(self) -> None:
        """Have the files read again at once, and have it said what came of it."""
        self._asked.set()

    async def _follow(self, take: Take) -> None:
        while True:
            self._warn_of_expiry()
            with trio.move_on_after(LOOK_SECONDS):
                await self._asked.wait()
            is_asked, self._asked = self._asked.is_set(), trio.Event()
            stamps = await trio.to_thread.run_sync(self._stamps, abandon_on_cancel=True)
            if is_asked or stamps != self._taken:
                await self._read_again(stamps, take, is_asked=is_asked)

    async def _read_again(self, stamps: object, take: Take, *, is_asked: bool) -> None:
        try:
            certified = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        except TlsRefused as refused:
            if is_asked or str(refused) != self._complaint:
                self._complaint = str(refused)
                log.error("the TLS certificate stays as it is", error=str(refused))
            return
        self._taken, self._complaint = stamps, ""
        if certified != self.certified:
            self.certified, self._expiry, self._next_warning = certified, certified.expiry, 0.0
            take(certified)
        elif not is_asked:  # written anew as it was
            return
        log.info("TLS certificate read again", ends=_day(self._expiry))

    def _warn_of_expiry(self) -> None:
        now = self._clock()
        if now >= self._next_warning and self._expiry - now < _WARN_DAYS * _DAY:
            self._next_warning = now + _DAY
            said = "the TLS certificate has ended" if now >= self._expiry else "the TLS certificate ends soon"
            log.warning(said, ends=_day(self._expiry), path=str(self._certificate))

    def _read(self) -> CertifiedKey:
        """Read the files, and see that they can be used together.

        Raises:
            TlsRefused: they cannot.
        """
        certified = CertifiedKey(_bytes_of("tls_certificate", self._certificate), _bytes_of("tls_key", self._key))
        try:
            certified.context()
            _ = certified.expiry
        except TlsRefused as refused:
            raise TlsRefused(f"net.tls_certificate, net.tls_key: {refused}") from refused
        return certified

    def _stamps(self) -> object:
        return stamp_of(self._certificate), stamp_of(self._key)


def tls_files(options: NetOptions) -> TlsFiles | None:
    """Read the files that the configuration names; None if it names none.

    Raises:
        TlsRefused: they cannot be used.
    """
    if not options.tls_certificate:
        return None
    return TlsFiles(Path(options.tls_certificate), Path(options.tls_key))


@asynccontextmanager
async def following(files: TlsFiles | None, take: Take | None, also: Sequence[Ask] = ()) -> AsyncIterator[None]:
    """Follow these files while the context lasts, if there are any, and who takes them; see `TlsFiles.followed`.

    SIGHUP is heard only where somebody wants it: elsewhere it ends the relay, as a closed terminal does.
    """
    if files is not None and take is not None:
        async with files.followed(take, also):
            yield
    elif also:
        async with trio.open_nursery() as hearing:
            await hearing.start(_hear_hangups, also)
            yield
            hearing.cancel_scope.cancel(reason="the relay has stopped")
    else:
        yield


async def _hear_hangups(asked: Sequence[Ask], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Tell all of these of each SIGHUP; one receiver for all, since a second one would take it from the first."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            for ask in asked:
                ask()


def _bytes_of(key: str, path: Path) -> bytes:
    try:
        return bytes_in(path)
    except OSError as error:
        raise TlsRefused(f"net.{key}: {path}: {error.strerror}") from error
    except ValueError as error:
        raise TlsRefused(f"net.{key}: {path}: {error}") from error


def _is_open_to_all(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
