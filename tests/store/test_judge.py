"""How a batch is judged, apart from any store: which facts it asks for, and what it orders."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Saved
from trio_relay.store import archive
from trio_relay.store.judge import Facts, Questions, Ruling, Version, judge, questions, version_of

NOTE = ALICE.event("note")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
PROFILE = f"0:{ALICE.pubkey}:"
ARTICLE = ALICE.event(kind=30_023, tags=[["d", "a:b"]])
ARTICLE_ADDRESS = f"30023:{ALICE.pubkey}:a:b"
REQUEST = ALICE.event(kind=5, tags=[["e", NOTE.id], ["e", OLD.id], ["a", PROFILE], ["a", f"0:{BOB.pubkey}:"]])

WRAP = CAROL.event(kind=1_059, tags=[["p", BOB.pubkey], ["p", "x"]])
VANISH = ALICE.event(kind=62, created_at=NOW + 1, tags=[["relay", "ALL_RELAYS"]])

ASKED: Final = {
    "nothing": ([], Questions(set(), set(), set())),
    "a note": ([NOTE], Questions({NOTE.id}, set(), {ALICE.pubkey})),
    "versions": ([OLD, NEW, NOTE], Questions({OLD.id, NEW.id, NOTE.id}, {PROFILE}, {ALICE.pubkey})),
    "an article": ([ARTICLE], Questions({ARTICLE.id}, {ARTICLE_ADDRESS}, {ALICE.pubkey})),
    "a deletion": ([REQUEST], Questions({REQUEST.id, NOTE.id, OLD.id}, {PROFILE}, {ALICE.pubkey})),
    "a wrap": ([WRAP], Questions({WRAP.id}, set(), {BOB.pubkey, CAROL.pubkey})),
    "a request to vanish": ([VANISH], Questions({VANISH.id}, set(), {ALICE.pubkey})),
}


@pytest.mark.parametrize(("batch", "expected"), ASKED.values(), ids=ASKED)
def test_a_batch_asks_for_its_ids_addresses_and_keys_and_for_what_it_deletes(
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
    assert judge([NEW], stored(OLD, PROFILE)) == Ruling(
        [Saved.STORED],
        insert={NEW.id: NEW},
        remove={OLD.id},
        departed={OLD.id: archive.DepartureCause(archive.Departure.REPLACED, NEW.id)},
    )


def test_a_version_replaced_within_its_batch_is_never_inserted() -> None:
    assert judge([OLD, NEW], Facts()) == Ruling(
        [Saved.STORED] * 2,
        insert={NEW.id: NEW},
        departed={OLD.id: archive.DepartureCause(archive.Departure.REPLACED, NEW.id)},
        passed={OLD.id: OLD},
    )


def test_a_deletion_removes_what_is_stored_and_buries_it_for_its_author_alone() -> None:
    ruling = judge([REQUEST], stored(NOTE))
    assert ruling == Ruling(
        [Saved.STORED],
        insert={REQUEST.id: REQUEST},
        remove={NOTE.id},
        deleted={NOTE.id},
        id_tombstones={(NOTE.id, ALICE.pubkey), (OLD.id, ALICE.pubkey)},
        address_tombstones={PROFILE: NOW},
        departed={NOTE.id: archive.DepartureCause(archive.Departure.DELETED, REQUEST.id)},
    )


def test_a_deletion_of_an_event_whose_address_nobody_asked_for_removes_it() -> None:
    """The batch asks for the id alone, so the facts have no head to drop."""
    request = ALICE.event(kind=5, tags=[["e", ARTICLE.id]])
    ruling = judge([request], Facts(stored={ARTICLE.id: version(ARTICLE)}))
    assert ruling.remove == ruling.deleted == {ARTICLE.id}


def test_an_earlier_deletion_doesnt_shorten_a_later_one() -> None:
    request = ALICE.event(kind=5, created_at=NOW - 9, tags=[["a", PROFILE]])
    ruling = judge([request, OLD], Facts(address_tombstones={PROFILE: NOW}))
    assert ruling.outcomes == [Saved.STORED, Saved.DELETED]
    assert ruling.address_tombstones == {PROFILE: NOW}


def test_what_was_replaced_in_a_batch_stays_away_when_its_successor_is_deleted_in_it() -> None:
    request = ALICE.event(kind=5, tags=[["e", NEW.id]])
    ruling = judge([NEW, request, OLD], stored(OLD, PROFILE))
    assert ruling.outcomes == [Saved.STORED, Saved.STORED, Saved.DELETED]
    assert ruling.remove == {OLD.id}
    assert list(ruling.insert.values()) == [request]
    assert ruling.address_tombstones == {PROFILE: NEW.created_at}


@pytest.mark.parametrize(
    "facts", [Facts(id_tombstones={(NOTE.id, BOB.pubkey)}), Facts(address_tombstones={PROFILE: NOW})]
)
def test_what_others_have_deleted_stays_out_of_it(facts: Facts) -> None:
    assert judge([NOTE], facts).outcomes == [Saved.STORED]


def test_a_wrap_belongs_to_its_key_and_to_whom_it_is_for_and_another_event_to_its_author() -> None:
    assert version_of(WRAP).belongs_to == (CAROL.pubkey, BOB.pubkey)
    assert version_of(NOTE).belongs_to == (ALICE.pubkey,)


def test_who_vanishes_takes_along_what_is_known_of_him_and_what_came_before_in_the_batch() -> None:
    known = stored(OLD, PROFILE)
    ruling = judge([NOTE, ARTICLE, VANISH], known)
    assert ruling == Ruling(
        [Saved.STORED] * 3, insert={VANISH.id: VANISH}, remove={OLD.id}, vanish={ALICE.pubkey: NOW + 1}
    )
    assert known.heads == {}
    assert set(known.stored) == {VANISH.id}


def test_what_went_before_its_key_vanishes_is_kept_nowhere() -> None:
    request = ALICE.event(kind=5, tags=[["e", NOTE.id]])
    ruling = judge([NOTE, NEW, request, VANISH], stored(OLD, PROFILE))
    assert (ruling.departed, ruling.passed) == ({}, {})


def test_what_is_newer_than_the_request_to_vanish_is_kept_when_it_goes() -> None:
    late, later = (ALICE.event(kind=0, created_at=VANISH.created_at + age) for age in (1, 2))
    ruling = judge([late, VANISH, later], Facts())
    assert ruling.departed == {late.id: archive.DepartureCause(archive.Departure.REPLACED, later.id)}
    assert ruling.passed == {late.id: late}


def test_what_goes_says_why_in_the_order_in_which_it_goes() -> None:
    by_id = ALICE.event(kind=5, tags=[["e", NOTE.id]])
    by_address = ALICE.event(kind=5, created_at=NOW + 9, tags=[["a", PROFILE], ["e", NOTE.id]])
    facts = stored(OLD, PROFILE)
    facts.stored[NOTE.id] = version(NOTE)
    ruling = judge([NEW, by_id, by_address], facts)
    assert list(ruling.departed.items()) == [
        (OLD.id, archive.DepartureCause(archive.Departure.REPLACED, NEW.id)),
        (NOTE.id, archive.DepartureCause(archive.Departure.DELETED, by_id.id)),
        (NEW.id, archive.DepartureCause(archive.Departure.DELETED, by_address.id)),
    ]


def test_what_is_superseded_when_it_comes_departs_from_nowhere() -> None:
    assert judge([OLD], stored(NEW, PROFILE)) == Ruling([Saved.SUPERSEDED])


def test_what_belongs_to_who_has_vanished_stays_out_up_to_that_time() -> None:
    facts = Facts(vanished={BOB.pubkey: NOW, ALICE.pubkey: NOW - 1})
    assert judge([WRAP, NOTE], facts).outcomes == [Saved.VANISHED, Saved.STORED]


def test_a_stored_request_to_vanish_that_was_never_carried_out_is_when_it_comes_again() -> None:
    """As one from before the relay knew the kind: it has to come anew, since all of its key goes."""
    again = judge([VANISH, NOTE], stored(VANISH))
    assert again == Ruling(
        [Saved.DUPLICATE, Saved.VANISHED],
        insert={VANISH.id: VANISH},
        remove={VANISH.id},
        vanish={ALICE.pubkey: VANISH.created_at},
    )
    done = stored(VANISH)
    done.vanished = {ALICE.pubkey: VANISH.created_at}
    assert judge([VANISH], done) == Ruling([Saved.DUPLICATE])


def test_a_fact_is_looked_at_once_however_many_ask_to_vanish() -> None:
    looks: list[str] = []

    class Watched(Version):
        __slots__ = ()

        @property
        def belongs_to(self) -> tuple[str, ...]:
            looks.append(self.id)
            return super().belongs_to

    facts = Facts(stored={NOTE.id: Watched(*version(NOTE))})
    batch = [Author(f"leaver {number}").event(kind=62) for number in range(9)]
    assert judge([*batch, VANISH], facts).remove == {NOTE.id}
    assert looks == [NOTE.id]
