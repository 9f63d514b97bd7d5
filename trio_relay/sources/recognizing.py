"""What an argument names that events can be brought in from, told by its form or its first bytes.

What cannot be read at all is said at once, with what to do instead, before anything else is begun.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit

from trio_relay.sources import nostr_rs_relay, nostream, original_index
from trio_relay.sources.lines import DEFAULT_BOUNDS, Line, LineBounds, bounded_lines, read_lines
from trio_relay.sources.packed import open_packed, said_as_broken


class NoSource(Exception):
    """An argument names nothing that events can be read from; the message says why, and what to do instead."""


@dataclass(slots=True)
class EventSource:
    """What events are read from.

    Attributes:
        lines: the events and what is wrong with others, by blocking steps, each of which may be in another thread. A
            step raises `BrokenFile` where it cannot be read to its end.
        kind: what it is, in words.
        total_bytes: how many there are to be read; None if nobody knows.
        left_out: by why, how many events were there that are not among the lines; complete once all are read.
        is_repeatable: True if the same file gives the same lines when it is read again.
    """

    lines: Iterator[Line]
    kind: str
    total_bytes: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    is_repeatable: bool = False


@contextmanager
def open_source(
    argument: str, progress: Callable[[int], None] = lambda _bytes: None, bounds: LineBounds = DEFAULT_BOUNDS
) -> Iterator[EventSource]:
    """Open what an argument names, for as long as the context lasts.

    Args:
        argument: `-` for standard input; the path of a file of lines, of nostr-rs-relay's database or of a dump that
            pg_dump made of nostream's; `postgresql://…`, a database of nostream; `http(s)://…/nostr-events`, the
            index of the original relay.
        progress: called with the bytes that were read, whenever some were.
        bounds: of what is longer or holds more, only the fault is given.

    Raises:
        NoSource: it names nothing that can be read.
        BrokenFile: it could not be read as far as its first event.
    """
    if (scheme := _SCHEME.match(argument)) is not None:
        with _from_database(argument, scheme[1].lower(), progress, bounds) as source:
            yield source
    elif argument == "-":
        # Past its buffer: a thread that waits for more must not hold that one's lock when Ctrl-C ends the program.
        file = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        with _from_stream(file, "standard input", progress, bounds) as source:
            yield source
    else:
        with _opened(argument) as file:
            from_it = _from_file(file, Path(argument), progress, bounds)
            with from_it if _is_regular(file) else _from_stream(file, argument, progress, bounds) as source:
                yield source


_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@contextmanager
def _from_database(url: str, scheme: str, progress: Callable[[int], None], bounds: LineBounds) -> Iterator[EventSource]:
    source = EventSource(iter(()), "")

    def opened(size: int) -> None:
        source.total_bytes = size

    match scheme:
        case "postgresql" | "postgres":
            source.kind = "a database of nostream"
            read = nostream.read_postgres(url, source.left_out, opened, progress, bounds)
        case "http" | "https" if _has_path(url):
            source.kind = "the index of the original relay"
            read = original_index.read_index(url, opened, progress, bounds=bounds)
        case _:
            raise NoSource(_why_not(scheme))
    with _begun(read) as source.lines:
        yield source


def _has_path(url: str) -> bool:
    try:
        return urlsplit(url).path.strip("/") != ""
    except ValueError:
        raise NoSource("the URL cannot be read") from None


def _why_not(scheme: str) -> str:
    match scheme:
        case "ws" | "wss":
            return "events of a relay that runs come by `trio-relay sync`, not by an import"
        case "http" | "https":
            return "the URL names no index; that of the original relay is https://…:9200/nostr-events"
        case _:
            return f"nothing is read from {scheme}:// (but from postgresql:// and https://)"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file; what is none is told with what it is."""
    if Path(path).is_dir():
        raise NoSource(f"{path}: {_folder(Path(path))}")
    with ExitStack() as files:
        try:
            file = files.enter_context(Path(path).open("rb"))
        except OSError as error:
            raise NoSource(f"{path}: {error.strerror}") from error
        yield file


def _folder(path: Path) -> str:
    if (path / "data.mdb").exists():
        return _LMDB
    if (path / "toc.dat").exists():
        return _NOT_PLAIN
    if (path / "nostr.db").exists():
        return "this is a folder; the database of nostr-rs-relay is nostr.db in it"
    return "this is a folder"


_LMDB: Final = (
    "this is an LMDB database, which only the relay that made it can read; have that write its events as lines, such"
    " as by `strfry export`"
)
_NOT_PLAIN: Final = (
    "this is a dump, but no plain text; make one of it by `pg_restore --data-only --table=events --file=events.sql`"
)


def _is_regular(file: BinaryIO) -> bool:
    """True for a file that has all its bytes, so that they can be read again."""
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


