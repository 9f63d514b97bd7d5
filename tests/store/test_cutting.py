"""Records as SQL cuts them: each column holds exactly what its event says, at the ends of every range too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import apsw
import pytest
from msgspec.structs import replace

from tests.support.keys import ALICE
from trio_relay.nostr.event import Event, encode
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.rows import (
    DELETE_TAGS,
    FIND_EVENTS,
    INSERT_EVENTS,
    INSERT_TAGS,
    INSERT_TOMBSTONES,
    address_key,
    address_tombstone,
    event_record,
    id_record,
    id_tombstone,
    rank_of,
    tag_key,
    tag_records,
)

LAST_TIME: Final = 2**33 - 1
LAST_SEQ: Final = 10**16 - 1
TAGS: Final = [["d", "x\0y"], ["t", "é" * 100], ["t", ""], ["e", "a" * 64]]
IDS: Final = {"lowest": "0" * 64, "highest": "f" * 64, "any": "0123456789abcdef" * 4, "line feeds": "0a" * 32}


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """An empty store in memory."""
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, "")
    yield connection
    connection.close()


def run(connection: apsw.Connection, sql: str, records: Iterable[bytes]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = connection.execute(sql, (apsw.carray(tuple(records)),)).fetchall()
    return rows


def shaped(event_id: str, kind: int, created_at: int) -> Event:
    return replace(ALICE.event("line\n\0é", tags=TAGS), id=event_id, kind=kind, created_at=created_at)


@pytest.mark.parametrize("seq", [1, LAST_SEQ])
@pytest.mark.parametrize("created_at", [0, 1_700_000_000, LAST_TIME])
@pytest.mark.parametrize("kind", [0, 1, 30_023, 65_535])
@pytest.mark.parametrize("event_id", IDS.values(), ids=IDS)
def test_an_event_is_cut_into_its_columns(
    connection: apsw.Connection, event_id: str, kind: int, created_at: int, seq: int
) -> None:
    event = shaped(event_id, kind, created_at)
    run(connection, INSERT_EVENTS, [event_record(event, seq)])
    rank = int(event_id, 16) >> (256 - 63)
    key = {
        0: address_key(f"0:{ALICE.pubkey}:"),
        30_023: address_key(f"30023:{ALICE.pubkey}:x\0y"),
    }.get(kind)
    sql = "SELECT seq, id, rank, pubkey, kind, created_at, address, CAST(json AS BLOB) FROM event"
    assert connection.execute(sql).fetchall() == [
        (seq, bytes.fromhex(event_id), rank, bytes.fromhex(ALICE.pubkey), kind, created_at, key, encode(event))
    ]


@pytest.mark.parametrize("seq", [1, LAST_SEQ])
@pytest.mark.parametrize("created_at", [0, LAST_TIME])
@pytest.mark.parametrize("kind", [0, 65_535])
@pytest.mark.parametrize("event_id", IDS.values(), ids=IDS)
def test_tags_are_cut_into_their_columns_and_found_again_to_be_deleted(
    connection: apsw.Connection, event_id: str, kind: int, created_at: int, seq: int
) -> None:
    event = shaped(event_id, kind, created_at)
    other = replace(event, id="5" * 64)
    run(connection, INSERT_TAGS, [*tag_records(event, seq), *tag_records(other, 7)])
    rank = int(event_id, 16) >> (256 - 63)
    sql = "SELECT key, seq, rank, kind, created_at FROM tag WHERE seq <> 7 ORDER BY key"
    keys = sorted(tag_key(letter, value) for letter, value in TAGS)
    assert connection.execute(sql).fetchall() == [(key, seq, rank, kind, created_at) for key in keys]
    run(connection, DELETE_TAGS, tag_records(event, seq))
    assert connection.execute("SELECT DISTINCT seq FROM tag").fetchall() == [(7,)]
    assert connection.execute("SELECT count(*) FROM tag").get == len(TAGS)


def test_an_event_without_tags_for_filters_has_no_records() -> None:
    assert tag_records(ALICE.event(tags=[["title", "x"], ["t"], []]), 1) == []


@pytest.mark.parametrize("event_id", IDS.values(), ids=IDS)
def test_an_event_is_found_by_its_id_alone(connection: apsw.Connection, event_id: str) -> None:
    """Not by an id that only begins alike."""
    event = shaped(event_id, 1, 0)
    alike = event_id[:-1] + "5"
    run(connection, INSERT_EVENTS, [event_record(event, 1), event_record(replace(event, id=alike), 2)])
    sql = f"SELECT seq FROM {FIND_EVENTS}"
    assert run(connection, sql, [id_record(event_id)]) == [(1,)]
    assert run(connection, sql, [id_record(alike)]) == [(2,)]
    assert run(connection, sql, [id_record("5" * 64)]) == []


def test_tombstones_are_cut_into_their_columns_and_only_grow(connection: apsw.Connection) -> None:
    address = f"30023:{ALICE.pubkey}:x"
    records = [id_tombstone("a" * 64, ALICE.pubkey), *(address_tombstone(address, at) for at in (5, LAST_TIME, 0))]
    for record in records:
        run(connection, INSERT_TOMBSTONES, [record])
    pubkey = bytes.fromhex(ALICE.pubkey)
    assert connection.execute("SELECT * FROM tombstone ORDER BY until").fetchall() == [
        (b"\xaa" * 32, pubkey, 0),
        (address_key(address), pubkey, LAST_TIME),
    ]


@pytest.mark.parametrize(
    ("event_id", "rank"),
    [("0" * 64, 0), ("f" * 64, 2**63 - 1), ("0" * 15 + "1" + "f" * 48, 0), ("0" * 15 + "2" + "0" * 48, 1)],
)
def test_a_rank_is_the_first_63_bits_of_an_id(event_id: str, rank: int) -> None:
    assert rank_of(bytes.fromhex(event_id)) == rank
