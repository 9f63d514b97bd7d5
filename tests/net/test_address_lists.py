"""Lists of addresses and networks, some of them for a time."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import NOW
from trio_relay.net.addresses import AddressEntry, AddressList

# Few bits that differ, so that addresses and networks meet.
IPV4 = st.integers(0, 63).map(lambda bits: str(ip_address(0x0A00_0000 | bits << 22 | bits)))
IPV6 = st.integers(0, 63).map(lambda bits: str(ip_address(0x2001_0DB8 << 96 | bits << 62)))
NETWORKS = st.one_of(
    st.builds(lambda address, prefix: str(ip_network((address, prefix), strict=False)), IPV4, st.integers(0, 32)),
    st.builds(lambda address, prefix: str(ip_network((address, prefix), strict=False)), IPV6, st.integers(0, 64)),
)


def test_an_empty_list_covers_nobody() -> None:
    assert not AddressList().covers("10.0.0.1", NOW)
    assert AddressList().entries(NOW) == []


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.6"),
        ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
        ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::ffff:0:1", "2001:db8:0:1::"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("203.0.113.7", "::ffff:203.0.113.7", "::203.0.113.7"),
        ("203.0.113.7", "203.0.113.7", "unknown"),
        ("203.0.113.7", "203.0.113.7", ""),
    ],
)
def test_an_address_is_covered_by_itself_or_by_a_network(entry: str, inside: str, outside: str) -> None:
    covered = AddressList([AddressEntry(entry)])
    assert covered.covers(inside, NOW)
    assert not covered.covers(outside, NOW)


def test_an_entry_holds_until_its_expiry() -> None:
    covered = AddressList([AddressEntry("10.0.0.1", "spam", NOW), AddressEntry("10.0.0.2")])
    assert covered.covers("10.0.0.1", NOW - 1)
    assert not covered.covers("10.0.0.1", NOW)
    assert covered.covers("10.0.0.2", 2**40)


def test_an_expired_address_is_still_covered_by_a_network_that_holds() -> None:
    covered = AddressList([AddressEntry("10.0.0.1", "spam", NOW), AddressEntry("10.0.0.0/8")])
    assert covered.covers("10.0.0.1", NOW)


def test_entries_are_listed_in_their_order_while_they_hold() -> None:
    covered = AddressList()
    covered.add("2001:DB8::1", "spam")
    covered.add("203.0.113.0/24", "scan", NOW + 10)
    covered.add("203.0.113.7/32", expiry=NOW + 20)
    spam, scan, one = (
        AddressEntry("2001:db8::/64", "spam"),
        AddressEntry("203.0.113.0/24", "scan", NOW + 10),
        AddressEntry("203.0.113.7", "", NOW + 20),
    )
    assert covered.entries(NOW + 9) == [spam, scan, one]
    assert covered.entries(NOW + 10) == [spam, one]
    assert covered.entries(NOW + 9) == [spam, one]  # what has expired is forgotten


def test_to_add_an_address_again_changes_its_reason_and_its_expiry() -> None:
    covered = AddressList([AddressEntry("2001:db8::1", "spam", NOW)])
    covered.add("2001:db8::2", "more spam", NOW + 10)
    assert covered.entries(NOW) == [AddressEntry("2001:db8::/64", "more spam", NOW + 10)]
    assert covered.remove("2001:db8::/64")
    assert not covered.covers("2001:db8::1", NOW)


def test_what_was_taken_out_is_covered_no_more() -> None:
    covered = AddressList([AddressEntry("10.0.0.1"), AddressEntry("10.0.0.2")])
    assert covered.remove("::ffff:10.0.0.1")
    assert not covered.remove("10.0.0.1")
    assert not covered.covers("10.0.0.1", NOW)
    assert covered.covers("10.0.0.2", NOW)


def test_one_address_cannot_be_taken_out_of_a_network() -> None:
    covered = AddressList([AddressEntry("10.0.0.0/8")])
    assert not covered.remove("10.0.0.1")
    assert covered.covers("10.0.0.1", NOW)


@pytest.mark.parametrize("text", ["", "unknown", "relay.example", "10.0.0.1/8", "10.0.0.1:80"])
def test_what_is_neither_address_nor_network_is_refused_by_its_name(text: str) -> None:
    for change in (AddressList().add, AddressList().remove):
        with pytest.raises(ValueError, match=r"^") as refused:
            change(text)
        assert repr(text) in str(refused.value) or text in str(refused.value).split()


@given(st.lists(NETWORKS, max_size=12), st.lists(st.integers(0, 11)), st.one_of(IPV4, IPV6))
def test_the_list_covers_what_a_walk_over_its_networks_finds(
    networks: list[str], taken_out: list[int], address: str
) -> None:
    covered = AddressList(map(AddressEntry, networks))
    left = set(networks)
    for index in taken_out:
        if index < len(networks):
            assert covered.remove(networks[index]) == (networks[index] in left)
            left.discard(networks[index])
    assert covered.covers(address, NOW) == any(ip_address(address) in ip_network(network) for network in left)
    assert {ip_network(entry.address) for entry in covered.entries(NOW)} == set(map(ip_network, left))
