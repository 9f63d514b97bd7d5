"""The last refusals: each address has its share of what is kept, and what is kept of it are its newest ones."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW
from tests.support.marks import examples
from trio_relay.net import refusals
from trio_relay.net.admin import sight


def kept(last: refusals.LastRefusals) -> dict[str, list[str]]:
    """The reasons by address, the oldest first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one in reversed(last.newest_first()):
        found[one.address].append(one.reason)
    return dict(found)


@settings(max_examples=examples(50))
@given(st.lists(st.sampled_from("abcdefg"), max_size=60))
def test_no_more_are_kept_than_allowed_and_of_each_address_its_newest(addresses: list[str]) -> None:
    last = refusals.LastRefusals(lambda: NOW, most=10, most_of_one=3)
    noted: defaultdict[str, list[str]] = defaultdict(list)
    for number, address in enumerate(addresses):
        last.note(address, address, "EVENT", str(number), None)
        noted[address].append(str(number))
        there = kept(last)
        assert sum(map(len, there.values())) == min(10, sum(min(3, len(one)) for one in noted.values()))
        for name, reasons in there.items():
            assert reasons == noted[name][-len(reasons) :]
            assert len(reasons) <= 3
        assert there[address][-1] == str(number)


def test_a_flood_from_one_address_pushes_out_nobody() -> None:
    last = refusals.LastRefusals(lambda: NOW)
    last.note("203.0.113.1", "203.0.113.1", "REQ", "first", None)
    note = ALICE.event()
    for number in range(10_000):
        last.note("2001:db8::/64", f"2001:db8::{number:x}", "EVENT", "flood", note)
    found = last.newest_first()
    assert len(found) == 1 + refusals.MOST_KEPT_OF_ONE
    assert found[-1].reason == "first"


def test_addresses_of_one_network_share_a_line() -> None:
    noted = refusals.Refusals()
    for number in range(300):
        refusals.ClientRefusals(noted, number, f"2001:db8::{number:x}").note("REQ", "too much")
        noted.note_request(f"2001:db8::{number:x}", 429, "too much")
    assert len(noted.last.newest_first()) == refusals.MOST_KEPT_OF_ONE


def test_refusals_are_wanted_by_network_too() -> None:
    last = refusals.LastRefusals(lambda: NOW)
    for address in ("203.0.113.1", "203.0.114.1", "unknown"):
        last.note(address, address, "REQ", "no", None)
    found = sight.WantedRefusals(address="203.0.113.0/24").among(last.newest_first())
    assert [one.address for one in found] == ["203.0.113.1"]
    assert len(sight.WantedRefusals().among(found * 300)) == sight.MOST_REFUSALS
