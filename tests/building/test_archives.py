"""Archives of a release: the same files give the same bytes, and what differs is told."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from building import archives

MOMENT = 1_700_000_000
FILES = {"relay/b.py": b"b", "relay/a.py": b"a"}
names = st.lists(st.text("abé", min_size=1, max_size=60), min_size=1, max_size=4).map("/".join)
machines = st.fixed_dictionaries(
    {
        "mtime": st.floats(0, 1e9),
        "uid": st.integers(0, 65535),
        "uname": st.sampled_from(["", "root", "josé"]),
        "mode": st.sampled_from([0o644, 0o600, 0o664]),
    }
)


def tarred(path: Path, files: Mapping[str, bytes], **said: object) -> Path:
    """A `.tar.gz` of these in this order, whose entries say this of each."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in said.items():
                setattr(entry, field, value)
            tar.addfile(entry, io.BytesIO(content))
    return path


def zipped(path: Path, files: Mapping[str, bytes], minute: int = 0) -> Path:
    """A wheel of these in this order."""
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (2026, 11, 30, 10, minute, 0)), content)
    return path


@given(st.dictionaries(names, st.binary(max_size=9)), machines, machines)
def test_packed_again_the_same_files_are_the_same_bytes(
    files: dict[str, bytes], one: dict[str, object], other: dict[str, object]
) -> None:
    with TemporaryDirectory() as folder:
        first = tarred(Path(folder, "first.tar.gz"), files, **one)
        second = tarred(Path(folder, "second.tar.gz"), dict(reversed(files.items())), **other)
        archives.pack_again(first, MOMENT)
        archives.pack_again(second, MOMENT)
        assert first.read_bytes() == second.read_bytes()
        assert {name: content for name, (_, content) in archives.members(first).items()} == files


def test_packed_again_a_program_can_still_be_run(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "sources.tar.gz", {"run": b"#!/bin/sh\n"}, mode=0o700)
    archives.pack_again(archive, MOMENT)
    with tarfile.open(archive) as tar:
        [entry] = tar.getmembers()
    assert (entry.mode, entry.mtime, entry.uid, entry.uname) == (0o755, MOMENT, 0, "")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders for what two builds give."""
    folders = tmp_path / "one", tmp_path / "another"
    for folder in folders:
        folder.mkdir()
    return folders


def test_where_all_bytes_are_the_same_nothing_differs(two: tuple[Path, Path]) -> None:
    for folder in two:
        zipped(folder / "relay.whl", FILES)
        (folder / "NOTES.md").write_text("the same")
    assert archives.differences(*two) == []


def test_what_differs_is_told_by_member(two: tuple[Path, Path]) -> None:
    first, second = two
    zipped(first / "content.whl", FILES)
    zipped(second / "content.whl", {**FILES, "relay/a.py": b"other"})
    zipped(first / "missing.whl", FILES)
    zipped(second / "missing.whl", {"relay/a.py": b"a"})
    zipped(first / "order.whl", FILES)
    zipped(second / "order.whl", dict(reversed(FILES.items())))
    zipped(first / "time.whl", {"relay/a.py": b"a"}, minute=1)
    zipped(second / "time.whl", {"relay/a.py": b"a"}, minute=2)
    tarred(first / "user.tar.gz", {"relay/a.py": b"a"}, uname="root")
    tarred(second / "user.tar.gz", {"relay/a.py": b"a"}, uname="me")
    (first / "NOTES.md").write_text("one")
    (second / "NOTES.md").write_text("another")
    (first / "lonely.whl").touch()
    told = archives.differences(first, second)
    assert told[:5] == [
        "lonely.whl: only one of the two builds has it",
        "NOTES.md: another content of NOTES.md",
        "content.whl: another content of relay/a.py",
        "missing.whl: only one has relay/b.py",
        "order.whl: the same members, packed in another way",
    ]
    assert [line.partition(" is said to be ")[0] for line in told[5:]] == [
        "time.whl: relay/a.py",
        "user.tar.gz: relay/a.py",
    ]


def test_a_folder_that_is_named_in_a_file_is_told(tmp_path: Path) -> None:
    zipped(tmp_path / "relay.whl", {**FILES, "relay/net.so": b"\x7fELF\0/home/me/sources/net.c\0"})
    assert archives.folders_named(tmp_path, ["/home/me", "/tmp/scratch"]) == ["relay.whl: /home/me is in relay/net.so"]
