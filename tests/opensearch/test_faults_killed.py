"""A node killed in the middle of a load, and started again: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio

from perf.node import Node
from tests.opensearch.load import Load, health, refusal, relay_on, stored
from tests.support.program_load import everything, publish_all

pytestmark = pytest.mark.slow

AWAY = "error: the relay's store is away"
IN_PART = "error: the store could not take this event; send it again"


async def test_a_node_that_is_killed_and_comes_back_has_lost_nothing_and_has_nothing_twice(
    mortal: Node, mortal_prefix: str, tmp_path: Path
) -> None:
    async with relay_on(mortal.url, mortal_prefix, tmp_path, retry_seconds="1.5") as program:
        load = Load(program)
        async with program.client() as client, load.under_way("alice", "bob", "carol"):
            await load.more(200, accepted=True)
            mortal.kill()
            try:
                assert AWAY[7:] in await health(program, 503)
                await load.more(20, accepted=False)
                # Whatever is asked for meanwhile ends with the reason, and never with an EOSE.
                assert await refusal(client, "REQ", "all", {"kinds": [1]}) == AWAY
                assert await refusal(client, "REQ", "words", {"search": "fox"}) == AWAY
                assert await refusal(client, "COUNT", "number", {"kinds": [1]}) == AWAY
            finally:
                await trio.to_thread.run_sync(mortal.start)
            await load.more(200, accepted=True)
            await health(program, 200)
        async with program.client() as client:
            found = {event["id"] for event in await everything(client)}
        assert load.accepted - found == set()
        assert found - load.sent.keys() == set()
        assert {load.answers[event_id] for event_id in load.accepted} == {(True, "")}
        assert {load.answers[event_id][1] for event_id in load.refused} <= {AWAY, IN_PART}
        assert stored(mortal.url, mortal_prefix) == len(found)
        # What was stored although its sender heard that it failed is live all the same, once a look has found it.
        assert max(Counter(load.heard).values()) == 1
        assert load.accepted <= set(load.heard) <= found
        async with program.client() as client:
            again = await publish_all(client, [load.sent[event_id] for event_id in sorted(load.refused)])
        assert {accepted for accepted, _ in again.values()} == {True}
        assert stored(mortal.url, mortal_prefix) == len(load.sent)
