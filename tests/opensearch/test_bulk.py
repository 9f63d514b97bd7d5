"""Writes that are tried until each has an outcome: what is sent again, and what each one is told."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Answer, Asked, Cluster, Reply, existing, in_turn, scripted
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.documents import Document, Record

DONE, CONFLICT, FAILED = Wrote.DONE, Wrote.CONFLICT, Wrote.FAILED
SECONDS: Final = 5.0
LOST = httpx.ReadError("lost")
BUSY, AWAY = "the relay's store is busy", "the relay's store is away"
BLOCKED = "the relay's store has refused a request (403: cluster_block_exception)"


def new(*slots: str, size: int = 1) -> list[Write]:
    return [Write(slot, Record(), Document(1, words="w" * size)) for slot in slots]


def items(*results: int | dict[str, Any]) -> Reply:
    """What a `_bulk` answers: statuses, or more."""
    wrote = [{"status": result, "_version": 1} if isinstance(result, int) else result for result in results]
    return {"items": [{"create": one} for one in wrote]}


def error(status: int, kind: str, reason: object = "") -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def sent(cluster: Cluster) -> list[list[str]]:
    """The `_id`s of each request."""
    return [[line["create"]["_id"] for line in asked.lines[::2]] for asked in cluster.asked]


async def carried_out(writes: list[Write], answer: Answer, most_bytes: int = 2**20) -> tuple[Bulk, Cluster]:
    async with scripted(answer) as cluster:
        bulk = Bulk(cluster.client, "some", most_bytes, SECONDS)
        await bulk.carry_out(writes)
    return bulk, cluster


def outcomes(writes: list[Write]) -> list[Wrote | None]:
    return [write.wrote for write in writes]


async def test_a_write_says_what_it_builds_on() -> None:
    writes = [Write("a", Record(), Document(1)), Write("b", existing(7), Document(2, until=3))]
    bulk, cluster = await carried_out(writes, in_turn(items(201, {"status": 200, "_version": 9})))
    (asked,) = cluster.asked
    assert (asked.method, asked.path) == ("POST", "/some/_bulk")
    assert "require_alias=true" in asked.query.split("&")
    assert asked.lines == [
        {"create": {"_id": "a"}},
        {"arrived": 1},
        # By its own name: meanwhile the alias may have come to mean another.
        {"index": {"_index": "v1", "_id": "b", "require_alias": False, "if_seq_no": 7, "if_primary_term": 1}},
        {"arrived": 2, "until": 3},
    ]
    assert [(write.wrote, write.version) for write in writes] == [(DONE, 1), (DONE, 9)]
    assert bulk.trouble is None


async def test_nothing_to_write_is_nothing_to_ask() -> None:
    _, cluster = await carried_out([], in_turn())
    assert cluster.asked == []


async def test_each_write_has_an_outcome_of_its_own(logged: list[structlog.typing.EventDict]) -> None:
    writes = new("a", "b", "c", "d")
    refused = error(400, "strict_dynamic_mapping_exception", "x" * 1_000)
    bulk, _ = await carried_out(writes, in_turn(items(201, 409, refused, {"status": 404})))
    assert outcomes(writes) == [DONE, CONFLICT, FAILED, FAILED]
    assert [write.reason for write in writes] == [
        "",
        "",
        "the relay's store has refused it (strict_dynamic_mapping_exception)",
        "the relay's store has refused it ()",
    ]
    assert [(entry["event"], entry["slot"], len(entry["reason"])) for entry in logged] == [
        ("a document was refused", "c", 500),
        ("a document was refused", "d", 0),
    ]
    assert bulk.trouble is None


@pytest.mark.parametrize(
    ("passing", "trouble"),
    [
        (429, BUSY),
        (503, BUSY),
        (error(403, "cluster_block_exception"), "the relay's store takes no writes now"),
    ],
    ids=["a full queue", "a shard that is away", "a full disk"],
)
async def test_what_may_pass_is_sent_again_and_nothing_else(
    passing: Any, trouble: str, autojump_clock: MockClock
) -> None:
    writes = new("a", "b", "c")
    seen: list[str | None] = []

    async def answer(asked: Asked) -> Reply:
        seen.append(bulk.trouble)
        return [items(201, passing, 409), items(passing), items(201)][len(seen) - 1]

    async with scripted(answer) as cluster:
        bulk = Bulk(cluster.client, "some", 2**20, SECONDS)
        await bulk.carry_out(writes)
    assert outcomes(writes) == [DONE, DONE, CONFLICT]
    assert sent(cluster) == [["a", "b", "c"], ["b"], ["b"]]
    assert not any(write.is_uncertain for write in writes)
    assert seen == [None, trouble, trouble]
    assert cluster.client.failed["overloaded"] == (2 if passing == 429 else 0)
    assert (bulk.trouble, len(cluster.asked)) == (None, 3)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (httpx.ConnectError("refused"), AWAY),
        (LOST, AWAY),
        (httpx.Response(200, text="<h1>Welcome</h1>"), "what answers for the relay's store is no OpenSearch"),
        (httpx.ReadTimeout("late"), "the relay's store takes too long"),
        (429, BUSY),
        (503, BUSY),
        (
            httpx.Response(403, json={"error": {"type": "cluster_block_exception"}}),
            BLOCKED,
        ),
    ],
    ids=["away", "lost", "another server", "late", "full", "starting", "blocked"],
)
async def test_when_the_time_is_up_what_is_open_has_failed(
    failure: Reply, reason: str, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async def answer(asked: Asked) -> Reply:
        return failure

    writes = new("a", "b")
    began = trio.current_time()
    bulk, cluster = await carried_out(writes, answer)
    taken = trio.current_time() - began
    assert [(write.wrote, write.reason) for write in writes] == [(FAILED, reason)] * 2
    # Nobody tries any more: whoever wants to know how the store is has to try it out.
    assert bulk.trouble is None
    # Pauses of 0.05 s, 0.1 s, … up to 2 s, each shortened by half at most.
    assert SECONDS - 2.0 <= taken <= SECONDS
    assert 6 <= len(cluster.asked) <= 10
    assert [(entry["event"], entry["writes"], entry["error"]) for entry in logged] == [("writes given up", 2, reason)]
    assert all(write.is_uncertain == (reason not in (BUSY, BLOCKED)) for write in writes)


async def test_a_request_that_is_refused_fails_its_writes_at_once() -> None:
    writes = new("a", "b")
    refused = httpx.Response(401, json={"error": {"type": "security_exception"}})
    await carried_out(writes, in_turn(refused))
    reason = "the relay's store has refused a request (401: security_exception)"
    assert [(write.wrote, write.reason) for write in writes] == [(FAILED, reason)] * 2


async def test_what_stood_in_a_blocked_index_is_to_be_read_anew(autojump_clock: MockClock) -> None:
    """The block may be that of an upgrade, whose new index has a state of its own; what is new can be sent again."""
    blocked = {"status": 403, "error": {"type": "cluster_block_exception"}}
    writes = [Write("a", Record(), Document(1)), Write("b", existing(7), Document(2))]
    began = trio.current_time()
    _, cluster = await carried_out(writes, in_turn(items(blocked, blocked), items(201)))
    assert [write.wrote for write in writes] == [DONE, CONFLICT]
    assert [len(asked.lines) // 2 for asked in cluster.asked] == [2, 1]
    assert trio.current_time() - began >= 0.25


async def test_so_is_what_stood_in_an_index_that_is_gone() -> None:
    writes = [Write("b", existing(7), Document(2))]
    await carried_out(writes, in_turn(items({"status": 404, "error": {"type": "index_not_found_exception"}})))
    assert [write.wrote for write in writes] == [CONFLICT]


async def test_an_answer_for_other_writes_is_none(autojump_clock: MockClock) -> None:
    writes = new("a", "b")
    await carried_out(writes, in_turn(items(201), items(201, 201)))
    assert [(write.wrote, write.is_uncertain) for write in writes] == [(DONE, True), (DONE, True)]
