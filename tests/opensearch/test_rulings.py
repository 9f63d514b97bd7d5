"""Between records and judging: what a batch depends on, what was found out, and which records change."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, NOW, Author
from trio_relay import Event
from trio_relay.store.judge import Facts, Ruling, Version, judge
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.decide import changes, facts_of, is_plain, searched_targets, touched
from trio_relay.store.opensearch.documents import (
    Document,
    Record,
    address_slot,
    document,
    id_slot,
    request_slot,
    slot_of,
)

NOTE = ALICE.event("note")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
PROFILE, OTHERS = f"0:{ALICE.pubkey}:", f"0:{BOB.pubkey}:"
REQUEST = ALICE.event(kind=5, created_at=NOW, tags=[["e", NOTE.id], ["e", OLD.id], ["a", PROFILE], ["a", OTHERS]])
HEAD, NOTES, OLDS = address_slot(PROFILE), id_slot(NOTE.id, ALICE.pubkey), id_slot(OLD.id, ALICE.pubkey)
REQUESTS = request_slot(REQUEST.id)


def record(event: Event | None = None, *, until: int = -1, arrived: int = 5, **more: Any) -> Record:
    """One that exists."""
    return Record(event, until, arrived, seq_no=7, primary_term=1, version=3, **more)


def tombstone(event: Event, author: Author = ALICE) -> Record:
    """One of an event that its author has deleted."""
    return record(tombstone=f"{event.id}:{author.pubkey}")


def known() -> dict[str, Record]:
    return dict.fromkeys((HEAD, NOTES, OLDS, REQUESTS, id_slot(NEW.id, ALICE.pubkey)), Record())


def version(event: Event, address: str | None = None) -> Version:
    return Version(event.id, event.pubkey, event.kind, event.created_at, address)


def lines(writes: dict[str, Write]) -> dict[str, bytes]:
    """What is sent, by slot."""
    assert all(slot == write.slot for slot, write in writes.items())
    return {slot: write.lines() for slot, write in writes.items()}


def expected(slot: str, basis: Record, made: Document) -> bytes:
    return Write(slot, basis, made).lines()


TOUCHED: Final = {
    "a note": (NOTE, True, {NOTES}),
    "a profile": (NEW, False, {HEAD, id_slot(NEW.id, ALICE.pubkey)}),
    "a request": (REQUEST, False, {REQUESTS, NOTES, OLDS, HEAD}),
}


@pytest.mark.parametrize(("event", "plain", "slots"), TOUCHED.values(), ids=TOUCHED)
def test_an_event_depends_on_its_own_register_and_on_those_that_it_may_change(
    event: Event, plain: bool, slots: set[str]
) -> None:
    assert (is_plain(event), touched(event)) == (plain, slots)


def test_what_is_named_and_has_no_register_of_its_own_is_searched() -> None:
    assert searched_targets([NOTE, REQUEST], known()) == {
        (NOTE.id, ALICE.pubkey),
        (OLD.id, ALICE.pubkey),
    }
    assert searched_targets([REQUEST], known() | {NOTES: record(NOTE)}) == {(OLD.id, ALICE.pubkey)}
    # A tombstone does not say that no version was written meanwhile.
    assert searched_targets([REQUEST], known() | {NOTES: record(NOTE), OLDS: record()}) == {(OLD.id, ALICE.pubkey)}


def test_who_names_anothers_event_takes_no_ones_place() -> None:
    requests = [author.event(kind=5, tags=[["e", OLD.id]]) for author in (ALICE, BOB)]
    there = known() | dict.fromkeys(map(slot_of, requests), Record())
    there[id_slot(OLD.id, BOB.pubkey)] = Record()
    assert searched_targets(requests, there) == {(OLD.id, ALICE.pubkey), (OLD.id, BOB.pubkey)}


FACTS: Final = {
    "nothing": ([NOTE, NEW, REQUEST], {}, [], Facts()),
    "a note": ([NOTE], {NOTES: record(NOTE)}, [], Facts(stored={NOTE.id: version(NOTE)})),
    "a tombstone": ([NOTE], {NOTES: tombstone(NOTE)}, [], Facts(id_tombstones={(NOTE.id, ALICE.pubkey)})),
    "a version": (
        [NEW],
        {HEAD: record(OLD)},
        [],
        Facts(stored={OLD.id: version(OLD, PROFILE)}, heads={PROFILE: version(OLD, PROFILE)}),
    ),
    "the tombstone of a version": (
        [NEW],
        {id_slot(NEW.id, ALICE.pubkey): tombstone(NEW)},
        [],
        Facts(id_tombstones={(NEW.id, ALICE.pubkey)}),
    ),
    "deleted versions": ([NEW], {HEAD: record(until=0)}, [], Facts(address_tombstones={PROFILE: 0})),
    "a request": ([REQUEST], {REQUESTS: record(REQUEST)}, [], Facts(stored={REQUEST.id: version(REQUEST)})),
    "what a request names": (
        [REQUEST],
        {NOTES: record(NOTE), OLDS: tombstone(OLD), HEAD: record(NEW, until=NOW - 5)},
        [],
        Facts(
            stored={NOTE.id: version(NOTE), NEW.id: version(NEW, PROFILE)},
            heads={PROFILE: version(NEW, PROFILE)},
            id_tombstones={(OLD.id, ALICE.pubkey)},
            address_tombstones={PROFILE: NOW - 5},
        ),
    ),
    "what a search found": (
        [ALICE.event(kind=5, tags=[["e", OLD.id]])],
        {request_slot(ALICE.event(kind=5, tags=[["e", OLD.id]]).id): Record(), HEAD: record(OLD)},
        [OLD, NOTE],
        Facts(stored={OLD.id: version(OLD, PROFILE)}, heads={PROFILE: version(OLD, PROFILE)}),
    ),
    "what a search found and another has replaced": (
        [ALICE.event(kind=5, tags=[["e", OLD.id]])],
        {request_slot(ALICE.event(kind=5, tags=[["e", OLD.id]]).id): Record(), HEAD: record(NEW)},
        [OLD],
        Facts(stored={NEW.id: version(NEW, PROFILE)}, heads={PROFILE: version(NEW, PROFILE)}),
    ),
}


@pytest.mark.parametrize(("batch", "there", "heads", "facts"), FACTS.values(), ids=FACTS)
def test_registers_are_the_facts_that_a_batch_is_judged_by(
    batch: list[Event], there: dict[str, Record], heads: list[Event], facts: Facts
) -> None:
    assert facts_of(batch, known() | there, map(slot_of, heads), {}) == facts


def test_a_newer_version_is_written_over_the_one_that_stood() -> None:
    before = known() | {HEAD: record(OLD)}
    ruling = judge([NEW], facts_of([NEW], before, [], {}))
    writes = changes(ruling, before, {NEW.id: 40}, 50)
    assert lines(writes) == {HEAD: expected(HEAD, record(OLD), document(NEW, 40))}


def test_a_newer_version_keeps_what_is_known_of_deletions() -> None:
    before = known() | {HEAD: record(until=NOW - 9)}
    ruling = judge([NEW], facts_of([NEW], before, [], {}))
    assert lines(changes(ruling, before, {NEW.id: 40}, 50)) == {
        HEAD: expected(HEAD, record(), document(NEW, 40, NOW - 9))
    }


def test_a_request_buries_what_it_names_and_stands_beside_it() -> None:
    before = known() | {NOTES: record(NOTE), HEAD: record(OLD)}
    ruling = judge([REQUEST], facts_of([REQUEST], before, [HEAD], {}))
    # No two at the same time: who reads page after page would miss some.
    note, old = (50, 51) if NOTE.id < OLD.id else (51, 50)
    assert lines(changes(ruling, before, {REQUEST.id: 40}, 50)) == {
        NOTES: expected(NOTES, record(), Document(note, tombstone=f"{NOTE.id}:{ALICE.pubkey}")),
        OLDS: expected(OLDS, Record(), Document(old, tombstone=f"{OLD.id}:{ALICE.pubkey}")),
        HEAD: expected(HEAD, record(), Document(52, until=NOW)),
        REQUESTS: expected(REQUESTS, Record(), document(REQUEST, 40)),
    }


def test_what_is_deleted_is_not_deleted_again() -> None:
    before = known() | {NOTES: tombstone(NOTE), OLDS: tombstone(OLD), HEAD: record(until=NOW)}
    ruling = judge([REQUEST], facts_of([REQUEST], before, [], {}))
    assert lines(changes(ruling, before, {REQUEST.id: 40}, 50)) == {
        REQUESTS: expected(REQUESTS, Record(), document(REQUEST, 40))
    }


def test_a_deletion_of_later_versions_is_not_taken_back_by_one_of_earlier_ones() -> None:
    ruling = Ruling(address_tombstones={PROFILE: NOW - 7})
    assert changes(ruling, known() | {HEAD: record(until=NOW)}, {}, 50) == {}


def test_a_version_that_stands_does_not_arrive_anew_when_older_ones_are_deleted() -> None:
    before = known() | {HEAD: record(NEW, arrived=5)}
    ruling = judge([REQUEST], facts_of([REQUEST], before, [], {}))
    written = changes(ruling, before, {REQUEST.id: 40}, 50)[HEAD].document
    assert (written.arrived, written.changed, written.until, written.id) == (5, 52, NOW, NEW.id)


def test_a_note_and_its_deletion_in_one_batch_leave_the_tombstone_alone() -> None:
    request = ALICE.event(kind=5, tags=[["e", NOTE.id]])
    before = dict.fromkeys((NOTES, slot_of(request)), Record())
    ruling = judge([NOTE, request], facts_of([NOTE, request], before, [], {}))
    assert lines(changes(ruling, before, {NOTE.id: 40, request.id: 41}, 50)) == {
        NOTES: expected(NOTES, Record(), Document(50, tombstone=f"{NOTE.id}:{ALICE.pubkey}")),
        slot_of(request): expected(slot_of(request), Record(), document(request, 41)),
    }


def test_a_version_deleted_by_its_id_leaves_an_empty_address() -> None:
    request = ALICE.event(kind=5, tags=[["e", OLD.id]])
    before = {slot_of(request): Record(), OLDS: Record(), HEAD: record(OLD, until=NOW - 9)}
    ruling = judge([request], facts_of([request], before, [HEAD], {}))
    writes = changes(ruling, before, {request.id: 40}, 50)
    assert writes[HEAD].lines() == expected(HEAD, record(), Document(51, until=OLD.created_at))
