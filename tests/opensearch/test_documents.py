"""What stands in the index: names of records, what an event is found by, and what is read back."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from hashlib import blake2b
from typing import Final

import msgspec
import pytest

from tests.support.keys import ALICE, BOB, NOW
from trio_relay.nostr.event import Event, encode
from trio_relay.store.opensearch.documents import (
    Document,
    Record,
    StoredPart,
    address_slot,
    document,
    id_slot,
    kept_slot,
    memo,
    read_records,
    request_slot,
    slot_of,
    tag_term,
    value_of,
    vanish_slot,
)

NOTE = ALICE.event("A note, a note")
ARTICLE = ALICE.event("text", kind=30_023, tags=[["d", "x"]])
REQUEST = ALICE.event(kind=5, tags=[["e", NOTE.id]])
VANISH = ALICE.event(kind=62, tags=[["relay", "ALL_RELAYS"]])
WRAP = ALICE.event(kind=1059, tags=[["p", BOB.pubkey]])


def test_a_slot_is_32_characters_that_stand_for_24_bytes() -> None:
    slots = [id_slot(NOTE.id, NOTE.pubkey), request_slot(NOTE.id), address_slot("30023:a:" + "d" * 100_000)]
    assert [len(slot) for slot in slots] == [32] * 3
    assert [len(urlsafe_b64decode(slot)) for slot in slots] == [24] * 3


def test_no_two_registers_share_a_slot() -> None:
    ids = [id_slot(event_id, author.pubkey) for event_id in (NOTE.id, ARTICLE.id) for author in (ALICE, BOB)]
    requests = [request_slot(event_id) for event_id in (NOTE.id, ARTICLE.id)]
    addresses = [address_slot(f"{kind}:{ALICE.pubkey}:{d}") for kind in (0, 30_023) for d in ("", "x", "X", NOTE.id)]
    odd = [address_slot(f"id:{NOTE.id}:{ALICE.pubkey}"), address_slot(""), request_slot("")]
    others = [slot(key) for slot in (vanish_slot, kept_slot) for key in (ALICE.pubkey, BOB.pubkey, NOTE.id)]
    slots = [*ids, *requests, *addresses, *odd, *others]
    assert len(set(slots)) == len(slots)


@pytest.mark.parametrize(
    ("event", "slot"),
    [
        (NOTE, id_slot(NOTE.id, ALICE.pubkey)),
        (ARTICLE, address_slot(f"30023:{ALICE.pubkey}:x")),
        (ALICE.event(kind=0), address_slot(f"0:{ALICE.pubkey}:")),
        (REQUEST, request_slot(REQUEST.id)),
        (VANISH, request_slot(VANISH.id)),
        (WRAP, id_slot(WRAP.id, ALICE.pubkey)),
    ],
    ids=["a note", "an article", "a profile", "a request", "a request to vanish", "a gift wrap"],
)
def test_an_event_stands_in_the_register_of_what_it_is(event: Event, slot: str) -> None:
    assert slot_of(event) == slot


LONG: Final = {
    "512 letters": ("x" * 512, True),
    "513 letters": ("x" * 513, False),
    "512 bytes of two each": ("é" * 256, True),
    "513 bytes of two each": ("é" * 256 + "x", False),
    "512 bytes of four each": ("😀" * 128, True),
    "516 bytes of four each": ("😀" * 129, False),
    "nothing": ("", True),
    "what a hash is like": ("#" + "0" * 48, True),
}


@pytest.mark.parametrize(("value", "is_plain"), LONG.values(), ids=LONG)
def test_a_value_of_more_than_512_bytes_is_found_by_its_hash(value: str, is_plain: bool) -> None:
    hashed = f"t#{blake2b(value.encode(), digest_size=24).hexdigest()}"
    assert tag_term("t", value) == (f"t:{value}" if is_plain else hashed)


def test_long_values_that_differ_at_their_ends_are_told_apart() -> None:
    long = "x" * 100_000
    terms = {tag_term(letter, value) for letter in "tT" for value in (long, long + "y", long[:-1])}
    assert (len(terms), {len(term) for term in terms}) == (6, {50})


def test_a_document_holds_the_event_as_it_is_sent_and_what_it_is_found_by() -> None:
    event = ALICE.event(
        'Hello "World"',
        created_at=0,
        tags=[["t", "nostr", "more"], ["t"], [], ["T", "x"], ["title", "no"], ["é", "no"], ["content-warning"]],
    )
    made = document(event, 17)
    assert sorted(made.tags) == ["T:x", "t:nostr"]
    made.tags.sort()
    assert json.loads(msgspec.json.encode(made)) == {
        "arrived": 17,
        "id": event.id,
        "pubkey": ALICE.pubkey,
        "kind": "1",
        "created_at": 0,
        "tags": ["T:x", "t:nostr"],
        "marks": ["nsfw"],
        "words": "hello world · nostr · no",
        "event": encode(event).decode(),
    }


def test_a_register_says_until_when_versions_are_deleted_even_in_the_first_second() -> None:
    assert json.loads(msgspec.json.encode(document(ARTICLE, 17, 0)))["until"] == 0
    assert json.loads(msgspec.json.encode(Document(17, until=0))) == {"arrived": 17, "until": 0}
    assert json.loads(msgspec.json.encode(Document(17, tombstone="x"))) == {"arrived": 17, "grave": "x"}


@pytest.mark.parametrize(
    ("tag", "expires"),
    [
        (["expiration", "0"], 0),
        (["expiration", f"{NOW}"], NOW),
        (["expiration", "soon"], None),
        (["expires", "7"], None),
    ],
)
def test_when_an_event_expires_is_a_field_of_its_own(tag: list[str], expires: int | None) -> None:
    written = json.loads(msgspec.json.encode(document(ALICE.event(tags=[tag]), 17)))
    assert written.get("expires") == expires


@pytest.mark.parametrize("value", [b"", b"{}", bytes(range(256))])
def test_what_the_relay_keeps_comes_back_as_it_was(value: bytes) -> None:
    written = msgspec.json.encode(memo("bans", value, 17))
    assert set(json.loads(written)) <= {"arrived", "name", "value"}
    source = msgspec.json.decode(written, type=StoredPart)
    assert (source.name, source.arrived, value_of(source)) == ("bans", 17, value)


@pytest.mark.parametrize(
    ("content", "kind", "marks"),
    [
        ("+", 7, ["vote:up"]),
        ("👍🏿", 7, ["vote:up"]),
        ("-", 7, ["vote:down"]),
        ("🤔", 7, []),
        ("+", 1, []),
        ('{"nip05": "me@Example.com"}', 0, ["domain:example.com"]),
    ],
)
def test_votes_and_domains_are_marks(content: str, kind: int, marks: list[str]) -> None:
    assert document(ALICE.event(content, kind=kind), 0).marks == marks


def test_registers_are_read_back_in_the_order_in_which_they_were_asked_for() -> None:
    source = {"event": encode(ARTICLE).decode(), "until": NOW, "arrived": 17}
    found = {"_id": "b", "found": True, "_seq_no": 7, "_primary_term": 2, "_version": 3}
    answer = {
        "docs": [
            {"_id": "a", "found": False},
            found | {"_source": source},
            found | {"_source": {"arrived": 9, "grave": "x:y"}},
        ]
    }
    known = read_records("abc", json.dumps(answer).encode())
    assert known == {
        "a": Record(),
        "b": Record(ARTICLE, NOW, 17, 7, 2, 3),
        "c": Record(None, -1, 9, 7, 2, 3, tombstone="x:y"),
    }
    assert [record.exists for record in known.values()] == [False, True, True]


def test_a_register_that_a_shard_could_not_tell_is_not_taken_for_an_empty_one() -> None:
    answer = {"docs": [{"_id": "a", "found": False}, {"_id": "b", "error": {"type": "no_shard_available"}}]}
    with pytest.raises(ValueError, match=r"^a record could not be read$"):
        read_records("ab", json.dumps(answer).encode())


def test_an_answer_with_too_few_registers_is_none() -> None:
    with pytest.raises(ValueError, match="shorter"):
        read_records("ab", b'{"docs": [{"found": false}]}')
