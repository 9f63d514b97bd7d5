"""A repaired file is the store that it was, whatever was wrong beside the events, and without what nobody can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import apsw
import pytest
import trio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.store.files import cancelling, opened, opened_for_reading, options
from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.marks import examples
from tests.support.strategies import histories
from trio_relay import Event, StoreError, StoreRefused, open_sqlite
from trio_relay.nostr import event as events
from trio_relay.store import base, inspection, sqlite

Rows: TypeAlias = dict[str, list[Any]]
TABLES = ("event", "tag", "expiry", "tombstone", "vanishing", "kept", "worded", "archive", "archive_owner")
ASIDE = ".before"


def rows_of(path: Path) -> Rows:
    """All that a file holds, words included."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, word, instance)").fetchall()
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}
        found["words"] = sorted(connection.execute("SELECT term, doc FROM temp.words").fetchall(), key=repr)
    return found


def without(rows: Rows, seq: int) -> Rows:
    """The same without an event and all that is derived from it."""
    places = {"event": 0, "tag": 3, "expiry": 0, "words": 1}
    return {
        name: [row for row in table if name not in places or row[places[name]] != seq] for name, table in rows.items()
    }


async def faults_of(path: Path) -> list[inspection.Fault]:
    async with opened_for_reading(path) as store:
        return [fault async for portion in store.inspect() for fault in portion.faults]


