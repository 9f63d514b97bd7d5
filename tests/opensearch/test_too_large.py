"""What is too large for a real node: writes are split until they fit, and questions are refused as what they are."""

from __future__ import annotations

from string import ascii_lowercase, digits
from typing import Any

import pytest
import structlog

from tests.opensearch.cluster import Reply, in_turn, scripted
from tests.opensearch.inside import inside
from tests.opensearch.load import refusal
from tests.support.indices import made, options_for
from tests.support.keys import ALICE
from tests.support.node import own_names
from tests.support.server import open_door
from trio_relay.store.base import QueryTooLarge
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.bulk_size import fitting_bytes
from trio_relay.store.opensearch.documents import Document, Record
from trio_relay.store.opensearch.pages import search_many

MIB = 2**20
OTHERS = [*ascii_lowercase, *digits, *(f"{letter}x" for letter in ascii_lowercase)]
MANY = [{"search": " ".join(f"{first}{other}" for other in OTHERS)} for first in ascii_lowercase[:20]]
"""Over a thousand words in twenty filters, the most that clients may have in a request."""
TOO_MUCH = "invalid: these filters ask for more at once than the relay can search; ask for less, or in parts"


@pytest.mark.slow
async def test_a_bulk_over_a_tenth_of_the_heap_is_split_and_stored(
    node: str, prefix: str, logged: list[structlog.typing.EventDict]
) -> None:
    """Whole, it would get 429 each time, also from a node that has nothing else to do."""
    options = options_for(node, prefix, bulk_bytes=100 * MIB, retry_seconds=30.0)
    async with made(options) as store:
        told = next(entry for entry in logged if entry["event"].startswith("opensearch.bulk_bytes is more"))
        heap = (await inside(store).client.decoded("GET", "/_nodes/jvm"))["nodes"]
        (smallest,) = {one["jvm"]["mem"]["heap_max_in_bytes"] for one in heap.values()}
        # Two writers.
        assert (told["bulk_bytes"], told["used"]) == (100 * MIB, smallest // 40)
        text = "w" * 500_000
        writes = [
            Write(f"{number}", Record(), Document(1, event=text)) for number in range(smallest // 10 // 500_000 + 20)
        ]
        bulk = Bulk(inside(store).client, f"{prefix}-events", 100 * MIB, 30.0)
        await bulk.carry_out(writes)
        assert {write.wrote for write in writes} == {Wrote.DONE}
        assert bulk.trouble is None
        again = Bulk(inside(store).client, f"{prefix}-events", 100 * MIB, 30.0)
        repeated = [Write(write.slot, Record(), write.document) for write in writes]
        await again.carry_out(repeated)
        assert {write.wrote for write in repeated} == {Wrote.CONFLICT}


def nodes(*about: tuple[int, int]) -> Reply:
    return {
        "nodes": {
            f"{number}": {
                "jvm": {"mem": {"heap_max_in_bytes": heap}},
                "http": {"max_content_length_in_bytes": longest},
            }
            for number, (heap, longest) in enumerate(about)
        }
    }


@pytest.mark.parametrize(
    ("reply", "writers", "bound"),
    [
        (nodes((1024 * MIB, 100 * MIB)), 2, 8 * MIB),
        (nodes((1024 * MIB, 100 * MIB), (160 * MIB, 100 * MIB)), 2, 4 * MIB),
        (nodes((1024 * MIB, 100 * MIB)), 32, 1024 * MIB // 640),
        (nodes((1024 * MIB, MIB)), 1, MIB),
        (nodes((MIB, MIB)), 32, 65_536),
        ({}, 2, 8 * MIB),
        ({"nodes": {"0": {}}}, 2, 8 * MIB),
        (403, 2, 8 * MIB),
        ({"nodes": 5}, 2, 8 * MIB),
    ],
    ids=["fits", "smallest", "writers", "content", "least", "nobody", "nothing", "forbidden", "nonsense"],
)
async def test_the_longest_bulk_is_what_all_nodes_take(reply: Reply, writers: int, bound: int) -> None:
    options: dict[str, Any] = {"writers": writers}
    async with scripted(in_turn(reply)) as cluster:
        assert await fitting_bytes(cluster.client, options_for("http://node", "some", **options)) == bound
    (asked,) = cluster.asked
    assert (asked.method, asked.path) == ("GET", "/_nodes/jvm,http")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["node", "node_3"])
async def test_a_question_of_too_many_conditions_is_refused_as_that_and_is_no_outage(
    version: str, request: pytest.FixtureRequest, logged: list[structlog.typing.EventDict]
) -> None:
    url: str = request.getfixturevalue(version)
    with own_names(url) as prefix:
        async with made(options_for(url, prefix)) as store, open_door(store) as door, door.client() as client:
            note = ALICE.event("fox")
            assert (await client.publish(note))[2]
            assert await refusal(client, "COUNT", "many", *MANY) == TOO_MUCH
            assert [entry for entry in logged if entry["log_level"] == "error"] == []
            assert await door.relay.check() is None
            assert await client.count("few", {"search": "fox"}) == 1


async def test_one_search_of_many_is_refused_as_that_too() -> None:
    """The request itself is answered with 200 then."""
    cause = {"type": "too_many_nested_clauses", "reason": "Query contains too many nested clauses"}
    error = {"type": "search_phase_execution_exception", "root_cause": [cause]}
    async with scripted(in_turn({"responses": [{"error": error, "status": 500}]})) as cluster:
        with pytest.raises(QueryTooLarge):
            await search_many(cluster.client, "some", [{}])
    assert "responses.error.root_cause" in cluster.asked[0].query
