"""Files as they lie on a disk or come by a pipe: plain, gzip or zstd, told by their first bytes, read as one stream."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from trio_relay.compressed import is_zstd, open_zstd_reader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP: Final = b"\x1f\x8b"
_FOREIGN: Final = {
    b"\xfd7zX": "is compressed by xz; decompress it first, as by xzcat",
    b"BZh": "is compressed by bzip2; decompress it first, as by bzcat",
    b"PK\x03\x04": "is a ZIP archive; unpack it first",
    b"\xff\xfe": "is UTF-16; convert it to UTF-8 first, as by iconv",
    b"\xfe\xff": "is UTF-16; convert it to UTF-8 first, as by iconv",
}
"""By their first bytes, files that would only give a refusal for each of their lines."""
_LONGEST_START: Final = 4
BUFFER_BYTES: Final = 2**18
"""Of a file that are read at a time, if so many are there."""


class BrokenFile(Exception):
    """A file that cannot be read to its end; the message says where it breaks off, and why."""


class Packed(NamedTuple):
    """What a file holds.

    Attributes:
        stream: the data, decompressed as they are read; nothing can be sought in it.
        form: "plain", "gzip" or "zstd".
    """

    stream: io.BufferedIOBase | BinaryIO
    form: str


def open_packed(file: BinaryIO, progress: Callable[[int], None] = lambda _bytes: None) -> Packed:
    """Open what a file holds, in whichever of the three forms.

    Args:
        file: nothing is sought in it, so it may be a pipe.
        progress: called with the bytes that were read of the file itself, whenever some were.

    Raises:
        BrokenFile: it is of another form; the message names it.
        OSError: it cannot be read.
    """
    source = _Source(file, progress)
    start = source.start()
    for foreign, what in _FOREIGN.items():
        if start.startswith(foreign):
            raise BrokenFile(f"the file {what}")
    buffered = io.BufferedReader(source, BUFFER_BYTES)
    if start.startswith(_GZIP):
        return Packed(GzipFile(fileobj=buffered), "gzip")
    if is_zstd(start):
        return Packed(open_zstd_reader(buffered), "zstd")
    return Packed(buffered, "plain")


@contextmanager
def said_as_broken(form: str, where: Callable[[], str]) -> Iterator[None]:
    """Have what a stream raises come out as a `BrokenFile`.

    Args:
        form: that of the stream.
        where: tells how far it was read.
    """
    try:
        yield
    except EOFError as error:
        raise BrokenFile(f"{where()}: the {form} data end too early, so a part is missing") from error
    except zlib.error as error:
        raise BrokenFile(f"{where()}: the {form} data are damaged") from error
    except OSError as error:  # what decompresses gives no number
        why = f"cannot read: {error.strerror}" if error.errno else f"the {form} data are damaged"
        raise BrokenFile(f"{where()}: {why}") from error


class _Source(io.RawIOBase):
    """The bytes of a file, counted as they are read; its start can be looked at without a seek."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        # What is there is enough: a pipe's writer may be slow, and its lines should not wait for others. `readinto1`
        # would wait for more as long as there is room.
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        self._progress = progress
        self._held = b""

    def start(self) -> bytes:
        """Return the first bytes, which are read again afterwards; fewer if there are no more."""
        held = bytearray()
        while len(held) < _LONGEST_START and (found := self.read(_LONGEST_START - len(held))):
            held += found
        self._held = bytes(held)
        return self._held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        if self._held:
            held, self._held = self._held[: len(room)], self._held[len(room) :]
            room[: len(held)] = held
            return len(held)
        found = self._read(len(room))
        room[: len(found)] = found
        self._progress(len(found))
        return len(found)
