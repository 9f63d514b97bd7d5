"""The header of the PROXY protocol: what it tells, and that no bytes are taken for one that are none."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.proxies import SIGNATURE, header
from trio_relay.net import addresses, proxy_header

WHOLE = st.builds(
    header,
    client=st.ip_addresses().map(str) | st.just(""),
    fields=st.binary(max_size=300),
    is_local=st.booleans(),
    is_datagram=st.booleans(),
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (header("203.0.113.7"), "203.0.113.7"),
        (header("203.0.113.7", fields=bytes(40)), "203.0.113.7"),
        (header("203.0.113.7", is_datagram=True), "203.0.113.7"),
        (header("2001:db8::7"), "2001:db8::7"),
        (header("::ffff:203.0.113.7"), "203.0.113.7"),
        (header(""), addresses.UNNAMED),
        (header("", fields=bytes(12)), addresses.UNNAMED),
        (header("203.0.113.7", is_local=True), None),
        (SIGNATURE + b"\x20\x00\x00\x00", None),
        (SIGNATURE + b"\x20\x11\x00\x00", None),
        (SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), addresses.UNNAMED),
    ],
)
def test_it_tells_whose_connection_it_is(data: bytes, expected: str | None) -> None:
    assert proxy_header.bytes_missing(data) == 0
    assert proxy_header.client_told(data) == expected


@given(WHOLE, st.integers(0, 400))
def test_it_is_read_whole_and_nothing_behind_it(data: bytes, cut: int) -> None:
    """Read in whatever pieces come, of which each is asked for by what is missing."""
    read = 0
    while missing := proxy_header.bytes_missing(data[:read]):
        assert 0 < missing <= len(data) - read
        read += missing
    assert read == len(data)
    cut = min(cut, len(data) - 1)
    assert 0 < proxy_header.bytes_missing(data[:cut]) <= len(data) - cut


@given(st.ip_addresses())
def test_every_address_comes_through_as_it_is_written_here(address: object) -> None:
    told = proxy_header.client_told(header(str(address)))
    assert told is not None
    parsed = ip_address(str(address))
    assert ip_address(told) == (getattr(parsed, "ipv4_mapped", None) or parsed)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: SIGNATURE + rest))
def test_any_bytes_are_refused_or_asked_for_more_of_or_tell_something(data: bytes) -> None:
    try:
        missing = proxy_header.bytes_missing(data)
    except proxy_header.ProxyHeaderRefused:
        return
    assert missing <= 4_096
    if missing <= 0 and len(data) >= 16:
        assert proxy_header.client_told(data) is None or isinstance(proxy_header.client_told(data), str)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"G", "no header"),
        (b"\r\n\r\n\0\r\nQUIT\r", "no header"),
        (b"\x16\x03\x01", "no header"),
        (b"P", "version 1"),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n", "version 1"),
        (b"POST / HTTP/1.1\r\n", "no header"),
        (SIGNATURE + b"\x11\x11\x00\x0c", "unknown version"),
        (SIGNATURE + b"\x31\x11\x00\x0c", "unknown version"),
        (SIGNATURE + b"\x22\x11\x00\x0c", "unknown command"),
        (SIGNATURE + b"\x21\x10\x00\x0c", "unknown family"),
        (SIGNATURE + b"\x21\x41\x00\x0c", "unknown family"),
        (SIGNATURE + b"\x21\x11\x00\x0b", "too short"),
        (SIGNATURE + b"\x21\x21\x00\x23", "too short"),
        (SIGNATURE + b"\x21\x31\x00\xd7", "too short"),
        (SIGNATURE + b"\x21\x11\x0f\xf1", "more than 4096 bytes"),
        (SIGNATURE + b"\x20\x00\xff\xff", "more than 4096 bytes"),
    ],
)
def test_what_is_none_is_refused_as_soon_as_that_is_seen(data: bytes, reason: str) -> None:
    with pytest.raises(proxy_header.ProxyHeaderRefused, match=reason):
        proxy_header.bytes_missing(data)


def test_the_longest_that_is_taken() -> None:
    assert proxy_header.bytes_missing(SIGNATURE + b"\x21\x11\x0f\xf0") == 4_080
