"""Log lines: for people or for programs, never more than was asked for, and never what events say."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import socket
import sys
import threading
import tracemalloc
import warnings
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from trio_relay.logs import LogOptions, Sparing, WholeWrites, configure

pytestmark = pytest.mark.usefixtures("own_logging")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_json_lines_hold_the_event_its_level_and_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="json"))
    structlog.get_logger("trio_relay.net").info("listeners closed", clients=2)
    [line] = _lines(capsys)
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "listeners closed", "level": "info", "clients": 2}


def test_text_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="text"))
    structlog.get_logger().warning("too slow", client=3)
    [line] = _lines(capsys)
    assert "[warning  ] too slow" in line
    assert line.rstrip().endswith("client=3")
    assert "\x1b" not in line


@pytest.mark.parametrize("terminal", [False, True])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure(LogOptions())
    structlog.get_logger().info("hello")
    [line] = _lines(capsys)
    assert line.startswith("{") is not terminal


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_lines_have_colours_where_these_are_shown_and_wanted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    is_coloured: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(LogOptions())
    structlog.get_logger().info("hello")
    [line] = _lines(capsys)
    assert ("\x1b" in line) is is_coloured


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (LogOptions(format="json", level="debug"), ["debug", "info", "warning", "error"]),
        (LogOptions(format="json", level="info"), ["info", "warning", "error"]),
        (LogOptions(format="json", level="warning"), ["warning", "error"]),
        (LogOptions(format="json", level="error"), ["error"]),
    ],
)
def test_less_important_lines_are_left_out(
    capsys: pytest.CaptureFixture[str], options: LogOptions, shown: list[str]
) -> None:
    configure(options)
    log = structlog.get_logger()
    for tell in (log.debug, log.info, log.warning, log.error):
        tell("something")
    assert [json.loads(line)["level"] for line in _lines(capsys)] == shown


class Odd(Exception):
    """What goes wrong in a library."""


@pytest.mark.parametrize("name", ["trio.serve_listeners", "websockets.server", "httpx", "httpcore.http11", "asyncio"])
def test_what_libraries_log_has_the_form_of_all_lines(capsys: pytest.CaptureFixture[str], name: str) -> None:
    configure(LogOptions(format="json"))
    try:
        raise Odd("no room")
    except Odd:
        logging.getLogger(name).error("accept returned %s; retrying in %s seconds", "EMFILE", 0.1, exc_info=True)
    [line] = _lines(capsys)
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry.pop("exception").splitlines()[-1].endswith("Odd: no room")
    assert entry == {"event": "accept returned EMFILE; retrying in 0.1 seconds", "level": "error", "logger": name}


def test_it_is_text_where_the_others_are(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="text"))
    logging.getLogger("trio").warning("odd")
    [line] = _lines(capsys)
    assert "[warning  ] odd" in line
    assert "trio" in line


@pytest.mark.parametrize(("level", "shown"), [("debug", 2), ("info", 2), ("warning", 2), ("error", 1)])
def test_libraries_speak_from_warnings_on(capsys: pytest.CaptureFixture[str], level: Any, shown: int) -> None:
    """Below that httpx has a line for each request, and websockets one for each frame, with what is in it."""
    configure(LogOptions(format="json", level=level))
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("httpx").log(number, "HTTP Request")
    assert len(_lines(capsys)) == shown


def test_warnings_of_python_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(LogOptions(format="json"))
        warnings.warn("this will go", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    [line] = _lines(capsys)
    entry = json.loads(line)
    assert (entry["level"], entry["logger"]) == ("warning", "py.warnings")
    assert "DeprecationWarning: this will go" in entry["event"]


class Stubborn:
    """Something whose end goes wrong; its text is not to be told."""

    def __del__(self) -> None:
        raise Odd("too late")

    def __repr__(self) -> str:
        return "what an event says"


def test_errors_that_nobody_can_catch_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="json"))
    Stubborn()
    gc.collect()
    [line] = _lines(capsys)
    entry = json.loads(line)
    assert (entry["level"], entry["event"]) == ("error", "an exception was ignored")
    assert entry["exception"].endswith("Odd: too late")
    assert "what an event says" not in line


@pytest.mark.parametrize(("error", "count"), [(Odd("no room"), 1), (SystemExit(1), 0)])
def test_so_are_those_that_end_a_thread(capsys: pytest.CaptureFixture[str], error: BaseException, count: int) -> None:
    def fail() -> None:
        raise error

    configure(LogOptions(format="json"))
    thread = threading.Thread(target=fail, name="writer")
    thread.start()
    thread.join()
    told = [json.loads(line) for line in _lines(capsys)]
    assert [(entry["event"], entry["thread"]) for entry in told] == [("a thread has failed", "writer")] * count


def test_setting_up_twice_doubles_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        configure(LogOptions(format="json"))
    logging.getLogger("trio").error("once")
    assert len(_lines(capsys)) == 1


def test_what_is_bound_to_a_connection_is_on_each_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="json"))
    with structlog.contextvars.bound_contextvars(client=7):
        structlog.get_logger().info("connected")
    structlog.get_logger().info("stopping")
    assert [json.loads(line).get("client") for line in _lines(capsys)] == [7, None]


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_line_of_a_worker_names_it(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    configure(LogOptions(format=form), worker=2)
    structlog.get_logger().info("listeners closed", clients=0)
    logging.getLogger("httpx").warning("odd")
    named = [line.rstrip().endswith("worker=2") or json.loads(line)["worker"] == 2 for line in _lines(capsys)]
    assert named == [True, True]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_one_write_however_long_it_is(monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    """So that those of several processes do not mix. Of this output, each write is one message."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, os.fdopen(theirs.detach(), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        stream.write("before\n")
        configure(LogOptions(format=form))
        log = structlog.get_logger()
        log.warning("long", **{f"value_{number}": "x" * 1_000 for number in range(30)})
        try:
            raise Odd("\n".join(["no room"] * 10_000))
        except Odd:
            log.exception("connection failed")
            logging.getLogger("trio").exception("odd")
        log.info("the end")
        ours.setblocking(False)
        writes = list(iter(lambda: _received(ours), b""))
    assert [write.count(b"no room") > 100 for write in writes] == [False, False, True, True, False]
    assert len(writes[1]) > 30_000
    assert all(write.endswith(b"\n") for write in writes)
    if form == "json":
        assert [json.loads(write)["event"] for write in writes[1:]] == ["long", "connection failed", "odd", "the end"]


