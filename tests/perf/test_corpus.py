"""Corpora: the same for everybody, valid, and in any order the same store."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path

from perf import corpus
from perf.corpus import generate, newest_filled, signed_events
from trio_relay.nostr import schnorr
from trio_relay.nostr.event import Event, address_of, compute_id

KNOWN = {2: "e72c61f89055a76d"}
"""By edition, how the hash of its first 300 ids begins."""


def _ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]


def test_the_same_seed_gives_the_same_events() -> None:
    assert list(generate(300, 1, sign=True)) == list(generate(300, 1, sign=True))


def test_another_seed_gives_other_events_by_other_authors() -> None:
    one, other = (list(generate(50, seed, sign=False)) for seed in (1, 2))
    assert not {event.id for event in one} & {event.id for event in other}
    assert not {event.pubkey for event in one} & {event.pubkey for event in other}


def test_an_edition_is_raised_when_events_change() -> None:
    digest = sha256("".join(_ids(list(generate(300, 1, sign=True)))).encode()).hexdigest()
    assert digest.startswith(KNOWN[corpus.EDITION])


def test_ids_and_signatures_are_valid() -> None:
    events = signed_events(400)
    assert all(schnorr.open_backend("coincurve").verify(events))
    assert all(event.id == compute_id(*_content(event)) for event in events)


def _content(event: Event) -> tuple[str, int, int, list[list[str]], str]:
    return event.pubkey, event.created_at, event.kind, event.tags, event.content


def test_no_address_has_a_second_version() -> None:
    addresses = Counter(filter(None, map(address_of, generate(3_000, 1, sign=False))))
    assert len(addresses) > 200
    assert set(addresses.values()) == {1}


def test_a_corpus_is_made_once(cache: Path) -> None:
    made = signed_events(40)
    file = next(cache.rglob("events-40-*"))
    before = file.stat().st_mtime_ns
    signed_events.cache_clear()
    assert signed_events(40) == made
    assert file.stat().st_mtime_ns == before


def test_the_cache_follows_the_environment_of_the_moment(cache: Path) -> None:
    assert corpus.folder() == cache / "trio-relay" / "perf"


def test_what_fills_a_store_is_older_than_what_is_sent() -> None:
    filled = newest_filled(300)
    assert len(filled) == 300
    assert filled[-1].created_at < signed_events(40)[0].created_at
