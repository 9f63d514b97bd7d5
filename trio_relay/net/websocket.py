"""WebSocket as bytes in and out: websockets' sans-I/O core behind the few calls that a client task needs.

The core parses frames, answers pings and keeps the closing handshake (RFC 6455). What it leaves to its user is here:
whole messages out of fragments, their UTF-8, and a bound on their number. Another library would be swapped in here.
"""

from __future__ import annotations

import logging
import re
import sys
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.http11 import Request as CoreRequest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from trio_relay.net.frames import DEFLATE_WINDOW
from trio_relay.net.http import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover (where websockets was built without a compiler)
    from websockets.utils import apply_mask

# Without takeover a connection keeps no window: with it, each would cost up to 300 KB, and frames could not be shared.
_DEFLATE: Final = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
_HANDSHAKE: Final = frozenset({"sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version"})
"""What the core is to look at in a request as it is; `_asked` reads what else it asks for."""
_KEY: Final = re.compile("[0-9A-Za-z+/]{22}==")
"""16 bytes in base64."""
_ACCEPTED: Final = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
_WHOLE_TEXT: Final = 0x81
"""A frame's first byte: text, and its message's last one, nothing compressed (RFC 6455, section 5.2)."""
_MOST_FRAMES: Final = 512
_MOST_BYTES: Final = 2**18
"""What is given back at a time, and the rest of the message that reaches it: some milliseconds of work."""
_LAST_BYTES: Final = 2**12
"""Of what follows a close frame, the same: it may hold hundreds of frames."""
_PING: Final = b"\x89\x00"
_PONG: Final = 0x8A
_MOST_CONTROL: Final = 125
"""Bytes of a ping, a pong or a close frame."""
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)
_MOST_FRAGMENTS: Final = 1_024
"""A message of empty fragments never grows, so its size limit alone would let it go on for ever."""

_core_log = logging.getLogger("trio_relay.websockets")
_core_log.setLevel(logging.WARNING)  # below that it tells of each frame, and what is in it


class HandshakeRefused(Exception):
    """A handshake is not one of RFC 6455, section 4.2.1; the message says why.

    Attributes:
        status: of the HTTP response.
        response: that, to be sent.
    """

    def __init__(self, reason: str, status: int, response: bytes) -> None:
        super().__init__(reason)
        self.status = status
        self.response = response


def accept(request: Request, max_message_length: int, *, deflate: bool) -> tuple[WebSocket, bytes]:
    """The server's side of a handshake: the connection, and the HTTP response to send.

    Args:
        request: asks for it.
        max_message_length: bytes of a message, inflated.
        deflate: agree to permessage-deflate with clients that offer it.

    Raises:
        HandshakeRefused: it is a bad one.
    """
    extensions = [_DEFLATE] if deflate and "sec-websocket-extensions" in request.headers else []
    if not extensions and (plain := _plain_key(request)) is not None:
        return WebSocket(None, max_message_length), _accepted(accept_key(plain))
    core = _new_core(max_message_length, extensions)
    asked: CoreRequest | None = None
    try:
        asked = _asked(request)
        key, agreed, _ = core.process_request(asked)
    except InvalidHandshake as error:
        # It knows which status says what is wrong; but for what is no header at all.
        response = core.reject(HTTPStatus.BAD_REQUEST, f"{error}\n") if asked is None else core.accept(asked)
        response.headers["Sec-WebSocket-Version"] = "13"  # for who came with another (RFC 6455, section 4.2.2)
        raise HandshakeRefused(str(error), response.status_code, response.serialize()) from error
    return WebSocket(core), _accepted(key, f"Sec-WebSocket-Extensions: {agreed}\r\n" if agreed else "")


def _accepted(key: str, more: str = "") -> bytes:
    """The response, written by hand: the core's own takes as long as all of its checks."""
    return f"{_ACCEPTED}Sec-WebSocket-Accept: {key}\r\n{more}\r\n".encode("latin-1")


def _plain_key(request: Request) -> str | None:
    """The key of a handshake in which each header that counts stands once, and as RFC 6455 writes it.

    None: it is for the core to say whether that is a handshake, and what is wrong with it.
    """
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    if headers.get("sec-websocket-version") != "13" or _KEY.fullmatch(key) is None:  # repeated, they have commas
        return None
    return key if all(request.lists(name, word) for name, word in _WORDS) else None


