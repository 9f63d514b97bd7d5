"""The documents of the index: records, one document each, and the fields by which an event is found. Pure.

A record holds what is known of one thing; the `_id` of its document is a hash of the thing's name:

- an id and its author: nothing, the event, or a tombstone. The author is part of the name, so a request to delete
  another author's event writes to another record, where it does no harm.
- an address: the stored version, if any, and until when its author has deleted versions.
- a request, to delete or to vanish: that event. Its record has another name than other events of its id would have, so
  that a request to delete it finds nothing to overwrite (NIP-09, "Deletion request against a deletion request";
  NIP-62).
- a key that has asked to vanish: until when what belongs to it has vanished, and by which request.
- a small value of the relay's own.

So each record can be written blindly if it is new, and compared and set if it is not: see `save`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from trio_relay.nostr.event import Event, address_of, encode, expiry_of, single_letter_tags
from trio_relay.nostr.kinds import DELETION, VANISH
from trio_relay.nostr.search import marks_of, text_of, vote_of

_MOST_VALUE_BYTES: Final = 512
"""Longer tag values are kept as a hash: Lucene refuses terms over 32,766 bytes, and long ones fill its dictionary."""
_VOTES: Final = {1: ["vote:up"], -1: ["vote:down"], 0: []}
REQUESTS: Final = frozenset({DELETION, VANISH})
"""Kinds that no request deletes; their records have a name of their own."""


class Record(NamedTuple):
    """A record as it was read, with the version of its state; the defaults stand for one that was never written.

    Attributes:
        event: the event in it, or None.
        until: versions of this address up to then are deleted, or what belongs to this key has vanished; -1 if nothing.
        arrived: when its event was written; see `Document`.
        seq_no: together with `primary_term` the version of the state, for compare and set.
        primary_term: see `seq_no`; 0 if there is no document yet.
        version: counts the writes.
        index_name: the index that has this state; the alias may name another one later.
        tombstone: see `Document`; empty if there is none.
        vanished: see `Document`.
    """

    event: Event | None = None
    until: int = -1
    arrived: int = 0
    seq_no: int = 0
    primary_term: int = 0
    version: int = 0
    index_name: str = ""
    tombstone: str = ""
    vanished: str = ""

    @property
    def exists(self) -> bool:
        """True if it was ever written."""
        return self.primary_term > 0


def slot_of(event: Event) -> str:
    """Return the `_id` of the record that an event belongs into."""
    if (address := address_of(event)) is not None:
        return address_slot(address)
    return request_slot(event.id) if event.kind in REQUESTS else id_slot(event.id, event.pubkey)


def id_slot(event_id: str, pubkey: str) -> str:
    """Return the `_id` of the record of an id and its author."""
    return _slot(f"id:{event_id}:{pubkey}")


def request_slot(event_id: str) -> str:
    """Return the `_id` of the record of a request to delete or to vanish."""
    return _slot(f"request:{event_id}")


def vanish_slot(pubkey: str) -> str:
    """Return the `_id` of the record of a vanished key."""
    return _slot(f"vanish:{pubkey}")


def kept_slot(name: str) -> str:
    """Return the `_id` of the record of a value that the relay keeps under a name."""
    return _slot(f"kept:{name}")


def address_slot(address: str) -> str:
    """Return the `_id` of the record of an address of any length (an `_id` has at most 512 bytes)."""
    return _slot(f"address:{address}")


def _slot(name: str) -> str:
    # 24 bytes make 32 characters that OpenSearch keeps as 24 bytes again.
    return urlsafe_b64encode(blake2b(name.encode(), digest_size=24).digest()).decode()


class Document(msgspec.Struct, gc=False, omit_defaults=True):
    """A record as it is indexed: the fields of `StoredPart` are stored, the others only serve to find it.

    Attributes:
        arrived: when it was written: nanoseconds since 1970, ascending within one relay.
        changed: when it was written again with the same event; 0 if it was not.
        event: JSON of the event, as it is sent.
        until: see `Record`.
        tombstone: `id:pubkey` of a deleted event and of whoever asked for it; the index calls this field `grave`.
        expires: when the event does (NIP-40), seconds since 1970; -1 if it never does.
        vanished: `pubkey:id` of a key that has vanished and of its request.
        name: of what the relay keeps.
        value: of that, in Base64.
    """

    arrived: int
    changed: int = 0
    id: str = ""
    pubkey: str = ""
    kind: str = ""
    created_at: int = -1
    tags: list[str] = []
    marks: list[str] = []
    words: str = ""
    event: str = ""
    until: int = -1
    tombstone: str = msgspec.field(default="", name="grave")
    expires: int = -1
    vanished: str = ""
    name: str = ""
    value: str = ""


def document(event: Event, arrived: int, until: int = -1, changed: int = 0) -> Document:
    """Make the document of a record with this event."""
    return Document(
        arrived,
        changed,
        event.id,
        event.pubkey,
        str(event.kind),
        event.created_at,
        tag_terms(event),
        [*marks_of(event), *_VOTES[vote_of(event)]],
        text_of(event),
        encode(event).decode(),
        until,
        expires=expires_of(event),
    )


def memo(name: str, value: bytes, arrived: int) -> Document:
    """Make the document of a value that the relay keeps; `value_of` is the way back."""
    return Document(arrived, name=name, value=b64encode(value).decode())


def value_of(source: StoredPart) -> bytes:
    """Return the value of a `memo`."""
    return b64decode(source.value)


def expires_of(event: Event) -> int:
    """See `Document.expires`."""
    expiry = expiry_of(event)
    return -1 if expiry is None else expiry


def tag_terms(event: Event) -> list[str]:
    """Return the terms by which an event is found through its single-letter tags."""
    return [tag_term(letter, value) for letter, value in single_letter_tags(event)]


def tag_term(letter: str, value: str) -> str:
    """Return the term by which a single-letter tag is found: `x:value`, or `x#…` for a long value."""
    if len(value) > _MOST_VALUE_BYTES or len(value.encode()) > _MOST_VALUE_BYTES:
        return f"{letter}#{blake2b(value.encode(), digest_size=24).hexdigest()}"
    return f"{letter}:{value}"


class StoredPart(msgspec.Struct, gc=False):
    """The stored part of a document, which searches return."""

    event: str = ""
    until: int = -1
    arrived: int = 0
    tombstone: str = msgspec.field(default="", name="grave")
    vanished: str = ""
    name: str = ""
    value: str = ""


class _Found(msgspec.Struct, gc=False):
    found: bool = False
    source: StoredPart | None = msgspec.field(name="_source", default=None)
    seq_no: int = msgspec.field(name="_seq_no", default=0)
    primary_term: int = msgspec.field(name="_primary_term", default=0)
    version: int = msgspec.field(name="_version", default=0)
    index: str = msgspec.field(name="_index", default="")
    error: Any = None


class _DocsResponse(msgspec.Struct, gc=False):
    docs: list[_Found]


_decode_answer = msgspec.json.Decoder(_DocsResponse).decode
_decode_event = msgspec.json.Decoder(Event).decode


def read_records(slots: Iterable[str], answer: bytes) -> dict[str, Record]:
    """Decode the answer to an `_mget` of these slots into records by slot.

    Raises:
        ValueError: a shard could not answer.
    """
    return {slot: _record_of(found) for slot, found in zip(slots, _decode_answer(answer).docs, strict=True)}


def _record_of(found: _Found) -> Record:
    if found.error is not None:
        raise ValueError("a record could not be read")
    if not found.found or found.source is None:
        return Record()
    event = _decode_event(found.source.event) if found.source.event else None
    source = found.source
    return Record(
        event,
        source.until,
        source.arrived,
        found.seq_no,
        found.primary_term,
        found.version,
        found.index,
        source.tombstone,
        source.vanished,
    )
