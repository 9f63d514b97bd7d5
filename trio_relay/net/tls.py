"""TLS on top of a stream: the server's side of its handshake, and the certificate that can change while it runs.

Trio's `SSLStream` does the work. What it leaves out is here: saying that nothing more comes, and going on to read.
"""

from __future__ import annotations

import os
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

import trio

_ALPN: Final = ("http/1.1",)
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*+-----END CERTIFICATE-----")
_SEQUENCE: Final = 0x30
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_IN_WORDS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not the one of the certificate",
    "NO_START_LINE": "one of them is no PEM",
    "EE_KEY_TOO_SMALL": "the key is too short to be safe",
}
PLAIN_HTTP: Final = "http request"
"""What a handshake fails of that is none, but a request without TLS; in OpenSSL's words, as all reasons are."""
CLOSED: Final = "closed"
"""The same, where the client went away."""
TOO_SLOW_HANDSHAKE: Final = "too slow"
_DAY: Final = 86_400
_LATE_PART: Final = 6
_LATE_SECONDS: Final = 14 * _DAY


class TlsRefused(Exception):
    """A certificate or its key cannot be used; the message says why. For the operator."""


class Term(NamedTuple):
    """How long a certificate holds.

    Attributes:
        starts: from when on, in seconds since 1970.
        ends: until when.
    """

    starts: int
    ends: int

    @property
    def late(self) -> float:
        """From when on, in seconds since 1970, one that has not been renewed says that nothing renews it.

        Programs renew it when a third of its term is left, or half of a term of days: when but a sixth of it is left,
        or 14 days, whichever is later, they have tried more than once.
        """
        return self.ends - min(_LATE_SECONDS, (self.ends - self.starts) / _LATE_PART)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A certificate with those that lead from it to an authority, and its private key, both in PEM."""

    chain: bytes = field(repr=False)  # there may be a key in the same file
    key: bytes = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """What a server needs to show it: TLS 1.2 and later, by Python's defaults.

        Raises:
            TlsRefused: they are no certificate and no key, or do not belong together.
        """
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        made.set_alpn_protocols(_ALPN)
        try:
            with _in_memory(self.chain) as chain, _in_memory(self.key) as key:
                made.load_cert_chain(chain, key, password=_nobody_types)
        except ssl.SSLError as error:
            reason = error.reason or "NO_START_LINE"
            raise TlsRefused(_IN_WORDS.get(reason, reason.replace("_", " ").lower())) from error
        return made

    @property
    def first(self) -> bytes:
        """The certificate itself, in DER.

        Raises:
            TlsRefused: there is none.
        """
        found = _PEM.search(self.chain)
        try:
            if found is None:
                raise ValueError
            return ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))
        except ValueError as error:
            raise TlsRefused(_NO_CERTIFICATE) from error

    @property
    def term(self) -> Term:
        """How long the certificate holds.

        Raises:
            TlsRefused: there is none in it.
        """
        try:
            return term_of(self.first)
        except (ValueError, IndexError) as error:
            raise TlsRefused(_NO_CERTIFICATE) from error


_NO_CERTIFICATE: Final = "there is no certificate in it"


def _nobody_types() -> str:
    raise TlsRefused("the key has a passphrase, which nobody is here to type")


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """The path of a file with these bytes that nobody else sees: Python's ssl reads keys from files alone."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def term_of(certificate: bytes) -> Term:
    """Return how long a certificate holds (RFC 5280, section 4.1.2.5).

    Args:
        certificate: in DER, one that OpenSSL takes: Python's own way to read it wants the authority, too.

    Raises:
        ValueError: it is none.
        IndexError: likewise, cut short.
    """
    fields = _items(_items(_items(certificate)[0][1])[0][1])
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    _serial, _algorithm, _issuer, (kind, validity), *_ = fields
    if kind != _SEQUENCE:
        raise ValueError("no validity")
    starts, ends = _items(validity)
    return Term(_time(*starts), _time(*ends))


def _time(tag: int, text: bytes) -> int:
    written = text.decode("ascii")
    if tag == _UTC_TIME:  # of 1950 to 2049
        written = f"{'19' if written >= '50' else '20'}{written}"
    return int(datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """The items that stand one after another in DER: the tag and the contents of each (X.690, section 8.1)."""
    found = []
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            digits = length & 0x7F
            length, at = int.from_bytes(data[at : at + digits]), at + digits
        found.append((tag, data[at : at + length]))
        at += length
    return found


class _LastWordSent(Exception):
    """What TLS had to say at last has left."""


class _Carrier(trio.abc.Stream):
    """The stream below, from which nothing is read while TLS has only its last word to say."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.is_last_word = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.is_last_word:
            raise _LastWordSent
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class TlsStream(trio.abc.HalfCloseableStream):
    """The server's end of TLS over a stream. Closing it says no last word; `send_eof` before that does.

    A client that goes away without its own last word has ended the stream all the same: nearly all of them do, and
    what is spoken inside tells its own end.

    Args:
        stream: below; closed with this one.
        context: with the certificate.
    """

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext) -> None:
        self._carrier = _Carrier(stream)
        self._tls = trio.SSLStream(self._carrier, context, server_side=True, https_compatible=True)

    @property
    def below(self) -> trio.abc.Stream:
        """What carries it."""
        return self._carrier.stream

    async def shake_hands(self) -> None:
        """Agree on keys with the client.

        Raises:
            trio.BrokenResourceError: that failed; its cause is an `ssl.SSLError`, or the client has left.
        """
        await self._tls.do_handshake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._tls.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tls.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that nothing more comes, by TLS (close_notify) and below; what the client still sends can be read."""
        if not self._carrier.is_last_word:
            self._carrier.is_last_word = True
            try:
                with suppress(_LastWordSent):
                    await self._tls.unwrap()
            finally:
                self._carrier.is_last_word = False
        if isinstance(self.below, trio.abc.HalfCloseableStream):
            await self.below.send_eof()

    async def aclose(self) -> None:
        await self._tls.aclose()


class Tls:
    """Speaks TLS with whoever comes, and counts those with whom it cannot.

    Args:
        certified: what clients are shown.

    Raises:
        TlsRefused: it cannot be used.
    """

    def __init__(self, certified: CertifiedKey) -> None:
        self.failures: Counter[str] = Counter()
        """Handshakes that failed, by the reason in OpenSSL's words, or ours."""
        self.take(certified)

    def take(self, certified: CertifiedKey) -> None:
        """Show this to clients from the next handshake on; those who are here notice nothing.

        Raises:
            TlsRefused: it cannot be used; all stays as it is.
        """
        term = certified.term
        self._context = certified.context()
        self.term = term

    async def begin(self, stream: trio.abc.Stream, seconds: float) -> tuple[TlsStream | None, str]:
        """Shake hands with a client.

        Args:
            stream: to it, nothing said on it yet.
            seconds: for all of it.

        Returns:
            The stream to go on with and an empty text, or None and what was wrong.
        """
        secure, reason = TlsStream(stream, self._context), TOO_SLOW_HANDSHAKE
        with trio.move_on_after(seconds):
            try:
                await secure.shake_hands()
            except trio.BrokenResourceError as error:
                reason = _reason(error.__cause__)
            else:
                return secure, ""
        self.failures[reason] += 1
        return None, reason


def _reason(error: BaseException | None) -> str:
    """Why a handshake failed, in words of OpenSSL's own list."""
    reason = error.reason if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) else None
    return reason.replace("_", " ").lower() if isinstance(reason, str) else CLOSED
