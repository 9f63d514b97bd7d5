"""A file that an operator names is not written where the store has its own, whatever it is called there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trio_relay.store.sqlite import lock

BESIDE = ["", "-wal", "-shm", "-journal", ".lock", ".sock", ".before-restore", ".before-20260101T000000Z-wal"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The path of a store's file, of which only the name counts."""
    path = tmp_path / "data" / "relay.db"
    path.parent.mkdir()
    path.write_bytes(b"a database")
    return path


@pytest.mark.parametrize("end", BESIDE)
def test_nothing_is_written_over_a_store_or_what_lies_beside_it(store: Path, end: str) -> None:
    told = lock.why_not_there(store, Path(f"{store}{end}"))
    assert told is not None
    assert str(store) in told


@pytest.mark.parametrize("end", BESIDE)
def test_another_spelling_or_a_link_to_it_is_the_same(
    store: Path, tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link, own = tmp_path / "folder", tmp_path / "link", f"{store.name}{end}"
    folder.symlink_to(store.parent)
    link.symlink_to(store.parent / own)
    for name in (folder / own, link, store.parent / ".." / "data" / own):
        assert lock.why_not_there(store, name) is not None
    monkeypatch.chdir(store.parent)
    assert lock.why_not_there(store, Path(own)) is not None
    assert lock.why_not_there(Path(store.name), store.parent / own) is not None


@pytest.mark.parametrize("end", BESIDE[:-2])
def test_a_hard_link_to_it_is_the_same(store: Path, tmp_path: Path, end: str) -> None:
    own, other = Path(f"{store}{end}"), tmp_path / "other"
    own.touch()
    os.link(own, other)
    assert lock.why_not_there(store, other) is not None


@pytest.mark.parametrize("end", BESIDE)
def test_what_lies_beside_a_store_that_a_link_names_is_its_own_too(store: Path, tmp_path: Path, end: str) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(store)
    for named in (Path(f"{link}{end}"), Path(f"{store}{end}")):
        assert lock.why_not_there(link, named) is not None


@pytest.mark.parametrize("name", ["relay.db.backup", "relay.db.zst", "relay", "backups/relay.db", "-", "relay.db2"])
def test_all_else_may_be_written(store: Path, name: str) -> None:
    assert lock.why_not_there(store, store.parent / name) is None


def test_where_no_store_is_yet_its_place_is_kept_free(tmp_path: Path) -> None:
    store = tmp_path / "none" / "relay.db"
    assert lock.why_not_there(store, store) is not None
    assert lock.why_not_there(store, tmp_path / "other") is None
