"""What an argument of `import` names: each kind of source, and what is said of all else."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest
import zstandard

from tests.sources.original_relay_index import make
from tests.sources.rust_relay_file import add, made_file
from tests.support.keys import ALICE, BOB
from trio_relay.sources import BrokenFile, EventSource, NoSource, open_source

EVENTS = [ALICE.event("first"), BOB.event("second", tags=[["t", "ü"]])]
LINES = b"".join(msgspec.json.encode(event) + b"\n" for event in EVENTS)
HEAD = (
    "--\n-- PostgreSQL database dump\n--\n\nCOPY public.events"
    " (event_id, event_pubkey, event_kind, event_created_at, event_content, event_tags, event_signature, deleted_at)"
    " FROM stdin;\n"
)


def row(number: int, deleted_at: str = r"\N") -> str:
    it = EVENTS[number]
    fields = [
        rf"\\x{it.id}",
        rf"\\x{it.pubkey}",
        it.kind,
        it.created_at,
        it.content,
        msgspec.json.encode(it.tags).decode(),
    ]
    return "\t".join([*map(str, fields), rf"\\x{it.sig}", deleted_at]) + "\n"


DUMP = (HEAD + row(0) + row(1) + "\\.\n").encode()
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def opened(argument: str) -> tuple[EventSource, int]:
    """What is read of a source, all of it, and the bytes that progress was told of."""
    read = list[int]()
    with open_source(argument, read.append) as source:
        source.lines = iter(list(source.lines))
    return source, sum(read)


def write_all(file: BinaryIO, data: bytes) -> None:
    with file:
        file.write(data)


def why_not(argument: str) -> str:
    with pytest.raises(NoSource) as caught, open_source(argument):
        pass
    return str(caught.value)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("data", "kind"), [(LINES, "lines"), (DUMP, "a dump of nostream")], ids=["lines", "dump"])
def test_a_text_is_known_by_how_it_begins_however_it_is_packed(
    tmp_path: Path, data: bytes, kind: str, packing: str
) -> None:
    path = tmp_path / "any name"
    path.write_bytes(PACKINGS[packing](data))
    source, read = opened(str(path))
    assert [line.event for line in source.lines] == EVENTS
    assert (source.kind, source.total_bytes) == (kind, read)


@pytest.mark.parametrize(("data", "kind"), [(LINES, "lines"), (DUMP, "a dump of nostream")], ids=["lines", "dump"])
def test_standard_input_is_known_by_how_it_begins(monkeypatch: pytest.MonkeyPatch, data: bytes, kind: str) -> None:
    there, here = os.pipe()
    with open(there, "rb") as pipe:
        os.write(here, data[:5])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        writer = threading.Thread(target=write_all, args=(os.fdopen(here, "wb"), data[5:]))
        writer.start()
        source, read = opened("-")
        writer.join()
        assert [line.event for line in source.lines] == EVENTS
        assert (source.kind, source.total_bytes, read) == (kind, None, len(data))


def test_a_database_of_nostr_rs_relay_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, EVENTS)
        add(database, [ALICE.event("deleted")], hidden=True)
    source, read = opened(str(tmp_path / "nostr.db"))
    assert [line.event for line in source.lines] == EVENTS
    assert (source.kind, source.total_bytes) == ("a database of nostr-rs-relay", read)
    assert source.left_out == {"deleted or replaced there": 1}


def test_a_named_pipe_is_read_as_standard_input_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(DUMP))
    writer.start()
    source, _ = opened(str(tmp_path / "pipe"))
    writer.join()
    assert [line.event for line in source.lines] == EVENTS
    assert (source.kind, source.total_bytes) == ("a dump of nostream", None)


def test_a_step_that_goes_on_in_a_thread_does_not_keep_a_source_from_being_closed(tmp_path: Path) -> None:
    """So it is when Ctrl-C ends an import: the thread is left behind."""
    with made_file(tmp_path / "nostr.db") as database:
        add(database, [ALICE.event(str(number)) for number in range(501)])
    is_reading, may_end = threading.Event(), threading.Event()

    def progress(_bytes: int) -> None:
        is_reading.set()
        may_end.wait()

    with open_source(str(tmp_path / "nostr.db"), progress) as source:
        reader = threading.Thread(target=lambda: list(source.lines))
        reader.start()
        is_reading.wait()
    may_end.set()
    reader.join()


def test_a_database_is_not_read_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, EVENTS)
    with (tmp_path / "nostr.db").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert why_not("-") == "standard input: a database is no stream; name its file"


def test_an_index_is_known_by_its_url(node: str, prefix: str) -> None:
    url = make(node, prefix, EVENTS)
    source, read = opened(url)
    assert {line.event.id for line in source.lines if line.event} == {event.id for event in EVENTS}
    assert (source.kind, source.total_bytes) == ("the index of the original relay", read)


def test_what_is_deleted_in_a_dump_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "nostream.sql"
    path.write_text(HEAD + row(0, "2024-01-01 00:00:00") + row(1) + "\\.\n", encoding="utf-8")
    source, _ = opened(str(path))
    assert [line.event for line in source.lines] == EVENTS[1:]
    assert source.left_out == {"deleted there": 1}


def test_what_cannot_be_read_at_all_is_told_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.sql").write_text("--\n-- PostgreSQL database dump\n--\n", encoding="utf-8")
    for argument, said in [
        (str(tmp_path / "other.sql"), "holds no table `events`"),
        ("postgresql:///nostream?host=/nowhere", "cannot read the database"),
        ("http://127.0.0.1:9/nostr-events", "cannot read the index"),
    ]:
        with pytest.raises(BrokenFile, match=said), open_source(argument):
            pass


def test_a_dump_that_breaks_off_says_where(tmp_path: Path) -> None:
    path = tmp_path / "nostream.sql.gz"
    text = HEAD + row(0) * 50_000
    path.write_bytes(gzip.compress(text.encode())[:-20_000])
    with (
        open_source(str(path)) as source,
        pytest.raises(BrokenFile, match="within the dump: the gzip data end too early"),
    ):
        list(source.lines)


def test_other_arguments_are_told_what_to_do_instead(tmp_path: Path) -> None:
    assert "`trio-relay sync`" in why_not("wss://relay.example")
    assert "`trio-relay sync`" in why_not("WS://127.0.0.1:7777")
    assert "names no index" in why_not("https://node.example:9200/")
    assert why_not("mysql://me:hidden@host/db") == "nothing is read from mysql:// (but from postgresql:// and https://)"
    assert why_not("http://[::1/x") == "the URL cannot be read"
    assert why_not(str(tmp_path / "no")) == f"{tmp_path / 'no'}: No such file or directory"


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PGDMP\x01\x0e\x00", "pg_restore --data-only --table=events"),
        (b"toc.dat" + bytes(500), "pg_restore --data-only --table=events"),
        (bytes(16) + (0xBEEFC0DE).to_bytes(4, sys.byteorder) + bytes(100), "strfry export"),
        (b'{"format":"trio-relay backup","version":1,', "trio-relay restore"),
        (b'[{"id":"', "jq --compact-output '.[]'"),
        (b'\xef\xbb\xbf[\r\n  {\r\n    "id": "', "jq --compact-output '.[]'"),
    ],
    ids=["custom dump", "tar dump", "LMDB", "backup", "array", "indented array"],
)
def test_a_file_that_only_another_program_reads_is_told_which(
    tmp_path: Path, start: bytes, said: str, packing: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(PACKINGS[packing](start))
    assert said in why_not(str(path))


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_compressed_database_is_told_to_be_decompressed(tmp_path: Path, packing: str) -> None:
    with made_file(tmp_path / "nostr.db") as database:
        add(database, EVENTS)
    path = tmp_path / "nostr.db.packed"
    path.write_bytes(PACKINGS[packing]((tmp_path / "nostr.db").read_bytes()))
    assert "decompress it first" in why_not(str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data.mdb", "strfry export"),
        ("toc.dat", "pg_restore"),
        ("nostr.db", "nostr.db in it"),
        ("other", "is a folder"),
    ],
)
def test_a_folder_is_told_what_it_seems_to_be(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    assert said in why_not(str(tmp_path))