@contextmanager
def _from_file(
    file: BinaryIO, path: Path, progress: Callable[[int], None], bounds: LineBounds
) -> Iterator[EventSource]:
    size, left_out = os.fstat(file.fileno()).st_size, Counter[str]()
    start = _start_of(file, str(path))
    file.seek(0)
    unpacked = _unpacked_start(file, str(path))
    if start.startswith(nostr_rs_relay.MAGIC):
        with _begun(nostr_rs_relay.read_database(path, left_out, progress, bounds)) as lines:
            yield EventSource(lines, "a database of nostr-rs-relay", size, left_out)
    elif unpacked.startswith(nostream.DUMP_START):
        with _begun(_read_packed_dump(file, left_out, progress, bounds)) as lines:
            yield EventSource(lines, "a dump of nostream", size, left_out, is_repeatable=True)
    else:
        yield EventSource(read_lines(file, progress, bounds=bounds), "lines", size, is_repeatable=True)


def _unpacked_start(file: BinaryIO, name: str) -> bytes:
    """Return the first bytes of what a file holds, of which a little is decompressed for that if it is compressed.

    Raises:
        NoSource: another program has to make something of it first.
    """
    with said_as_broken("compressed", lambda: "at the start"):
        stream, form = open_packed(file)
        start = stream.read(_LONGEST_MARK)
    file.seek(0)
    if form != "plain" and start.startswith(nostr_rs_relay.MAGIC):
        raise NoSource(f"{name}: this is a database that is compressed; decompress it first")
    _refuse_foreign(start, name)
    return start


@contextmanager
def _from_stream(
    file: BinaryIO, name: str, progress: Callable[[int], None], bounds: LineBounds
) -> Iterator[EventSource]:
    """Open what comes by a pipe, whose bytes come once: a compressed dump is not told from compressed lines."""
    start = _start_of(file, name)
    if start.startswith(nostr_rs_relay.MAGIC):
        raise NoSource(f"{name}: a database is no stream; name its file")
    whole = cast("BinaryIO", _LookedAt(file, start))
    if start.startswith(nostream.DUMP_START):
        left_out = Counter[str]()
        with _begun(_read_packed_dump(whole, left_out, progress, bounds)) as lines:
            yield EventSource(lines, "a dump of nostream", None, left_out)
    else:
        yield EventSource(read_lines(whole, progress, bounds=bounds), "lines")


class _LookedAt:
    """A stream that is read from its start, although that has been read already."""

    def __init__(self, file: BinaryIO, start: bytes) -> None:
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        self._start = start

    def read(self, size: int) -> bytes:
        """Return so many bytes at most; none at the end."""
        start, self._start = self._start[:size], self._start[size:]
        return start or self._read(size)


_START_BYTES: Final = 512
_LONGEST_MARK: Final = 32
"""Bytes by which any form is told; no more, since what breaks off behind them is still read up to there."""
_LMDB_MAGIC: Final = (0xBEEFC0DE).to_bytes(4, sys.byteorder)
_LMDB_MAGIC_AT: Final = 16


def _start_of(file: BinaryIO, name: str) -> bytes:
    """Return the first bytes of a file, by which it is told what it is; of a stream those that come at once.

    Raises:
        NoSource: another program has to make something of it first.
    """
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    start = read(_START_BYTES)
    while 0 < len(start) < len(nostream.DUMP_START) and (more := read(_START_BYTES)):
        start += more
    _refuse_foreign(start, name)
    return start


def _refuse_foreign(start: bytes, name: str) -> None:
    """Say what else reads a file that begins so, if it is one from which no events are read here.

    Raises:
        NoSource: it is.
    """
    if start[_LMDB_MAGIC_AT:].startswith(_LMDB_MAGIC):
        raise NoSource(f"{name}: {_LMDB}")
    if start.startswith((b"PGDMP", b"toc.dat\x00")):
        raise NoSource(f"{name}: {_NOT_PLAIN}")
    if start.startswith(b'{"format":"trio-relay backup"'):
        raise NoSource(f"{name}: this is a backup of a whole store; bring it back by `trio-relay restore`")
    if _ARRAY.match(start) is not None:
        raise NoSource(f"{name}: this is one JSON array; make a line of each event, as by `jq --compact-output '.[]'`")


_ARRAY: Final = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*\{")


def _read_packed_dump(
    file: BinaryIO, left_out: Counter[str], progress: Callable[[int], None], bounds: LineBounds
) -> Generator[Line, None, None]:
    stream, form = open_packed(file, progress)
    with said_as_broken(form, lambda: "within the dump"):
        texts = (text for text, _size in bounded_lines(stream, bounds.most_bytes))
        yield from nostream.read_dump(texts, left_out, bounds)


@contextmanager
def _begun(lines: Generator[Line, None, None]) -> Iterator[Iterator[Line]]:
    """Read as far as the first event, so that what cannot be read at all is told before anything is done."""
    first = next(lines, None)
    try:
        yield chain([] if first is None else [first], lines)
    finally:
        # A step that still goes on in a thread that was left behind, since the program is to end, says ValueError.
        with suppress(ValueError):
            lines.close()
