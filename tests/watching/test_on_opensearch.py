"""The dashboard and the alerts on two real programs that share an index of a real node, and one real Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.dashboard import with_choices
from docs.panels import ROWS
from tests.bus.redis_server import RedisServer, serving
from tests.support.indices import make, options_for
from tests.support.keys import ALICE, NOW
from tests.support.program import running
from tests.watching.queries import on_all
from tests.watching.server import needs_prometheus, open_prometheus

pytestmark = needs_prometheus


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with serving(tmp_path) as server:
        yield server


def queries_of(title: str) -> list[str]:
    [row] = [row for row in ROWS if row.title == title]
    return [on_all(with_choices(query)) for panel in row.panels for query, _ in panel.queries]


async def test_what_relays_of_one_index_tell_each_other_is_shown_and_missed(
    node: str, prefix: str, redis: RedisServer, tmp_path: Path
) -> None:
    await make(options_for(node, prefix))
    settings = {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{node}"]',
        "opensearch.prefix": prefix,
        "bus.url": redis.url,
    }
    async with running(tmp_path, settings) as one, running(tmp_path, settings) as other:
        pages = [re.findall(r"http://(\S+)/metrics", program.out)[0] for program in (one, other)]
        async with (
            open_prometheus(tmp_path, *pages) as prometheus,
            one.client() as author,
            other.client() as reader,
        ):
            await reader.ask("live", {"kinds": [1]})
            event = ALICE.event("note", created_at=NOW)
            assert (await author.publish(event))[2] is True
            assert (await reader.receive())[2]["id"] == event.id
            for query in queries_of("OpenSearch and the bus"):
                await prometheus.until_found(query)
            assert await prometheus.labels_of('ALERTS{alertname=~"TrioRelay(BusAway|Degraded|Cluster.*)"}') == []
            redis.kill()
            for name in ("BusAway", "Degraded"):
                found = await prometheus.until_found(f'ALERTS{{alertname="TrioRelay{name}"}}')
                assert {labels["instance"] for labels in found} <= set(pages)