def _received(end: socket.socket) -> bytes:
    """The next message, or nothing if there is none."""
    try:
        return end.recv(100_000)
    except BlockingIOError:
        return b""


def test_what_is_taken_in_parts_is_written_in_parts() -> None:
    """By a pipe that is nearly full, when a signal comes."""
    output = Reluctant([3, 2, None])
    WholeWrites(output).write("12345678")
    assert output.taken == b"12345"
    whole = Reluctant([3, 5, None])
    WholeWrites(whole).write("12345678")
    assert whole.taken == b"12345678"


def test_what_an_output_cannot_show_is_escaped() -> None:
    output = Reluctant([100])
    WholeWrites(output).write("\ud800ü\n")
    assert output.taken == b"\\ud800\xc3\xbc\n"


def test_a_log_that_nobody_reads_any_more_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as gone:
        assert WholeWrites(gone).write("a line\n") == len("a line\n")


def test_a_log_on_a_full_disk_stops_nobody() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert WholeWrites(full).write("a line\n") == len("a line\n")


class Reluctant(io.TextIOWrapper):
    """An output that takes no more than so many bytes at a time; None: nothing, since it would have to wait."""

    def __init__(self, portions: list[int | None]) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.taken = b""
        self._portions = portions

    @property
    def buffer(self) -> Any:
        return SimpleNamespace(raw=SimpleNamespace(write=self._take))

    def _take(self, data: bytes) -> int | None:
        if (portion := self._portions.pop(0)) is None:
            return None
        self.taken += data[:portion]
        return len(data[:portion])


@pytest.mark.parametrize("options", [LogOptions(format="json"), LogOptions(format="text")])
def test_a_traceback_shows_no_values_of_variables(capsys: pytest.CaptureFixture[str], options: LogOptions) -> None:
    content = "what an event says"
    configure(options)
    try:
        raise RuntimeError(f"{len(content)} characters were too many")
    except RuntimeError:
        structlog.get_logger().exception("connection failed")
    told = "\n".join(_lines(capsys))
    assert "connection failed" in told
    assert "Traceback (most recent call last)" in told
    assert "RuntimeError: 18 characters were too many" in told
    assert content not in told


HOSTILE = "\x1b]0;owned\x07\x1b[2Ja\nb\rc\x9b31m\u202egnp\u2028d\x00\x7f\ud800"


class Impolite:
    """Something that shows itself without care."""

    def __repr__(self) -> str:
        return f"<{HOSTILE}>"


