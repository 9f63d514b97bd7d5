"""A file of version 1 becomes one of this version when a relay opens it: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import apsw
import pytest
import structlog

from tests.store import version_1
from tests.store.files import content, opened, opened_for_reading
from tests.store.inside import inside
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, NOW
from trio_relay import Filter, MemoryStore, Saved, StoreRefused
from trio_relay.nostr.event import Event, compute_id
from trio_relay.store.judge import Facts, judge
from trio_relay.store.sqlite import batch_writer, schema
from trio_relay.store.sqlite import upgrade as upgrade_module
from trio_relay.store.sqlite.rows import event_record

PUBKEYS: Final = [f"{number:064x}" for number in range(20)]
KINDS: Final = [0, 1, 3, 5, 7, 1_111, 9_735, 10_002, 20_000, 22_242, 29_999, 30_023, 39_999, 40_000, 65_535]
VALUES: Final = ["", "x", "é", "a\0b", "a" * 64, "f" * 63, "F" * 64, "x" * 64, "x" * 65, "é" * 33, "long " * 2_000]
DELETED: Final = ALICE.event("deleted")
DELETED_ARTICLE, LATER_ARTICLE = (ALICE.event(kind=30_023, created_at=NOW + at, tags=[["d", "x"]]) for at in (9, 10))
TOMBSTONES: Final = [
    (bytes.fromhex(DELETED.id), ALICE.pubkey, 0),
    (version_1.hashed(f"30023:{ALICE.pubkey}:x"), ALICE.pubkey, NOW + 9),
    (b"\xaa" * 32, PUBKEYS[3], 0),
]


@cache
def numbered() -> tuple[tuple[int, Event], ...]:
    """Thousands of events of all kinds, with the gaps that removed ones have left in their numbers."""
    random = Random(4)

    def one(number: int) -> Event:
        pubkey, kind, created_at = random.choice(PUBKEYS), random.choice(KINDS), NOW + random.randrange(200)
        tags = [[random.choice("detpqTaZ"), random.choice(VALUES)] for _ in range(random.randrange(4))]
        if kind == 5:
            tags = [tag for tag in tags if tag[0] not in "ea"]
        tags += random.choice([[], [["d", str(number)]], [["title", "x"], ["t"], []]])
        text = f"{number}\n\0\u2028é🦩"
        return Event(compute_id(pubkey, created_at, kind, tags, text), pubkey, created_at, kind, tags, text, "5" * 128)

    events = [one(number) for number in range(1, 4_501)]
    standing = judge(events, Facts()).insert
    return tuple((seq, event) for seq, event in enumerate(events, 1) if event.id in standing)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of version 1, for copies."""
    path = tmp_path_factory.mktemp("version-1") / "relay.db"
    version_1.write(path, numbered(), TOMBSTONES)
    return path


@pytest.fixture
def old(original: Path, tmp_path: Path) -> Path:
    """A file of version 1."""
    return Path(shutil.copy(original, tmp_path))


def questions() -> list[list[Filter]]:
    """Of every shape, about what is there and what is not."""
    events = [event for _, event in numbered()]
    some = events[::150]
    one = [
        Filter(),
        Filter(limit=3),
        Filter(since=NOW + 20, until=NOW + 90, limit=700),
        Filter(ids=frozenset(event.id for event in some) | {"a" * 64}),
        Filter(kinds=frozenset(KINDS[5:9])),
        Filter(kinds=frozenset(range(40)), limit=50),
        Filter(authors=frozenset(PUBKEYS[2:5])),
        Filter(authors=frozenset(PUBKEYS[:1]), kinds=frozenset([1, 7]), limit=20),
        Filter(tags=(("t", frozenset(VALUES)), ("e", frozenset(VALUES)))),
        Filter(tags=(("d", frozenset(map(str, range(0, 4_000, 7)))),)),
    ]
    one += [Filter(ids=frozenset([event.id])) for event in some]
    one += [Filter(kinds=frozenset([kind])) for kind in KINDS]
    one += [Filter(authors=frozenset([pubkey]), limit=30) for pubkey in PUBKEYS[::4]]
    one += [Filter(tags=((letter, frozenset([value])),)) for letter in "etZ" for value in VALUES]
    return [[each] for each in one] + [one[:5], one[5:10]]


@pytest.mark.slow
async def test_every_query_is_answered_as_before(old: Path) -> None:
    reference = MemoryStore()
    await reference.save_many([event for _, event in numbered()])
    async with opened(old) as store:
        for filters in questions():
            assert await ask(store, *filters) == await ask(reference, *filters)
        ids = [event.id for _, event in numbered()]
        assert await store.known([*ids, "a" * 64]) == set(ids)


def test_there_are_thousands_of_every_kind() -> None:
    """Or the tests here would show little."""
    events = [event for _, event in numbered()]
    assert len(events) > 3 * upgrade_module.EVENTS_AT_A_TIME
    assert {event.kind for event in events} == set(KINDS)
    assert numbered()[-1][0] > len(events)


async def test_an_export_comes_in_the_same_order(old: Path) -> None:
    async with opened(old) as store:
        assert await everything(store) == [event for _, event in numbered()]
    async with opened_for_reading(old) as reader:
        assert await everything(reader) == [event for _, event in numbered()]


async def test_what_it_becomes_has_the_very_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    for path in (old, new):
        async with opened(path):
            pass
    makings = []
    for path in (old, new):
        connection = apsw.Connection(str(path))
        makings.append(sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()))
        assert connection.pragma("user_version") == schema.VERSION
        assert connection.pragma("application_id") == 0x7472656C
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("integrity_check") == "ok"
        connection.close()
    assert makings[0] == makings[1]


