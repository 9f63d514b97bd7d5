"""Making what a relay needs on a real node, and refusing what it cannot use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Asked, Reply, in_turn, scripted
from tests.support.indices import made, make, options_for
from tests.support.keys import ALICE
from trio_relay import Saved, StoreError, StoreRefused
from trio_relay.store.opensearch import OpenSearchOptions, migrate, open_opensearch
from trio_relay.store.opensearch.client import Busy, OpenSearchClient, Overloaded, RequestTooLarge, open_client
from trio_relay.store.opensearch.mapping import VERSION, alias_of, index_of, template
from trio_relay.store.opensearch.upgrade import _migrate, _parts, _write, check

RETRIED = "; `trio-relay migrate` can be run again"


@pytest.fixture
def options(node: str, prefix: str) -> OpenSearchOptions:
    return options_for(node, prefix, shards=2)


@pytest.fixture
async def client(options: OpenSearchOptions) -> AsyncIterator[OpenSearchClient]:
    """Of the node."""
    with trio.fail_after(60):
        async with open_client(options) as client:
            yield client


async def state(client: OpenSearchClient, options: OpenSearchOptions) -> list[Any]:
    """What there is of this relay: template, index and alias."""
    found = []
    for path in (f"/_index_template/{alias_of(options)}", f"/{options.prefix}*", f"/_alias/{options.prefix}*"):
        try:
            found.append(await client.decoded("GET", path))
        except StoreError:
            found.append({})
    return found


async def said(options: OpenSearchOptions, *, dry_run: bool = False) -> list[str]:
    lines: list[str] = []
    await migrate(options, lines.append, dry_run=dry_run)
    return lines


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    client: OpenSearchClient, options: OpenSearchOptions
) -> None:
    alias = alias_of(options)
    assert await said(options, dry_run=True) == [
        f"would put index template {alias} (layout {VERSION})",
        f"would make index {index_of(options)}, 2 shards, 0 replicas",
        f"would let alias {alias} name {index_of(options)}",
    ]
    assert await state(client, options) == [{}, {}, {}]


@pytest.mark.slow
async def test_what_a_relay_needs_is_made_once(client: OpenSearchClient, options: OpenSearchOptions) -> None:
    alias, index = alias_of(options), index_of(options)
    with pytest.raises(StoreRefused, match=f"^there is no alias {alias} yet: `trio-relay migrate` makes it$"):
        async with open_opensearch(options):
            pass
    assert await said(options) == [
        f"put index template {alias} (layout {VERSION})",
        f"make index {index}, 2 shards, 0 replicas",
        f"let alias {alias} name {index}",
    ]
    templates, indices, aliases = await state(client, options)
    assert [one["index_template"]["index_patterns"] for one in templates["index_templates"]] == [
        template(options)["index_patterns"]
    ]
    assert indices[index]["settings"]["index"]["number_of_shards"] == "2"
    assert indices[index]["mappings"]["_meta"] == {"version": VERSION}
    assert aliases == {index: {"aliases": {alias: {"is_write_index": True}}}}
    async with open_opensearch(options) as store:
        assert store.description == f"opensearch {alias} at {options.urls[0]} (durability=async)"
        assert store.writers == options.writers
        assert await store.save_many([ALICE.event()]) == [Saved.STORED]
        await store.probe()
        assert store.statistics().trouble is None
    before = await state(client, options)
    for dry_run in (True, False):
        last = (await said(options, dry_run=dry_run))[-1]
        assert last == f"{alias} -> {index} has layout {VERSION}: nothing to do"
    assert (await state(client, options))[1:] == before[1:]


@pytest.mark.slow
async def test_an_index_that_an_earlier_run_made_is_taken(client: OpenSearchClient, options: OpenSearchOptions) -> None:
    await make(options)
    await client.ask("DELETE", f"/{index_of(options)}/_alias/{alias_of(options)}")
    async with made(options) as store:
        assert await store.save_many([ALICE.event()]) == [Saved.STORED]


@pytest.mark.slow
async def test_a_newer_layout_is_left_alone(client: OpenSearchClient, options: OpenSearchOptions) -> None:
    await make(options)
    await client.ask("PUT", f"/{index_of(options)}/_mapping", {"_meta": {"version": VERSION + 1}})
    before = await state(client, options)
    reason = f"has layout {VERSION + 1}, this trio-relay knows layouts up to {VERSION}$"
    with pytest.raises(StoreRefused, match=f"^{alias_of(options)} {reason}"):
        async with open_opensearch(options):
            pass
    with pytest.raises(StoreRefused, match=f"^{index_of(options)} {reason}"):
        await said(options)
    assert await state(client, options) == before


@pytest.mark.slow
async def test_an_alias_of_two_indices_is_left_alone(client: OpenSearchClient, options: OpenSearchOptions) -> None:
    await make(options)
    other = index_of(options, 7)
    await client.ask("PUT", f"/{other}", {"aliases": {alias_of(options): {}}})
    with pytest.raises(StoreRefused, match=f"names {index_of(options)}, {other}: it must name one index$"):
        await said(options)


async def test_an_index_that_cannot_be_made_is_told_of(options: OpenSearchOptions) -> None:
    async with scripted(in_turn(404, {}, httpx.Response(400, json={"error": {"type": "some"}}), 404)) as cluster:
        with pytest.raises(StoreError, match=r"\(400: some\)$"):
            await _migrate(cluster.client, options, lambda line: None, dry_run=False)


@pytest.mark.parametrize("step", [2, 3], ids=["the alias", "its layout"])
async def test_what_cannot_be_told_is_not_taken_for_nothing(step: int, options: OpenSearchOptions) -> None:
    refused = httpx.Response(403, json={"error": {"type": "security_exception"}})
    replies: list[Reply] = [{"some": {}}] * (step - 2)
    async with scripted(in_turn(*replies, refused)) as cluster:
        with pytest.raises(StoreError, match=r"\(403: security_exception\)$"):
            await _migrate(cluster.client, options, lambda line: None, dry_run=False)


async def test_a_step_that_failed_can_be_run_again() -> None:
    nobody = OpenSearchOptions(urls=("http://127.0.0.1:1",))
    with pytest.raises(StoreRefused, match=f"^the relay's store is away{RETRIED}$"):
        await said(nobody)


async def test_a_cluster_that_is_away_is_waited_for(autojump_clock: MockClock) -> None:
    options = OpenSearchOptions(retry_seconds=3.0, urls=("http://a", "http://b"))
    good = {"some": {"mappings": {"_meta": {"version": VERSION}}}}
    away = [httpx.ConnectError("refused")] * 6
    async with scripted(in_turn(*away, good), urls=options.urls) as cluster:
        began = trio.current_time()
        assert await check(cluster.client, options) is None
        assert round(trio.current_time() - began, 3) == 1.5


async def test_one_that_stays_away_is_told_of(autojump_clock: MockClock) -> None:
    async def answer(asked: Asked) -> Reply:
        return httpx.ConnectError("refused")

    options = OpenSearchOptions(retry_seconds=3.0, urls=("http://a", "http://b"))
    async with scripted(answer, urls=options.urls) as cluster:
        with pytest.raises(StoreRefused, match=r"^no OpenSearch at http://a, http://b: the relay's store is away$"):
            await check(cluster.client, options)


async def test_one_that_wants_other_credentials_is_not_waited_for() -> None:
    refused = httpx.Response(401, json={"error": {"type": "security_exception"}})
    async with scripted(in_turn(refused)) as cluster:
        with pytest.raises(StoreRefused, match=r"\(401: security_exception\)$"):
            await check(cluster.client, OpenSearchOptions())


async def test_an_index_without_a_version_is_older_than_any() -> None:
    async with scripted(in_turn({"some": {"mappings": {}}})) as cluster:
        reason = f"nostr-events has layout 0: `trio-relay migrate` brings it to {VERSION}"
        assert await check(cluster.client, OpenSearchOptions()) == reason


async def test_a_document_that_the_new_index_refuses_ends_the_copy() -> None:
    def items(*statuses: int) -> Reply:
        return {"items": [{"index": {"status": status, "error": {"type": "some"}}} for status in statuses]}

    async with scripted(in_turn(items(201, 200, 409), items(201, 400))) as cluster:
        assert await _write(cluster.client, "new", [b"{}"] * 3) == 2
        with pytest.raises(StoreError, match=r"^new has refused a document \(400: \{'type': 'some'\}\)$"):
            await _write(cluster.client, "new", [b"{}"] * 2)


async def test_a_copy_waits_for_a_cluster_that_is_busy(autojump_clock: MockClock) -> None:
    def items(*statuses: int) -> Reply:
        return {"items": [{"index": {"status": status}} for status in statuses]}

    async with scripted(in_turn(503, items(201, 429, 429), items(201, 429), items(409))) as cluster:
        assert await _write(cluster.client, "new", [b"1", b"2", b"3"]) == 2
    assert [asked.body.split() for asked in cluster.asked[1:]] == [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"]]


@pytest.mark.parametrize("refusal", [429, 413])
async def test_a_copy_that_is_refused_whole_is_sent_in_halves(refusal: int, autojump_clock: MockClock) -> None:
    async def answer(asked: Asked) -> Reply:
        lines = asked.body.split()
        return refusal if len(lines) > 1 else {"items": [{"index": {"status": 201}}]}

    async with scripted(answer) as cluster:
        assert await _write(cluster.client, "new", [b"1", b"2", b"3"]) == 3
    assert [asked.body.split() for asked in cluster.asked] == [
        [b"1", b"2", b"3"],
        [b"1"],
        [b"2", b"3"],
        [b"2"],
        [b"3"],
    ]


@pytest.mark.parametrize(
    ("refusal", "kind", "most"),
    [(429, Overloaded, 130), (503, Busy, 130), (413, RequestTooLarge, 1)],
    ids=["overloaded", "starting", "too large"],
)
async def test_a_copy_that_is_refused_for_good_is_given_up(
    refusal: int, kind: type[StoreError], most: int, autojump_clock: MockClock
) -> None:
    async def answer(asked: Asked) -> Reply:
        return refusal

    began = trio.current_time()
    async with scripted(answer) as cluster:
        with pytest.raises(kind):
            await _write(cluster.client, "new", [b"1"])
    assert len(cluster.asked) <= most
    assert trio.current_time() - began <= 61


async def test_so_is_one_of_which_no_document_is_ever_taken(autojump_clock: MockClock) -> None:
    async def answer(asked: Asked) -> Reply:
        return {"items": [{"index": {"status": 429}}]}

    async with scripted(answer) as cluster:
        with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
            await _write(cluster.client, "new", [b"1"])
    assert len(cluster.asked) <= 130


def test_copies_are_written_in_parts_that_are_not_too_large() -> None:
    lines = [b"x" * size for size in (3, 3, 3, 9, 1, 1)]
    assert [list(map(len, part)) for part in _parts(lines, 6)] == [[3, 3], [3], [9], [1, 1]]
