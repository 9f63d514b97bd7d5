"""NIP-42: what authenticates a client on a connection, and what does not."""

from __future__ import annotations

import pytest

from tests.support.keys import ALICE, NOW
from trio_relay import Event
from trio_relay.nostr.auth import check_auth

CHALLENGE = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
URL = "wss://relay.example/"
TAGS = [["relay", URL], ["challenge", CHALLENGE]]


def refusal(event: Event, relay_url: str = URL) -> str | None:
    refused = check_auth(event, CHALLENGE, relay_url, NOW)
    return None if refused is None else str(refused)


@pytest.mark.parametrize("created_at", [NOW - 600, NOW - 1, NOW, NOW + 600])
def test_an_answer_to_the_challenge_within_ten_minutes_authenticates(created_at: int) -> None:
    assert refusal(ALICE.event(kind=22_242, created_at=created_at, tags=TAGS)) is None


@pytest.mark.parametrize("created_at", [0, NOW - 601, NOW + 601])
def test_an_answer_from_another_time_does_not(created_at: int) -> None:
    event = ALICE.event(kind=22_242, created_at=created_at, tags=TAGS)
    assert refusal(event) == "invalid: created_at is more than 600 seconds from the relay's time"


@pytest.mark.parametrize("kind", [1, 22_241, 22_243, 27_235])
def test_only_kind_22242_authenticates(kind: int) -> None:
    assert refusal(ALICE.event(kind=kind, tags=TAGS)) == "invalid: kind must be 22242"


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param([], id="none"),
        pytest.param([["challenge"]], id="no value"),
        pytest.param([["challenge", ""]], id="empty"),
        pytest.param([["challenge", CHALLENGE[:-1]]], id="shorter"),
        pytest.param([["challenge", CHALLENGE + "0"]], id="longer"),
        pytest.param([["challenge", CHALLENGE.upper()]], id="other letter case"),
        pytest.param([["challenge", "é" * 32]], id="not ASCII"),
        pytest.param([["Challenge", CHALLENGE]], id="other name"),
        pytest.param([["challenge", "old"], ["challenge", CHALLENGE]], id="in a second tag"),
        pytest.param([[], ["", CHALLENGE]], id="without a name"),
    ],
)
def test_the_challenge_must_be_the_one_of_this_connection(tags: list[list[str]]) -> None:
    event = ALICE.event(kind=22_242, tags=[["relay", URL], *tags])
    assert refusal(event) == "invalid: the challenge tag is not the challenge of this connection"


@pytest.mark.parametrize(
    ("named", "relay_url"),
    [
        ("wss://relay.example", URL),
        ("WSS://Relay.Example:443/", URL),
        ("https://relay.example", URL),
        ("ws://localhost:7777", "ws://127.0.0.1:7777/"),
        ("ws://[::1]:7777/", "ws://127.0.0.1:7777/"),
    ],
)
def test_the_relay_may_be_spelt_in_any_way(named: str, relay_url: str) -> None:
    event = ALICE.event(kind=22_242, tags=[["relay", named], ["challenge", CHALLENGE, "more"]])
    assert refusal(event, relay_url) is None


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param([], id="none"),
        pytest.param([["relay"]], id="no value"),
        pytest.param([["relay", "relay.example"]], id="no URL"),
        pytest.param([["relay", "wss://evil.example"], ["relay", URL]], id="another relay first"),
        pytest.param([["relay", "ws://relay.example"]], id="not secure"),
        pytest.param([["relay", "wss://relay.example/inner"]], id="other path"),
    ],
)
def test_an_answer_for_another_relay_does_not_authenticate_here(tags: list[list[str]]) -> None:
    """A relay in the middle can pass our challenge on, and have it answered, but not in our name."""
    event = ALICE.event(kind=22_242, tags=[["challenge", CHALLENGE], *tags])
    assert refusal(event) == "invalid: the relay tag does not name this relay, wss://relay.example/"


def test_the_id_must_be_the_events_own() -> None:
    signed = ALICE.signed("0" * 64, NOW, 22_242, TAGS, "")
    assert refusal(signed) == "invalid: id is not the hash of the event"
