"""A refusal reads as NIP-01 asks: a known word, a colon, and a sentence for humans."""

from __future__ import annotations

import pytest

from trio_relay.nostr.errors import Prefix, Rejected, invalid


def test_the_words_are_those_of_the_nips() -> None:
    assert {prefix.value for prefix in Prefix} == {
        "duplicate", "pow", "blocked", "rate-limited", "invalid", "restricted", "mute", "error",
        "auth-required", "unsupported", "info", "closed",
    }  # fmt: skip


@pytest.mark.parametrize("prefix", Prefix)
def test_a_refusal_is_its_word_and_its_reason(prefix: Prefix) -> None:
    refusal = Rejected(prefix, "the reason")
    assert str(refusal) == f"{prefix.value}: the reason"
    assert (refusal.prefix, refusal.reason, refusal.args) == (prefix, "the reason", (prefix, "the reason"))


def test_what_breaks_a_rule_of_the_protocol_is_invalid() -> None:
    assert str(invalid("kind is wrong")) == "invalid: kind is wrong"
