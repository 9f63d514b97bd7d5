"""A WebSocket to another relay, by trio-websocket: TCP, TLS and the handshake under one deadline, then texts.

What goes wrong on this level is told in words, as `PeerLost`; that includes what the library itself cannot bear.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeAlias

import trio
import trio_websocket

from trio_relay.nostr.urls import ascii_host, bare_url, split_url
from trio_relay.peers.frame_watch import FrameWatch
from trio_relay.peers.messages import clipped
from trio_relay.peers.options import PeerOptions
from trio_relay.peers.waiting import PeerLost
from trio_relay.version import __version__

_READ_BYTES: Final = 65_536
_MOST_HANDSHAKE: Final = 65_536
"""Bytes before the WebSocket is open: the library keeps the whole page that a web server may send instead."""
_HEADERS: Final = [(b"User-Agent", f"trio-relay/{__version__}".encode())]
_TOO_LONG: Final = 1009
_ABNORMAL: Final = 1006
_NO_WEBSOCKET: Final = "it does not speak WebSocket"


class RelayUrl(NamedTuple):
    """A ws or wss URL, taken apart."""

    text: str
    is_secure: bool
    host: str
    port: int
    resource: str

    @property
    def authority(self) -> str:
        """For the Host header: without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


Dial: TypeAlias = Callable[[RelayUrl], Awaitable[trio.abc.Stream]]
"""Connects to where a URL points to; raises OSError."""
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


def parse_url(text: str) -> RelayUrl:
    """Take the URL of a relay apart.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = split_url(text)
    except ValueError as error:
        raise ValueError(f"{clipped(bare_url(text))!r} is no URL of a relay: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{clipped(bare_url(text))!r} is no URL of a relay: those begin with wss:// or ws://")
    is_secure = parts.scheme == "wss"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port if parts.port is not None else 443 if is_secure else 80
    return RelayUrl(text.strip(), is_secure, ascii_host(parts.hostname), port, resource)


async def dial_tcp(url: RelayUrl) -> trio.abc.Stream:
    """Connect over TCP, and TLS for wss, whose certificate has to be right for the host."""
    plain = await trio.open_tcp_stream(url.host, url.port)
    if not url.is_secure:
        return plain
    return await secured(plain, ssl.create_default_context(), url.host)


async def secured(plain: trio.SocketStream, context: ssl.SSLContext, host: str) -> trio.SSLStream[trio.SocketStream]:
    """Speak TLS over a connection, which is closed where the handshake fails.

    Args:
        plain: nothing has been said on it yet.
        context: whom we trust.
        host: whom we believe to have reached.

    Raises:
        BrokenResourceError: it has failed.
    """
    stream = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return stream


class CountedStream(trio.abc.Stream):
    """A stream that knows how many bytes went through it, and when some came last.

    Args:
        stream: what carries them.
        frames: follows what comes: once that is too much, this stream is over.
    """

    def __init__(self, stream: trio.abc.Stream, frames: FrameWatch) -> None:
        self._stream = stream
        self._frames = frames
        self.fault: str | None = None
        """What was too much."""
        self.is_over = False
        """True once nothing more can come."""
        self.on_end: Callable[[], None] | None = None
        """Called then."""
        self.is_open = False
        """True once the handshake is done, before which only `_MOST_HANDSHAKE` bytes may come."""
        self.sent = 0
        self.received = 0
        self.heard_at = trio.current_time()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._end()
            raise
        self.sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until some can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what there is; empty at the end."""
        data: bytes | bytearray = b""
        try:
            if self.fault is None and (self.is_open or self.received <= _MOST_HANDSHAKE):
                data = await self._received(max_bytes)
        finally:
            if not data:
                self._end()
        return data

    async def _received(self, max_bytes: int | None) -> bytes | bytearray:
        began = trio.current_time()
        data = await self._stream.receive_some(max_bytes)
        self.heard_at = trio.current_time()
        self.received += len(data)
        fault = self._frames.take(data, self.heard_at, self.heard_at - began)
        self.fault = fault if self.is_open else None  # else it may be no WebSocket, and is told as that
        return data if self.fault is None else b""

    async def aclose(self) -> None:
        """Close it, without a farewell of TLS that nobody may be there to answer."""
        self._end()
        await trio.aclose_forcefully(self._stream)

    def _end(self) -> None:
        self.is_over = True
        if self.on_end is not None:
            self.on_end()


