"""WebSocket as bytes in and out: websockets' sans-I/O core behind the few calls that a client task needs.

The core parses frames, answers pings and keeps the closing handshake (RFC 6455). What it leaves to its user is here:
whole messages out of fragments, their UTF-8, and a bound on their number. Another library would be swapped in here.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Request as CoreRequest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from trio_relay.net.http import Request

_MOST_FRAGMENTS: Final = 1_024
"""A message of empty fragments never grows, so its size limit alone would let it go on for ever."""

_quiet = logging.getLogger("trio_relay.websockets")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def accept(request: Request, max_message_length: int) -> tuple[WebSocket | None, bytes]:
    """The server's side of a handshake: the connection, or None where it was refused, and the HTTP response to send."""
    core = ServerProtocol(state=OPEN, max_size=max_message_length, logger=_quiet)
    response = core.accept(CoreRequest(request.target, Headers(request.raw_headers)))
    accepted = response.status_code == 101
    if not accepted:
        response.headers["Sec-WebSocket-Version"] = "13"  # for who came with another (RFC 6455, section 4.2.2)
    return (WebSocket(core) if accepted else None), response.serialize()


class WebSocket:
    """One connection's protocol state; after each call that may have made output, `output` is to be sent."""

    __slots__ = ("_core", "_fragments")

    def __init__(self, core: ServerProtocol) -> None:
        self._core = core
        self._fragments: list[bytes] = []

    def receive(self, data: bytes) -> list[bytes]:
        """What the network brought, b"" for its end, to the whole text messages in it, each valid UTF-8.

        Breaking the protocol closes the connection with the RFC's code; messages before that still come back.
        """
        core = self._core
        if data:
            core.receive_data(data)
        else:
            core.receive_eof()
        messages: list[bytes] = []
        for frame in core.events_received():
            opcode = frame.opcode  # type: ignore[union-attr]  # a server gets frames only
            if opcode is Opcode.BINARY:
                self.close(1003, "text messages only")
                break
            if opcode is Opcode.TEXT or opcode is Opcode.CONT:
                if len(self._fragments) >= _MOST_FRAGMENTS:
                    self.close(1009, "too many fragments")
                    break
                message = self._whole(bytes(frame.data), frame.fin)  # type: ignore[union-attr]  # as above
                if message is None:
                    continue
                try:
                    message.decode()
                except UnicodeDecodeError:
                    self.close(1007, "text is not UTF-8")
                    break
                messages.append(message)
        return messages

    def _whole(self, data: bytes, fin: bool) -> bytes | None:
        if fin and not self._fragments:
            return data
        self._fragments.append(data)
        if not fin:
            return None
        message = b"".join(self._fragments)
        self._fragments = []
        return message

    def ping(self) -> None:
        """Ask whether the client is there."""
        if self._core.state is OPEN:
            self._core.send_ping(b"")

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, if it has not started yet."""
        if self._core.state is OPEN:
            self._core.send_close(code, reason)

    @property
    def is_open(self) -> bool:
        """True until a close frame has gone either way, or the connection has broken."""
        return self._core.state is OPEN

    @property
    def is_done(self) -> bool:
        """True once nothing that the client may still send matters: it has closed too, or broken the protocol."""
        return self._core.eof_sent

    @property
    def was_closed_by_client(self) -> bool:
        """True if the client has sent a close frame before we did."""
        return self._core.close_rcvd is not None and self._core.close_rcvd_then_sent is not False

    @property
    def broken_rule(self) -> int | None:
        """The close code that the client has earned by breaking the protocol, if it has."""
        return self._core.close_sent.code if self._core.close_sent and not self._core.close_rcvd else None

    def output(self) -> bytes:
        """Frames to be sent now, b"" if there are none."""
        return b"".join(self._core.data_to_send())
