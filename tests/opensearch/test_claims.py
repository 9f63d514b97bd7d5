"""Whom an event belongs to, in records: gift wraps that recipients delete, and keys that vanish."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Saved
from trio_relay.store.judge import Facts, judge, version_of
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.decide import changes, facts_of, is_plain, searched_targets, touched
from trio_relay.store.opensearch.documents import Document, Record, document, id_slot, request_slot, vanish_slot

WRAP = CAROL.event(kind=1_059, tags=[["p", ALICE.pubkey], ["p", BOB.pubkey]])
OWN, ALICES, BOBS = (id_slot(WRAP.id, author.pubkey) for author in (CAROL, ALICE, BOB))
DELETION = BOB.event(kind=5, created_at=NOW, tags=[["e", WRAP.id]])
NOTE = ALICE.event("note")
VANISH = ALICE.event(kind=62, created_at=NOW, tags=[["relay", "ALL_RELAYS"]])
KEY, REQUEST = vanish_slot(ALICE.pubkey), request_slot(VANISH.id)
BY_THIS = f"{ALICE.pubkey}:{VANISH.id}"


def record(event: Event | None = None, **more: Any) -> Record:
    """One that exists."""
    return Record(event, seq_no=7, primary_term=1, version=3, **more)


def tombstone(author: Author) -> Record:
    return record(tombstone=f"{WRAP.id}:{author.pubkey}")


def known(**changed: Record) -> dict[str, Record]:
    """All records that are spoken of here, most of them new."""
    names = {"own": OWN, "alices": ALICES, "bobs": BOBS, "key": KEY, "request": REQUEST}
    slots = [*names.values(), request_slot(DELETION.id), id_slot(NOTE.id, ALICE.pubkey)]
    return dict.fromkeys(slots, Record()) | {names[name]: one for name, one in changed.items()}


TOUCHED: Final = {
    "a wrap": (WRAP, {OWN, ALICES, BOBS}),
    "its deletion": (DELETION, {request_slot(DELETION.id), BOBS}),
    "a request to vanish": (VANISH, {REQUEST, KEY}),
}


@pytest.mark.parametrize(("event", "slots"), TOUCHED.values(), ids=TOUCHED)
def test_no_claim_is_overlooked(event: Event, slots: set[str]) -> None:
    assert (is_plain(event), touched(event)) == (False, slots)


def test_a_wrap_for_nobody_is_as_plain_as_a_note() -> None:
    bare = CAROL.event(kind=1_059)
    assert (is_plain(bare), touched(bare)) == (True, {id_slot(bare.id, CAROL.pubkey)})


@pytest.mark.parametrize("author", [ALICE, BOB, CAROL])
def test_a_tombstone_of_any_claimant_bars_a_wrap(author: Author) -> None:
    slot = id_slot(WRAP.id, author.pubkey)
    facts = facts_of([WRAP], known() | {slot: tombstone(author)}, [], {})
    assert facts == Facts(id_tombstones={(WRAP.id, author.pubkey)})
    assert judge([WRAP], facts).outcomes == [Saved.DELETED]


def test_a_recipient_empties_the_authors_register_and_leaves_a_tombstone_in_his_own() -> None:
    before = known(own=record(WRAP, arrived=5))
    assert searched_targets([DELETION], before) == {(WRAP.id, BOB.pubkey)}
    ruling = judge([DELETION], facts_of([DELETION], before, [OWN], {}))
    writes = changes(ruling, before, {DELETION.id: 40}, 50)
    assert {slot: write.lines() for slot, write in writes.items()} == {
        BOBS: Write(BOBS, Record(), Document(50, tombstone=f"{WRAP.id}:{BOB.pubkey}")).lines(),
        OWN: Write(OWN, record(), Document(51)).lines(),
        request_slot(DELETION.id): Write(request_slot(DELETION.id), Record(), document(DELETION, 40)).lines(),
    }


def test_what_was_emptied_without_a_tombstone_may_come_again() -> None:
    before = known(own=record())
    ruling = judge([WRAP], facts_of([WRAP], before, [], {}))
    assert ruling.outcomes == [Saved.STORED]
    writes = changes(ruling, before, {WRAP.id: 40}, 50)
    assert {slot: write.lines() for slot, write in writes.items()} == {
        OWN: Write(OWN, record(), document(WRAP, 40)).lines()
    }


def test_a_register_that_was_emptied_is_deleted_all_the_same() -> None:
    before = known(bobs=record())
    ruling = judge([DELETION], facts_of([DELETION], before, [], {}))
    assert changes(ruling, before, {DELETION.id: 40}, 50)[BOBS].document.tombstone == f"{WRAP.id}:{BOB.pubkey}"


def test_who_has_vanished_is_a_fact_of_all_that_belongs_to_the_key() -> None:
    vanished = {ALICE.pubkey: NOW, "f" * 64: NOW}
    for event in (WRAP, NOTE):
        facts = facts_of([event], known(), [], vanished)
        assert facts == Facts(vanished={ALICE.pubkey: NOW})
        assert judge([event], facts).outcomes == [Saved.VANISHED]


def test_a_key_that_vanishes_leaves_a_tombstone_of_its_request() -> None:
    before = known(key=record(until=NOW - 5, vanished=f"{ALICE.pubkey}:{'0' * 64}"))
    ruling = judge([VANISH], facts_of([VANISH], before, [], {ALICE.pubkey: NOW - 5}))
    writes = changes(ruling, before, {VANISH.id: 40}, 50)
    assert {slot: write.lines() for slot, write in writes.items()} == {
        KEY: Write(KEY, record(), Document(50, until=NOW, vanished=BY_THIS)).lines(),
        REQUEST: Write(REQUEST, Record(), document(VANISH, 40)).lines(),
    }


REPEATED: Final = {
    "it was interrupted": (known(key=record(until=NOW, vanished=BY_THIS)), {ALICE.pubkey: NOW}, Saved.STORED),
    "this relay has not heard of it": (known(key=record(until=NOW, vanished=BY_THIS)), {}, Saved.STORED),
    "it was carried out": (
        known(key=record(until=NOW, vanished=BY_THIS), request=record(VANISH)),
        {ALICE.pubkey: NOW},
        Saved.DUPLICATE,
    ),
    "an older layout kept it like a note": (known(request=record(VANISH)), {}, Saved.STORED),
    "an older layout kept it, and the key vanished earlier": (
        known(key=record(until=NOW - 1, vanished="other"), request=record(VANISH)),
        {ALICE.pubkey: NOW - 1},
        Saved.STORED,
    ),
    "another was first": (known(key=record(until=NOW, vanished="other")), {ALICE.pubkey: NOW}, Saved.VANISHED),
    "a later one was": (known(key=record(until=NOW + 1, vanished="other")), {}, Saved.VANISHED),
    "a later one is heard of": (
        known(key=record(until=NOW, vanished=BY_THIS)),
        {ALICE.pubkey: NOW + 1},
        Saved.VANISHED,
    ),
    "an earlier one was": (known(key=record(until=NOW - 1, vanished="other")), {ALICE.pubkey: NOW - 1}, Saved.STORED),
}


@pytest.mark.parametrize(("before", "vanished", "outcome"), REPEATED.values(), ids=REPEATED)
def test_a_request_to_vanish_is_carried_out_once_it_is_sure(
    before: dict[str, Record], vanished: dict[str, int], outcome: Saved
) -> None:
    assert judge([VANISH], facts_of([VANISH], before, [], vanished)).outcomes == [outcome]


def test_of_a_wrap_that_was_found_all_claimants_are_known() -> None:
    facts = facts_of([DELETION], known(own=record(WRAP)), [OWN], {})
    assert facts == Facts(stored={WRAP.id: version_of(WRAP)})
    assert facts.stored[WRAP.id].belongs_to == (CAROL.pubkey, ALICE.pubkey, BOB.pubkey)