@pytest.mark.parametrize("value", [HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, ValueError(HOSTILE), Impolite()])
def test_text_lines_hold_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str], value: object) -> None:
    configure(LogOptions(format="text"))
    structlog.get_logger().warning("refused", value=value, other=HOSTILE)
    [line] = _lines(capsys)
    assert line.isprintable()
    assert r"\x1b[2Ja\nb\rc\x9b31m\u202egnp\u2028d\x00\x7f\ud800" in line


@pytest.mark.parametrize("options", [LogOptions(format="text"), LogOptions(format="json")])
def test_neither_do_texts_of_lines(capsys: pytest.CaptureFixture[str], options: LogOptions) -> None:
    configure(options)
    structlog.get_logger().warning(HOSTILE)
    logging.getLogger("websockets").error("odd: %s", HOSTILE)
    lines = _lines(capsys)
    assert len(lines) == 2
    assert all(line.isprintable() and r"\u202egnp" in line for line in lines)


def test_what_is_bound_to_a_connection_is_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="text"))
    with structlog.contextvars.bound_contextvars(address=HOSTILE):
        structlog.get_logger().warning("connected")
    [line] = _lines(capsys)
    assert line.isprintable()


@pytest.mark.parametrize("by", ["structlog", "logging"])
def test_the_texts_of_exceptions_cannot_be_taken_for_lines(capsys: pytest.CaptureFixture[str], by: str) -> None:
    configure(LogOptions(format="text"))
    forged = "2026-01-01T00:00:00Z [info     ] managed by=you"
    try:
        raise ValueError(f"{HOSTILE}\n{forged}")
    except ValueError:
        if by == "structlog":
            structlog.get_logger().exception("connection failed")
        else:
            logging.getLogger("trio").exception("connection failed")
    first, *others = _lines(capsys)
    assert "connection failed" in first
    assert f"    {forged}" in others
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_are_bounded(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    configure(LogOptions(format=form))
    structlog.get_logger().warning("a" * 10**6, b="c" * 10**6, d=["e" * 10**6])
    logging.getLogger("httpx").warning("x" * 10**6)
    if form == "text":
        assert max(map(len, _lines(capsys))) < 4_000
    else:
        entries = [json.loads(line) for line in _lines(capsys)]
        assert {len(text) for entry in entries for text in entry.values() if len(text) > 100} == {1_001}


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_are_bounded(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    def deep(left: int) -> None:
        if left == 0:
            raise Odd("at the bottom " + "x" * 100_000 + " the end")
        deep(left - 1)

    configure(LogOptions(format=form))
    try:
        deep(50)
    except Odd:
        structlog.get_logger().exception("connection failed")
    told = "\n".join(_lines(capsys))
    assert len(told) < 12_000
    assert "Traceback (most recent call last)" in told
    assert "the end" in told


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _passed(sparing: Sparing, level: str, event: str, count: int) -> list[object]:
    """What was left out before each of so many lines, of those that were not left out."""
    told: list[object] = []
    for _ in range(count):
        with suppress(structlog.DropEvent):
            told.append(sparing(None, level, {"event": event, "level": level}).get("left_out"))
    return told


@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_of_one_kind_twenty_lines_a_minute_are_shown_and_the_rest_is_counted(level: str) -> None:
    clock = Clock()
    sparing = Sparing(clock)
    assert _passed(sparing, level, "too slow", 1_000) == [None] * 19 + ["all like this until the minute is over"]
    assert _passed(sparing, level, "another", 3) == [None] * 3
    clock.now = 59.9
    assert _passed(sparing, level, "too slow", 5) == []
    clock.now = 60
    assert _passed(sparing, level, "too slow", 3) == [985, None, None]
    clock.now = 130
    assert _passed(sparing, level, "too slow", 1) == [None]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_what_operators_asked_to_see_is_all_shown(level: str) -> None:
    assert _passed(Sparing(Clock()), level, "managed", 1_000) == [None] * 1_000


def test_many_kinds_of_lines_cost_no_memory() -> None:
    sparing = Sparing(Clock())
    tracemalloc.start()
    for number in range(10_000):
        assert len(_passed(sparing, "error", f"kind {number}", 1)) == 1
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000


def test_libraries_are_bounded_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(format="json"))
    for number in range(100):
        logging.getLogger("websockets").error("frame %d", number)
        structlog.get_logger().warning("disconnected", number=number)
    told = [json.loads(line) for line in _lines(capsys)]
    assert len(told) == 40
    assert [entry["event"] for entry in told if "logger" in entry] == [f"frame {number}" for number in range(20)]
