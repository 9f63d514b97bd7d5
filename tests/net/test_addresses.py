"""Who a client is behind proxies, and what an IPv6 address counts as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.net.addresses import UNIX, UNNAMED, Proxies, group, parse_address, parse_network

PROXIES = Proxies(("10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"))
CLIENT = "203.0.113.7"
HOPS = st.sampled_from(["10.1.2.3", "192.0.2.1", "2001:db8:1::5", CLIENT, "2001:db8:2::1", "hello", ""])


def client(peer: str, *forwarded: str) -> str:
    return PROXIES.client_address(peer, {"x-forwarded-for": ",".join(forwarded)})


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ([CLIENT], CLIENT),
        ([f"  {CLIENT} "], CLIENT),
        ([CLIENT, "10.0.0.2"], CLIENT),
        ([CLIENT, "10.0.0.2", "192.0.2.1", "2001:db8:1::2"], CLIENT),
        (["198.51.100.1", CLIENT, "10.0.0.2"], CLIENT),
        (["10.0.0.9", CLIENT], CLIENT),
        (["hello", CLIENT], CLIENT),
        ([f"198.51.100.1, {CLIENT}", " 10.0.0.2"], CLIENT),
        ([CLIENT, ""], CLIENT),
        ([f"{CLIENT}:50123"], CLIENT),
        (["2001:DB8:2:0::1"], "2001:db8:2::1"),
        (["[2001:db8:2::1]"], "2001:db8:2::1"),
        (["[2001:db8:2::1]:443"], "2001:db8:2::1"),
        ([f"::ffff:{CLIENT}"], CLIENT),
        (["fe80::1%eth0"], "fe80::1"),
        (["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
    ],
)
def test_behind_trusted_proxies_the_first_address_from_the_end_that_is_none_of_theirs_is_the_client(
    forwarded: list[str], expected: str
) -> None:
    assert client("10.0.0.1", *forwarded) == expected


@pytest.mark.parametrize(
    "forwarded",
    [
        [],
        [""],
        [" , "],
        ["hello"],
        ["unknown"],
        ["_hidden"],
        [CLIENT, "hello"],
        [CLIENT, "1.2.3", "10.0.0.2"],
        ["[]"],
        ["unknown", "10.0.0.3", "10.0.0.2"],
        ["999.1.1.1"],
        ["10.0.0.1/8"],
    ],
)
@pytest.mark.parametrize("peer", ["10.0.0.1", UNIX])
def test_all_of_whom_a_proxy_tells_no_address_are_one_client(peer: str, forwarded: list[str]) -> None:
    """Not the proxy itself, which neither a cap nor a ban touches."""
    assert client(peer, *forwarded) == UNNAMED


@given(st.text())
def test_whatever_a_proxy_writes_its_client_is_never_the_peer_itself(told: str) -> None:
    assert client("10.0.0.1", told) != "10.0.0.1" or "10.0.0.1" in told


def test_without_the_header_the_peer_is_the_client() -> None:
    assert PROXIES.client_address("10.0.0.1", {"forwarded": f"for={CLIENT}"}) == "10.0.0.1"


@pytest.mark.parametrize("peer", [CLIENT, "11.0.0.1", "192.0.2.2", "2001:db8:2::1", "::1"])
def test_the_word_of_anybody_else_is_not_taken(peer: str) -> None:
    assert client(peer, "198.51.100.1") == peer


@pytest.mark.parametrize("peer", ["unknown", "", "/run/relay.sock", "1.2.3.4:5"])
def test_a_peer_without_an_address_is_unknown_whatever_it_says(peer: str) -> None:
    assert client(peer, CLIENT) == "unknown"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}, 10.0.0.2", CLIENT),
        ("", UNNAMED),
        ("hello", UNNAMED),
        ("10.0.0.2", "10.0.0.2"),
    ],
)
def test_a_peer_on_our_own_unix_socket_is_a_proxy_although_nobody_named_it(told: str, expected: str) -> None:
    assert PROXIES.is_trusted(UNIX)
    assert Proxies(()).is_trusted(UNIX)
    assert client(UNIX, told) == expected
    assert PROXIES.client_address(UNIX, {}) == UNIX


@pytest.mark.parametrize("header", ["CF-Connecting-IP", "cf-connecting-ip"])
def test_only_the_header_that_is_set_is_read(header: str) -> None:
    proxies = Proxies(("10.0.0.1",), header)
    other = "198.51.100.1"
    assert proxies.client_address("10.0.0.1", {"cf-connecting-ip": CLIENT, "x-forwarded-for": other}) == CLIENT
    assert proxies.client_address("10.0.0.1", {"x-forwarded-for": other}) == "10.0.0.1"
    assert proxies.client_address("10.0.0.2", {"cf-connecting-ip": CLIENT}) == "10.0.0.2"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For = {CLIENT};proto=http;by=203.0.113.43", CLIENT),
        (f'by=203.0.113.43; for="{CLIENT}:4711"', CLIENT),
        ('for="[2001:db8:2::17]:4711"', "2001:db8:2::17"),
        (f"for=198.51.100.1, for={CLIENT}, for=10.0.0.2", CLIENT),
        ("for=unknown", UNNAMED),
        ("for=_hidden, for=10.0.0.2", UNNAMED),
        ("proto=http", UNNAMED),
        (f"xfor={CLIENT}", UNNAMED),
    ],
)
def test_forwarded_is_read_as_its_rfc_has_it(told: str, expected: str) -> None:
    """RFC 7239, section 4."""
    assert Proxies(("10.0.0.0/8",), "Forwarded").client_address("10.0.0.1", {"forwarded": told}) == expected


def test_a_peer_on_a_socket_for_both_kinds_of_address_is_shown_as_ipv4() -> None:
    assert client("::ffff:10.0.0.1", CLIENT) == CLIENT
    assert PROXIES.client_address(f"::ffff:{CLIENT}", {}) == CLIENT


def test_by_default_no_proxy_is_trusted() -> None:
    nobody = Proxies(())
    assert not nobody.is_trusted("127.0.0.1")
    assert nobody.client_address("127.0.0.1", {"x-forwarded-for": CLIENT}) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("192.0.2.1", True),
        ("192.0.2.0", False),
        ("2001:db8:1:ffff::", True),
        ("2001:db8:2::", False),
        ("unknown", False),
    ],
)
def test_a_proxy_is_trusted_if_a_network_holds_it(address: str, expected: bool) -> None:
    assert PROXIES.is_trusted(address) is expected


def test_a_single_ipv6_proxy_lends_no_trust_to_its_neighbours() -> None:
    proxies = Proxies(("2001:db8::1",))
    assert proxies.is_trusted("2001:db8::1")
    assert not proxies.is_trusted("2001:db8::2")


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "", "1.2.3.4:80", "::1/129"])
def test_what_is_neither_address_nor_network_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"appear|host bits") as refused:
        Proxies(("127.0.0.1", text))
    assert text in str(refused.value)


@given(st.lists(HOPS, max_size=6), st.lists(st.sampled_from(["10.1.2.3", "192.0.2.1"]), max_size=3))
def test_no_client_can_be_taken_for_another_by_what_it_sends(invented: list[str], proxies: list[str]) -> None:
    """Each proxy adds the address that it sees; what the client wrote itself stands before all that."""
    assert client("10.0.0.1", *invented, CLIENT, *proxies) == CLIENT


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", CLIENT),
        ("unknown", "unknown"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_address_counts_as_its_network_of_64_bits(address: str, expected: str) -> None:
    assert group(address) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/96", "::/96"),
        ("::/0", "::/0"),
        ("10.0.0.1", "10.0.0.1/32"),
    ],
)
def test_a_network_of_ipv4_in_ipv6_is_one_of_ipv4(text: str, expected: str) -> None:
    assert str(parse_network(text)) == expected


@pytest.mark.parametrize("text", ["", "unknown", "10.0.0.0/8", "1.2.3", "1.2.3.4:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_address(text)
