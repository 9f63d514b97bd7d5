"""The form of a backup: one line of JSON that says what it is, the store's file by zstd, and a checksum of all that.

    {"format":"trio-relay backup","version":1,…}\\n   what is in it; `head -1` shows it
    one zstd frame                                   the database of SQLite, whole
    32 bytes                                         SHA-256 of everything before

So a file that is cut, longer or changed in any of its bytes is told from a whole one, and standard tools take it apart.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from trio_relay.backup.base import BackupRefused
from trio_relay.compressed import DamagedZstd, open_zstd_reader, open_zstd_writer

FORMAT: Final = "trio-relay backup"
VERSION: Final = 1
_LEVEL: Final = 1
"""Of zstd: 3, its own choice, takes twice the time for a file that is 9 % smaller."""
_DIGEST_BYTES: Final = 32
_LONGEST_HEADER: Final = 4_096
_CHUNK_BYTES: Final = 4_194_304


class BackupHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself in its first line.

    Attributes:
        format: `FORMAT`.
        version: `VERSION`, of the file's form.
        made: seconds since 1970, not after the moment whose store it is.
        program: the version of trio-relay that made it.
        schema: version of the store's tables.
        events: how many there are.
        size: bytes of the store's file.
        with_key: whether the relay's own secrets are in it.
    """

    format: str
    version: int
    made: int
    program: str
    schema: int
    events: int
    size: int
    with_key: bool


def write_backup(out: BinaryIO, header: BackupHeader, store: BinaryIO, pause: Callable[[], None]) -> None:
    """Write a backup of a store's file; blocks.

    Args:
        out: where to; nothing is sought in it.
        header: what it says of itself.
        store: the database, `header.size` bytes.
        pause: called after each piece; it may wait, or raise what then ends this.

    Raises:
        OSError: it could not be read or written.
    """
    hashed = _HashedWriter(out)
    hashed.write(msgspec.json.encode(header) + b"\n")
    compressed = open_zstd_writer(cast("BinaryIO", hashed), _LEVEL)
    while chunk := store.read(_CHUNK_BYTES):
        compressed.write(chunk)
        pause()
    compressed.close()
    out.write(hashed.digest)


def read_header(path: Path) -> BackupHeader:
    """Return what a file says of itself; whether the rest of it is whole, only `contents` tells.

    Raises:
        BackupRefused: it is no backup, or of a newer form than this program knows, or cannot be read.
    """
    with _reading(path), _opened(path) as file:
        return _header(file.readline(_LONGEST_HEADER))


def contents(path: Path) -> Iterator[bytes]:
    """Read the store's file out of a backup, piece by piece; only once the last is given, all of them count.

    Raises:
        BackupRefused: from a step: it is no backup, of a newer form, or not in each of its bytes as it was written.
    """
    with _reading(path), _opened(path) as file:
        line = file.readline(_LONGEST_HEADER)
        left = _header(line).size
        hashed = _HashedReader(file, line, os.fstat(file.fileno()).st_size - _DIGEST_BYTES)
        store = open_zstd_reader(cast("BinaryIO", hashed))
        while left >= 0 and (chunk := store.read(_CHUNK_BYTES)):
            left -= len(chunk)
            yield chunk
        if left or hashed.digest != file.read():
            raise BackupRefused(_NOT_WHOLE)


_NOT_WHOLE: Final = "it is damaged, or a part of it is missing"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Have what is wrong with a file named after it."""
    try:
        yield
    except BackupRefused as refused:
        raise BackupRefused(f"{path}: {refused}") from None
    except (EOFError, DamagedZstd):
        raise BackupRefused(f"{path}: {_NOT_WHOLE}") from None
    except OSError as error:
        raise BackupRefused(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; a pipe would be waited for, and could not be read twice."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BackupRefused("it is no regular file, and a backup is read twice")
        yield file


def _header(line: bytes) -> BackupHeader:
    try:
        found = msgspec.json.decode(line)
        is_ours = isinstance(found, dict) and found.get("format") == FORMAT and line.endswith(b"\n")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_ours = False
    if not is_ours:
        raise BackupRefused("it is no backup of trio-relay")
    if (version := found.get("version")) != VERSION:
        raise BackupRefused(f"it is of form {version!r}, and this program reads form {VERSION}")
    try:
        return msgspec.convert(found, BackupHeader)
    except msgspec.ValidationError:
        raise BackupRefused(_NOT_WHOLE) from None


class _HashedWriter:
    """Writes into a file, and has the checksum of all that was written."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._sum = sha256()

    def write(self, data: bytes) -> int:
        self._sum.update(data)
        return self._out.write(data)

    @property
    def digest(self) -> bytes:
        return self._sum.digest()


class _HashedReader:
    """Reads a file up to this place, and has the checksum of all that was read.

    Args:
        file: read so far up to the end of `start`.
        start: what was read.
        end: bytes of the file that belong to it.
    """

    def __init__(self, file: BinaryIO, start: bytes, end: int) -> None:
        self._file = file
        self._left = max(end - len(start), 0)
        self._sum = sha256(start)

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        self._sum.update(data)
        return data

    @property
    def digest(self) -> bytes:
        return self._sum.digest()
