"""Frames that no library sends, and HTTP as long as a relay reads it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from perf.stalls.cases import MESSAGE, Frames, Requests, in_bytes
from perf.wire import frame

TEXT: Final = 0x81
DEFLATED: Final = 0xC1
_PING: Final = 0x89
_BINARY: Final = 0x82
_FIRST: Final = 0x01
_MIDDLE: Final = 0x00
_LAST: Final = 0x80
_HEAD: Final = 16_000
"""Bytes of an HTTP head that is still read."""


def deflated(message: bytes) -> bytes:
    """A client's text frame with a message that is deflated by itself (RFC 7692)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(packed.removesuffix(b"\x00\x00\xff\xff"), DEFLATED)


def frame_cases() -> Iterator[Frames]:
    """All of them; what inflates counts as inflated."""
    for name, text in _TEXTS.items():
        yield Frames(f"FRAMES one of {name}", partial(_deflated, text, 1), len(text()))
        yield Frames(f"FRAMES 16 of {name}", partial(_deflated, text, 16), 16 * len(text()))
    yield Frames("FRAMES 200 of 50 KB, inflated 200 times", partial(_deflated, _closing, 200), 200 * len(_closing()))
    # Of what is too long, only so much is inflated as may be.
    yield Frames("FRAMES one of 100 MB of spaces", partial(_deflated, lambda: b" " * (100 * MESSAGE), 1), MESSAGE)
    yield from (Frames(f"FRAMES {name}", make) for name, make in _FRAMES.items())


def _deflated(text: Callable[[], bytes], times: int) -> bytes:
    return deflated(text()) * times


def _closing() -> bytes:
    return b"[" + in_bytes(b'["CLOSE","a subscription that was never opened"],', 50_000) + b"1]"


_TEXTS: Final[dict[str, Callable[[], bytes]]] = {
    "spaces, inflated 1,000 times": lambda: b" " * MESSAGE,
    "{}, inflated 1,000 times": lambda: b"[" + in_bytes(b"{},", MESSAGE - 10) + b"1]",
}
_CLOSE: Final = frame(b'["CLOSE","x"]')
_JUNK: Final = frame(b"x")
_FRAMES: Final[dict[str, Callable[[], bytes]]] = {
    "CLOSE 20,000 times": lambda: _CLOSE * 20_000,
    "REQ 5,000 times": lambda: frame(b'["REQ","x",{"limit":0}]') * 5_000,
    "REQ and CLOSE, stored events, 1,000 times": lambda: (frame(b'["REQ","x",{"limit":5}]') + _CLOSE) * 1_000,
    "1-byte messages, 50,000": lambda: _JUNK * 50_000,
    "empty messages, 50,000": lambda: frame(b"") * 50_000,
    "pings, 20,000": lambda: frame(b"", _PING) * 20_000,
    "pings of 125 bytes, 5,000": lambda: frame(bytes(125), _PING) * 5_000,
    "1,000 fragments of 1,000 bytes": lambda: _in_fragments(b"x" * 1_000_000, 1_000),
    "1,000 fragments of a byte": lambda: _in_fragments(b"x" * 1_000, 1_000),
    "1,000 fragments of a byte, 20 times": lambda: _in_fragments(b"x" * 1_000, 1_000) * 20,
    "fragments with pings between": lambda: _in_fragments(b"x" * 1_000, 1_000, frame(b"", _PING)),
    "fragments of nothing, 60,000": lambda: frame(b"", _FIRST) + frame(b"", _MIDDLE) * 60_000,
    "2-byte messages deflated, 20,000": lambda: deflated(b"[]") * 20_000,
    "masked, 1 MB": lambda: _masked(b"x" * (MESSAGE - 20)),
    "unmasked": lambda: bytes([TEXT, 5]) + b"hello",
    "binary, 1 MB": lambda: frame(bytes(MESSAGE - 20), _BINARY),
    "not UTF-8 at its end": lambda: frame(b"x" * (MESSAGE - 20) + b"\xff"),
    "too long by a byte": lambda: frame(b"x" * (MESSAGE + 1)),
    "deflated junk": lambda: frame(b"\xff" * (MESSAGE - 20), DEFLATED),
    "unknown bits": lambda: frame(b"x" * (MESSAGE - 20), 0xF1),
}


