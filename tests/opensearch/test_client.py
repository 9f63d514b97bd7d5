"""Requests to a cluster: which node is asked, and what a failure means for who asked."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.opensearch.cluster import Asked, Reply, in_turn, scripted
from trio_relay import OpenSearchOptions
from trio_relay.store.base import QueryTooLarge, StoreError, StoreRefused
from trio_relay.store.opensearch.client import (
    Busy,
    ClusterRefusal,
    Overloaded,
    RequestTooLarge,
    Unreachable,
    open_client,
)

THREE: Final = ("http://a:9200", "http://b:9200/", "http://c:9200")
AWAY: Final = "the relay's store is away"


def page(status: int, text: str) -> httpx.Response:
    return httpx.Response(status, text=text)


def refused(kind: str) -> httpx.Response:
    return httpx.Response(400, json={"error": {"type": kind, "reason": "with [foreign] text"}, "status": 400})


TOO_LARGE: Final = "the relay's store takes no request of this size"
TOO_MUCH: Final = "these filters ask for more at once than the relay can search; ask for less, or in parts"


def pressed(operation: int, most: int) -> httpx.Response:
    """What a node of 2.19 says to a `_bulk` of so many bytes."""
    reason = (
        "rejected execution of coordinating operation [coordinating_and_primary_bytes=60, replica_bytes=0,"
        f" all_bytes=60, coordinating_operation_bytes={operation}, max_coordinating_and_primary_bytes={most}]"
    )
    return httpx.Response(429, json={"error": {"type": "rejected_execution_exception", "reason": reason}})


def searched(status: int, cause: str, reason: str) -> httpx.Response:
    """What it says to a search, with what has caused that."""
    causes = [{"type": cause, "reason": reason}]
    error = {"type": "search_phase_execution_exception", "reason": "all shards failed", "root_cause": causes}
    return httpx.Response(status, json={"error": error, "status": status})


ENDED: Final = {
    "429": (429, Overloaded, "the relay's store is busy"),
    "502": (page(502, "<h1>Bad gateway"), Unreachable, "the relay's store is away"),
    "503": (503, Busy, "the relay's store is busy"),
    "504": (504, Unreachable, "the relay's store is away"),
    "413": (413, RequestTooLarge, "the relay's store takes no request of this size"),
    "late": (httpx.ReadTimeout("late"), Unreachable, "the relay's store takes too long"),
    "writing late": (httpx.WriteTimeout("late"), Unreachable, "the relay's store takes too long"),
    "more than a node ever takes at a time": (pressed(200, 100), RequestTooLarge, TOO_LARGE),
    "more than it takes now": (pressed(50, 100), Overloaded, "the relay's store is busy"),
    "a search of too many clauses in all": (
        searched(
            500, "too_many_nested_clauses", "Query contains too many nested clauses; maxClauseCount is set to 1024"
        ),
        QueryTooLarge,
        TOO_MUCH,
    ),
    "one of too many in one": (
        searched(400, "query_shard_exception", "failed to create query: maxClauseCount is set to 1024"),
        QueryTooLarge,
        TOO_MUCH,
    ),
    "one of too many terms": (
        searched(400, "query_shard_exception", "failed to create query: The number of terms [70000] used in …"),
        QueryTooLarge,
        TOO_MUCH,
    ),
    "one that is wrong": (
        searched(400, "query_shard_exception", "failed to create query: Cannot search on field [w]"),
        ClusterRefusal,
        "the relay's store has refused a request (400: search_phase_execution_exception)",
    ),
    "a search that failed": (
        searched(500, "null_pointer_exception", ""),
        ClusterRefusal,
        "the relay's store has refused a request (500: search_phase_execution_exception)",
    ),
    "refused": (
        refused("parsing_exception"),
        ClusterRefusal,
        "the relay's store has refused a request (400: parsing_exception)",
    ),
    "a page": (
        page(404, "<h1>Secret</h1>"),
        ClusterRefusal,
        "the relay's store has refused a request (404: no reason given)",
    ),
    "JSON of another": (
        httpx.Response(403, json={"error": "Secret"}),
        ClusterRefusal,
        "the relay's store has refused a request (403: no reason given)",
    ),
    "a list": (
        httpx.Response(403, json=["Secret"]),
        ClusterRefusal,
        "the relay's store has refused a request (403: no reason given)",
    ),
    "a redirect": (302, ClusterRefusal, "the relay's store has refused a request (302: no reason given)"),
}


@pytest.mark.parametrize(("reply", "kind", "message"), ENDED.values(), ids=ENDED)
async def test_a_failure_says_what_it_means_and_nothing_that_others_wrote(
    reply: Reply, kind: type[StoreError], message: str
) -> None:
    async with scripted(in_turn(reply)) as cluster:
        with pytest.raises(StoreError) as caught:
            await cluster.client.ask("GET", "/")
    assert (type(caught.value), str(caught.value)) == (kind, message)
    if isinstance(caught.value, ClusterRefusal):
        assert f"({caught.value.status}:" in message


async def test_an_answer_is_given_as_it_came_or_decoded() -> None:
    async with scripted(in_turn(page(200, '{"a": 1}'), page(201, '{"a": 1}'))) as cluster:
        assert await cluster.client.ask("GET", "/some?x=y") == b'{"a": 1}'
        assert await cluster.client.decoded("PUT", "/some", {"b": "é"}) == {"a": 1}
    got, put = cluster.asked
    assert (got.method, got.path, got.query, got.body) == ("GET", "/some", "x=y", b"")
    assert (put.method, put.body) == ("PUT", '{"b":"é"}'.encode())


async def test_a_page_that_is_no_json_is_not_taken_for_an_answer() -> None:
    async with scripted(in_turn(page(200, "<h1>Welcome</h1>"))) as cluster:
        with pytest.raises(Unreachable, match=r"^what answers for the relay's store is no OpenSearch$"):
            await cluster.client.decoded("GET", "/")


async def answer_from(up: set[str], asked: Asked) -> Reply:
    return {} if asked.host in up else httpx.ConnectError("refused")


async def test_the_next_node_is_asked_where_one_cannot_be_reached_and_stays_the_one() -> None:
    up = {"c"}
    async with scripted(partial(answer_from, up), urls=THREE) as cluster:
        for _ in range(2):
            await cluster.client.ask("GET", "/")
        assert [asked.host for asked in cluster.asked] == ["a", "b", "c", "c"]
        up.clear()
        with pytest.raises(Unreachable, match=f"^{AWAY}$"):
            await cluster.client.ask("GET", "/")
        assert [asked.host for asked in cluster.asked[4:]] == ["c", "a", "b"]
        up.update("ab")
        await cluster.client.ask("GET", "/")
        assert [asked.host for asked in cluster.asked[7:]] == ["c", "a"]


@pytest.mark.parametrize("error", [httpx.ConnectTimeout("late"), httpx.ConnectError("refused")])
async def test_a_node_that_has_not_heard_of_a_request_leaves_it_to_the_next(error: Exception) -> None:
    async with scripted(in_turn(error, {"a": 1}), urls=THREE) as cluster:
        assert await cluster.client.ask_lines("/_bulk", [b"1", b"2"]) == b'{"a":1}'
    assert [(asked.host, asked.body) for asked in cluster.asked] == [("a", b"1\n2\n"), ("b", b"1\n2\n")]


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), httpx.RemoteProtocolError("gone")])
async def test_a_request_whose_answer_was_lost_is_not_sent_again_and_the_next_goes_elsewhere(error: Exception) -> None:
    async with scripted(in_turn(error, {}), urls=THREE) as cluster:
        with pytest.raises(Unreachable, match=f"^{AWAY}$"):
            await cluster.client.ask("GET", "/")
        await cluster.client.ask("GET", "/")
    assert [asked.host for asked in cluster.asked] == ["a", "b"]


@pytest.mark.parametrize(
    ("fault", "host"), [(httpx.ReadTimeout("late"), "b"), (502, "b"), (503, "b"), (504, "b"), (429, "a"), (400, "a")]
)
async def test_a_node_that_is_ill_is_not_asked_again_at_once(fault: object, host: str) -> None:
    async with scripted(in_turn(fault, {}), urls=THREE) as cluster:
        with pytest.raises(StoreError):
            await cluster.client.ask("GET", "/")
        await cluster.client.ask("GET", "/")
    assert [asked.host for asked in cluster.asked] == ["a", host]


@pytest.mark.parametrize(
    ("length", "is_zipped"),
    [(1_399, False), (1_400, True), (65_535, True), (70_000, True)],
    ids=["short", "longer", "almost long", "long"],
)
async def test_what_is_worth_it_is_compressed_where_that_is_asked_for(length: int, is_zipped: bool) -> None:
    line = b"x" * (length - 1)
    for zips in (False, True):
        async with scripted(in_turn({}), gzip=zips) as cluster:
            await cluster.client.ask_lines("/_bulk", [line])
        (asked,) = cluster.asked
        if zips and is_zipped:
            assert len(asked.body) < length / 2
            assert gzip.decompress(asked.body) == line + b"\n"
        else:
            assert asked.body == line + b"\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), ("no certificate", "certificate")],
    ids=["a file that is not there", "a file of something else"],
)
async def test_a_file_of_certificates_that_is_none_is_refused(content: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreRefused, match=rf"^opensearch\.ca_file: {path}: .*{reason}"):
        async with open_client(OpenSearchOptions(urls=("https://localhost:1",), ca_file=str(path))):
            pass


async def test_requests_that_were_not_carried_out_are_counted_by_why() -> None:
    """That there is no such document is an answer, and no failure."""
    answers = in_turn(429, 429, 503, 413, httpx.ReadTimeout("late"), 404, {"found": True})
    async with scripted(answers) as cluster:
        for _ in range(6):
            with pytest.raises(StoreError):
                await cluster.client.ask("GET", "/some")
        await cluster.client.ask("GET", "/some")
        assert cluster.client.failed == {"unreachable": 1, "busy": 1, "overloaded": 2, "too_large": 1}
