"""Readers of answers, for tests that ask stores themselves."""

from __future__ import annotations

from collections.abc import Iterable

from trio_relay.nostr.access import Reader


def reading(*keys: str, also: Iterable[int] = ()) -> Reader:
    """Who has authenticated these keys, where these kinds are private besides those that are everywhere."""
    return Reader(frozenset(keys), Reader().private_kinds | frozenset(also))