def _new_core(most: int, extensions: list[ServerPerMessageDeflateFactory]) -> ServerProtocol:
    return ServerProtocol(state=OPEN, extensions=extensions, max_size=most, logger=_core_log)


def _asked(request: Request) -> CoreRequest:
    """A request for the core, which is stricter than RFC 9110: with one protocol to upgrade to, and no empty lists.

    It gets no Origin either, since every one is welcome.

    Raises:
        InvalidHandshake: a header's value holds what no header may hold.
    """
    headers = [pair for pair in request.raw_headers if pair[0] in _HANDSHAKE and pair[1].strip(", \t")]
    headers += [(name, word) for name, word in _WORDS if request.lists(name, word)]
    return CoreRequest(request.target, Headers(headers))


_WORDS: Final = (("connection", "upgrade"), ("upgrade", "websocket"))
"""What two of the headers must list, among other things."""


class WebSocket:
    """One connection's protocol state; after each call that may have made output, `output` is to be sent.

    Nearly all that clients send are whole text messages, a frame each. Those are read here, in a third of the time that
    the core takes (`perf/frames.py`); every other frame is handed to it, whole. As long as there was none, there need
    not be a core, which would be a fifth of the memory that a connection takes.

    Args:
        core: as the handshake has left it; None: a new one is made once it is needed.
        most: bytes of a message, where there is no core that knows it.
    """

    __slots__ = (
        "_core",
        "_fragment_bytes",
        "_fragments",
        "_is_deaf",
        "_kept",
        "_missing",
        "_most",
        "_only_core",
        "_pings",
        "_rest",
        "unfinished",
    )

    def __init__(self, core: ServerProtocol | None, most: int | None = None) -> None:
        self._core = core
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._kept = bytearray()
        self._missing = 0
        self._rest = b""
        most = most if core is None else core.max_message_size
        self._most = 2**62 if most is None else most
        self._only_core = False
        self._pings = b""
        self._is_deaf = False
        self.unfinished = 1
        """The number of the message, or of the frame of another kind, that has begun, or of the next one that will
        begin in one read and end in a later one."""

    def take_longest(self, most: int) -> None:
        """Read messages of at most so many bytes from now on."""
        self._most = most
        if self._core is not None:
            self._core.max_message_size = most

    def receive(self, data: bytes) -> list[bytes]:
        """What the network brought, b"" for its end, to the whole text messages in it, each valid UTF-8.

        Breaking the protocol closes the connection with the RFC's code; messages before that still come back. A read
        may hold thousands of frames, and deflated ones a megabyte each: what is above a bound is left to `more`.
        """
        if self._is_deaf and data:
            return []
        if not data:
            self._kept.clear()  # half a message is none
            self._missing = 0
        elif self._missing:  # joined only once all is there: a client may send a long message byte by byte
            self._kept += data
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = bytes(self._kept)
            self._kept.clear()
            self._missing = 0
            if not self._fragments and _measure(data, 0)[1] <= len(data):  # else the head alone has come
                self.unfinished += 1
        if not data:
            return self._by_core(data, [])
        if self._only_core:
            self._rest += data
            return self.more()
        return self._frames(data)

    @property
    def has_more(self) -> bool:
        """True if what was received holds more than was given back: call `more` before the next `receive`."""
        return bool(self._rest)

    def more(self) -> list[bytes]:
        """The next messages of what was received."""
        if self._only_core:
            data, self._rest = self._rest[:_LAST_BYTES], self._rest[_LAST_BYTES:]
            self._by_core(data, [])
            return []
        data, self._rest = self._rest, b""
        return self._frames(data)

    def _frames(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        at, size, frames, filled = 0, len(data), 0, 0
        while at < size:
            if frames >= _MOST_FRAMES or filled >= _MOST_BYTES:
                self._rest = data[at:]
                break
            head, end = _measure(data, at)
            is_odd = self._is_odd(data, at, end - head)
            if end > size and not is_odd:
                self._kept += data[at:]
                self._missing = end - size
                break
            if data[at] == _WHOLE_TEXT and not is_odd and not self._fragments:
                message = _unmasked(data[head - 4 : head], data[head:end])
                if self._is_text(message):
                    messages.append(message)
                    filled += end - at
            elif data[at] != _PONG or is_odd or end - head > _MOST_CONTROL:  # a pong says nothing: its frame was heard
                known = len(messages)
                self._by_core(data[at:end], messages)
                filled += end - at + sum(map(len, messages[known:]))
            if not self.is_open:
                self._end_with(data[end:])
                break
            at = end
            frames += 1
        return messages

    def _end_with(self, rest: bytes) -> None:
        """What follows a close frame is no message any more, but may be the client's own."""
        self._only_core = True
        self._made_core().extensions = []  # and nothing of it is to be inflated
        self._rest = rest

    def _is_odd(self, data: bytes, at: int, length: int) -> bool:
        """True if the core is to refuse a frame at once, without the rest of it: unmasked, or too long."""
        begun = 0 if self._core is None else self._core.current_size or 0
        return length > self._most - begun or (at + 1 < len(data) and data[at + 1] < _MASKED)

    def _made_core(self) -> ServerProtocol:
        if self._core is None:
            self._core = _new_core(self._most, [])
        return self._core

    def _by_core(self, data: bytes, messages: list[bytes]) -> list[bytes]:
        core = self._made_core()
        if data:
            core.receive_data(data)
        else:
            core.receive_eof()
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
                if not self._is_text(message):
                    break
                messages.append(message)
        return messages

    def _is_text(self, message: bytes) -> bool:
        try:
            message.decode()
        except UnicodeDecodeError:
            self.close(1007, "text is not UTF-8")
            return False
        return True

    def _whole(self, data: bytes, fin: bool) -> bytes | None:
        if fin and not self._fragments:
            return data
        self._fragments.append(data)
        self._fragment_bytes += sys.getsizeof(data) + 8
        if not fin:
            return None
        message = b"".join(self._fragments)
        self._fragments = []
        self._fragment_bytes = 0
        self.unfinished += 1
        return message

    @property
    def is_unfinished(self) -> bool:
        """True if a message has begun and has not ended."""
        return bool(self._missing or self._fragments)

    def held_bytes(self) -> int:
        """Memory taken by what was received and not given back: a message's beginning, and what `more` is for."""
        return (sys.getsizeof(self._kept) if self._kept else 0) + len(self._rest) + self._fragment_bytes

    def forget(self) -> None:
        """Let go of all that was received, and take nothing more: for who is to go."""
        self._is_deaf = True
        self._kept = bytearray()
        self._fragments = []
        self._fragment_bytes = 0
        self._missing = 0
        self._rest = b""

    def ping(self) -> None:
        """Ask whether the client is there."""
        if self.is_open:
            self._pings += _PING

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, if it has not started yet."""
        if self.is_open:
            self._made_core().send_close(code, reason)

    @property
    def takes_deflated(self) -> bool:
        """True if messages may be sent as `frames.deflated_text`."""
        return self._core is not None and any(
            isinstance(extension, PerMessageDeflate) and extension.local_max_window_bits >= DEFLATE_WINDOW
            for extension in self._core.extensions
        )

    @property
    def is_open(self) -> bool:
        """True until a close frame has gone either way, or the connection has broken."""
        return self._core is None or self._core.state is OPEN

    @property
    def is_done(self) -> bool:
        """True once nothing that the client may still send matters: it has closed too, or broken the protocol."""
        return self._core is not None and self._core.eof_sent

    @property
    def was_closed_by_client(self) -> bool:
        """True if the client has sent a close frame before we did."""
        core = self._core
        return core is not None and core.close_rcvd is not None and core.close_rcvd_then_sent is not False

    @property
    def broken_rule(self) -> int | None:
        """The close code that the client has earned by breaking the protocol, if it has."""
        core = self._core
        return core.close_sent.code if core is not None and core.close_sent and not core.close_rcvd else None

    def output(self) -> bytes:
        """Frames to be sent now, b"" if there are none."""
        pings, self._pings = self._pings, b""
        return pings if self._core is None else pings + b"".join(self._core.data_to_send())


def _measure(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame that begins at a place begins and ends; where that is not told yet, at its end."""
    size = len(data)
    length = data[at + 1] & 0x7F if at + 1 < size else 127
    if length < 126:
        return at + 6, at + 6 + length
    if length == 126 and size >= at + 4:
        return at + 8, at + 8 + (data[at + 2] << 8 | data[at + 3])
    if size >= at + 10:
        return at + 14, at + 14 + int.from_bytes(data[at + 2 : at + 10], "big")
    return size, size + 1


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    return payload if mask == _NO_MASK else bytes(apply_mask(payload, mask))
