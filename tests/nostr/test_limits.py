"""The limits that can be set, and the defaults that stand without a configuration."""

from __future__ import annotations

import msgspec
import pytest

from trio_relay.nostr.limits import MAX_SUB_ID_LENGTH, Limits


def test_the_defaults() -> None:
    assert msgspec.to_builtins(Limits()) == {
        "max_message_length": 1_048_576,
        "max_content_length": 262_144,
        "max_event_tags": 10_000,
        "max_subscriptions": 300,
        "max_filters": 20,
        "max_filter_values": 25_000,
        "max_filter_values_per_address": 50_000,
        "max_filter_values_of_all": 1_000_000,
        "max_limit": 5_000,
        "default_limit": 500,
        "created_at_ahead": 900,
        "created_at_behind": 0,
        "max_tag_value_length": 65_536,
    }
    assert MAX_SUB_ID_LENGTH == 64


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("max_message_length", 1024, 2**28),
        ("max_content_length", 0, None),
        ("max_event_tags", 0, None),
        ("max_subscriptions", 1, None),
        ("max_filters", 1, None),
        ("max_filter_values", 1, None),
        ("max_filter_values_per_address", 0, None),
        ("max_filter_values_of_all", 1, None),
        ("max_limit", 1, 100_000),
        ("default_limit", 1, 100_000),
        ("created_at_ahead", 0, None),
        ("created_at_behind", 0, None),
        ("max_tag_value_length", 0, None),
    ],
)
def test_a_limit_has_a_range(name: str, least: int, most: int | None) -> None:
    assert taken(name, least)
    assert not taken(name, least - 1)
    assert taken(name, most or 2**40)
    assert most is None or not taken(name, most + 1)


def taken(name: str, value: int) -> bool:
    try:
        msgspec.convert({name: value}, Limits)
    except msgspec.ValidationError:
        return False
    return True
