"""`trio-relay top`: the same numbers as the console's, out of the page of metrics; how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer

import pytest
from click.testing import CliRunner, Result
from trio.testing import MockClock

from tests.support.keys import ALICE
from tests.support.server import Door, open_door
from tests.support.terminal import CTRL_C, on_terminal
from trio_relay import metrics
from trio_relay.cli import main, metrics_page, top
from trio_relay.net import vitals

pytestmark = pytest.mark.usefixtures("inline_threads", "own_logging")


def page_of(door: Door, figures: metrics.WorkersFigures | None = None) -> str:
    def snapshot() -> metrics.Snapshot:
        return door.relay.statistics(), door.server.statistics()  # type: ignore[return-value]

    shown = metrics.MetricsPage(snapshot, None if figures is None else lambda: figures)  # type: ignore[arg-type]
    return shown.render()[0].decode()


async def test_a_page_tells_what_the_console_shows(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        before = metrics_page.look_of(10.0, page_of(door))
        for event in (ALICE.event("note"), ALICE.event("note"), ALICE.event(kind=20_001)):
            await client.publish(event)
        await client.send("EVENT", {"id": "x"})
        await client.receive()
        await client.ask("notes", {"kinds": [1]})
        await client.count("all", {"kinds": [1]})
        shown = metrics_page.look_of(12.0, page_of(door))
        known = vitals.look_at(12.0, door.relay.statistics(), door.server.statistics(), 0.0, 0)
    of_process = {"cpu", "resident_bytes"}
    assert {n: v for n, v in shown.totals.items() if n not in of_process} == {
        n: v for n, v in known.totals.items() if n not in of_process
    }
    assert {n: v for n, v in shown.levels.items() if n not in of_process} == {
        n: v for n, v in known.levels.items() if n not in of_process
    }
    assert shown.latency.counts == known.latency.counts
    assert shown.latency.bounds == known.latency.bounds
    assert shown.totals["cpu"] > 0
    assert shown.levels["resident_bytes"] > 2**20
    told = dict(top.lines(vitals.between(before, shown).values))
    assert (told["connections"], told["subscriptions"], told["events in"]) == ("1", "1", "1.5/s")
    assert (told["  stored"], told["  ephemeral"], told["  duplicate"]) == ("0.5/s", "0.5/s", "0.5/s")
    assert told["requests"] == "1.0/s"
    assert told["  p50"].endswith("ms")


async def test_of_several_processes_it_is_all_together(autojump_clock: MockClock) -> None:
    processes = [metrics.ProcessFigures(name, 1.5, 1_000, 10.0) for name in ("keeper", "1", "2")]
    workers = tuple(map(metrics.WorkerFigures, processes[1:]))
    async with open_door() as door:
        look = metrics_page.look_of(0.0, page_of(door, metrics.WorkersFigures(processes[0], workers, 2, 0)))
    assert (look.totals["cpu"], look.levels["resident_bytes"]) == (4.5, 3_000)


def test_where_nothing_came_no_latency_is_shown() -> None:
    look = metrics_page.look_of(0.0, "trio_relay_connections 3\n")
    told = dict(top.lines(vitals.between(look, replace(look, at=1.0)).values))
    assert (told["connections"], told["  p99"], told["CPU"]) == ("3", "-", "0 %")


@pytest.mark.parametrize("page", ["", "<html>", "up 1\n", "trio_relay_connections"])
def test_what_is_no_page_of_a_relay_is_told(page: str) -> None:
    with pytest.raises(metrics_page.NoPage, match=r"^what answers is no relay of this kind$"):
        metrics_page.look_of(0.0, page)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:7778", "http://127.0.0.1:7778/metrics"),
        ("0.0.0.0:7778", "http://127.0.0.1:7778/metrics"),
        ("[::]:7778", "http://[::1]:7778/metrics"),
        ("*:7778", "http://localhost:7778/metrics"),
        ("unix:/run/metrics", "unix:/run/metrics"),
    ],
)
def test_the_page_is_where_the_configuration_says(listen: str, url: str) -> None:
    assert metrics_page.page_url(listen) == url


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"trio_relay_connections 7\n"
        self.send_response(200 if self.path == "/metrics" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


class _UnixServer(UnixStreamServer):
    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
        return self.socket.accept()[0], ("unix", 0)


@contextmanager
def serving(server: HTTPServer | UnixStreamServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def page_over_http() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/metrics"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return CliRunner().invoke(main, ["top", *arguments], prog_name="trio-relay")


def test_once_prints_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with page_over_http() as url:
        ended = run(monkeypatch, "--once", "--url", url)
    assert ended.exit_code == 0
    told = dict(line.rsplit(maxsplit=1) for line in ended.stdout.splitlines() if line.split()[-1] != "%")
    assert {name.strip(): value for name, value in told.items()}["connections"] == "7"


def test_it_reads_a_socket_of_a_file_too(tmp_path: Path) -> None:
    with serving(_UnixServer(str(tmp_path / "metrics"), _Page)):
        assert metrics_page.read_page(f"unix:{tmp_path / 'metrics'}") == "trio_relay_connections 7\n"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/metrics", "http://127.0.0.1:1/metrics: Connection refused"),
        ("unix:/nowhere/at/all", "unix:/nowhere/at/all: No such file or directory"),
        ("ftp://example.org/", "'ftp://example.org/' is no http or https URL, nor unix: and a path"),
        ("http://127.0.0.1:x/", "'http://127.0.0.1:x/' is no http or https URL, nor unix: and a path"),
    ],
)
def test_where_nobody_answers_that_is_said_in_a_line(url: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(monkeypatch, "--once", "--url", url)
    assert (ended.exit_code, ended.stderr, ended.stdout) == (1, f"trio-relay: {reason}\n", "")


def test_another_page_is_no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    with page_over_http() as url:
        ended = run(monkeypatch, "--once", "--url", f"{url}/of/others")
    assert ended.exit_code == 1
    assert ended.stderr.endswith(": answered 404\n")


@pytest.mark.parametrize("listen", ["", "127.0.0.1:0"])
def test_metrics_that_cannot_be_found_are_named(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_RELAY_METRICS__LISTEN", listen)
    ended = run(monkeypatch)
    assert ended.exit_code == 1
    assert "(metrics.listen)" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("key", ["q", CTRL_C])
async def test_on_a_terminal_it_goes_on_until_somebody_wants_it_to_end(key: str, tmp_path: Path) -> None:
    with page_over_http() as url:
        async with on_terminal(tmp_path, "top", "--url", url) as terminal:
            await terminal.shows("connections")
            assert await terminal.leaves(key) == 0
