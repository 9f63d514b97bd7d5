"""Which events a mirror is of: the filters, and what never passes whatever they say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Event
from trio_relay.nostr import errors
from trio_relay.peers import mirror_options, mirrored

PRIVATE = frozenset({4, 1_059})


def mirror(*filters: dict[str, Any], **options: Any) -> mirrored.MirroredEvents:
    return mirrored.MirroredEvents(
        mirror_options.MirrorOptions(url="wss://user:word@there.example/path", filters=filters, **options), PRIVATE
    )


WRAP = BOB.event(kind=1_059, tags=[["p", ALICE.pubkey]])
EXPIRED = BOB.event(tags=[["expiration", str(NOW - 1)]])


@pytest.mark.parametrize(
    ("filters", "event", "goes"),
    [
        ((), BOB.event(), True),
        ((), BOB.event(kind=5), True),
        ((), BOB.event(kind=20_001), True),
        ((), EXPIRED, False),
        ((), BOB.event(tags=[["expiration", str(NOW + 1)]]), True),
        ((), BOB.event(tags=[["-"]]), False),
        ((), BOB.event(kind=28_934), False),
        ((), BOB.event(kind=22_242), False),
        ((), BOB.event(kind=27_235), False),
        ((), WRAP, False),
        (({"kinds": [1_059]},), WRAP, True),
        (({"kinds": [1_059], "#p": [BOB.pubkey]}, {}), WRAP, False),
        (({"kinds": [1]},), BOB.event(kind=7), False),
        (({"kinds": [1]}, {"authors": [BOB.pubkey]}), BOB.event(kind=7), True),
        (({"#t": ["x"]},), BOB.event(tags=[["t", "x"]]), True),
    ],
)
def test_what_goes_up(filters: tuple[dict[str, Any], ...], event: Event, *, goes: bool) -> None:
    assert mirror(*filters).goes_up(event, NOW) is goes


@pytest.mark.parametrize("kind", [28_934, 28_936, 22_242, 27_235])
def test_what_is_signed_for_one_relay_is_not_taken(kind: int) -> None:
    refusal = mirror(trust="trusted").refusal_of(BOB.event(kind=kind))
    assert str(refusal) == f"blocked: kind {kind} is for one relay alone"


def test_protected_events_are_not_taken_and_all_others_are_left_to_the_rules() -> None:
    assert "NIP-70" in str(mirror().refusal_of(BOB.event(tags=[["-"]])))
    assert mirror().refusal_of(EXPIRED) is None


@pytest.mark.parametrize("key", ["search", "limit"])
def test_a_filter_says_nothing_that_makes_no_sense(key: str) -> None:
    with pytest.raises(errors.Rejected, match=f"a filter of a mirror has no '{key}'"):
        mirror({"kinds": [1]}, {key: 1})


def test_a_filter_has_to_be_one() -> None:
    with pytest.raises(errors.Rejected, match="authors must hold"):
        mirror({"authors": ["bob"]})


def test_a_trusted_relay_is_trusted_but_for_requests_to_vanish() -> None:
    """One that names other relays alone would be carried out here, since an own export is not judged again."""
    trusted, client = mirror(trust="trusted"), mirror()
    assert trusted.sender_of(BOB.event()).brings_backup
    assert not trusted.sender_of(BOB.event(kind=62)).brings_backup
    assert not client.sender_of(BOB.event()).brings_backup
    assert trusted.sender_of(BOB.event()).is_peer


def test_who_is_told_whose_events_they_are_sees_no_password() -> None:
    assert mirror().identity.address == "wss://there.example/path"
