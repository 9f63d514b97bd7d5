"""How far an import is, whatever order its answers come in, and where it may go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE
from trio_relay import MemoryStore
from trio_relay.resuming import (
    MOST_PLACES,
    SECONDS_BETWEEN_NOTES,
    AnsweredLines,
    Bookmark,
    Bookmarked,
    Fingerprint,
    HeldPlace,
    PassedOver,
    ResumeRefused,
    fingerprint,
    place_to_resume,
)

FILE = Fingerprint(10, 20, "start")
EVENTS = [ALICE.event(f"{number}") for number in range(5)]


def refused_among(count: int) -> int:
    """Of the first lines every third is refused."""
    return len(range(0, count, 3))


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    before=st.builds(PassedOver, st.integers(0, 50), st.integers(0, 9)),
    failing=st.none() | st.integers(0, 23),
    data=st.data(),
)
def test_what_counts_as_answered_are_whole_portions_before_which_nothing_is_open(
    sizes: list[int], before: PassedOver, failing: int | None, data: st.DataObject
) -> None:
    answered = AnsweredLines(before)
    last, lines = before.line, []
    ends = {0: before.line}
    for size in sizes:
        last += 2 * size  # every other line is blank
        portion = answered.begin(last, size)
        lines += [(portion, number) for number in range(size)]
        ends[len(lines)] = last
    open_lines, counts = set(range(len(lines))), {end: count for count, end in ends.items()}
    for place in data.draw(st.permutations(range(len(lines)))):
        if place == failing:
            answered.fail()
            assert answered.last == max(end for count, end in ends.items() if count <= min(open_lines))
            return
        answered.answer(lines[place][0], f"{place}" if place % 2 else "", is_refused=place % 3 == 0)
        open_lines.discard(place)
        first_open = min(open_lines, default=len(lines))
        count, end = max((count, end) for count, end in ends.items() if count <= first_open)
        assert answered.passed == (end, before.refused + refused_among(count))
        assert all(one.refused == before.refused + refused_among(counts[one.line]) for one in answered.held)
        assert all(int(held.id) < first_open and held.line <= answered.last for held in answered.held)
    assert answered.last == last


def test_nothing_behind_a_failure_is_held_in_memory_or_told() -> None:
    answered = AnsweredLines()
    first = answered.begin(256, 1)
    answered.fail()
    later = answered.begin(512, 1)
    answered.answer(first)
    answered.answer(later)
    assert answered.last == 0


def test_of_the_places_that_are_held_only_the_last_ones_are_kept() -> None:
    answered = AnsweredLines()
    for number in range(1, 3 * MOST_PLACES):
        answered.answer(answered.begin(number, 1), f"id {number}")
    assert [held.line for held in answered.held] == list(range(2 * MOST_PLACES, 3 * MOST_PLACES))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file to import."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"line\n" * 100)
    return path


def mark(path: Path, store: str = "a store") -> Bookmark:
    with path.open("rb") as file:
        return Bookmark(path, fingerprint(file), store)


def noted(path: Path) -> Bookmark:
    """A bookmark that says line 40."""
    bookmark, answered = mark(path), AnsweredLines()
    portion = answered.begin(40, 2)
    answered.answer(portion, "id")
    answered.answer(portion, is_refused=True)
    bookmark.note(answered)
    return bookmark


def test_what_was_noted_is_recalled_until_it_is_forgotten(path: Path) -> None:
    assert mark(path).recall() is None
    bookmark = noted(path)
    assert bookmark.path == path.with_name("events.jsonl.resume")
    assert bookmark.path.stat().st_mode & 0o777 == 0o600
    found = mark(path).recall()
    assert found is not None
    assert (found.line, found.held, found.refused) == (40, [HeldPlace(40, "id", 1)], 1)
    mark(path).forget()
    assert mark(path).recall() is None
    mark(path).forget()


def _rewrite(path: Path) -> None:
    kept = path.stat()
    path.write_bytes(b"LINE\n" * 100)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more\n")


def _make_folder(path: Path) -> None:
    place = noted(path).path
    place.unlink()
    place.mkdir()


@pytest.mark.parametrize(
    ("change", "store", "why"),
    [
        (_append, "a store", "the file has changed since"),
        (os.utime, "a store", "the file has changed since"),
        (_rewrite, "a store", "the file has changed since"),
        (lambda _path: None, "another", "that import went into another store, a store"),
        (lambda path: noted(path).path.write_bytes(b"{}"), "a store", "it is not what an import writes there"),
        (lambda path: noted(path).path.write_bytes(b"\xff"), "a store", "it is not what an import writes there"),
        (_make_folder, "a store", "it cannot be read: Is a directory"),
    ],
    ids=["grown", "touched", "rewritten", "store", "spoilt", "no text", "folder"],
)
def test_what_is_about_something_else_is_refused_in_words(
    path: Path, change: Callable[[Path], object], store: str, why: str
) -> None:
    bookmark = noted(path)
    change(path)
    with pytest.raises(ResumeRefused) as refused:
        mark(path, store).recall()
    assert str(refused.value) == f"{bookmark.path}: {why}; without --resume the file is read from its start"


async def test_it_is_noted_once_a_second_if_there_is_something_to_note(path: Path, autojump_clock: object) -> None:
    bookmark, answered = mark(path), AnsweredLines()

    def line() -> int | None:
        found = mark(path).recall()
        return None if found is None else found.line

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bookmark.keep, answered)
        await trio.sleep(3.5 * SECONDS_BETWEEN_NOTES)
        assert line() is None
        answered.answer(answered.begin(7, 1))
        await trio.sleep(SECONDS_BETWEEN_NOTES)
        while line() is None:
            await trio.lowlevel.checkpoint()
        assert line() == 7
        nursery.cancel_scope.cancel()


async def test_where_it_cannot_be_noted_that_is_said_once_and_the_import_goes_on(
    path: Path, autojump_clock: object
) -> None:
    bookmark, answered = mark(path), AnsweredLines()
    bookmark.path.symlink_to("victim")
    answered.answer(answered.begin(7, 1))
    with structlog.testing.capture_logs() as log:
        await bookmark.keep(answered)
    bookmark.note(answered)
    assert [(line["event"], line["log_level"]) for line in log] == [("cannot note how far the import is", "warning")]
    assert not (path.parent / "victim").exists()


async def test_an_import_goes_on_behind_the_last_event_that_the_store_still_has() -> None:
    """One that does not wait for its disk may have lost its last commits with the power."""
    places = [HeldPlace(10 * number, event.id, number) for number, event in enumerate(EVENTS, 1)]
    for kept, passed in ((5, (57, 6)), (4, (40, 4)), (1, (10, 1))):
        store = MemoryStore()
        await store.save_many(EVENTS[:kept])
        assert await place_to_resume(Bookmarked(FILE, "", 57, places, 6), store) == passed
    with pytest.raises(ResumeRefused, match="the store has none of the events"):
        await place_to_resume(Bookmarked(FILE, "", 57, places), MemoryStore())
    assert await place_to_resume(Bookmarked(FILE, "", 57, []), MemoryStore()) == (57, 0)