class Wire:
    """Texts to and from another relay; from `open_wire`."""

    def __init__(self, connection: trio_websocket.WebSocketConnection, stream: CountedStream, most: int) -> None:
        self.stream = stream
        self._connection = connection
        self._most = most

    async def send(self, text: str) -> None:
        """Send a message; must not be cancelled unless the wire is given up.

        Raises:
            PeerLost: it is closed.
        """
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed as closed:
            raise self._lost(closed) from None

    async def receive(self) -> str | bytes:
        """The next message; bytes are none of Nostr's.

        Raises:
            PeerLost: it is closed.
        """
        try:
            return await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise self._lost(closed) from None

    async def ping(self) -> None:
        """Send a ping, and wait for the answer, which the stream notices itself.

        Raises:
            PeerLost: it is closed.
        """
        try:
            await self._connection.ping()
        except trio_websocket.ConnectionClosed as closed:
            raise self._lost(closed) from None

    async def close(self, seconds: float) -> None:
        """Say farewell, for so long at most."""
        with trio.move_on_after(seconds, shield=True):
            await self._connection.aclose()

    def _lost(self, closed: trio_websocket.ConnectionClosed) -> PeerLost:
        if self.stream.fault is not None:
            return PeerLost(self.stream.fault)
        reason = closed.reason
        if reason is None or reason.code == _ABNORMAL:
            return PeerLost("the connection broke off")
        if reason.code == _TOO_LONG and reason.reason is not None and reason.reason.startswith("Exceeded"):
            return PeerLost(f"it sent a message of more than {self._most} bytes")
        words = f": {clipped(reason.reason)}" if reason.reason else ""
        return PeerLost(f"it closed the connection with code {reason.code}{words}")


@asynccontextmanager
async def open_wire(
    url: RelayUrl, options: PeerOptions, dial: Dial = dial_tcp, headers: Headers = ()
) -> AsyncIterator[Wire]:
    """Connect, and keep the wire open while the context lasts; what the body raises comes out as it is.

    Args:
        url: of the other relay.
        options: the bounds.
        dial: makes the stream.
        headers: of the handshake, beside those that it needs.

    Raises:
        PeerLost: on entering: no connection came about; later, and then the body is cancelled: what was sent broke the
            protocol so that the library gave up.
    """
    deadline = trio.current_time() + options.connect_seconds
    stream = CountedStream(await _dialled(url, dial, options.connect_seconds), FrameWatch(options))
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as library:
            try:
                wire = await _shaken(library, url, stream, deadline, options, headers)
                try:
                    yield wire
                finally:
                    await wire.close(options.close_seconds)
            except Exception as error:
                failure = error
            finally:
                library.cancel_scope.cancel()
    except BaseExceptionGroup as group:  # of the library's task alone
        faults, others = group.split(Exception)
        if faults is None or others is not None:
            raise
        failure = _told_by(faults, failure, is_open=stream.is_open)
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


async def _dialled(url: RelayUrl, dial: Dial, seconds: float) -> trio.abc.Stream:
    try:
        with trio.fail_after(seconds):
            return await dial(url)
    except trio.TooSlowError:
        raise PeerLost(f"no connection within {seconds:g} seconds") from None
    except trio.BrokenResourceError as error:  # in the handshake of TLS
        cause = error.__cause__
        raise PeerLost(f"no connection: {getattr(cause, 'reason', None) or cause or 'it broke off'}") from None
    except OSError as error:
        raise PeerLost(f"no connection: {cause_of(error)}") from None


def cause_of(error: OSError) -> str:
    """Return the cause in words; several addresses of a name may each have failed, of which the last one is told."""
    causes = error.__cause__
    if isinstance(causes, BaseExceptionGroup) and isinstance(last := causes.exceptions[-1], OSError):
        error = last
    if error.errno is None or isinstance(error, socket.gaierror):  # whose numbers are their own
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _shaken(
    library: trio.Nursery,
    url: RelayUrl,
    stream: CountedStream,
    deadline: float,
    options: PeerOptions,
    headers: Headers,
) -> Wire:
    """The handshake. The library waits for its end even when the stream is over, so the stream itself ends that."""
    with trio.CancelScope(deadline=deadline) as shaking:
        stream.on_end = shaking.cancel
        connection = await trio_websocket.wrap_client_stream(
            library,
            stream,  # type: ignore[arg-type]  # any stream will do
            url.authority,
            url.resource,
            extra_headers=[*_HEADERS, *headers],
            max_message_size=options.max_message_bytes,
            receive_buffer_size=_READ_BYTES,
        )
    if shaking.cancelled_caught:
        within = f"no handshake within {options.connect_seconds:g} seconds"
        raise PeerLost(_NO_WEBSOCKET if stream.is_over else within)
    stream.on_end = None
    stream.is_open = True
    return Wire(connection, stream, options.max_message_bytes)


def _told_by(faults: BaseExceptionGroup[Exception], failure: Exception | None, *, is_open: bool) -> Exception:
    """What is raised of what the library's task and the body have raised: what tells most."""
    fault: BaseException = faults
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, trio_websocket.ConnectionRejected):
        return PeerLost(f"it refused the handshake with status {fault.status_code}")
    if not is_open:
        return PeerLost(_NO_WEBSOCKET)
    return failure or PeerLost(f"what it sent broke the WebSocket protocol ({type(fault).__name__})")
