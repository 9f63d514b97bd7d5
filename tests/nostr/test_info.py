"""The NIP-11 document says what is enforced, and nothing that the operator left empty."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from trio_relay import Limits
from trio_relay.nostr.relay_info import Capabilities, RelayInfo, document
from trio_relay.version import __version__


def published(
    info: RelayInfo | None = None, limits: Limits | None = None, standing: Capabilities | None = None
) -> dict[str, Any]:
    return msgspec.json.decode(document(info or RelayInfo(), limits or Limits(), standing), type=dict[str, Any])


def test_the_document_as_it_stands_without_any_configuration() -> None:
    assert published() == {
        "name": "trio-relay",
        "description": "A Nostr relay on Trio",
        "supported_nips": [1, 2, 9, 11, 40, 45, 51, 65],
        "software": "https://github.com/trio-relay/trio-relay",
        "version": __version__,
        "limitation": {
            "max_message_length": 1_048_576,
            "max_subscriptions": 300,
            "max_limit": 5_000,
            "max_subid_length": 64,
            "max_event_tags": 10_000,
            "max_content_length": 262_144,
            "min_pow_difficulty": 0,
            "auth_required": False,
            "payment_required": False,
            "restricted_writes": False,
            "created_at_upper_limit": 900,
            "default_limit": 500,
        },
    }


@pytest.mark.parametrize(
    ("limit", "field"),
    [
        ("max_content_length", "max_content_length"),
        ("max_event_tags", "max_event_tags"),
        ("max_subscriptions", "max_subscriptions"),
        ("max_limit", "max_limit"),
        ("default_limit", "default_limit"),
        ("created_at_ahead", "created_at_upper_limit"),
    ],
)
def test_a_changed_limit_is_published(limit: str, field: str) -> None:
    before = published()["limitation"]
    after = published(limits=msgspec.structs.replace(Limits(), **{limit: 1234}))["limitation"]
    assert after == before | {field: 1234}


def test_no_content_is_promised_that_no_message_could_hold() -> None:
    before = published()["limitation"]
    after = published(limits=Limits(max_message_length=2_000))["limitation"]
    assert after == before | {"max_message_length": 2_000, "max_content_length": 2_000}


def test_how_old_events_may_be_is_told_only_where_there_is_a_limit() -> None:
    limitation = published(limits=Limits(created_at_behind=60))["limitation"]
    assert limitation == published()["limitation"] | {"created_at_lower_limit": 60}


def test_nips_that_work_as_it_is_configured_stand_among_the_others_each_once() -> None:
    told = published(standing=Capabilities(nips=(42, 4, 1, 50)))
    assert told == published() | {"supported_nips": [1, 2, 4, 9, 11, 40, 42, 45, 50, 51, 65]}


@pytest.mark.parametrize(
    ("standing", "changed"),
    [
        (Capabilities(min_pow_difficulty=20), {"min_pow_difficulty": 20}),
        (Capabilities(auth_required=True), {"auth_required": True}),
        (Capabilities(restricted_writes=True), {"restricted_writes": True}),
        (Capabilities(rates={"events_per_key": "1/s"}), {"rates": {"events_per_key": "1/s"}}),
    ],
)
def test_what_else_the_relay_asks_is_published(standing: Capabilities, changed: dict[str, object]) -> None:
    assert published(standing=standing)["limitation"] == published()["limitation"] | changed


def test_the_key_that_the_relay_signs_with_is_published_if_there_is_one() -> None:
    assert published(standing=Capabilities(self="b" * 64)) == published() | {"self": "b" * 64}


@pytest.mark.parametrize("name", ["name", "description", "banner", "icon", "pubkey", "contact", "terms_of_service"])
def test_a_text_is_published_if_there_is_one(name: str) -> None:
    """An empty field says less than none."""
    assert published(msgspec.structs.replace(RelayInfo(), **{name: "something"}))[name] == "something"
    assert name not in published(msgspec.structs.replace(RelayInfo(), **{name: ""}))


def test_the_address_of_the_relay_is_no_part_of_the_document() -> None:
    assert published(RelayInfo(url="wss://relay.example/")) == published()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "ws://127.0.0.1:7777"),
        ("url", "wss://relay.example/inner/path"),
        ("url", "ws://[::1]:7777/"),
        ("url", ""),
        ("name", "x" * 29),
        ("name", ""),
        ("pubkey", "a" * 64),
        ("pubkey", ""),
    ],
)
def test_good_values_are_taken(field: str, value: str) -> None:
    assert getattr(msgspec.convert({field: value}, RelayInfo), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "relay.example"),
        ("url", "https://relay.example"),
        ("url", "ws://"),
        ("url", "ws:///path"),
        ("url", "ws://relay.example/?query"),
        ("url", "ws://relay.example/#part"),
        ("name", "x" * 30),
        ("pubkey", "a" * 63),
        ("pubkey", "a" * 65),
        ("pubkey", "A" * 64),
        ("pubkey", "npub1" + "q" * 58),
        ("nickname", "x"),
    ],
)
def test_values_that_nip11_forbids_are_refused(field: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({field: value}, RelayInfo)
