"""Records, sketches and removals of much: cut into pages, interrupted like any query, in portions between batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import apsw
import pytest
import trio

from tests.store.files import opened
from tests.store.inside import inside
from tests.support.backends import everything, records
from tests.support.keys import ALICE, made_up
from trio_relay import Event, Saved, StoreError
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.store.sqlite import deletes, fetch
from trio_relay.store.sqlite import store as store_module
from trio_relay.store.sqlite.fetch import record_parts


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 500])
def test_parts_together_hold_every_number_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(fetch, "RECORD_PART", 20)
    joined = ",".join(map(str, range(100, 100 + count)))
    parts = list(record_parts(joined))
    assert ",".join(parts) == joined
    assert all(20 <= len(part) < 20 + 4 for part in parts[:-1])
    assert all(not part.startswith(",") and not part.endswith(",") for part in parts)


def test_nothing_has_no_parts() -> None:
    assert list(record_parts("")) == []


def test_no_page_of_records_is_longer_than_an_answer_may_be() -> None:
    """The shortest numbers make the most records: 80 characters each."""
    joined = ",".join(map(str, range(1, 20_000)))
    assert max(len(part.split(",")) for part in record_parts(joined)) * 80 < 2**19


async def test_what_is_removed_meanwhile_has_no_record_and_no_empty_page(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "RECORD_PART", 1)
    events = [made_up(str(number), created_at=900 - number) for number in range(30)]
    async with opened(path) as store:
        await store.save_many(events)
        async with aclosing(store.records(Filter())) as pages:
            first = await anext(pages)
            await store.remove([Filter(ids=frozenset(event.id for event in events[5:25]))])
            rest = [page async for page in pages]
        assert first + b"".join(rest) == b"".join(
            event.created_at.to_bytes(8, "big") + bytes.fromhex(event.id) for event in events[:5] + events[25:]
        )
        assert len(rest) < 29
        assert all(rest)


async def test_whoever_asks_is_interrupted_when_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is of use afterwards."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT max(i) FROM n"

    def count_for_long(connection: apsw.Connection, **_: object) -> object:
        return connection.execute(endless).get

    async with opened(path, readers=1) as store:
        await store.save_many([ALICE.event()])
        with monkeypatch.context() as patch:
            patch.setattr(fetch, "sketch", count_for_long)
            patch.setattr(fetch, "record_numbers", count_for_long)
            with trio.move_on_after(0.02) as scope:
                await store.sketch(Filter(), 8)
            assert scope.cancelled_caught
            with trio.move_on_after(0.02) as scope:
                await records(store, Filter())
            assert scope.cancelled_caught
        assert len(await records(store, Filter())) == 1


async def test_batches_come_between_portions_of_a_removal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came after it was asked for stays."""
    monkeypatch.setattr(store_module, "REMOVED_AT_A_TIME", 2)
    monkeypatch.setattr(deletes, "EVENTS_AT_A_TIME", 1)
    notes, late = [ALICE.event(str(number)) for number in range(9)], ALICE.event("late")
    log: list[str] = []
    async with opened(path) as store:
        remove, save = inside(store).writer.remove, inside(store).writer.save

        def noted_remove(seqs: Sequence[int]) -> int:
            log.append("remove")
            return remove(seqs)

        def noted_save(batch: Sequence[Event]) -> list[Saved]:
            log.append("save")
            return save(batch)

        monkeypatch.setattr(inside(store).writer, "remove", noted_remove)
        monkeypatch.setattr(inside(store).writer, "save", noted_save)
        await store.save_many(notes)

        async def save_late() -> None:
            while "remove" not in log:
                await trio.lowlevel.checkpoint()
            assert await store.save_many([late]) == [Saved.STORED]

        removed: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(save_late)
            removed.append(await store.remove([Filter(authors=frozenset([ALICE.pubkey]))]))
        assert removed == [9]
        assert await everything(store) == [late]
        assert log.count("remove") == 5
        assert log.index("save", 1) < len(log) - 1


async def test_a_removal_that_fails_in_the_midst_has_removed_a_part(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "REMOVED_AT_A_TIME", 2)
    notes = [ALICE.event(str(number)) for number in range(5)]
    async with opened(path) as store:
        await store.save_many(notes)
        remove, calls = inside(store).writer.remove, []

        def fail_later(seqs: list[int]) -> int:
            calls.append(seqs)
            with monkeypatch.context() as patch:
                if len(calls) == 2:
                    patch.setattr(deletes, "_DELETE", "DELETE FROM nowhere WHERE ?1")
                return remove(seqs)

        monkeypatch.setattr(inside(store).writer, "remove", fail_later)
        with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
            await store.remove([Filter()])
        assert len(await everything(store)) == 3
        monkeypatch.undo()


async def test_a_search_is_refused_where_no_words_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as store:
        monkeypatch.setattr(store, "_is_worded", False)
        words = parse_filter({"search": "tea"})
        for attempt in (records(store, words), store.remove([words])):
            with pytest.raises(StoreError, match=r"^the relay keeps no index of words$"):
                await attempt


async def test_all_that_was_made_of_an_event_goes_with_it(path: Path) -> None:
    tags = [["t", "x"], ["e", "e" * 64], ["expiration", str(2**40)], ["l", "en", "ISO-639-1"], ["content-warning"]]
    async with opened(path) as store:
        await store.save_many([ALICE.event("tea", tags=tags), ALICE.event('{"nip05":"a@b.c"}', kind=0)])
        assert rows(inside(store).connection) == {"event": 2, "tag": 6, "expiry": 1, "word": 2}
        assert await store.remove([Filter()]) == 2
        assert rows(inside(store).connection) == dict.fromkeys(["event", "tag", "expiry", "word"], 0)


def rows(connection: apsw.Connection) -> dict[str, int]:
    """How many each table has."""
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").get for table in ("event", "tag", "expiry", "word")
    }


async def test_what_is_gone_meanwhile_is_no_part_of_a_removal(path: Path) -> None:
    notes = [ALICE.event(str(number)) for number in range(3)]
    async with opened(path) as store:
        await store.save_many(notes)
        assert inside(store).writer.remove([1, 3, 99]) == 2
        assert inside(store).writer.remove([1, 3, 99]) == 0
        assert await everything(store) == [notes[1]]
