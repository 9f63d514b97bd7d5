"""Repairs a file by making a new one of all events that can be read and are right. Blocks.

Everything beside the events' JSON is made anew, so that it does not matter what was wrong with it. What the relay keeps
of its own, and tombstones, are copied as far as they can be read. The new file is looked through before it takes the
place of the old one, which stays beside it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import structlog

from trio_relay.nostr.event import Event, address_of, supersedes
from trio_relay.private_files import give_to_owner_of, put_in_place, remove_unfinished, unfinished
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.inspection import Aspect, Fault, MoveOut, Verify
from trio_relay.store.sqlite import checking, schema
from trio_relay.store.sqlite.batch_writer import insert_events, last_seq, look_up
from trio_relay.store.sqlite.deletes import remove_ids
from trio_relay.store.sqlite.lock import held
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.rows import all_rows
from trio_relay.store.sqlite.shrinking import STEPS, take_alone
from trio_relay.store.sqlite.threads import run_interruptibly
from trio_relay.store.sqlite.transaction import described, transaction
from trio_relay.store.sqlite.words import insert_words

log = structlog.get_logger("trio_relay.store")

EVENTS_AT_A_TIME: Final = 500
_CACHE_BYTES: Final = 2**26
_LOGS: Final = ("-wal", "-shm")
_MADE_ANEW: Final = frozenset({"event", "tag", "expiry", "worded", "numbering", "probe"})
"""Tables whose rows follow from the events, or say nothing of a file at rest."""
_UNREADABLE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.SQLError)


@dataclass(slots=True)
class Repaired:
    """What became of the events of a file.

    Attributes:
        kept_aside: where the old file is.
        events: that are in the new one.
        moved_out: that are not, although they could be read.
        unread: numbers that nothing could be read of; some of them may have been of no event.
    """

    kept_aside: Path
    events: int = 0
    moved_out: int = 0
    unread: int = 0


async def repair(options: SqliteOptions, aside: str, move_out: MoveOut, verify: Verify | None) -> Repaired:
    """Rebuild a store's file without a relay; raises what `rebuild` does, and `StoreInUse`.

    Who is cancelled leaves it as it was.

    Args:
        options: name the file.
        aside: added to its name for the old one.
        move_out: see `rebuild`; called in a thread.
        verify: see `rebuild`.
    """
    with held(Path(options.path)) as path:
        ended = threading.Event()
        work = partial(rebuild, path, Path(f"{path}{aside}"), move_out, verify, ended.is_set, search=options.search)
        return await run_interruptibly(work, ended.set)


def rebuild(
    path: Path,
    aside: Path,
    move_out: MoveOut,
    verify: Verify | None,
    has_ended: Callable[[], bool],
    *,
    search: bool,
) -> Repaired:
    """Make a new file of what is right in an old one, and put it in its place.

    To be called by whoever holds its lock.

    Args:
        path: of the file.
        aside: where the old one is to lie afterwards; nothing may be there.
        move_out: see there.
        verify: looks at signatures; None: nobody does.
        has_ended: asked again and again; once it says so, this ends by a StoreError.
        search: make the words, too.

    Raises:
        StoreRefused: somebody reads the file, or it is of another version.
        StoreError: nothing of it can be read, or the new one cannot be written; the old one is there.
    """
    try:
        remove_unfinished(path)
        with unfinished(path) as part:
            with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as old:
                _take(old, path)
                old.set_progress_handler(has_ended, STEPS)
                with closing(apsw.Connection(str(part))) as new:
                    schema.tune(new, cache_bytes=_CACHE_BYTES)
                    schema.prepare(new, str(part))
                    new.set_progress_handler(has_ended, STEPS)
                    repaired = _Rebuilding(old, new, move_out, verify, has_ended, search=search).run(aside)
                    _look_through(new, has_ended)
                    new.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            for end in _LOGS:  # where the old file was too broken to fold them back; before the new one is there
                with suppress(FileNotFoundError):
                    Path(f"{path}{end}").replace(f"{aside}{end}")
            os.link(path, aside)
            give_to_owner_of(path, part)
            put_in_place(part, path)
    except (apsw.Error, OSError) as error:
        reason = described(error) if isinstance(error, apsw.Error) else error.strerror
        raise StoreError(f"{path} could not be rebuilt: {reason}; it is as it was") from error
    return repaired


def _take(old: apsw.Connection, path: Path) -> None:
    """Keep all others out, as far as the file allows that.

    Raises:
        StoreRefused: somebody reads it, or it is of another version.
    """
    try:
        schema.check(old, str(path))
        version = int(old.pragma("user_version"))
    except apsw.Error as error:
        log.warning("the file does not say what it is; what can be read is taken", error=described(error))
    else:
        if version < schema.VERSION:
            raise StoreRefused(f"{path} has schema version {version}: `trio-relay migrate` brings it to this one first")
    try:
        take_alone(old, path)
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
        log.warning("the log could not be folded back", error=described(error))


def _look_through(new: apsw.Connection, has_ended: Callable[[], bool]) -> None:
    for portion in checking.inspect(new, None):
        _go_on(has_ended)
        if portion.faults:
            raise StoreError(f"the new file is not right, either: {portion.faults[0]}")


def _go_on(has_ended: Callable[[], bool]) -> None:
    """End between two statements as within one; some are too short for SQLite to ask."""
    if has_ended():
        raise apsw.InterruptError("interrupted")


class _Rebuilding:
    def __init__(
        self,
        old: apsw.Connection,
        new: apsw.Connection,
        move_out: MoveOut,
        verify: Verify | None,
        has_ended: Callable[[], bool],
        *,
        search: bool,
    ) -> None:
        self._old = old
        self._new = new
        self._move_out = move_out
        self._verify = verify
        self._has_ended = has_ended
        self._search = search

    def run(self, aside: Path) -> Repaired:
        """Fill the new file."""
        self._repaired = Repaired(aside)
        for (table,) in all_rows(self._new, _TABLES):
            if table not in _MADE_ANEW:
                self._copy(table)
        last = self._last()
        if not last:
            raise StoreError("nothing of the file can be read, or there is nothing in it; it is as it was")
        for start in range(0, last, EVENTS_AT_A_TIME):
            _go_on(self._has_ended)
            self._take_over(list(self._rows(start, min(start + EVENTS_AT_A_TIME, last))))
        with transaction(self._new):
            self._new.execute("UPDATE numbering SET last = ?", (max(last, last_seq(self._new)),)).fetchall()
            if not self._search:
                self._new.execute("UPDATE worded SET until = 0").fetchall()
        return self._repaired

    def _last(self) -> int:
        """The highest number that there may be an event of, wherever it can be read."""
        return max([0, *(number for sql in _LASTS if (number := self._one(sql)) is not None)])

    def _one(self, sql: str) -> int | None:
        try:
            number: int | None = self._old.execute(sql).get
        except _UNREADABLE:
            return None
        return number

    def _copy(self, table: str) -> None:
        """Copy a table as far as it can be read, in portions: an archive may be as long as the store."""
        copied, portion = 0, list[Any]()
        try:
            with closing(self._old.execute(f'SELECT * FROM "{table}"')) as found:  # noqa: S608  # a name of our schema
                for row in found:
                    _go_on(self._has_ended)
                    portion.append(row)
                    if len(portion) == EVENTS_AT_A_TIME:
                        self._put(table, portion)
                        copied += len(portion)
                        portion = []
        except _UNREADABLE as error:
            rows = copied + len(portion)
            log.warning("not all of a table could be read", table=table, rows=rows, error=described(error))
        self._put(table, portion)

    def _put(self, table: str, rows: Sequence[Any]) -> None:
        if rows:
            places = ", ".join("?" * len(rows[0]))
            with transaction(self._new):
                self._new.executemany(f'INSERT OR IGNORE INTO "{table}" VALUES ({places})', rows)  # noqa: S608  # ours

    def _rows(self, after: int, until: int) -> Iterator[checking.Row]:
        """Read the rows of these numbers, around those of which nothing can be read."""
        while after < until:
            try:
                rows = checking.rows_between(self._old, after, until)
            except _UNREADABLE:
                yield from self._around(after, until)
                return
            yield from rows
            after = rows[-1].seq if rows else until

    def _around(self, after: int, until: int) -> Iterator[checking.Row]:
        if until - after == 1:
            self._repaired.unread += 1
            return
        middle = (after + until) // 2
        yield from self._rows(after, middle)
        yield from self._rows(middle, until)

    def _take_over(self, rows: Sequence[checking.Row]) -> None:
        """Put the events of these rows that are right into the new file, and move the others out."""
        right: list[tuple[checking.Row, Event]] = []
        for row in rows:
            event = checking.event_of(row)
            if isinstance(event, str):
                self._leave_out(row, Fault(Aspect.EVENT, row.name, event))
            else:
                right.append((row, event))
        if self._verify is not None and right:
            verified = self._verify([event for _, event in right])
            for (row, event), is_right in zip(right, verified, strict=True):
                if not is_right:
                    self._leave_out(row, Fault(Aspect.EVENT, event.id, "its signature is wrong"))
            right = [one for one, is_right in zip(right, verified, strict=True) if is_right]
        with transaction(self._new):
            self._insert(right)

    def _insert(self, right: Sequence[tuple[checking.Row, Event]]) -> None:
        taken: dict[int, Event] = {}
        forbidden = {fault.where: fault for fault in checking.forbidden(self._new, [event for _, event in right])}
        for row, event in right:
            if event.id in forbidden:
                self._leave_out(row, forbidden[event.id])
            elif (fault := self._surplus(event, taken)) is not None:
                self._leave_out(row, fault)
            else:
                taken[row.seq] = event
        insert_events(self._new, list(taken.items()))
        if self._search:
            insert_words(self._new, list(taken.items()))
        self._repaired.events += len(taken)

    def _surplus(self, event: Event, taken: dict[int, Event]) -> Fault | None:
        """Why an event is one too many; what it supersedes is taken out again."""
        facts = look_up(self._new, [event])
        if event.id in facts.stored or any(other.id == event.id for other in taken.values()):
            return Fault(Aspect.TWICE, event.id, "it is there already")
        if (address := address_of(event)) is None:
            return None
        for seq, other in list(taken.items()):
            if address_of(other) == address:
                if not supersedes(event.created_at, event.id, other.created_at, other.id):
                    return Fault(Aspect.TWICE, event.id, "a newer version is there")
                del taken[seq]
        head = facts.heads.get(address)
        if head is not None and not supersedes(event.created_at, event.id, head.created_at, head.id):
            return Fault(Aspect.TWICE, event.id, "a newer version is there")
        if head is not None:
            remove_ids(self._new, [head.id])
            self._repaired.events -= 1
        return None

    def _leave_out(self, row: checking.Row, fault: Fault) -> None:
        self._move_out(row.json, fault)
        self._repaired.moved_out += 1


_TABLES: Final = """
SELECT name FROM sqlite_schema
WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'word' AND name NOT LIKE 'word\\_%' ESCAPE '\\'
"""
_LASTS: Final = (
    "SELECT max(seq) FROM event",
    "SELECT max(seq) FROM event INDEXED BY event_kind WHERE kind >= 0",
    "SELECT max(id) FROM word_docsize",
    "SELECT last FROM numbering",
)
