"""The original relay's index, read from a real OpenSearch, and from nodes that answer as none should."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
import pytest

from tests.sources.original_relay_index import make
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay import Event
from trio_relay.sources import BrokenFile, original_index

EVENTS = [
    BOB.event("the first of all", created_at=NOW - 9, tags=[["t", "ü"], ["e"], [], ["emoji", "x", "y"]]),
    *sorted((ALICE.event(f"{n}", tags=[["e", "a" * 64], ["d", "x"]]) for n in range(4)), key=lambda it: it.id),
    ALICE.event('é \u2028 \x00 \\ " \n 🦀', created_at=NOW + 1),
]


def events_of(url: str, most_bytes: int = original_index.MOST_BYTES) -> list[Event | None]:
    return [line.event for line in original_index.read_index(url, most_bytes=most_bytes)]


def test_an_index_is_read_oldest_first_and_by_id_within_a_second(node: str, prefix: str) -> None:
    url = make(node, prefix, reversed(EVENTS))
    lines = list(original_index.read_index(url))
    assert [line.event for line in lines] == EVENTS
    assert [line.size for line in lines][:5] == [len(msgspec.json.encode(event)) for event in EVENTS[:5]]
    assert [line.number for line in lines] == list(range(1, len(EVENTS) + 1))
    assert events_of(make(node, f"{prefix}-empty", [])) == []


def test_many_pages_hold_each_event_once_and_progress_adds_up(node: str, prefix: str) -> None:
    events = [made_up(str(number), created_at=NOW + number // 300) for number in range(1_200)]
    url = make(node, prefix, events)
    sizes, read = list[int](), list[int]()
    found = [line.event for line in original_index.read_index(url, sizes.append, read.append)]
    assert found == sorted(events, key=lambda event: (event.created_at, event.id))
    assert [sum(read)] == sizes


@pytest.mark.parametrize("most_bytes", [2_000, 5_000, 100_000])
def test_large_events_come_in_small_pages(node: str, prefix: str, most_bytes: int) -> None:
    events = [made_up("x" * (1_000 if number == 20 else 10), created_at=NOW + number) for number in range(40)]
    assert events_of(make(node, prefix, events), most_bytes=most_bytes) == events


def test_an_event_that_is_larger_than_any_answer_ends_the_reading(node: str, prefix: str) -> None:
    url = make(node, prefix, [*EVENTS, made_up("x" * 5_000, created_at=NOW + 9)])
    with pytest.raises(BrokenFile, match=f"^after event {len(EVENTS)}: an event has more than 4000 bytes"):
        events_of(url, most_bytes=4_000)


def test_what_is_written_meanwhile_shifts_nothing(node: str, prefix: str) -> None:
    events = [made_up(str(number), created_at=NOW + number) for number in range(1_100)]
    lines = original_index.read_index(url := make(node, prefix, events))
    found = [next(lines).event for _ in range(3)]
    with httpx.Client(base_url=url, timeout=60.0) as client:
        client.delete(f"/_doc/{events[0].id}?refresh=true").raise_for_status()
    assert found + [line.event for line in lines] == events


def test_an_index_that_is_not_there_or_not_this_relays_is_refused_in_its_words(node: str, prefix: str) -> None:
    with pytest.raises(BrokenFile, match=r"^cannot read the index: the node answers 404: no such index \["):
        events_of(f"{node}/{prefix}")
    httpx.put(f"{node}/{prefix}", json={}).raise_for_status()
    with pytest.raises(BrokenFile, match=r"the node answers 400: .*created_at"):
        events_of(f"{node}/{prefix}")


@contextmanager
def answering(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A node that gives these answers one after another, and notes what it was asked, and by whom."""
    left, asked = list(answers), list[tuple[str, str | None]]()

    class Node(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Node) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


COUNT, SIZE = (200, b'{"count":2}'), (200, b'{"_all":{"primaries":{"store":{"size_in_bytes":9}}}}')


def hits(*sources: bytes) -> tuple[int, bytes]:
    listed = b",".join(b'{"_source":%b,"sort":[1,"a"]}' % source for source in sources)
    return 200, b'{"hits":{"hits":[%b]}}' % listed


def test_a_document_that_is_no_event_is_told_and_the_next_is_read() -> None:
    with answering(COUNT, SIZE, hits(b'{"id":1}', msgspec.json.encode(EVENTS[0]))) as (address, _):
        first, second = original_index.read_index(f"http://{address}/nostr-events")
    assert (first.event, second.event) == (None, EVENTS[0])
    assert first.fault


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, b'{"error":{"reason":"Partial\\nshards failure"}}'), "the node answers 503: Partial shards failure"),
        ((401, b"Unauthorized"), "the node answers 401: Unauthorized"),
        ((403, b'{"error":"no"}'), "the node answers 403: no"),
        ((500, b'{"error":{"root_cause":[]}}'), 'the node answers 500: {"error"'),
        ((500, b'{"error":[1]}'), 'the node answers 500: {"error"'),
        ((302, b""), "the node answers 302: "),
        ((200, b"<html>"), "the answer is none of OpenSearch: JSON is malformed"),
        ((200, b"[]"), "the answer is none of OpenSearch: "),
        ((200, b"{}"), "the answer is none of OpenSearch: "),
    ],
)
def test_odd_answers_end_the_reading_with_what_was_said(answer: tuple[int, bytes], said: str) -> None:
    with (
        answering(answer) as (address, _),
        pytest.raises(BrokenFile, match="^cannot read the index: " + re.escape(said)),
    ):
        events_of(f"http://{address}/nostr-events")
    with answering(COUNT, SIZE, answer) as (address, _), pytest.raises(BrokenFile, match=re.escape(said)):
        events_of(f"http://{address}/nostr-events")


def test_the_user_comes_from_the_url_or_from_the_originals_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSEARCH_USERNAME", raising=False)
    with answering(*[COUNT, SIZE, hits()] * 3) as (address, asked):
        events_of(f"http://{address}/nostr-events")
        events_of(f"http://me:p%40ss@{address}/nostr-events")
        monkeypatch.setenv("OPENSEARCH_USERNAME", "admin")
        monkeypatch.setenv("OPENSEARCH_PASSWORD", "secret")
        events_of(f"http://{address}/nostr-events")
    tokens = [None, httpx.BasicAuth("me", "p@ss"), httpx.BasicAuth("admin", "secret")]
    assert [user for _, user in asked] == [token and header_of(token) for token in tokens for _ in range(3)]


def header_of(auth: httpx.BasicAuth) -> str:
    request = next(auth.auth_flow(httpx.Request("GET", "http://node/")))
    return request.headers["authorization"]


def test_a_node_is_asked_to_fail_rather_than_leave_out_a_part() -> None:
    with answering(COUNT, SIZE, hits()) as (address, asked):
        events_of(f"http://{address}/nostr-events/")
    assert [path for path, _ in asked] == [
        "/nostr-events/_count",
        "/nostr-events/_stats/store",
        "/nostr-events/_search?allow_partial_search_results=false",
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "https://127.0.0.1:99999999/x", "http://[::1/x", "http:///x"])
def test_a_node_that_cannot_be_asked_is_told_without_the_password(url: str) -> None:
    with pytest.raises(BrokenFile, match=r"^cannot read the index: ") as caught:
        events_of(url.replace("//", "//me:hidden@"))
    assert "hidden" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with answering() as (address, _), pytest.raises(BrokenFile, match=r"^cannot read the index: .*SSL"):
        events_of(f"https://{address}/nostr-events")
