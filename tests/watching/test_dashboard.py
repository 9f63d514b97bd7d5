"""The dashboard: Grafana knows all that is in it, and each of its queries finds something where there is something."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from docs.dashboard import dashboard_file
from tests.watching.filled import labels_by_name, page_of
from tests.watching.queries import PANELS, QUERIES, labels_in, on_all
from tests.watching.server import needs_prometheus, open_prometheus, selectors
from trio_relay.net import endpoints, http

WHOLE: Final = json.loads(dashboard_file())
TOLD: Final = labels_by_name() | {"up": set(), "ALERTS": {"alertname", "alertstate"}}


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where something of ours is no more, or is something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(*pair, f"{place}[{number}]")
    elif ours != theirs:
        yield place


def test_grafanas_own_types_know_all_that_is_in_it() -> None:
    """They leave out what they do not know. Of annotations they know less than Grafana's source for Prometheus does."""
    register_default_plugins()
    theirs = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(WHOLE)))
    mark = ".annotations.list[0]"
    assert set(lost(WHOLE, theirs)) == {f"{mark}.titleFormat", f"{mark}.textFormat"}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    rows = [panel for panel in WHOLE["panels"] if panel["type"] == "row"]
    numbers = [panel["id"] for panel in [*rows, *PANELS]]
    assert len(set(numbers)) == len(numbers)
    for folded in (WHOLE["panels"], *(row["panels"] for row in rows)):
        taken = [
            (x, y)
            for place in (panel["gridPos"] for panel in folded)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(taken)) == len(taken)
        assert all(x < 24 for x, _ in taken)


def test_choices_are_asked_for_by_every_query() -> None:
    assert [one["name"] for one in WHOLE["templating"]["list"]] == ["datasource", "instance"]
    for query, _ in QUERIES:
        assert query.count('instance=~"$instance"') == len(selectors(query)), query


@pytest.mark.parametrize(("query", "name"), QUERIES)
def test_a_query_asks_for_what_a_relay_tells(query: str, name: str) -> None:
    asked = dict(selectors(query))
    known = set().union(*(TOLD[metric] for metric in asked), {"instance", "job", "le"})
    for metric, labels in asked.items():
        assert labels <= TOLD[metric] | {"instance", "job"}, metric
    grouped = {label.strip() for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(",")}
    assert grouped | labels_in(name) <= known


@asynccontextmanager
async def shown(render: Callable[[], tuple[bytes, str]]) -> AsyncIterator[str]:
    """Pages of metrics on an address of this machine."""
    endpoint = endpoints.MetricsEndpoint(render)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await http.converse(stream, endpoint.answer, 60)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield "127.0.0.1:{1}".format(*listeners[0].socket.getsockname())
        nursery.cancel_scope.cancel()


@needs_prometheus
@pytest.mark.slow
async def test_every_query_finds_something_of_a_relay_that_has_everything(tmp_path: Path) -> None:
    """Each page has more than the one before, as where much is done."""
    numbers = itertools.count(1)
    async with (
        shown(lambda: page_of(next(numbers)).render()) as address,
        open_prometheus(tmp_path, address) as prometheus,
    ):
        for query, name in QUERIES:
            found = await prometheus.until_found(on_all(query))
            assert all(labels_in(name) <= labels.keys() for labels in found), (query, name, found)
        groups = (await prometheus.get("rules"))["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