async def test_numbers_and_tombstones_are_kept(old: Path) -> None:
    async with opened(old) as store:
        rows = inside(store).connection.execute("SELECT seq, lower(hex(id)) FROM event ORDER BY seq").fetchall()
        assert rows == [(seq, event.id) for seq, event in numbered()]
        kept = inside(store).connection.execute("SELECT target, lower(hex(pubkey)), until FROM tombstone").fetchall()
        assert sorted(kept) == sorted(TOMBSTONES)


async def test_it_goes_on_as_if_it_had_always_been_of_this_version(old: Path) -> None:
    notes = [event for _, event in numbered() if event.kind == 1]
    profile = next(event for _, event in numbered() if event.kind == 0)
    earlier = Event("e" * 64, profile.pubkey, profile.created_at - 1, 0, [], "", "5" * 128)
    later = Event("e" * 64, profile.pubkey, profile.created_at + 1, 0, [["t", "x"]], "", "5" * 128)
    request = Event("d" * 64, notes[0].pubkey, NOW + 300, 5, [["e", notes[0].id]], "", "5" * 128)
    async with opened(old) as store:
        tags = "SELECT count(*) FROM tag WHERE seq NOT IN (SELECT seq FROM event)"
        assert await store.save_many([DELETED, DELETED_ARTICLE, LATER_ARTICLE, notes[1], earlier]) == [
            Saved.DELETED,
            Saved.DELETED,
            Saved.STORED,
            Saved.DUPLICATE,
            Saved.SUPERSEDED,
        ]
        assert await store.save_many([later, request, notes[0]]) == [Saved.STORED, Saved.STORED, Saved.DELETED]
        left = [event for _, event in numbered() if event not in (profile, notes[0])]
        assert await everything(store) == [*left, LATER_ARTICLE, later, request]
        assert inside(store).connection.execute(tags).get == 0


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_000])
async def test_any_number_of_events_is_brought_over(tmp_path: Path, count: int) -> None:
    path = tmp_path / "relay.db"
    version_1.write(path, numbered()[:count])
    async with opened(path) as store:
        assert await everything(store) == [event for _, event in numbered()[:count]]
        event = ALICE.event()
        assert await store.save_many([event]) == [Saved.STORED]
        assert await ask(store, Filter(authors=frozenset([ALICE.pubkey]))) == [event]


async def test_events_without_tags_are_brought_over(tmp_path: Path) -> None:
    path, event = tmp_path / "relay.db", ALICE.event(tags=[["title", "x"]])
    version_1.write(path, [(7, event)])
    async with opened(path) as store:
        assert await everything(store) == [event]


async def test_the_operator_is_told_once(old: Path, logged: list[structlog.typing.EventDict]) -> None:
    os.chmod(old, 0o600)  # else it is told that others might have read it
    for _ in range(2):
        async with opened(old, worded=True):
            pass
    assert logged == [
        {
            "event": "bringing the store to a newer version",
            "path": str(old),
            "version": 1,
            "newer": schema.VERSION,
            "log_level": "info",
        },
        {
            "event": "making the index of words beside the relay",
            "path": str(old),
            "events": numbered()[-1][0],
            "log_level": "info",
        },
        {"event": "the index of words is complete", "path": str(old), "log_level": "info"},
    ]


def failing(at: int, error: BaseException) -> Callable[[Event, int], bytes]:
    """The packing of an event, which fails at this number."""
    count = 0

    def pack(event: Event, seq: int) -> bytes:
        nonlocal count
        count += 1
        if count == at:
            raise error
        return event_record(event, seq)

    return pack


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2_500])
async def test_a_full_disk_in_the_midst_leaves_the_file_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    before, bytes_before = version_1.dump(old), content(old)
    with monkeypatch.context() as patch:
        patch.setattr(batch_writer, "event_record", failing(at, apsw.FullError("database or disk is full")))
        with pytest.raises(StoreRefused, match=rf"^{old}: database or disk is full$"):
            async with opened(old):
                raise AssertionError("it was opened")
    assert version_1.dump(old) == before
    assert content(old) == bytes_before
    async with opened(old) as store:
        assert await everything(store) == [event for _, event in numbered()]


@pytest.mark.parametrize("statement", ["INSERT_EVENTS", "INSERT_TAGS", "_INDEXES", "_OLDER"])
async def test_a_statement_that_fails_leaves_the_file_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    before = version_1.dump(old)
    with monkeypatch.context() as patch:
        module = batch_writer if hasattr(batch_writer, statement) else upgrade_module
        patch.setattr(module, statement, "SELECT * FROM nowhere WHERE ?1 + ?2")
        with pytest.raises(StoreRefused, match="no such table: nowhere"):
            async with opened(old):
                raise AssertionError("it was opened")
    assert version_1.dump(old) == before


@pytest.mark.slow
async def test_an_interrupt_in_the_midst_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version_1.dump(old)
    with monkeypatch.context() as patch:
        patch.setattr(batch_writer, "event_record", failing(2_500, InterruptedError()))
        with pytest.raises(InterruptedError):
            async with opened(old):
                raise AssertionError("it was opened")
    assert version_1.dump(old) == before
    async with opened(old) as store:
        assert await everything(store) == [event for _, event in numbered()]


async def test_who_only_reads_is_told_to_start_the_relay_once(old: Path) -> None:
    before = content(old)
    with pytest.raises(StoreRefused) as refused:
        async with opened_for_reading(old):
            raise AssertionError("it was opened")
    assert str(refused.value) == (
        f"{old} has schema version 1: start the relay on it once, which brings it to {schema.VERSION}"
    )
    assert content(old) == before
    async with opened(old):
        pass
    async with opened_for_reading(old) as reader:
        assert len(await everything(reader)) == len(numbered())
