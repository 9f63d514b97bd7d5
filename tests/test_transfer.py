"""Events in from JSONL and out again: every line is accounted for, and what comes out is what went in."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import apsw
import msgspec
import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

from tests.support.backends import everything
from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import MemoryStore, PolicyOptions, RelayOptions, Rules, open_relay, transfer
from trio_relay.cli import main
from trio_relay.compressed import open_zstd_reader
from trio_relay.nostr.event import Event, encode
from trio_relay.pipeline import batches
from trio_relay.resuming import AnsweredLines, Portion
from trio_relay.sources import Line, read_lines
from trio_relay.store.sqlite.batch_writer import BatchWriter
from trio_relay.transfer import (
    MOST_REASONS,
    MOST_TOLD,
    OUTCOMES,
    PORTION_BYTES,
    PORTION_LINES,
    ImportSummary,
    export_lines,
    import_lines,
)

pytestmark = pytest.mark.usefixtures("own_logging")

NOTE = ALICE.event("a note")
OLD, NEW = ALICE.event("old", kind=0, created_at=NOW), ALICE.event("new", kind=0, created_at=NOW + 1)
GONE = ALICE.event("gone")
DELETION = ALICE.event(kind=5, tags=[["e", GONE.id]])
AWKWARD = BOB.event('é \u2028 \x00 \x0b \\ " \n 🦀', tags=[["t", "ü"], ["e"], []])


def _lines(*events: Event) -> bytes:
    return jsonl(events)


def _run(store: Path, *arguments: str, stdin: bytes = b"", color: bool = False) -> Result:
    environment = {"TRIO_RELAY_STORE__PATH": str(store), "FORCE_COLOR": "1" if color else None}
    return CliRunner().invoke(main, arguments, input=stdin, env=environment)


def test_an_import_says_what_became_of_every_line(tmp_path: Path) -> None:
    future = ALICE.event("tomorrow", created_at=int(time.time()) + 86_400)
    wrong_id = ALICE.signed("0" * 64, NOW, 1, [], "another")
    forged = msgspec.structs.replace(BOB.event("forged"), sig=ALICE.event().sig)
    typing = ALICE.event(kind=20_001)
    lines = _lines(DELETION, NOTE, NEW, OLD, typing, NOTE, GONE, future, wrong_id, wrong_id, forged)
    ended = _run(tmp_path / "relay.db", "import", "--each", stdin=lines + b"not JSON\n[1]\n\n  \r\n{}\n")
    first, *reasons = ended.stdout.splitlines()
    assert ended.exit_code == 1
    assert first == "14 events: 3 stored, 1 known, 1 superseded, 1 ephemeral, 1 gone, 7 refused"
    assert sorted(reasons) == [
        "  1 gone: deleted by its author, or older than a version that has expired",
        "  1 refused: created_at is more than 900 seconds ahead (created_at_ahead) (line 8)",
        "  1 refused: id is missing (line 16)",
        "  1 refused: sig is not a valid signature of the id by the pubkey (line 11)",
        "  1 refused: the line holds an array that is no EVENT message (line 13)",
        "  1 refused: the line is no JSON that can be read (line 12)",
        "  2 refused: id is not the hash of the event (line 9)",
    ]
    assert reasons[0] == "  2 refused: id is not the hash of the event (line 9)"
    *told, last = ended.stderr.splitlines()
    assert sorted(told, key=lambda line: int(line.removeprefix("line ").partition(":")[0])) == [
        "line 8: created_at is more than 900 seconds ahead (created_at_ahead)",
        "line 9: id is not the hash of the event",
        "line 10: id is not the hash of the event",
        "line 11: sig is not a valid signature of the id by the pubkey",
        "line 12: the line is no JSON that can be read",
        "line 13: the line holds an array that is no EVENT message",
        "line 16: id is missing",
    ]
    assert last == "trio-relay: not all lines were taken (--lenient: that is no failure)"


def test_of_thousands_of_reasons_the_ten_most_frequent_are_told(tmp_path: Path) -> None:
    """A hostile file has another one in each line, each as long as the file likes."""
    lines = _lines(*(ALICE.event(kind=1_000 + number) for number in range(40))) + b"{}\n" * 3
    environment = {"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db"), "TRIO_RELAY_POLICY__ALLOWED_KINDS": "[1]"}
    ended = CliRunner().invoke(main, ["import"], input=lines, env=environment)
    assert ended.stderr == "trio-relay: not all lines were taken (--lenient: that is no failure)\n"
    assert ended.stdout.splitlines()[1:] == [
        "  3 refused: id is missing (line 41)",
        *(
            f"  1 refused: kind {1_000 + number} is not among the kinds that are accepted here (line {number + 1})"
            for number in range(9)
        ),
        "  31 refused for other reasons",
    ]


def test_a_summary_tells_ten_reasons_with_an_example_each_and_counts_the_others() -> None:
    summary = ImportSummary()
    for line in range(1, 5_001):
        summary.refuse(line, f"reason {line}")
        assert len(summary.examples) <= MOST_REASONS
    for line in range(6_000, 5_980, -1):
        summary.refuse(line, "the most frequent")
        summary.leave_out("gone by now")
    first, *told = summary.lines()
    assert first.endswith(", 20 gone, 5020 refused")
    assert sorted(told[:2]) == ["  20 gone: gone by now", "  20 refused: the most frequent (line 5981)"]
    assert told[2:-1] == [f"  1 refused: reason {line} (line {line})" for line in range(1, MOST_TOLD)]
    assert told[-1] == f"  {5_000 - MOST_TOLD + 1} refused for other reasons"


def test_what_was_imported_is_exported_field_by_field_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    lines = _lines(NOTE, AWKWARD, NEW, DELETION)
    (tmp_path / "in.jsonl").write_bytes(lines)
    assert _run(tmp_path / "relay.db", "import", str(tmp_path / "in.jsonl")).exit_code == 0
    ended = _run(tmp_path / "relay.db", "export", str(tmp_path / "out.jsonl"))
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "4 events\n")
    assert (tmp_path / "out.jsonl").read_bytes() == lines


def test_an_export_to_a_name_that_ends_in_gz_is_compressed_and_the_same_each_time(tmp_path: Path) -> None:
    lines = _lines(NOTE, AWKWARD)
    _run(tmp_path / "relay.db", "import", stdin=lines)
    for name in ("one.jsonl.gz", "two.gz"):
        assert _run(tmp_path / "relay.db", "export", str(tmp_path / name)).exit_code == 0
    packed = (tmp_path / "one.jsonl.gz").read_bytes()
    assert (gzip.decompress(packed), (tmp_path / "two.gz").read_bytes()) == (lines, packed)
    ended = _run(tmp_path / "other.db", "import", str(tmp_path / "two.gz"))
    assert (ended.exit_code, ended.stdout[:19]) == (0, "2 events: 2 stored,")


def test_an_export_to_a_name_that_ends_in_zst_is_compressed_by_zstd(tmp_path: Path) -> None:
    lines = _lines(NOTE, AWKWARD)
    _run(tmp_path / "relay.db", "import", stdin=lines)
    assert _run(tmp_path / "relay.db", "export", str(tmp_path / "out.jsonl.zst")).exit_code == 0
    packed = (tmp_path / "out.jsonl.zst").read_bytes()
    assert open_zstd_reader(io.BytesIO(packed)).read() == lines
    for number, arguments in enumerate((["import", str(tmp_path / "out.jsonl.zst")], ["import"])):
        ended = _run(tmp_path / f"{number}.db", *arguments, stdin=packed)
        assert (ended.exit_code, ended.stdout[:19]) == (0, "2 events: 2 stored,")


def test_what_people_have_is_read_from_a_pipe_too(tmp_path: Path) -> None:
    """A byte-order mark, gzip, blank lines, and messages as a client has written them down."""
    messages = b'["EVENT","sub",%b]\n\n["EVENT",%b]\n' % (encode(NOTE), encode(AWKWARD))
    for number, stdin in enumerate((b"\xef\xbb\xbf" + messages, gzip.compress(messages))):
        ended = _run(tmp_path / f"{number}.db", "import", stdin=stdin)
        assert (ended.exit_code, ended.stderr) == (0, "")
        assert _run(tmp_path / f"{number}.db", "export").stdout_bytes == _lines(NOTE, AWKWARD)


def test_a_file_that_breaks_off_ends_with_1_and_what_came_before_is_stored(tmp_path: Path) -> None:
    lines = [encode(ALICE.event(f"{number} {os.urandom(8).hex()}")) for number in range(250)]
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"\n".join(lines))[:-2_000])
    ended = _run(tmp_path / "relay.db", "import", "--lenient", str(tmp_path / "cut.gz"))
    stored = _run(tmp_path / "relay.db", "export").stdout_bytes.splitlines()
    assert 100 < len(stored) < 250
    assert stored == lines[: len(stored)]
    assert ended.exit_code == 1
    assert ended.stderr == (
        f"trio-relay: after line {len(stored)}: the gzip data end too early, so a part is missing;"
        " what came before is imported\n"
    )


def test_a_file_of_another_form_is_refused_as_a_whole(tmp_path: Path) -> None:
    ended = _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE).decode().encode("utf-16"))
    assert (ended.exit_code, ended.stdout) == (
        1,
        "0 events: " + ", ".join(f"0 {outcome}" for outcome in OUTCOMES) + "\n",
    )
    assert ended.stderr == (
        "trio-relay: the file is UTF-16; convert it to UTF-8 first, as by iconv; what came before is imported\n"
    )


def test_refusals_make_it_1_unless_that_is_no_failure(tmp_path: Path) -> None:
    lines = _lines(NOTE) + b"{}\n"
    for arguments, code in ((["import"], 1), (["import", "--backup"], 1), (["import", "--lenient"], 0)):
        ended = _run(tmp_path / "relay.db", *arguments, stdin=lines)
        assert (ended.exit_code, ended.stdout.splitlines()[-1]) == (code, "  1 refused: id is missing (line 2)")


def test_what_is_gone_is_no_failure(tmp_path: Path) -> None:
    """A backup is older than what happens to its events: some expire, and some are deleted while it is written."""
    over = ALICE.event("over", tags=[["expiration", "1"]])
    for arguments in (["import"], ["import", "--backup"]):
        ended = _run(tmp_path / f"{len(arguments)}.db", *arguments, stdin=_lines(NOTE, over, over, DELETION, GONE))
        assert (ended.exit_code, ended.stderr) == (0, "")
        assert ended.stdout.splitlines() == [
            "5 events: 2 stored, 0 known, 0 superseded, 0 ephemeral, 3 gone, 0 refused",
            "  2 gone: it has expired (NIP-40)",
            "  1 gone: deleted by its author, or older than a version that has expired",
        ]


def test_a_forged_backup_is_refused(tmp_path: Path) -> None:
    forged = msgspec.structs.replace(NOTE, sig=AWKWARD.sig)
    ended = _run(tmp_path / "relay.db", "import", "--backup", stdin=_lines(forged, AWKWARD))
    assert (ended.exit_code, ended.stdout[:19]) == (1, "2 events: 1 stored,")
    assert ended.stdout.endswith("refused: sig is not a valid signature of the id by the pubkey (line 1)\n")


async def test_what_is_restored_passes_the_writer_too_and_is_not_reported_anew() -> None:
    """While any key is banned the writer looks once more who may write: that was settled when it was let in."""
    store, summary = MemoryStore(), ImportSummary()
    await store.put_metadata({f"banned-pubkeys/{CAROL.pubkey}": b"{}", f"allowed-pubkeys/{CAROL.pubkey}": b"{}"})
    wrap = BOB.event(kind=1_059, tags=[["p", CAROL.pubkey]])
    report = ALICE.event(kind=1_984, tags=[["e", NOTE.id, "spam"]])
    events = [NOTE, wrap, report, CAROL.event("banned")]
    rules = Rules(options=PolicyOptions(denied_pubkeys=(ALICE.pubkey,)))
    with trio.fail_after(60):
        async with open_relay(store, RelayOptions(verifiers=1), rules=rules) as relay:
            lines = [Line(number, 0, event) for number, event in enumerate(events, 1)]
            await import_lines(relay, lines, summary, is_backup=True)
    assert summary.lines() == [
        "4 events: 3 stored, 0 known, 0 superseded, 0 ephemeral, 1 gone, 0 refused",
        "  1 gone: the author of this event is banned here",
    ]
    assert [event.id for event in await everything(store)] == [NOTE.id, wrap.id, report.id]
    assert not [name for name in await store.get_metadata() if name.startswith("reported-events/")]


def test_standard_input_and_output_do_as_files_do(tmp_path: Path) -> None:
    lines = _lines(NOTE, AWKWARD)
    for arguments in (["import", "-"], ["import"]):
        assert _run(tmp_path / "relay.db", *arguments, stdin=lines).exit_code == 0
    for arguments in (["export", "-"], ["export"]):
        assert _run(tmp_path / "relay.db", *arguments).stdout_bytes == lines


def test_lines_may_end_as_they_like_and_the_last_one_need_not(tmp_path: Path) -> None:
    lines = b"\n\n" + encode(NOTE) + b"\r\n\r\n  " + encode(AWKWARD)
    assert _run(tmp_path / "relay.db", "import", stdin=lines).stdout.startswith("2 events: 2 stored, ")


def test_an_import_again_changes_nothing(tmp_path: Path) -> None:
    lines = _lines(NOTE, NEW, DELETION)
    for counts in ("3 stored, 0 known", "0 stored, 3 known"):
        ended = _run(tmp_path / "relay.db", "import", stdin=lines)
        assert ended.stdout == f"3 events: {counts}, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n"


def test_an_export_replaces_nothing_through_a_link(tmp_path: Path) -> None:
    """Who put it there would decide which file is replaced."""
    (tmp_path / "victim").write_bytes(b"of somebody else")
    (tmp_path / "out.jsonl").symlink_to("victim")
    _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE))
    ended = _run(tmp_path / "relay.db", "export", str(tmp_path / "out.jsonl"))
    why = f"cannot write {tmp_path / 'out.jsonl'}: a symbolic link lies in its place, and is not followed"
    assert (ended.exit_code, ended.stderr) == (1, f"trio-relay: {why}\n")
    assert (tmp_path / "victim").read_bytes() == b"of somebody else"


def test_what_was_deleted_and_replaced_is_not_exported(tmp_path: Path) -> None:
    _run(tmp_path / "relay.db", "import", stdin=_lines(GONE, OLD, NEW, DELETION))
    assert _run(tmp_path / "relay.db", "export").stdout_bytes == _lines(NEW, DELETION)


def test_an_empty_store_exports_nothing(tmp_path: Path) -> None:
    assert _run(tmp_path / "relay.db", "import", stdin=b"").stdout.startswith("0 events: ")
    ended = _run(tmp_path / "relay.db", "export")
    assert (ended.stdout_bytes, ended.stderr) == (b"", "0 events\n")


@pytest.mark.parametrize(("command", "title"), [("import", "importing"), ("export", "exporting")])
def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path: Path, command: str, title: str) -> None:
    _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE))
    assert title in _run(tmp_path / "relay.db", command, stdin=_lines(NOTE), color=True).stderr
    assert title not in _run(tmp_path / "relay.db", command, stdin=_lines(NOTE)).stderr


async def test_progress_adds_up_to_the_bytes_read_and_the_events_written() -> None:
    events = [ALICE.event(f"{number}") for number in range(1_234)]
    lines = [encode(event) + b"\n" for event in events]
    store, summary, out = MemoryStore(), ImportSummary(), io.BytesIO()
    read: list[int] = []
    written: list[int] = []
    with trio.fail_after(60):
        async with open_relay(store, RelayOptions(verifiers=1)) as relay:
            await import_lines(relay, read_lines(io.BytesIO(b"".join(lines)), read.append), summary)
        assert await export_lines(store, out, written.append) == 1_234
    assert sum(read) == sum(map(len, lines))
    assert sum(written) == 1_234
    assert (summary.total, summary.counts) == (1_234, {"stored": 1_234})
    assert out.getvalue() == b"".join(lines)


@pytest.mark.parametrize(("size", "portion"), [(300, PORTION_LINES), (PORTION_BYTES // 2, 2), (2**28, 1)])
async def test_an_import_never_holds_more_than_the_pipeline_does(size: int, portion: int) -> None:
    """The file may be larger than memory: lines are read as fast as the relay takes them."""
    # One portion is at the verifier, two are in the channel, which takes only one that is as large, and one waits.
    bound = (3 if size > batches.BATCH_BYTES else 4) * portion
    taken, enough = 0, trio.Event()

    def lines() -> Iterator[Line]:
        nonlocal taken
        for number in range(1, 2 * bound):
            taken = number
            yield Line(number, size, NOTE)
            if number == max(bound - 1, 1):
                trio.from_thread.run_sync(enough.set)

    class Stuck(MemoryStore):
        async def known(self, ids: object) -> set[str]:
            await trio.sleep_forever()
            raise AssertionError

        def known_nowait(self, ids: object) -> set[str] | None:
            return None

    options = RelayOptions(verifiers=1, verify_batch=1, channel_parcels=2, drain_seconds=0)
    async with open_relay(Stuck(), options) as relay:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(import_lines, relay, lines(), ImportSummary())
                await enough.wait()
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert taken == bound
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("seconds", "portions"), [(0.0, [8]), (0.04, [3, 3, 2]), (1.0, [1] * 8)])
async def test_lines_that_come_slowly_do_not_wait_for_many_others(
    seconds: float, portions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a client at the other end of a pipe, each of whose events is to be stored when it comes."""
    taken: list[int] = []
    clock = count(step=seconds)

    class Counting(AnsweredLines):
        def begin(self, last: int, lines: int) -> Portion:
            taken.append(lines)
            return super().begin(last, lines)

    monkeypatch.setattr(transfer, "monotonic", lambda: next(clock))
    lines = [Line(number, 300, ALICE.event(f"{number}")) for number in range(1, 9)]
    answered = Counting()
    async with open_relay(MemoryStore(), RelayOptions(verifiers=1)) as relay:
        await import_lines(relay, iter(lines), ImportSummary(), answered=answered)
    assert (taken, answered.last) == (portions, 8)


def test_an_import_into_a_failing_store_says_so_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_writer: BatchWriter, _batch: object) -> None:
        raise apsw.FullError

    monkeypatch.setattr(BatchWriter, "save", save)
    ended = _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE))
    assert ended.exit_code == 1
    assert ended.stdout.splitlines() == [
        "1 events: 0 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 1 refused",
        "  1 refused: the relay's disk is full (line 1)",
    ]
    assert ended.stderr.endswith("trio-relay: the store failed; the same import can be run again\n")


def test_an_export_to_a_full_disk_says_so_and_ends_with_1(tmp_path: Path) -> None:
    _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE))
    ended = _run(tmp_path / "relay.db", "export", "/dev/full")
    assert (ended.exit_code, ended.stderr) == (1, "trio-relay: cannot write: No space left on device\n")


def test_an_export_whose_reader_has_gone_ends_without_a_word(tmp_path: Path) -> None:
    _run(tmp_path / "relay.db", "import", stdin=_lines(NOTE))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "trio_relay", "export"]
    environment = os.environ | {"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db")}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
