"""A proxy's side of the PROXY protocol, version 2, written from its specification."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

SIGNATURE: Final = bytes.fromhex("0d0a0d0a000d0a515549540a")


def header(client: str, *, fields: bytes = b"", is_local: bool = False, is_datagram: bool = False) -> bytes:
    """The header for a client's connection.

    Args:
        client: its address; empty: the proxy knows none.
        fields: further ones, as they are.
        is_local: the proxy speaks for itself.
        is_datagram: the client has come by datagrams.
    """
    family, both = 0x00, b""
    if client:
        packed = ip_address(client).packed
        family = (0x10 if len(packed) == 4 else 0x20) | (2 if is_datagram else 1)
        both = packed * 2 + (50_123).to_bytes(2) + (443).to_bytes(2)
    rest = both + fields
    return SIGNATURE + bytes([0x20 if is_local else 0x21, family]) + len(rest).to_bytes(2) + rest
