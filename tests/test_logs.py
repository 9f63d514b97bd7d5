"""Log lines: for people or for programs, never more than was asked for, and never what events say."""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import warnings
from typing import Any

import pytest
import structlog

from trio_relay.logs import LogOptions, configure

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
