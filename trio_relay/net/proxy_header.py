"""The header of the PROXY protocol, version 2: whose connection it is that a proxy passes on.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2: twelve bytes of signature, one of version and
command, one of family and transport, two of length, then addresses and ports, then fields that nobody reads here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from trio_relay.net.addresses import UNNAMED, written

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIRST_VERSION: Final = b"PROXY "
_VERSION: Final = 0x20
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_HEAD_BYTES: Final = 16
_MOST_BYTES: Final = 4_096
"""Of a header: the addresses take 36 at most, further fields some hundred, a client's certificate a few thousand."""
_ADDRESS_BYTES: Final = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Of both ends, by family and transport; the specification has others refused."""
_IPV4: Final = 0x10
_IPV6: Final = 0x20


class ProxyHeaderRefused(ValueError):
    """These bytes are no such header; the message says why, and quotes nothing of them."""


def bytes_missing(data: bytes) -> int:
    """Return how many more bytes of the header there are to come, at least; 0: it is whole.

    Args:
        data: what has come of it, and nothing behind it.

    Raises:
        ProxyHeaderRefused: whatever follows, it is none.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        if data.startswith(_FIRST_VERSION[: len(data)]):
            raise ProxyHeaderRefused("the PROXY protocol's version 1, and only version 2 is taken")
        raise ProxyHeaderRefused("no header of the PROXY protocol")
    if len(data) < _HEAD_BYTES:
        return _HEAD_BYTES - len(data)
    if data[12] not in (_LOCAL, _PROXY):
        is_other = data[12] & 0xF0 != _VERSION
        raise ProxyHeaderRefused("an unknown version of the PROXY protocol" if is_other else "an unknown command")
    if data[13] not in _ADDRESS_BYTES:
        raise ProxyHeaderRefused("an unknown family of addresses")
    length = int.from_bytes(data[14:_HEAD_BYTES])
    if length < _ADDRESS_BYTES[data[13]] and data[12] != _LOCAL:
        raise ProxyHeaderRefused("a header too short for its addresses")
    if _HEAD_BYTES + length > _MOST_BYTES:
        raise ProxyHeaderRefused(f"a header of more than {_MOST_BYTES} bytes")
    return _HEAD_BYTES + length - len(data)


def client_told(header: bytes) -> str | None:
    """Return the address of the client that a whole header tells.

    Returns:
        An address; `UNNAMED` if the proxy knows none, or its client came over a Unix socket; None if the proxy speaks
        for itself (a health check).
    """
    if header[12] == _LOCAL:
        return None
    family = header[13] & 0xF0
    if family == _IPV4:
        return str(IPv4Address(header[16:20]))
    if family == _IPV6:
        return written(str(IPv6Address(header[16:32])))
    return UNNAMED
