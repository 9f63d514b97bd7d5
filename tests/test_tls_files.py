"""The certificate in files: read again when it changes, and kept where what is there cannot be used."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.support.authority import certified, written
from trio_relay import NetOptions
from trio_relay.net import tls
from trio_relay.tls_files import LOOK_SECONDS, TlsFiles, tls_files

pytestmark = pytest.mark.usefixtures("inline_threads")

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = 86_400
FIRST, SECOND = certified(ends=NOW + timedelta(days=100)), certified(ends=NOW + timedelta(days=200))


def files_in(folder: Path, pair: tls.CertifiedKey = FIRST) -> TlsFiles:
    """Of a folder, with a clock that begins at `NOW` and goes as Trio's."""
    options = NetOptions(**written(folder, pair))  # type: ignore[arg-type]  # both are texts
    return TlsFiles(Path(options.tls_certificate), Path(options.tls_key), lambda: NOW.timestamp() + trio.current_time())


@asynccontextmanager
async def followed(files: TlsFiles) -> AsyncIterator[list[tls.CertifiedKey]]:
    """What is handed on meanwhile."""
    taken: list[tls.CertifiedKey] = []
    async with trio.open_nursery() as following:
        following.start_soon(files.run, taken.append, trio.Lock())
        yield taken
        following.cancel_scope.cancel()


@contextmanager
def told() -> Iterator[list[tuple[str, Any]]]:
    """The lines of the log meanwhile: what happened, and the error, or when the certificate ends."""
    found: list[tuple[str, Any]] = []
    with capture_logs() as lines:
        yield found
    found += [(line["event"], line.get("error", line.get("ends"))) for line in lines]


async def test_another_pair_is_taken_at_the_next_look(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = files_in(tmp_path)
    with told() as lines:
        async with followed(files) as taken:
            await trio.sleep(3 * LOOK_SECONDS + 1)
            assert taken == []
            written(tmp_path, SECOND)
            await trio.sleep(LOOK_SECONDS)
            assert taken == [SECOND] == [files.certified]
            await trio.sleep(3 * LOOK_SECONDS)
            assert taken == [SECOND]
    assert lines == [("TLS certificate read again", "2027-06-17")]


async def test_a_link_that_is_changed_is_a_change(tmp_path: Path, autojump_clock: MockClock) -> None:
    """As those make them that renew certificates."""
    for name, pair in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, pair)
    (tmp_path / "live").symlink_to("one")
    files = TlsFiles(tmp_path / "live" / "relay.pem", tmp_path / "live" / "relay.key")
    async with followed(files) as taken:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "live")
        await trio.sleep(LOOK_SECONDS + 1)
        assert taken == [SECOND]


async def test_half_of_a_change_is_none_and_is_told_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = files_in(tmp_path)
    with told() as lines:
        async with followed(files) as taken:
            (tmp_path / "relay.pem").write_bytes(SECOND.chain)
            await trio.sleep(5 * LOOK_SECONDS + 1)
            assert (taken, files.certified) == ([], FIRST)
            (tmp_path / "relay.key").write_bytes(SECOND.key)
            await trio.sleep(LOOK_SECONDS)
            assert taken == [SECOND]
    assert lines == [
        (
            "the TLS certificate stays as it is",
            "net.tls_certificate, net.tls_key: the key is not the one of the certificate",
        ),
        ("TLS certificate read again", "2027-06-17"),
    ]


@pytest.mark.parametrize("spoilt", ["gone", "a pipe", "no PEM"])
async def test_what_cannot_be_read_changes_nothing(spoilt: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    files = files_in(tmp_path)
    with told() as lines:
        async with followed(files) as taken:
            (tmp_path / "relay.pem").unlink()
            if spoilt == "a pipe":
                os.mkfifo(tmp_path / "relay.pem")
            elif spoilt == "no PEM":
                (tmp_path / "relay.pem").write_bytes(b"hello")
            await trio.sleep(3 * LOOK_SECONDS + 1)
            assert (taken, files.certified) == ([], FIRST)
    assert [event for event, _ in lines] == ["the TLS certificate stays as it is"]


async def test_what_was_read_elsewhere_is_theirs_from_then_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = files_in(tmp_path)
    (tmp_path / "new").mkdir()
    new = written(tmp_path / "new", SECOND)
    with told() as lines:
        async with followed(files) as taken:
            assert files.go_by(Path(new["tls_certificate"]), Path(new["tls_key"]), SECOND)
            assert not files.go_by(Path(new["tls_certificate"]), Path(new["tls_key"]), SECOND)
            written(tmp_path, certified(ends=NOW + timedelta(days=300)))  # nobody looks there any more
            await trio.sleep(3 * LOOK_SECONDS + 1)
            assert (taken, files.certified) == ([], SECOND)
            written(tmp_path / "new", FIRST)
            await trio.sleep(LOOK_SECONDS)
            assert taken == [FIRST]
    assert lines == [("TLS certificate read again", "2027-06-17"), ("TLS certificate read again", "2027-03-09")]


@pytest.mark.parametrize(
    ("days", "expected"), [(17, ["soon"]), (15, ["soon"] * 3), (1, ["soon", "ended", "ended", "ended"]), (400, [])]
)
async def test_an_end_that_is_near_is_told_once_a_day(
    days: int, expected: list[str], tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.tls_files.LOOK_SECONDS", DAY / 8)
    files = files_in(tmp_path, certified(ends=NOW + timedelta(days=days)))
    with told() as lines:
        async with followed(files):
            await trio.sleep(3.5 * DAY)
    assert [event.rpartition(" ")[2] for event, _ in lines] == expected


async def test_a_new_certificate_ends_the_warnings(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = files_in(tmp_path, certified(ends=NOW + timedelta(days=1)))
    with told() as lines:
        async with followed(files):
            await trio.sleep(1)
            written(tmp_path, SECOND)
            await trio.sleep(3 * LOOK_SECONDS)
    assert [event for event, _ in lines] == ["the TLS certificate ends soon", "TLS certificate read again"]


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_key_that_everybody_may_read_is_told(mode: int, is_told: bool, tmp_path: Path) -> None:
    named = written(tmp_path, FIRST)
    Path(named["tls_key"]).chmod(mode)
    with told() as lines:
        TlsFiles(Path(named["tls_certificate"]), Path(named["tls_key"]))
    assert [event for event, _ in lines] == ["everybody on this machine may read the TLS key"] * is_told
    assert Path(named["tls_key"]).stat().st_mode & 0o777 == mode


def test_what_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    named = written(tmp_path, tls.CertifiedKey(FIRST.chain, SECOND.key))
    with pytest.raises(tls.TlsRefused, match="the key is not the one of the certificate"):
        tls_files(NetOptions(**named))  # type: ignore[arg-type]  # both are texts
    Path(named["tls_key"]).unlink()
    with pytest.raises(tls.TlsRefused, match=r"net\.tls_key: .*relay\.key: No such file"):
        tls_files(NetOptions(**named))  # type: ignore[arg-type]  # as above


def test_where_none_are_named_there_are_none() -> None:
    assert tls_files(NetOptions()) is None
