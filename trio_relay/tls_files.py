"""The certificate and its key in files: read at the start, and again when they change.

One process reads them, for all workers: what it hands on are bytes that are known to fit together.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
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

TakeCertified: TypeAlias = Callable[[CertifiedKey], None]
"""Has whoever shakes hands from now on be shown this; sync."""


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
        self.certified = read_certified(certificate, key)
        """What they held when they last fitted together."""
        self._term = self.certified.term
        self._complaint = ""
        self._next_warning = 0.0
        if _is_open_to_all(key):
            log.warning("everybody on this machine may read the TLS key", path=str(key), hint="chmod o= …")

    def go_by(self, certificate: Path, key: Path, certified: CertifiedKey) -> bool:
        """Look at these files from now on, which have just been read; sync. True if they hold something else."""
        self._certificate, self._key = certificate, key
        self._taken = None  # they may have changed again since
        return self._has_changed(certified)

    def _has_changed(self, certified: CertifiedKey) -> bool:
        self._complaint = ""
        if certified == self.certified:  # written anew as it was
            return False
        self.certified, self._term, self._next_warning = certified, certified.term, 0.0
        log.info("TLS certificate read again", ends=_day(self._term.ends))
        return True

    async def run(self, take: TakeCertified, turn: trio.Lock) -> None:
        """Look at the files every few seconds; for ever.

        Args:
            take: gets what they hold when that has changed; sync.
            turn: who has it reads and changes what the relay goes by.
        """
        while True:
            self._warn_of_expiry()
            await trio.sleep(LOOK_SECONDS)
            async with turn:
                stamps = await trio.to_thread.run_sync(self._stamps, abandon_on_cancel=True)
                if stamps != self._taken:
                    await self._read_again(stamps, take)

    async def _read_again(self, stamps: object, take: TakeCertified) -> None:
        try:
            certified = await trio.to_thread.run_sync(
                read_certified, self._certificate, self._key, abandon_on_cancel=True
            )
        except TlsRefused as refused:
            if str(refused) != self._complaint:
                self._complaint = str(refused)
                log.error("the TLS certificate stays as it is", error=str(refused))
            return
        self._taken = stamps
        if self._has_changed(certified):
            take(certified)

    def _warn_of_expiry(self) -> None:
        now = self._clock()
        if now >= self._next_warning and now > self._term.late:
            self._next_warning = now + _DAY
            said = "the TLS certificate has ended" if now >= self._term.ends else "the TLS certificate ends soon"
            log.warning(said, ends=_day(self._term.ends), path=str(self._certificate))

    def _stamps(self) -> object | None:
        return stamp_of(self._certificate), stamp_of(self._key)


def tls_files(options: NetOptions) -> TlsFiles | None:
    """Read the files that the configuration names; None if it names none.

    Raises:
        TlsRefused: they cannot be used.
    """
    if not options.tls_certificate:
        return None
    return TlsFiles(Path(options.tls_certificate), Path(options.tls_key))


def read_certified(certificate: Path, key: Path) -> CertifiedKey:
    """Read these files, and see that they can be used together.

    Raises:
        TlsRefused: they cannot.
    """
    certified = CertifiedKey(_bytes_of("tls_certificate", certificate), _bytes_of("tls_key", key))
    try:
        certified.context()
        _ = certified.term
    except TlsRefused as refused:
        raise TlsRefused(f"net.tls_certificate, net.tls_key: {refused}") from refused
    return certified


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
