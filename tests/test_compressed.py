"""Streams by zstd: whatever was written comes back, and what was cut off or spoilt is never taken for whole."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.compressed import DamagedZstd, is_zstd, open_zstd_reader, open_zstd_writer

SKIPPABLE = b"\x5a\x2a\x4d\x18\x04\x00\x00\x00rest"


def packed(parts: Iterable[bytes]) -> bytes:
    """Each part in a frame of its own."""
    file = io.BytesIO()
    for part in parts:
        with open_zstd_writer(file) as writer:
            writer.write(part)
    return file.getvalue()


def unpacked(data: bytes) -> bytes:
    return open_zstd_reader(io.BytesIO(data)).read()


@given(st.lists(st.binary(max_size=300)), st.booleans())
def test_frames_one_after_another_are_one_stream(parts: list[bytes], has_skippable: bool) -> None:
    data = packed(parts)
    assert unpacked(SKIPPABLE + data + SKIPPABLE if has_skippable else data) == b"".join(parts)
    assert not data or is_zstd(data[:4])


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3), st.data())
def test_data_that_were_cut_are_whole_at_the_end_of_a_frame_and_nowhere_else(
    parts: list[bytes], data: st.DataObject
) -> None:
    ends = {len(packed(parts[:number])): number for number in range(len(parts) + 1)}
    cut = data.draw(st.integers(0, len(packed(parts))))
    if cut in ends:
        assert unpacked(packed(parts)[:cut]) == b"".join(parts[: ends[cut]])
    else:
        with pytest.raises(EOFError):
            unpacked(packed(parts)[:cut])


def test_what_came_before_a_cut_is_given() -> None:
    lines = os.urandom(300_000).hex().encode()
    reader = open_zstd_reader(io.BytesIO(packed([lines])[:-1]))
    assert b"".join(reader.read1(1_000) for _ in range(600)).startswith(lines[:500_000])
    with pytest.raises(EOFError):
        reader.read()


@pytest.mark.parametrize("spoilt", [packed([b"data"])[:-1] + b"?", packed([b"data"]) + b"more", b"none of it"])
def test_damage_is_told(spoilt: bytes) -> None:
    with pytest.raises(DamagedZstd):
        unpacked(spoilt)


def test_a_frame_that_unfolds_to_a_gigabyte_is_read_in_small_parts() -> None:
    bomb = packed([bytes(2**30)])
    reader = open_zstd_reader(io.BytesIO(bomb))
    assert len(bomb) < 100_000
    assert max(len(reader.read1(2**30)) for _ in range(40)) <= 2**25


def test_a_line_of_a_pipe_is_given_before_the_next_is_there() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb", buffering=0) as other_end:
        stream = open_zstd_reader(file)
        for line in (b"one\n", b"another\n"):
            other_end.write(packed([line]))
            assert stream.readline() == line


def test_the_same_data_give_the_same_bytes_and_what_is_not_closed_is_not_whole() -> None:
    file = io.BytesIO()
    writer = open_zstd_writer(file)
    writer.write(b"line\n" * 100_000)
    with pytest.raises(EOFError):
        unpacked(file.getvalue() or b"\x28")
    writer.close()
    assert file.getvalue() == packed([b"line\n" * 100_000])
    assert not file.closed


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("options", [["-1"], ["-19", "--long=27"], ["--no-check"], ["-T2"]])
def test_what_the_command_writes_is_read_and_the_other_way_round(options: list[str]) -> None:
    data = b"".join(b"%d\n" % number for number in range(200_000))
    assert unpacked(_zstd(options, data)) == data
    assert _zstd(["-d"], packed([data, b"more"])) == data + b"more"


def _zstd(options: list[str], data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, stdout=-1, check=True, timeout=60).stdout