def _in_fragments(message: bytes, number: int, between: bytes = b"") -> bytes:
    size = len(message) // number
    parts = [message[start : start + size] for start in range(0, len(message), size)]
    heads = [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    return between.join(frame(part, head) for part, head in zip(parts, heads, strict=True))


def _masked(message: bytes) -> bytes:
    mask = b"\x12\x34\x56\x78"
    whole = int.from_bytes(message, "big") ^ int.from_bytes((mask * (len(message) // 4 + 1))[: len(message)], "big")
    return struct.pack("!BBQ", TEXT, 0x80 | 127, len(message)) + mask + whole.to_bytes(len(message), "big")


_HOST: Final = b"Host: 127.0.0.1\r\n"
_UPGRADE: Final = b"GET / HTTP/1.1\r\n" + _HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"


def _head(line: bytes, *headers: bytes) -> bytes:
    return line + b" HTTP/1.1\r\n" + _HOST + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def _numbered(turn: int) -> bytes:
    """Headers as many as fit."""
    return b"\r\n".join(b"%x: %d" % (number, turn) for number in range(_HEAD // 10))


def _signed_junk(turn: int) -> bytes:
    return b"Authorization: Nostr " + base64.b64encode(b'{"kind":27235,' + b" " * 11_000 + b"%d}" % turn)


_RPC: Final = b"Content-Type: application/nostr+json+rpc"
_CHUNKED: Final = b"Transfer-Encoding: chunked"


def _with_body(body: bytes, *headers: bytes) -> bytes:
    return _head(b"POST /", _RPC, b"Content-Length: %d" % len(body), *headers) + body


def in_chunks(line: bytes, number: int, end: bytes = b"0\r\n\r\n") -> bytes:
    """A request with a body of so many chunks of a byte."""
    return _head(line, _CHUNKED, _RPC) + b"1\r\nx\r\n" * number + end


_HTTP: Final[dict[str, Callable[[int], bytes]]] = {
    "GET small": lambda turn: _head(b"GET /"),
    "GET of the document": lambda turn: _head(b"GET /", b"Accept: application/nostr+json"),
    "GET of a long path": lambda turn: _head(b"GET /" + b"x" * _HEAD),
    "GET with a long header": lambda turn: _head(b"GET /", b"X: " + b"x" * _HEAD),
    "GET with many headers": lambda turn: _head(b"GET /", _numbered(turn)),
    "GET with a header again and again": lambda turn: _head(b"GET /", *[b"Accept: a"] * (_HEAD // 12)),
    "GET with commas": lambda turn: _head(b"GET /", b"Upgrade: " + b"," * _HEAD),
    "GET 500 times": lambda turn: _head(b"GET /") * 500,
    "GET of the document 500 times": lambda turn: _head(b"GET /", b"Accept: application/nostr+json") * 500,
    "GET in chunks of a byte, 64 KB": lambda turn: in_chunks(b"GET /", 65_000),
    "a head without an end": lambda turn: b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
    "a line without an end": lambda turn: b"x" * 100_000,
    "junk": lambda turn: bytes(range(256)) * 60,
    "line feeds": lambda turn: b"\r\n" * 60_000,
    "POST of 64 KB": lambda turn: _with_body(b"x" * 65_000),
    "POST of 64 KB of [": lambda turn: _with_body(b"[" * 65_000),
    "POST too long": lambda turn: _with_body(b"x" * MESSAGE),
    "POST in chunks of a byte, 64 KB": lambda turn: in_chunks(b"POST /", 65_000),
    "POST in chunks of a byte, 7 MB": lambda turn: in_chunks(b"POST /", 1_200_000),
    "POST in chunks with long extensions": lambda turn: (
        _head(b"POST /", _CHUNKED, _RPC) + (b"1;" + b"x" * 15_000 + b"\r\nx\r\n") * 60 + b"0\r\n\r\n"
    ),
    "POST with a long trailer": lambda turn: in_chunks(b"POST /", 1, b"0\r\n" + b"x: y\r\n" * 2_500 + b"\r\n"),
    "POST signed with junk": lambda turn: _with_body(b"{}", _signed_junk(turn)),
    "POST signed with junk, 64 KB": lambda turn: _with_body(b"[" * 65_000, _signed_junk(turn)),
    "an upgrade without a key": lambda turn: _UPGRADE + b"\r\n",
    "an upgrade with long extensions": lambda turn: (
        _UPGRADE
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: "
        + in_bytes(b"permessage-deflate; x, ", _HEAD - 400)
        + b"x\r\n\r\n"
    ),
}


def http_cases() -> Iterator[Requests]:
    """All of them."""
    return (Requests(f"HTTP {name}", make) for name, make in _HTTP.items())
