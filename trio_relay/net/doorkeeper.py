"""What comes before HTTP on a connection: may it come in at all, whose is it, and does it speak TLS.

A proxy says whose it is by the header of the PROXY protocol, before anything of TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from trio_relay.net.addresses import Proxies
from trio_relay.net.close_reasons import CloseReason
from trio_relay.net.http_responses import refuse
from trio_relay.net.lobby import Lobby, Visit
from trio_relay.net.proxy_header import ProxyHeaderRefused, bytes_missing, client_told
from trio_relay.net.refusals import UNANSWERED, Refusals
from trio_relay.net.tls import CLOSED, PLAIN_HTTP, Tls, TlsStream

log = structlog.get_logger("trio_relay.net")

_PLAIN: Final = b"this address speaks TLS: connect by wss:// or https://\n"


class Doorkeeper:
    """Meets every connection.

    Args:
        lobby: in which each has a place until it is a WebSocket.
        proxies: whose word is taken.
        bars: tells why nobody at an address is served, or None.
        refusals: are noted there.
        seconds: for a proxy's header to arrive in, and for a handshake.
        tls: shakes hands; None: nowhere is TLS spoken.
    """

    def __init__(
        self,
        lobby: Lobby,
        proxies: Proxies,
        bars: Callable[[str], CloseReason | None],
        refusals: Refusals,
        seconds: float,
        tls: Tls | None,
    ) -> None:
        self._lobby = lobby
        self._proxies = proxies
        self._bars = bars
        self._refusals = refusals
        self.seconds = seconds
        """See above; may change at any time."""
        self.tls = tls
        self.refused = 0
        """Connections so far that were closed for their address or for their number."""

    def lets_in(self, address: str) -> bool:
        """True if a connection from this address may talk; for its sake somebody else's visit may have been ended.

        No descriptors for plain requests without end, and none at all for those who are shut out.
        """
        bar = self._bars(address)
        if bar is None and self._lobby.has_room(address):
            return True
        self._refuse(address, "too many connections" if bar is None else bar.text)
        return False

    def note_end(self, visit: Visit, address: str) -> None:
        """A visit from this address has ended: count it if it was not by its own will."""
        if visit.was_put_out:
            self._refuse(address, "idle: others wait for this place")

    def _refuse(self, address: str, reason: str) -> None:
        self.refused += 1
        self._refusals.note_request(address, UNANSWERED, reason)

    async def client_of(self, stream: trio.abc.Stream, peer: str) -> str | None:
        """Whose connection it is that a trusted proxy passes on, by its header, and may come in; None: nobody's.

        It has a place of the proxy's until that is known.

        Args:
            stream: of which no byte behind the header is read.
            peer: the address at the other end.
        """
        if not self._proxies.is_trusted(peer):
            self._refusals.note_request(peer, UNANSWERED, "no trusted proxy, on an address for them alone")
            return None
        client = None
        with self._lobby.visit(stream, peer) as visit:
            client = await self._hear(stream, peer)
        self.note_end(visit, peer)
        return client if client is not None and self.lets_in(client) else None

    async def _hear(self, stream: trio.abc.Stream, peer: str) -> str | None:
        header, reason = b"", "the header of the PROXY protocol took too long"
        with trio.move_on_after(self.seconds):
            try:
                while missing := bytes_missing(header):
                    if not (piece := await stream.receive_some(missing)):
                        return None  # a balancer that only tries whether there is anybody
                    header += piece
                return client_told(header) or peer
            except ProxyHeaderRefused as refused:
                reason = str(refused)
        self._refusals.note_request(peer, UNANSWERED, reason)
        log.warning("a proxy does not tell its client", address=peer, reason=reason)
        return None

    async def secured(self, stream: trio.abc.Stream, client: str) -> TlsStream | None:
        """The stream inside TLS; None: there was no handshake, and the client has been told so if it can hear.

        Args:
            stream: of which nothing has been read.
            client: its address.
        """
        assert self.tls is not None
        secure, reason = await self.tls.begin(stream, self.seconds)
        if secure is None and reason != CLOSED:
            self._refusals.note_request(client, 400 if reason == PLAIN_HTTP else UNANSWERED, f"TLS: {reason}")
            if reason == PLAIN_HTTP:
                await refuse(stream, 400, self.seconds, _PLAIN)
        return secure
