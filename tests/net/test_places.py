"""Who gets a place: so many in all, and so many of one address."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from trio_relay.net.addresses import Proxies
from trio_relay.net.connection_limits import ConnectionLimits

PROXIES = Proxies(("10.0.0.0/8",))
FULL = (503, b"too many connections\n")
CROWDED = (429, b"too many connections from this address\n")


def test_a_place_is_free_again_when_it_is_left() -> None:
    places = ConnectionLimits(1, 0, PROXIES)
    with places.taken("203.0.113.7"):
        assert places.refusal("203.0.113.8", 0) == FULL
    assert places.refusal("203.0.113.8", 0) is None


def test_a_place_is_free_again_after_a_failure() -> None:
    places = ConnectionLimits(1, 1, PROXIES)
    with pytest.raises(ZeroDivisionError), places.taken("203.0.113.7"):
        raise ZeroDivisionError
    assert places.refusal("203.0.113.7", 0) is None


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
    ],
)
def test_one_address_has_so_many_and_others_are_not_touched(address: str, same: str, other: str) -> None:
    places = ConnectionLimits(100, 2, PROXIES)
    with places.taken(address):
        with places.taken(same):
            assert places.refusal(same, 0) == CROWDED
            assert places.refusal(other, 0) is None
        assert places.refusal(same, 0) is None


@pytest.mark.parametrize("address", ["10.1.2.3", "unknown"])
def test_a_trusted_proxy_and_whoever_has_no_address_count_in_all_alone(address: str) -> None:
    places = ConnectionLimits(3, 1, PROXIES)
    with ExitStack() as stack:
        for _ in range(3):
            assert places.refusal(address, 0) is None
            stack.enter_context(places.taken(address))
        assert places.refusal(address, 0) == FULL


def test_zero_is_no_limit() -> None:
    places = ConnectionLimits(100, 0, PROXIES)
    with ExitStack() as stack:
        for _ in range(99):
            stack.enter_context(places.taken("203.0.113.7"))
        assert places.refusal("203.0.113.7", 0) is None


def test_a_client_counts_as_its_address_or_its_network() -> None:
    assert PROXIES.origin("203.0.113.7") == "203.0.113.7"
    assert PROXIES.origin("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert PROXIES.origin("10.1.2.3") is None
    assert PROXIES.origin("unknown") is None
    assert PROXIES.origin("unnamed") == "unnamed"
