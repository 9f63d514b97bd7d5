"""What `judge` has to know of a database before it can decide a batch. Runs in the writer's thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec

from trio_relay.nostr.event import DELETION, GIFT_WRAP, VANISH, Event, address_of, claimants
from trio_relay.store.judge import Facts, Version, questions, version_of
from trio_relay.store.sqlite.rows import FIND_EVENTS, address_key, id_record, rank_of

_TAKES_THE_LONG_WAY: Final = frozenset({DELETION, VANISH, GIFT_WRAP})


def look_up(connection: apsw.Connection, batch: Sequence[Event]) -> Facts:
    """The facts that a batch depends on.

    Raises:
        apsw.Error: the database could not answer.
    """
    if len(batch) == 1 and _is_plainly_new(connection, batch[0]):
        return Facts()
    asked = questions(batch)
    addresses = {address_key(address): address for address in asked.addresses}
    # A tombstone counts for those alone whom the event belongs to, and the targets of a deletion are not asked about:
    # any number of others may have asked to delete the same.
    graves = [bytes.fromhex(event.id + one) for event in batch for one in claimants(event)]
    graves += [bytes.fromhex(pubkey + pubkey) for pubkey in asked.pubkeys]
    graves += [key + bytes.fromhex(address.split(":")[1]) for key, address in addresses.items()]
    # One statement, and one row for its answer: each further one would give up the GIL and wait to get it back.
    bindings = map(_array, (list(map(id_record, asked.ids)), list(addresses), graves))
    answers: str = connection.execute(_FACTS, tuple(bindings)).get
    stored, heads, tombstones = map(_rows, answers.split("\n"))
    facts = Facts()
    facts.stored = {one.id: one for one in _versions(stored, addresses)}
    facts.heads = {one.address: one for one in _versions(heads, addresses) if one.address is not None}
    for target, pubkey, until in tombstones:
        _remember(facts, addresses.get(bytes.fromhex(target)), target, pubkey, until)
    return facts


def _is_plainly_new(connection: apsw.Connection, event: Event) -> bool:
    """True for an event of its author alone, without an address, neither stored, deleted nor vanished: a lone one's
    usual case, cheaply."""
    if event.kind in _TAKES_THE_LONG_WAY or address_of(event) is not None:
        return False
    event_id, pubkey = bytes.fromhex(event.id), bytes.fromhex(event.pubkey)
    return bool(connection.execute(_IS_NEW, (rank_of(event_id), event_id, pubkey, event.created_at)).get)


def _remember(facts: Facts, address: str | None, target: str, pubkey: str, until: int) -> None:
    """Put a row of `tombstone` among the facts."""
    if address is not None:
        facts.buried_addresses[address] = until
    elif target != pubkey:
        facts.buried_ids.add((target, pubkey))
    elif until:
        facts.vanished[pubkey] = until - 1  # see `records.vanish_tombstone`


def _versions(rows: Iterable[Any], addresses: dict[bytes, str]) -> Iterable[Version]:
    for event_id, pubkey, kind, created_at, key, tags in rows:
        if tags is not None:  # of a gift wrap, which obeys those to whom it is addressed
            yield version_of(Event(event_id, pubkey, created_at, kind, tags, "", ""))
        else:
            # An address that is not in question is known by its key only, which is empty where there is no address.
            yield Version(event_id, pubkey, kind, created_at, addresses.get(bytes.fromhex(key)))


def _array(values: Sequence[bytes]) -> object:
    return apsw.carray(tuple(values) or (b"",))  # an array must have a member; this one is found nowhere


_rows: Final = msgspec.json.Decoder(list[Any]).decode

_VERSION: Final = f"""
json_group_array(json_array(
    lower(hex(id)), lower(hex(pubkey)), kind, created_at, lower(hex(address)),
    CASE kind WHEN {GIFT_WRAP} THEN json(event.json -> '$.tags') END
))
"""
_IS_NEW: Final = """
SELECT NOT EXISTS (SELECT 1 FROM event WHERE rank = ?1 AND id = ?2)
   AND NOT EXISTS (SELECT 1 FROM tombstone WHERE target = ?2 AND pubkey = ?3)
   AND NOT EXISTS (SELECT 1 FROM tombstone WHERE target = ?3 AND pubkey = ?3 AND until > ?4)
"""
_FACTS: Final = f"""
SELECT (SELECT {_VERSION} FROM {FIND_EVENTS})
    || char(10) || (SELECT {_VERSION} FROM carray(?2) CROSS JOIN event ON address = value)
    || char(10) || (
        SELECT json_group_array(json_array(lower(hex(target)), lower(hex(pubkey)), until))
        FROM carray(?3) CROSS JOIN tombstone ON target = substr(value, 1, 32) AND pubkey = substr(value, 33, 32)
    )
"""  # noqa: S608  # all of it is our own text
