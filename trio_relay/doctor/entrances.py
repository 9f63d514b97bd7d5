"""The ways to a running relay: each address that it listens on, and `relay.url`, through whatever stands in front."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import trio

from trio_relay.config import Config
from trio_relay.doctor.asking import Answered, ask
from trio_relay.net.listeners import Preamble, reached, split_preamble
from trio_relay.net.tls import Term, term_of
from trio_relay.peers.dialing import RelayUrl, cause_of, dial_tcp, parse_url, secured

CONNECT_SECONDS: Final = 3.0
_UNIX: Final = "unix:"


class Unreached(Exception):
    """There is no connection; the message says why.

    Args:
        reason: in words.
        is_untrusted: the certificate is why.
    """

    def __init__(self, reason: str, *, is_untrusted: bool = False) -> None:
        super().__init__(reason)
        self.is_untrusted = is_untrusted


@dataclass(slots=True)
class Entrance:
    """A way to the relay, and what was seen of it when it was gone last.

    Attributes:
        title: what it is called.
        url: as a client says it.
        place: an address to listen on that is taken instead of where the URL leads; None: the URL itself.
        own: our own address on it; empty where there is none.
        shown: the certificate that was shown there, in DER; None: there was none.
        term: how long that holds, if it was checked.
    """

    title: str
    url: RelayUrl
    place: tuple[Preamble, str] | None = None
    own: str = ""
    shown: bytes | None = None
    term: Term | None = None

    async def dial(self, _url: RelayUrl | None = None) -> trio.abc.Stream:
        """Connect; raises OSError, and BrokenResourceError where TLS fails."""
        if self.place is None:
            stream = await dial_tcp(self.url)
        else:
            stream = await _dial_here(self.place, self.url.host)
        self._see(stream)
        return stream

    def _see(self, stream: trio.abc.Stream) -> None:
        if isinstance(stream, trio.SSLStream):
            self.shown = stream.getpeercert(binary_form=True)
            if stream.getpeercert():  # empty: it was not checked
                self.term = term_of(self.shown)
            stream = stream.transport_stream
        if isinstance(stream, trio.SocketStream) and isinstance(name := stream.socket.getsockname(), tuple):
            self.own = str(name[0])

    async def ask(self, target: str, accept: str = "*/*") -> Answered:
        """Ask for something there over HTTP.

        Raises:
            Unreached: there is no connection.
            NoAnswer: what answers cannot be read.
        """
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await self.dial()
        except trio.TooSlowError:
            raise Unreached(f"no connection within {CONNECT_SECONDS:g} seconds") from None
        except trio.BrokenResourceError as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise Unreached(cause.verify_message, is_untrusted=True) from None
            raise Unreached(f"no TLS: {getattr(cause, 'reason', None) or 'it broke off'}") from None
        except OSError as error:
            raise Unreached(cause_of(error)) from None
        try:
            return await ask(stream, self.url.authority, target, accept=accept)
        finally:
            await trio.aclose_forcefully(stream)


async def _dial_here(place: tuple[Preamble, str], host: str) -> trio.abc.Stream:
    preamble, address = place
    if address.startswith(_UNIX):
        return await trio.open_unix_socket(address.removeprefix(_UNIX))
    name, _, port = reached(address).rpartition(":")
    plain = await trio.open_tcp_stream(name.strip("[]"), int(port))
    if not preamble.tls:
        return plain
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whether it is right is asked elsewhere
    return await secured(plain, context, host)


def outer_entrance(config: Config) -> Entrance | None:
    """The way that clients take; None where there is no `relay.url`."""
    url = config.relay.url
    return Entrance(url, parse_url(url)) if url else None


def inner_entrances(config: Config) -> Iterator[Entrance]:
    """The addresses that the relay listens on, where it is known which, and no proxy has to speak first."""
    for text in config.net.listen:
        preamble, address = split_preamble(text)
        if preamble.proxy or address.endswith(":0"):
            continue
        local = "localhost" if address.startswith(_UNIX) else reached(address)
        scheme = "wss" if preamble.tls else "ws"
        yield Entrance(text, parse_url(config.relay.url or f"{scheme}://{local}/"), (preamble, address))