class Out:
    """What was moved out, and why."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.faults: list[inspection.Fault] = []

    def __call__(self, json: bytes, fault: inspection.Fault) -> None:
        self.lines.append(json)
        self.faults.append(fault)


async def repaired(path: Path, out: Out | None = None, verify: inspection.Verify | None = None) -> sqlite.Repaired:
    return await sqlite.repair(options(path), ASIDE, out or Out(), verify)


async def fill(path: Path, history: Sequence[Event]) -> None:
    async with open_sqlite(replace(options(path), archive=True)) as store:
        for start in range(0, len(history), 5):
            await store.save_many(history[start : start + 5])
        await store.put_metadata({"a name": b"a value"})


BESIDE = [
    "DELETE FROM tag WHERE seq = ?1",
    "UPDATE tag SET kind = kind + 1 WHERE seq = ?1",
    "UPDATE tag SET created_at = created_at + 1 WHERE seq = ?1",
    "INSERT OR IGNORE INTO tag VALUES (zeroblob(16), 1, 1, ?1, 1, 0)",
    "INSERT OR IGNORE INTO tag VALUES (zeroblob(16), 1, 1, ?1 + 1000, 1, 0)",
    "UPDATE event SET kind = kind + 1 WHERE seq = ?1",
    "UPDATE event SET created_at = created_at + 1 WHERE seq = ?1",
    "UPDATE event SET rank = rank + 1 WHERE seq = ?1",
    "UPDATE event SET pubkey = zeroblob(32) WHERE seq = ?1",
    "UPDATE event SET id = zeroblob(32) WHERE seq = ?1",
    "UPDATE event SET address = randomblob(32) WHERE seq = ?1",
    "DELETE FROM word WHERE rowid = ?1",
    "INSERT OR REPLACE INTO word (rowid, text) VALUES (?1, 'one two three four five six seven eight nine ten')",
    "DELETE FROM expiry WHERE seq = ?1",
    "INSERT OR REPLACE INTO expiry VALUES (?1, 5)",
    "INSERT OR REPLACE INTO expiry VALUES (?1 + 1000, 5)",
]
BROKEN = [
    "UPDATE event SET json = '{}' WHERE seq = ?1",
    "UPDATE event SET json = CAST(x'ff' AS TEXT) || json WHERE seq = ?1",
]


@pytest.mark.slow
def test_any_harm_is_found_and_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.checking, "id_matches", lambda _event: True)  # those of made-up events do not

    @settings(max_examples=examples(80))
    @given(histories(most=20), st.sampled_from([*BESIDE, *BROKEN]), st.randoms(use_true_random=False))
    def check(history: list[Event], harm: str, random: Any) -> None:
        async def main() -> None:
            with TemporaryDirectory(dir=tmp_path) as folder:
                path = Path(folder) / "relay.db"
                await fill(path, history)
                before = rows_of(path)
                assume(before["event"])
                seq = random.choice(before["event"])[0]
                with closing(apsw.Connection(str(path))) as connection:
                    connection.execute(harm, (seq,)).fetchall()
                assume(harm in BROKEN or rows_of(path) != before)
                assert await faults_of(path)
                out = Out()
                told = await repaired(path, out)
                assert rows_of(path) == (without(before, seq) if harm in BROKEN else before)
                assert await faults_of(path) == []
                assert (told.moved_out, len(out.lines)) == (harm in BROKEN, harm in BROKEN)
                assert told.kept_aside.exists()

        trio.run(main)

    check()


NOTES = [Author(f"{n % 3}").event(f"{n} " + "x" * 700, created_at=NOW + n, tags=[["t", "x"]]) for n in range(300)]


async def test_what_a_damaged_file_still_has_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await fill(path, NOTES)
    pages = path.stat().st_size // 4_096
    with path.open("r+b") as file:
        for page in range(12, pages, 9):
            file.seek(page * 4_096)
            file.write(b"\xff" * 4_096)
    assert {fault.aspect for fault in await faults_of(path)} == {inspection.Aspect.FILE}
    told = await repaired(path)
    assert 150 < told.events < 300
    assert told.events + told.unread >= 300
    assert await faults_of(path) == []
    async with opened(path) as store:
        kept = {event.id for event in await everything(store)}
        assert kept < {event.id for event in NOTES}
        assert len(kept) == told.events
        assert await store.save_many(NOTES) == [
            base.Saved.DUPLICATE if note.id in kept else base.Saved.STORED for note in NOTES
        ]


async def test_what_is_twice_or_forbidden_or_wrongly_signed_is_moved_out_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    article = ALICE.event("old", kind=30_023, created_at=NOW, tags=[["d", "x"]])
    newer = ALICE.event("new", kind=30_023, created_at=NOW + 1, tags=[["d", "x"]])
    await fill(path, [NOTES[0], article, NOTES[1], NOTES[2], BOB.event("forged")])
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(
            "INSERT INTO event SELECT 9, id, rank, pubkey, kind, created_at, NULL, json FROM event WHERE seq = 1"
        ).fetchall()
        connection.execute("INSERT INTO tombstone SELECT id, pubkey, 0 FROM event WHERE seq = 3").fetchall()
        connection.execute(
            "INSERT INTO event SELECT 10, zeroblob(32), 1, pubkey, kind, created_at, NULL, ? FROM event WHERE seq = 2",
            (events.encode(newer).decode(),),
        ).fetchall()
    out = Out()
    told = await repaired(path, out, lambda batch: [event.content != "forged" for event in batch])
    assert {str(fault) for fault in out.faults} == {
        f"stored twice: {NOTES[0].id}: it is there already",
        f"tombstone: {NOTES[1].id}: its deletion was asked for",
        f"event: {BOB.event('forged').id}: its signature is wrong",
    }
    assert {events.decode(line).id for line in out.lines} == {NOTES[0].id, NOTES[1].id, BOB.event("forged").id}
    assert (told.events, told.moved_out) == (3, 3)
    async with opened_for_reading(path) as reader:
        assert {event.id for event in await everything(reader)} == {NOTES[0].id, NOTES[2].id, newer.id}


async def test_a_relay_goes_on_with_a_repaired_file_and_gives_no_number_twice(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await fill(path, NOTES[:10])
    async with opened(path) as store:
        await store.remove_rows([10])
    await repaired(path)
    async with opened(path) as store:
        await store.save_many(NOTES[20:21])
    assert max(row[0] for row in rows_of(path)["event"]) == 11


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff" * 99_999)])
async def test_where_nothing_can_be_read_the_file_stays(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    path = tmp_path / "relay.db"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises((StoreError, StoreRefused)):
        await repaired(path)
    assert path.read_bytes() == before
    assert [one for one in os.listdir(tmp_path) if "part" in one] == []  # it is there or it is not


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_repairs_belongs_to_whom_it_belonged(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    async with opened(path) as store:
        await store.save_many([ALICE.event("hello", created_at=NOW)])
    os.chown(path, 12_345, 23_456)
    told = await repaired(path)
    for one in (path, told.kept_aside):
        found = one.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12_345, 23_456, 0o600)


async def test_who_ends_it_in_the_middle_has_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.rebuilding, "EVENTS_AT_A_TIME", 7)
    await fill(path, NOTES)
    before, verified = rows_of(path), list[Event]()
    with trio.CancelScope() as scope:
        cancel = cancelling(scope)

        def verify(batch: Sequence[Event]) -> list[bool]:
            cancel()
            verified.extend(batch)
            return [True] * len(batch)

        await repaired(path, verify=verify)
    assert scope.cancelled_caught
    assert len(verified) <= 7
    assert sorted(os.listdir(path.parent)) == ["relay.db", "relay.db.lock"]
    assert rows_of(path) == before


async def test_a_file_that_is_used_or_read_is_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await fill(path, NOTES[:3])
    async with opened(path):
        with pytest.raises(base.StoreInUse):
            await repaired(path)
    async with opened_for_reading(path):
        with pytest.raises(StoreRefused, match="is in use by another process"):
            await repaired(path)


async def test_an_archive_longer_than_a_portion_is_taken_along(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.rebuilding, "EVENTS_AT_A_TIME", 7)
    await fill(path, [ALICE.event(f"{at}", kind=0, created_at=NOW + at) for at in range(30)])
    before = rows_of(path)
    await repaired(path)
    assert len(before["archive"]) == 29
    assert rows_of(path) == before
