"""Files of versions 1 to 6 learn who carries which tag, what expires when, and by which rules words were made."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

import apsw
import pytest
import structlog

from tests.store import version_1
from tests.store.files import opened, opened_for_reading
from tests.store.inside import inside
from tests.store.older import make_older
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, NOW
from tests.support.oracles import naive_registers
from trio_relay import Filter, StoreRefused
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.hyperloglog import CANONICAL, offset_of
from trio_relay.store.sqlite import rows, schema
from trio_relay.store.sqlite import upgrade as upgrade_module

TARGETS: Final = ["1a" * 32, "b7" * 32]


def reacting(number: int) -> Event:
    """One of many keys says something of a target, for ever or for a while."""
    random = Random(number)
    pubkey, kind = random.randbytes(32).hex(), random.choice([0, 1, 3, 4, 6, 7, 1_059, 1_111, 30_023])
    tags = [[letter, random.choice(TARGETS)] for letter in random.sample("eEpqt", 3)]
    tags += random.choice([[], [], [["expiration", random.choice(["7", str(2**40), "no"])]]])
    content = random.choice(["", '"expiration"'])
    event_id = compute_id(pubkey, NOW + number, kind, tags, content)
    return Event(event_id, pubkey, NOW + number, kind, tags, content, "5" * 128)


EVENTS: Final = [reacting(number) for number in range(200)]


@pytest.fixture(params=[1, 2, 3, 4, 5, 6])
async def old(path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of this version with `EVENTS`."""
    if request.param == 1:
        path.parent.mkdir()
        version_1.write(path, enumerate(EVENTS, 1))
        return path
    async with opened(path) as store:
        await store.save_many(EVENTS)
    make_older(path, request.param)
    return path


async def test_what_it_becomes_is_what_a_new_one_would_be(old: Path, tmp_path: Path) -> None:
    """The same tables, the same rows in those of events."""
    new = tmp_path / "new.db"
    async with opened(old, worded=True), opened(new) as store:
        await store.save_many(EVENTS)
    makings = []
    for path in (old, new):
        connection = apsw.Connection(str(path))
        assert connection.pragma("user_version") == schema.VERSION
        assert connection.pragma("integrity_check") == "ok"
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
        for table in ("event", "tag", "expiry", "kept", "worded", "numbering"):
            rows += connection.execute(f"SELECT * FROM {table}").fetchall()
        makings.append(rows)
        connection.close()
    assert makings[0] == makings[1]


async def test_it_counts_and_hides_as_it_has_to(old: Path) -> None:
    async with opened(old) as store:
        living = await ask(store, Filter())
        assert {event.id for event in EVENTS} - {event.id for event in living} == {
            event.id for event in EVENTS if ["expiration", "7"] in event.tags
        }
        for letter, kinds in CANONICAL:
            for target in TARGETS:
                one = Filter(kinds=kinds, tags=((letter, frozenset([target])),))
                sketch = await store.sketch(one, offset_of(target))
                authors = [event.pubkey for event in living if one.matches(event)]
                assert sketch.registers == naive_registers(authors, offset_of(target))
                assert sketch.number == len(authors) > 0
        assert await store.get_metadata() == {}


async def test_any_number_of_events_is_brought_over(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade_module, "EVENTS_AT_A_TIME", 7)
    async with opened(old) as store:
        assert await everything(store) == EVENTS
        sketched = inside(store).connection.execute("SELECT count(*) FROM tag WHERE sketch <> 0").get
    assert sketched == sum((letter, kinds) in PAIRS for letter, kinds in carried())


PAIRS: Final = {(letter, kind) for letter, kinds in CANONICAL for kind in kinds}


def carried() -> list[tuple[str, int]]:
    return [(tag[0], event.kind) for event in EVENTS for tag in event.tags]


async def test_the_operator_is_told_how_far_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    async with opened(path) as store:
        await store.save_many(EVENTS)
    make_older(path, 3)
    monkeypatch.setattr(upgrade_module, "EVENTS_AT_A_TIME", 10)
    monkeypatch.setattr(upgrade_module, "EVENTS_BETWEEN_NEWS", 75)
    async with opened(path, worded=True):
        pass
    logged = [entry for entry in logged if "words" not in entry["event"]]
    assert [(entry["event"], entry.get("version"), entry.get("events", 0) > 0) for entry in logged] == [
        ("bringing the store to a newer version", 3, False),
        *[("still bringing the store to a newer version", None, True)] * (len(logged) - 1),
    ]
    assert len(logged) == 3


async def test_a_failure_in_the_midst_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as store:
        await store.save_many(EVENTS)
    make_older(path, 3)
    before = version_1.dump(path)
    with monkeypatch.context() as patch:
        patch.setattr(upgrade_module, "INSERT_EXPIRIES", "SELECT * FROM nowhere WHERE ?1")
        with pytest.raises(StoreRefused, match="no such table: nowhere"):
            async with opened(path):
                raise AssertionError("it was opened")
    assert version_1.dump(path) == before


async def test_who_only_reads_is_told_to_start_the_relay_once(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([ALICE.event()])
    make_older(path, 3)
    with pytest.raises(StoreRefused, match="has schema version 3: start the relay on it once"):
        async with opened_for_reading(path):
            raise AssertionError("it was opened")


async def test_large_events_are_read_in_small_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAGE_CHARACTERS", 3_000)
    events = [ALICE.event("x" * size, created_at=NOW + at) for at, size in enumerate([10, 10, 3_000, 10, 4_000])]
    async with opened(path) as store:
        await store.save_many(events)
        pages: list[list[Event]] = []
        after = 0
        while page := rows.read_page(inside(store).connection, _PAGE, after, 2):
            pages.append([event for _, event in page])
            after = page[-1][0]
    assert pages == [events[:2], events[2:3], events[3:]]


_PAGE: Final = "SELECT seq, json FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
