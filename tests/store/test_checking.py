"""What is wrong in a file is found, whatever it is; a file in which nothing is wrong is never said to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.store.files import opened, opened_for_reading, options
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.marks import examples
from tests.support.strategies import histories
from trio_relay import Event, open_sqlite
from trio_relay.store import inspection, sqlite

Aspect = inspection.Aspect
PROFILE = '{"name":"bob","nip05":"bob@relay.example"}'
EVENTS = [
    ALICE.event("some words of tea", created_at=NOW, tags=[["t", "tea"], ["p", BOB.pubkey]]),
    BOB.event("other words", created_at=NOW + 1, tags=[["e", "e" * 64], ["t", "tea"]]),
    BOB.event(PROFILE, kind=0, created_at=NOW + 2),
    CAROL.event("soon gone", created_at=NOW + 3, tags=[["expiration", str(NOW * 2)]]),
    ALICE.event("article", kind=30_023, created_at=NOW + 4, tags=[["d", "first"]]),
    BOB.event("?iv=", kind=4, created_at=NOW + 5, tags=[["p", ALICE.pubkey]]),
    CAROL.event("", kind=3, created_at=NOW + 6, tags=[["p", BOB.pubkey], ["p", ALICE.pubkey]]),
    ALICE.event("", kind=5, created_at=NOW + 7, tags=[["e", "d" * 64]]),
]


async def faults_of(path: Path, verify: inspection.Verify | None = None) -> list[inspection.Fault]:
    async with opened_for_reading(path) as store:
        return [fault async for portion in store.inspect(verify) for fault in portion.faults]


async def fill(path: Path, events: Sequence[Event], *, search: bool = True) -> None:
    async with open_sqlite(replace(options(path), search=search)) as store:
        for event in events:
            await store.save_many([event])


def corrupt(path: Path, *statements: str) -> None:
    """Change what the store would never change."""
    with closing(apsw.Connection(str(path))) as connection:
        for sql in statements:
            connection.execute(sql).fetchall()


@pytest.mark.slow
def test_nothing_is_wrong_with_any_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.checking, "id_matches", lambda _event: True)  # those of made-up events do not

    @settings(max_examples=examples(60))
    @given(histories(), st.sampled_from([1, 3, 1_000]), st.booleans())
    def check(history: list[Event], portion: int, is_worded: bool) -> None:
        async def main() -> None:
            with TemporaryDirectory(dir=tmp_path) as folder:
                path = Path(folder) / "relay.db"
                async with open_sqlite(replace(options(path), search=is_worded)) as store:
                    for start in range(0, len(history), 4):
                        await store.save_many(history[start : start + 4])
                assert await faults_of(path) == []

        before = sqlite.checking.EVENTS_AT_A_TIME
        sqlite.checking.EVENTS_AT_A_TIME = portion
        try:
            trio.run(main)
        finally:
            sqlite.checking.EVENTS_AT_A_TIME = before

    check()


@pytest.mark.parametrize(
    ("part", "seq", "sql"),
    [
        (Aspect.TAGS, 1, "DELETE FROM tag WHERE (key, seq) IN (SELECT key, seq FROM tag WHERE seq = 1 LIMIT 1)"),
        (Aspect.TAGS, 3, "DELETE FROM tag WHERE seq = 3"),
        (
            Aspect.TAGS,
            2,
            "INSERT INTO tag SELECT zeroblob(16), created_at, rank, seq, kind, 0 FROM tag WHERE seq = 2 LIMIT 1",
        ),
        (Aspect.TAGS, 1, "UPDATE tag SET kind = 9 WHERE seq = 1"),
        (Aspect.TAGS, 7, "UPDATE tag SET sketch = sketch + 1 WHERE seq = 7"),
        (Aspect.TAGS, 1, "UPDATE tag SET created_at = created_at + 1 WHERE seq = 1"),
        (Aspect.TAGS, None, "INSERT INTO tag VALUES (zeroblob(16), 1, 1, 999, 1, 0)"),
        (Aspect.COLUMNS, 1, "UPDATE event SET kind = 7 WHERE seq = 1"),
        (Aspect.COLUMNS, 2, "UPDATE event SET created_at = 5 WHERE seq = 2"),
        (Aspect.COLUMNS, 2, "UPDATE event SET rank = 5 WHERE seq = 2"),
        (Aspect.COLUMNS, 2, "UPDATE event SET pubkey = zeroblob(32) WHERE seq = 2"),
        (Aspect.COLUMNS, 2, "UPDATE event SET id = zeroblob(32) WHERE seq = 2"),
        (Aspect.COLUMNS, 5, "UPDATE event SET address = NULL WHERE seq = 5"),
        (Aspect.COLUMNS, 1, "UPDATE event SET address = zeroblob(32) WHERE seq = 1"),
        (Aspect.COLUMNS, 1, "UPDATE event SET json = ' ' || json WHERE seq = 1"),
        (Aspect.EVENT, 1, "UPDATE event SET json = '{}' WHERE seq = 1"),
        (Aspect.EVENT, 1, "UPDATE event SET json = CAST(x'22ff22' AS TEXT) WHERE seq = 1"),
        (Aspect.EVENT, 1, "UPDATE event SET json = replace(json, 'tea', 'tee') WHERE seq = 1"),
        (Aspect.WORDS, 1, "DELETE FROM word WHERE rowid = 1"),
        (Aspect.WORDS, 8, "INSERT INTO word (rowid, text) VALUES (8, 'more')"),
        (Aspect.WORDS, 2, "DELETE FROM word WHERE rowid = 2; INSERT INTO word (rowid, text) VALUES (2, 'fewer')"),
        (Aspect.WORDS, None, "INSERT INTO word (rowid, text) VALUES (99, 'of nobody')"),
        (Aspect.EXPIRY, 4, "DELETE FROM expiry"),
        (Aspect.EXPIRY, 4, "UPDATE expiry SET at = at + 1"),
        (Aspect.EXPIRY, 1, "INSERT INTO expiry VALUES (1, 5)"),
        (Aspect.EXPIRY, None, "INSERT INTO expiry VALUES (99, 5)"),
        (
            Aspect.TWICE,
            9,
            "INSERT INTO event SELECT 9, id, rank, pubkey, kind, created_at, address, json FROM event WHERE seq = 1",
        ),
        (Aspect.TOMBSTONE, 1, "INSERT INTO tombstone SELECT id, pubkey, 0 FROM event WHERE seq = 1"),
        (Aspect.TOMBSTONE, 5, "INSERT INTO tombstone SELECT address, pubkey, created_at FROM event WHERE seq = 5"),
        (Aspect.TOMBSTONE, 2, "INSERT INTO tombstone SELECT pubkey, pubkey, created_at + 1 FROM event WHERE seq = 2"),
        (Aspect.NUMBERS, None, "DELETE FROM numbering"),
        (Aspect.NUMBERS, None, "INSERT INTO worded SELECT * FROM worded"),
    ],
)
async def test_what_is_wrong_is_named(tmp_path: Path, part: Aspect, seq: int | None, sql: str) -> None:
    path = tmp_path / "relay.db"
    await fill(path, EVENTS)
    assert await faults_of(path) == []
    corrupt(path, sql)
    found = await faults_of(path)
    assert part in {fault.aspect for fault in found}
    if seq is not None and seq <= len(EVENTS) and "id = zeroblob" not in sql:
        assert [fault for fault in found if fault.aspect is part and fault.where == EVENTS[seq - 1].id], found


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await fill(path, [Author(f"{n}").event("x" * 900, created_at=NOW + n) for n in range(100)])
    with path.open("r+b") as file:
        file.seek(9 * 4_096)
        file.write(b"\xff" * 4_096)
    [fault, *_] = await faults_of(path)
    assert fault.aspect is Aspect.FILE


async def test_signatures_are_looked_at_where_somebody_verifies(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await fill(path, EVENTS)
    found = await faults_of(path, lambda events: [event.kind != 0 for event in events])
    assert [(fault.aspect, fault.where) for fault in found] == [(Aspect.EVENT, EVENTS[2].id)]


async def test_what_comes_and_goes_meanwhile_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.db"
    monkeypatch.setattr(sqlite.checking, "EVENTS_AT_A_TIME", 1)
    await fill(path, EVENTS)
    async with opened(path) as store, opened_for_reading(path) as reader:
        moves: list[Callable[[], Any]] = [
            lambda: store.save_many([ALICE.event("newer", kind=30_023, created_at=NOW + 9, tags=[["d", "first"]])]),
            lambda: store.remove_rows([1, 2]),
            lambda: store.save_many([ALICE.event("new", tags=[["t", "x"]])]),
            lambda: store.remove_rows([7]),
        ]
        async for portion in reader.inspect():
            assert portion.faults == ()
            if moves:
                await moves.pop()()
        assert moves == []
