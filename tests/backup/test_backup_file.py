"""The form of a backup: whatever becomes of its bytes, it is read as it was written, or refused."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_relay.backup import backup_file, base

STORE = b"SQLite format 3\0" + bytes(range(256)) * 2
HEADER = backup_file.BackupHeader(
    backup_file.FORMAT, backup_file.VERSION, 1_700_000_000, "0.1.0", 6, 12, len(STORE), with_key=False
)
DAMAGED = "it is damaged, or a part of it is missing"


def written(store: bytes = STORE, header: backup_file.BackupHeader = HEADER) -> bytes:
    """A whole backup."""
    out = io.BytesIO()
    backup_file.write_backup(out, header, io.BytesIO(store), lambda: None)
    return out.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.backup"


def read(path: Path) -> bytes:
    return b"".join(backup_file.contents(path))


def refusal(path: Path) -> str:
    with pytest.raises(base.BackupRefused) as refused:
        read(path)
    return str(refused.value)


def test_what_was_written_is_read(path: Path) -> None:
    path.write_bytes(written())
    assert backup_file.read_header(path) == HEADER
    assert read(path) == STORE


def test_every_change_of_a_byte_is_refused(path: Path) -> None:
    """All bytes, each changed in one bit and in all of them."""
    whole = written()
    for place, byte in enumerate(whole):
        for other in (byte ^ 1, byte ^ 0x80, byte ^ 0xFF):
            path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
            assert refusal(path).startswith(f"{path}: "), place


def test_every_cut_is_refused_and_so_is_more(path: Path) -> None:
    whole = written()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(path)
    for more in (b"\0", b"\n", whole, zstandard.compress(b""), zstandard.compress(STORE)):
        path.write_bytes(whole + more)
        assert refusal(path) == f"{path}: {DAMAGED}"


@settings(max_examples=200)
@given(st.data())
def test_whatever_else_becomes_of_it_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Pieces are moved, doubled, left out and written over."""
    path = tmp_path_factory.getbasetemp() / "changed.backup"
    whole = written()
    places = st.integers(0, len(whole))
    start, end, place = (data.draw(places) for _ in range(3))
    piece = data.draw(st.sampled_from([b"", whole[min(start, end) : max(start, end)]]) | st.binary(max_size=80))
    changed = whole[:place] + piece + whole[data.draw(places) :]
    path.write_bytes(changed)
    if changed == whole:
        assert read(path) == STORE
    else:
        assert refusal(path)


def test_another_file_is_no_backup(path: Path) -> None:
    for foreign in (b"", b"SQLite format 3\0", b"[]\n", b'{"format":"another"}\n', b"\xff\n", b"[" * 100_000 + b"\n"):
        path.write_bytes(foreign)
        assert refusal(path) == f"{path}: it is no backup of trio-relay"
    path.unlink()
    assert refusal(path) == f"{path} cannot be read: No such file or directory"


def test_a_newer_form_is_named_whatever_else_it_says(path: Path) -> None:
    path.write_bytes(b'{"format":"trio-relay backup","version":2,"moons":7}\n...')
    assert refusal(path) == f"{path}: it is of form 2, and this program reads form 1"


def test_a_store_that_is_longer_or_shorter_than_it_says_is_refused_although_the_sum_is_right(path: Path) -> None:
    for store in (STORE[:-1], STORE + b"\0", STORE * 10_000, b""):
        path.write_bytes(written(store))
        assert refusal(path) == f"{path}: {DAMAGED}"


def test_tools_that_know_nothing_of_it_take_it_apart(path: Path) -> None:
    """As the page for operators says: `head`, `tail`, `zstd` and `sha256sum`."""
    whole = written()
    line, _, rest = whole.partition(b"\n")
    assert json.loads(line)["events"] == 12
    assert zstandard.ZstdDecompressor().decompressobj().decompress(rest[:-32]) == STORE
    assert hashlib.sha256(whole[:-32]).digest() == whole[-32:]


def test_what_is_asked_to_end_ends(path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        backup_file.write_backup(io.BytesIO(), HEADER, io.BytesIO(STORE), stop)
