"""How a batch is judged, apart from any store: which facts it asks for, and what it orders."""

from __future__ import annotations

from typing import Final

import pytest

from tests.keys import ALICE, BOB, NOW
from trio_relay.nostr.event import Event
from trio_relay.store.base import Saved
from trio_relay.store.judge import Facts, Questions, Ruling, Version, judge, questions

NOTE = ALICE.event("note")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
PROFILE = f"0:{ALICE.pubkey}:"
ARTICLE = ALICE.event(kind=30_023, tags=[["d", "a:b"]])
ARTICLE_ADDRESS = f"30023:{ALICE.pubkey}:a:b"
REQUEST = ALICE.event(kind=5, tags=[["e", NOTE.id], ["e", OLD.id], ["a", PROFILE], ["a", f"0:{BOB.pubkey}:"]])

ASKED: Final = {
    "nothing": ([], Questions(set(), set())),
    "a note": ([NOTE], Questions({NOTE.id}, set())),
    "versions": ([OLD, NEW, NOTE], Questions({OLD.id, NEW.id, NOTE.id}, {PROFILE})),
    "an article": ([ARTICLE], Questions({ARTICLE.id}, {ARTICLE_ADDRESS})),
    "a deletion": ([REQUEST], Questions({REQUEST.id, NOTE.id, OLD.id}, {PROFILE})),
}


@pytest.mark.parametrize(("batch", "expected"), ASKED.values(), ids=ASKED)
def test_a_batch_asks_for_its_ids_and_addresses_and_for_those_that_it_deletes(
    batch: list[Event], expected: Questions
) -> None:
    assert questions(batch) == expected


def version(event: Event, address: str | None = None) -> Version:
    return Version(event.id, event.pubkey, event.kind, event.created_at, address)


def stored(event: Event, address: str | None = None) -> Facts:
    one = version(event, address)
    return Facts(stored={event.id: one}, heads={} if address is None else {address: one})


def test_a_new_event_is_inserted() -> None:
    assert judge([NOTE], Facts()) == Ruling([Saved.STORED], insert={NOTE.id: NOTE})


def test_a_newer_version_removes_the_stored_one() -> None:
    assert judge([NEW], stored(OLD, PROFILE)) == Ruling([Saved.STORED], insert={NEW.id: NEW}, remove={OLD.id})


def test_a_version_replaced_within_its_batch_is_never_inserted() -> None:
    assert judge([OLD, NEW], Facts()) == Ruling([Saved.STORED] * 2, insert={NEW.id: NEW})


def test_a_deletion_removes_what_is_stored_and_buries_it_for_its_author_alone() -> None:
    ruling = judge([REQUEST], stored(NOTE))
    assert ruling == Ruling(
        [Saved.STORED],
        insert={REQUEST.id: REQUEST},
        remove={NOTE.id},
        bury_ids={(NOTE.id, ALICE.pubkey), (OLD.id, ALICE.pubkey)},
        bury_addresses={PROFILE: NOW},
    )


def test_a_deletion_of_an_event_whose_address_nobody_asked_for_removes_it() -> None:
    """The batch asks for the id alone, so the facts have no head to drop."""
    request = ALICE.event(kind=5, tags=[["e", ARTICLE.id]])
    ruling = judge([request], Facts(stored={ARTICLE.id: version(ARTICLE)}))
    assert ruling.remove == {ARTICLE.id}


def test_an_earlier_deletion_doesnt_shorten_a_later_one() -> None:
    request = ALICE.event(kind=5, created_at=NOW - 9, tags=[["a", PROFILE]])
    ruling = judge([request, OLD], Facts(buried_addresses={PROFILE: NOW}))
    assert ruling.outcomes == [Saved.STORED, Saved.DELETED]
    assert ruling.bury_addresses == {PROFILE: NOW}


def test_what_is_removed_and_comes_again_in_one_batch_is_removed_and_inserted() -> None:
    """Its successor was deleted in between, so it stands again, in its new place."""
    request = ALICE.event(kind=5, tags=[["e", NEW.id]])
    ruling = judge([NEW, request, OLD], stored(OLD, PROFILE))
    assert ruling.outcomes == [Saved.STORED] * 3
    assert ruling.remove == {OLD.id}
    assert list(ruling.insert.values()) == [request, OLD]


@pytest.mark.parametrize("facts", [Facts(buried_ids={(NOTE.id, BOB.pubkey)}), Facts(buried_addresses={PROFILE: NOW})])
def test_what_others_have_buried_stays_out_of_it(facts: Facts) -> None:
    assert judge([NOTE], facts).outcomes == [Saved.STORED]
