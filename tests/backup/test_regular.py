"""Backups of a running relay: when they are made, what is told of them, and which of them stay."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import MockClock

from tests.backup.conftest import EVENTS, KEPT, options
from tests.store.files import opened_for_reading
from tests.support.backends import everything
from tests.support.keys import NOW
from trio_relay import StoreError, open_sqlite
from trio_relay.backup import BackupOptions, backup_file, base, folder, regular, restoring, rotation
from trio_relay.nostr import errors

DAY = 86_400


class Shelf:
    """A vault that notes when it was asked, and fails as it is told to."""

    def __init__(self, *there: float, seconds: float = 0.0) -> None:
        self.there = list(there)
        self.made: list[float] = []
        self.failures: list[Exception] = []
        self.is_full = False
        self._seconds = seconds
        self._working = 0

    async def make(self, now: float) -> base.BackupMade:
        self._working += 1
        assert self._working == 1
        await trio.sleep(self._seconds)
        self._working -= 1
        if self.failures:
            raise self.failures.pop()
        self.made.append(now)
        self.there.append(now)
        return base.BackupMade(f"one of {now:.0f}", now, 7, False, 1_000, self._seconds)

    async def newest(self, now: float) -> float | None:
        await trio.lowlevel.checkpoint()
        return max((moment for moment in self.there if moment <= now), default=None)

    async def rotate(self, keep: int, made: base.BackupMade, now: float) -> list[str]:
        await trio.lowlevel.checkpoint()
        if self.is_full:
            raise base.BackupRefused("read-only file system")
        gone, self.there = self.there[:-keep], self.there[-keep:]
        return [str(moment) for moment in gone]


def backups(shelf: Shelf, *, every: int = DAY, keep: int = 7) -> regular.Backups:
    """They begin at NOW."""
    start = trio.current_time()
    return regular.Backups(
        BackupOptions(every_seconds=every, keep=keep), shelf, lambda: NOW + trio.current_time() - start
    )


async def run(made: regular.Backups, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await made.run()


def days(shelf: Shelf) -> list[float]:
    return [(moment - NOW) / DAY for moment in shelf.made]


async def test_they_are_made_one_after_another_and_the_first_at_once(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    made = backups(shelf, keep=2)
    await run(made, 3.5 * DAY)
    assert days(shelf) == [0, 1, 2, 3]
    assert shelf.there == shelf.made[-2:]
    assert made.statistics() == base.BackupStatistics(NOW + 3 * DAY, 0.0, 1_000)


@pytest.mark.parametrize(("newest", "first"), [(-0.25, 0.75), (-7, 0), (0.5, 0)])
async def test_a_restart_neither_puts_them_off_nor_makes_more(
    autojump_clock: MockClock, newest: float, first: float
) -> None:
    """One of the future was made by a clock that has been set back."""
    shelf = Shelf(NOW + newest * DAY)
    made = backups(shelf)
    await run(made, 2 * DAY)
    assert days(shelf) == [first, first + 1]


async def test_a_clock_that_is_set_back_does_not_put_the_next_off(autojump_clock: MockClock) -> None:
    """Neither while one waits, nor while one is made."""
    start, ahead = trio.current_time(), 10_000 * DAY
    shelf = Shelf(seconds=60.0)

    def clock() -> float:
        passed = trio.current_time() - start
        return NOW + passed + (ahead if passed < 1.5 * DAY else 0)

    with trio.move_on_after(4.5 * DAY):
        await regular.Backups(BackupOptions(every_seconds=DAY), shelf, clock).run()
    assert days(shelf) == [10_000, 10_001, 2, 3, 4]


async def test_none_is_made_unless_that_is_wanted(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    await run(backups(shelf, every=0), 100 * DAY)
    await run(regular.Backups(BackupOptions(every_seconds=9), None), 100 * DAY)
    assert shelf.made == []


async def test_how_often_they_are_made_can_change_at_any_time_and_counts_from_the_newest(
    autojump_clock: MockClock,
) -> None:
    shelf, began = Shelf(), trio.current_time()
    made = backups(shelf, every=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.sleep(DAY)
        made.take_options(BackupOptions(every_seconds=DAY), shelf)
        await trio.sleep(2.5 * DAY)
        assert days(shelf) == [1, 2, 3]  # the first at once, since there was none
        made.take_options(BackupOptions(every_seconds=2 * DAY), shelf)
        await trio.sleep(3 * DAY)
        assert days(shelf) == [1, 2, 3, 5]
        made.take_options(BackupOptions(), shelf)
        await trio.sleep_until(began + 50 * DAY)
        assert days(shelf) == [1, 2, 3, 5]
        nursery.cancel_scope.cancel()


async def test_one_that_is_being_made_is_made_whatever_changes(autojump_clock: MockClock) -> None:
    shelf, other = Shelf(seconds=60.0), Shelf()
    made = backups(shelf, every=DAY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.sleep(30)
        made.take_options(BackupOptions(every_seconds=DAY, keep=1), other)
        await trio.sleep(DAY)
        assert (days(shelf), days(other)) == ([0], [60 / DAY])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("every", "again"), [(DAY, 300), (60, 60)])
async def test_one_that_fails_is_told_and_tried_again(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict], every: int, again: int
) -> None:
    shelf = Shelf()
    shelf.failures = [base.BackupRefused("the disk is full"), StoreError("the store is damaged")]
    made = backups(shelf, every=every)
    await run(made, again - 1)
    assert made.degraded() == "no backup was made: the store is damaged"
    await run(made, 1)
    assert made.degraded() == "no backup was made: the disk is full"
    await run(made, every + 1)
    assert made.degraded() is None
    assert made.statistics().failures == 2
    assert [(one["event"], one.get("error")) for one in logged][:2] == [
        ("no backup was made", "the store is damaged"),
        ("no backup was made", "the disk is full"),
    ]


async def test_a_failure_when_asked_is_no_state_of_the_relay_where_none_are_due(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    shelf.failures = [base.BackupRefused("no room")]
    made = backups(shelf, every=0)
    with pytest.raises(errors.Rejected, match=r"^error: no backup: no room$"):
        await made.make_now()
    assert made.degraded() is None
    assert made.statistics().failures == 1


async def test_old_ones_that_cannot_be_removed_are_no_failure(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    shelf = Shelf()
    shelf.is_full = True
    made = backups(shelf, keep=1)
    await run(made, 1.5 * DAY)
    assert (days(shelf), made.degraded()) == ([0, 1], None)
    assert ("old backups stay", "read-only file system") in [(one["event"], one.get("error")) for one in logged]


async def test_one_is_made_at_a_time(autojump_clock: MockClock) -> None:
    made = backups(shelf := Shelf(seconds=5.0))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(made.make_now)
    assert [moment - NOW for moment in shelf.made] == [0, 5, 10]


async def test_what_is_made_on_demand_is_told(autojump_clock: MockClock) -> None:
    told = await backups(Shelf(seconds=2.0)).make_now()
    assert told == {"file": f"one of {NOW}", "number": 7, "bytes": 1_000, "seconds": 2.0}


def metrics(statistics: base.BackupStatistics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(regular.BackupCollector(lambda: statistics))
    lines = re.findall(r"^(trio_relay_backup\S*) (\S+)$", generate_latest(registry).decode(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


def test_the_metrics_say_what_is_known() -> None:
    assert metrics(base.BackupStatistics()) == {"trio_relay_backups_failed_total": 0}
    assert metrics(base.BackupStatistics(NOW, 2.5, 1_000, 3, "why")) == {
        "trio_relay_backup_last_timestamp_seconds": NOW,
        "trio_relay_backup_seconds": 2.5,
        "trio_relay_backup_bytes": 1_000,
        "trio_relay_backups_failed_total": 3,
    }


def naive(moments: set[int], keep: int, made: int, now: int) -> set[int]:
    """What goes, taken away one by one: of the future first, then the oldest."""
    left = set(moments)
    while len(left) > keep:
        others = left - {made}
        ahead = {one for one in others if one > now}
        left.remove(min(ahead or others))
    return moments - left


@given(st.sets(st.integers(0, 4_000_000_000), min_size=1, max_size=30), st.integers(1, 12), st.data())
def test_the_newest_stay_and_what_was_just_made(moments: set[int], keep: int, data: st.DataObject) -> None:
    made = data.draw(st.sampled_from(sorted(moments)))
    now = data.draw(st.one_of(st.just(made), st.integers(0, 4_000_000_000)))
    names = {folder.name_at(moment): float(moment) for moment in moments}
    gone = rotation.beyond(names, keep, folder.name_at(made), now)
    assert set(gone) == {folder.name_at(moment) for moment in naive(moments, keep, made, now)}
    assert list(map(folder.moment_of, names)) == list(names.values())


def test_a_name_that_tells_no_time_is_older_than_all() -> None:
    assert folder.moment_of("relay-20269999T000000Z.backup") == 0


@pytest.mark.slow
class TestFolder:
    """A folder of backups of a real store."""

    async def test_a_backup_beside_the_running_relay_makes_the_same_relay_again(
        self, store: Path, tmp_path: Path
    ) -> None:
        made = regular.Backups(BackupOptions(), folder.BackupFolder(tmp_path / "all", store, with_key=False))
        async with open_sqlite(options(store)):
            told = await made.make_now()
        file, other = Path(str(told["file"])), tmp_path / "other.db"
        assert (told["number"], file.parent) == (len(EVENTS), tmp_path / "all")
        restoring.restore_file(file, other, replaces=False)
        async with open_sqlite(options(other)) as restored:
            assert await everything(restored) == EVENTS
            assert await restored.get_metadata() == {
                name: value for name, value in KEPT.items() if name not in ("self", "console")
            }

    async def test_so_many_stay_and_nothing_else_is_touched(self, store: Path, tmp_path: Path) -> None:
        place = tmp_path / "all"
        vault = folder.BackupFolder(place, store, with_key=True)
        unfinished = [f"relay-20200101T000000Z.backup.a1b2c3d4.part{end}" for end in ("", "-journal")]
        unfinished.append("relay-20200101T000001Z.backup.a1b2c3d4.part")  # somebody is writing it
        others = ["relay-1.backup", "relay-20200101T000000Z.backup.gz", "notes.txt", "relay.db"]
        fill(place, *others, "relay-20200101T000000Z.backup", *unfinished)
        for name in [*others, *unfinished[:2]]:
            os.utime(place / name, (NOW, NOW - 3_600))
        now = NOW
        made = regular.Backups(BackupOptions(keep=2), vault, lambda: now)
        for _ in range(4):
            now += 60
            await made.make()
        kept = [folder.name_at(now - 60), folder.name_at(now)]
        assert names_in(place) == sorted([*others, *kept, unfinished[2]])
        assert await vault.newest(now) == now
        assert backup_file.read_header(place / kept[1]).with_key

    async def test_one_that_cannot_be_removed_keeps_no_other(
        self, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "all"
        fill(place, *(f"relay-2020010{day}T000000Z.backup" for day in (1, 2, 3)))
        (place / "relay-20191231T000000Z.backup").mkdir()  # is none, whatever its name
        (place / "relay-20191231T000000Z.backup.a1b2c3d4.part").symlink_to("nowhere")
        unlink = Path.unlink

        def removed(path: Path, *, missing_ok: bool = False) -> None:
            if "20200101" in path.name:
                raise PermissionError(1, "Operation not permitted", str(path))
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", removed)
        vault = folder.BackupFolder(place, store, with_key=True)
        made = await vault.make(NOW)
        with pytest.raises(base.BackupRefused, match=r"/relay-20200101T000000Z\.backup: Operation not permitted$"):
            await vault.rotate(2, made, NOW)
        assert names_in(place) == [
            "relay-20191231T000000Z.backup",
            "relay-20191231T000000Z.backup.a1b2c3d4.part",
            "relay-20200101T000000Z.backup",
            "relay-20200103T000000Z.backup",
            folder.name_at(NOW),
        ]

    async def test_a_folder_that_cannot_be_made_says_why(self, store: Path) -> None:
        vault = folder.BackupFolder(Path(os.devnull) / "backups", store, with_key=False)
        assert await vault.newest(NOW) is None
        with pytest.raises(base.BackupRefused, match=r"^/dev/null(/backups)?: Not a directory$"):
            await vault.make(NOW)

    async def test_what_is_kept_in_it_is_for_the_owner_alone(self, store: Path, tmp_path: Path) -> None:
        made = await folder.BackupFolder(tmp_path / "a" / "b", store, with_key=False).make(NOW)
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b", Path(made.name))] == [
            0o700,
            0o700,
            0o600,
        ]
        async with opened_for_reading(store):
            pass

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    async def test_what_root_makes_in_it_is_the_relays(self, store: Path, tmp_path: Path) -> None:
        """Else the relay itself could make none there from then on."""
        os.chown(store, 12_345, 23_456)
        made = await folder.BackupFolder(tmp_path / "a" / "b", store, with_key=False).make(NOW)
        for path in (tmp_path / "a", tmp_path / "a" / "b", Path(made.name)):
            found = path.stat()
            assert (found.st_uid, found.st_gid) == (12_345, 23_456)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    async def test_it_may_be_where_files_have_no_owners(
        self, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_arguments: object, **_named: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        os.chown(store, 12_345, 23_456)
        monkeypatch.setattr(os, "chown", refused)
        made = await folder.BackupFolder(tmp_path / "all", store, with_key=False).make(NOW)
        assert names_in(tmp_path / "all") == [Path(made.name).name]


def fill(place: Path, *names: str) -> None:
    place.mkdir()
    for name in names:
        (place / name).write_bytes(b"x")


def names_in(place: Path) -> list[str]:
    return sorted(one.name for one in place.iterdir())


async def test_a_store_in_memory_has_nothing_to_back_up() -> None:
    nothing = regular.Backups(BackupOptions(), None)
    with pytest.raises(errors.Rejected, match=r"^unsupported: a store in memory has nothing to back up$"):
        await nothing.make_now()
    with pytest.raises(base.BackupRefused, match=r"^a store in memory has nothing to back up$"):
        await nothing.make()
