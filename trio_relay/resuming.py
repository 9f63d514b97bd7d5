"""How an import that was broken off goes on: what has been answered is counted, and remembered beside the file.

An answer is given once an event is committed, or can never be. So a line up to which all have been answered is one
behind which an import can begin again, whatever has happened to the process meanwhile: lines further on that were
answered, too, are known then, and cost a look. A line that the store failed to take is none that has been answered.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, NoReturn

import msgspec
import structlog
import trio

from trio_relay.nostr.filter import Filter
from trio_relay.private_files import remove_unfinished, written_whole
from trio_relay.store.base import Queryable

log = structlog.get_logger("trio_relay.importing")

SECONDS_BETWEEN_NOTES: Final = 1.0
"""After a kill the lines of about so long are looked at again."""
SUFFIX: Final = ".resume"
"""Of the file's name; there it is remembered."""
_START_BYTES: Final = 2**16
MOST_PLACES: Final = 32
_WITHOUT: Final = "without --resume the file is read from its start"


class ResumeRefused(Exception):
    """An import cannot go on where it was; the message says why."""


class Portion:
    """Lines that were taken together, and how many of them have no answer yet."""

    __slots__ = ("held", "last", "missing", "refused")

    def __init__(self, last: int, lines: int) -> None:
        self.last = last
        self.missing = lines
        self.refused = 0
        self.held = ""
        """The id of one of its events that the store has."""


class PassedOver(NamedTuple):
    """The number of a line up to which all have been answered, and how many of these were refused."""

    line: int = 0
    refused: int = 0


NOTHING: Final = PassedOver()


class AnsweredLines:
    """Tells up to which line all have been answered, in whatever order answers come.

    Args:
        before: what was answered by an earlier import.
    """

    def __init__(self, before: PassedOver = NOTHING) -> None:
        self.last, self.refused = before
        """The number of the last line of which that is true, and of all lines before it; how many were refused."""
        self.held: deque[HeldPlace] = deque(maxlen=MOST_PLACES)
        """Places before that, the last one at the end."""
        self._begun: deque[Portion] = deque()
        self._has_failed = False

    def begin(self, last: int, lines: int) -> Portion:
        """Take in some lines, of which each will have one answer.

        Args:
            last: the number of the last of them.
            lines: how many they are; at least one.
        """
        portion = Portion(last, lines)
        if not self._has_failed:
            self._begun.append(portion)
        return portion

    def answer(self, portion: Portion, held: str = "", *, is_refused: bool = False) -> None:
        """Take an answer that is final; with the id of an event that the store has, if it says that."""
        portion.missing -= 1
        portion.refused += is_refused
        portion.held = held or portion.held
        while self._begun and not self._begun[0].missing:
            done = self._begun.popleft()
            self.last = done.last
            self.refused += done.refused
            if done.held:
                self.held.append(HeldPlace(done.last, done.held, self.refused))

    @property
    def passed(self) -> PassedOver:
        """What an import that goes on need not look at again."""
        return PassedOver(self.last, self.refused)

    def fail(self) -> None:
        """Take an answer that is not: nothing from here on is told as answered."""
        self._has_failed = True
        self._begun.clear()


class HeldPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line up to which all were answered, the id of an event of about there that the store had by then, and how many
    lines were refused up to there.
    """

    line: int
    id: str
    refused: int = 0


class Fingerprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tells a file from others, and from itself once something has been written to it.

    Attributes:
        size: its bytes.
        modified: when, in nanoseconds since 1970.
        start: the SHA-256 of its first 64 KiB.
    """

    size: int
    modified: int
    start: str


class Bookmarked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies beside an import's file.

    Attributes:
        file: what the file was.
        store: the name of the store that it went into.
        line: the number of the last line that need not be read again.
        held: some places before it, by which it is seen whether the store still has what was answered.
        refused: how many lines up to there were refused; they make the import of the whole file one with refusals.
    """

    file: Fingerprint
    store: str
    line: int
    held: list[HeldPlace]
    refused: int = 0


def fingerprint(file: BinaryIO) -> Fingerprint:
    """Look at an open file, whose position is at its start and stays there.

    Raises:
        OSError: it cannot be read.
    """
    found = os.fstat(file.fileno())
    start = os.pread(file.fileno(), _START_BYTES, 0)
    return Fingerprint(found.st_size, found.st_mtime_ns, hashlib.sha256(start).hexdigest())


class Bookmark:
    """Remembers how far the import of a file into a store has come.

    Args:
        path: of the import's file; what is remembered lies beside it.
        file: what it is now.
        store: the name of the store.
    """

    def __init__(self, path: Path, file: Fingerprint, store: str) -> None:
        self.path = path.with_name(path.name + SUFFIX)
        """Where it lies."""
        self._file = file
        self._store = store
        self._noted = 0

    def recall(self) -> Bookmarked | None:
        """What was remembered last; None if nothing is: the import has ended, or was never begun.

        Raises:
            ResumeRefused: it is about another file or store, or cannot be read.
        """
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=Bookmarked)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._refuse(f"it cannot be read: {error.strerror}")
        except msgspec.DecodeError:
            self._refuse("it is not what an import writes there")
        if found.file != self._file:
            self._refuse("the file has changed since")
        if found.store != self._store:
            self._refuse(f"that import went into another store, {found.store}")
        return found

    def _refuse(self, why: str) -> NoReturn:
        raise ResumeRefused(f"{self.path}: {why}; {_WITHOUT}")

    async def keep(self, answered: AnsweredLines) -> None:
        """Note how far it has come, once a second, until cancelled, or until that fails, which is said once."""
        while True:
            await trio.sleep(SECONDS_BETWEEN_NOTES)
            if answered.last != self._noted:
                try:
                    await trio.to_thread.run_sync(self._write, answered.passed, list(answered.held))
                except OSError as error:
                    log.warning("cannot note how far the import is", path=str(self.path), error=error.strerror)
                    return

    def note(self, answered: AnsweredLines) -> None:
        """Note how far it has come now, if that is farther than was noted and can be."""
        if answered.last != self._noted:
            with suppress(OSError):
                self._write(answered.passed, list(answered.held))

    def _write(self, passed: PassedOver, held: list[HeldPlace]) -> None:
        noted = Bookmarked(self._file, self._store, passed.line, held, passed.refused)
        with written_whole(self.path) as file:
            file.write(msgspec.json.encode(noted) + b"\n")
        self._noted = passed.line

    def forget(self) -> None:
        """Take away what was noted, and what kills in the middle of a note have left: the import is done."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            remove_unfinished(self.path)


async def place_to_resume(remembered: Bookmarked, store: Queryable) -> PassedOver:
    """Return what need not be looked at again: up to the last line at which the store has what it had then.

    After a loss of power a store that does not wait for its disk may have lost its last commits. One that has none of
    those events is another one under the same name.

    Raises:
        ResumeRefused: it is.
        StoreError: the store could not tell.
    """
    whole = PassedOver(remembered.line, remembered.refused)
    for place in reversed(remembered.held):
        if await store.count([Filter(ids=frozenset({place.id}))]):
            return whole if place is remembered.held[-1] else PassedOver(place.line, place.refused)
    if remembered.held:
        raise ResumeRefused(f"the store has none of the events that the import had brought it by then; {_WITHOUT}")
    return whole
