"""Streams that are compressed by zstd (RFC 8878), read and written in bounded memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

LEVEL: Final = 3
"""What zstd takes by itself."""

_FRAME: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Of a frame without data all but the first byte, which is one of sixteen; pzstd begins its files with such."""
_WINDOW_BYTES: Final = 2**27
"""What a frame may look back, and so the memory that it takes: as much as zstd itself lets it have unless told."""
_PART_BYTES: Final = 2**10
"""Of compressed data, taken at a time: they become 32 MiB at most, whoever made them."""


class DamagedZstd(OSError):
    """It is not as it was written, or it is not zstd at all."""


def is_zstd(start: bytes) -> bool:
    """True if a file with these first four bytes is compressed by zstd."""
    return start == _FRAME or (start[1:] == _SKIPPABLE and start[0] & 0xF0 == 0x50)


def open_zstd_reader(file: BinaryIO) -> io.BufferedReader:
    """Open what is compressed for reading: frames one after another, as `cat` and rotated logs leave them.

    Args:
        file: nothing is sought in it, so it may be a pipe. It stays open.

    Returns:
        The data. Reading it raises EOFError where they end before their frame does, `DamagedZstd` where they are
        damaged, or need more memory than 128 MiB, and OSError where the file cannot be read.
    """
    return io.BufferedReader(_ZstdReader(file), io.DEFAULT_BUFFER_SIZE)


def open_zstd_writer(file: BinaryIO, level: int = LEVEL) -> BinaryIO:
    """Open a file for writing what is to be compressed; the same data give the same bytes.

    Args:
        file: it stays open.
        level: 1 to 22.

    Returns:
        To be closed once all is written, and not before: what has not been closed does not look whole.
    """
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return compressor.stream_writer(file, closefd=False)


class _ZstdReader(io.RawIOBase):
    """The library's own reader takes data that break off for whole ones (seen with zstandard 0.25.0)."""

    def __init__(self, file: BinaryIO) -> None:
        # What is there is enough: a pipe's writer may be slow.
        self._read = cast("Callable[[int], bytes]", getattr(file, "read1", file.read))
        self._frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = memoryview(b"")
        self._data = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._data:
            if not self._compressed:
                self._compressed = memoryview(self._read(io.DEFAULT_BUFFER_SIZE))
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the zstd data end before their frame does")
                return 0
            self._data = memoryview(self._decompressed())
        room = memoryview(buffer).cast("B")
        number = min(len(room), len(self._data))
        room[:number] = self._data[:number]
        self._data = self._data[number:]
        return number

    def _decompressed(self) -> bytes:
        part = self._compressed[:_PART_BYTES]
        frame = self._frame or self._frames.decompressobj()
        try:
            data = frame.decompress(part)
        except zstandard.ZstdError as error:
            raise DamagedZstd(str(error)) from error
        # What a frame has left of the part belongs to the next one.
        self._compressed = self._compressed[len(part) - len(frame.unused_data) :]
        self._frame = None if frame.eof else frame
        return data
