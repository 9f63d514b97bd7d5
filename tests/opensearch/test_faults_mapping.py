"""An index whose fields are of other types than the relay's: what does not fit fails alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.indices import options_for
from tests.support.keys import ALICE, NOW
from tests.support.program_load import publish_all
from tests.support.server import open_door
from trio_relay import OpenSearchOptions, Saved, open_opensearch
from trio_relay.store.opensearch.mapping import alias_of, index_of, layout

pytestmark = pytest.mark.slow

FITS = [ALICE.event("42"), ALICE.event("", created_at=NOW - 1)]
DOES_NOT = ALICE.event("a fox", created_at=NOW - 2)


@pytest.fixture
def conflicting(node: str, prefix: str) -> OpenSearchOptions:
    """An index that takes only numbers for words."""
    options = options_for(node, prefix)
    body: dict[str, Any] = layout(options)
    body["mappings"]["properties"] = body["mappings"]["properties"] | {"words": {"type": "long"}}
    body["aliases"] = {alias_of(options): {}}
    httpx.put(f"{node}/{index_of(options)}", json=body, timeout=30.0).raise_for_status()
    return options


async def test_an_event_that_the_index_refuses_fails_and_others_of_its_batch_are_stored(
    conflicting: OpenSearchOptions, logged: list[dict[str, Any]]
) -> None:
    async with open_opensearch(conflicting) as store:
        assert await store.save_many([FITS[0], DOES_NOT, FITS[1]]) == [Saved.STORED, Saved.FAILED, Saved.STORED]
        assert await store.save_many([*FITS]) == [Saved.DUPLICATE] * 2
        assert store.statistics().trouble is None
    (refused,) = [entry for entry in logged if entry["event"] == "a document was refused"]
    assert refused["type"] == "mapper_parsing_exception"
    assert "field [words] of type [long]" in refused["reason"]


async def test_its_sender_is_told_that_the_store_has_refused_it(conflicting: OpenSearchOptions) -> None:
    async with open_opensearch(conflicting) as store, open_door(store) as door, door.client() as client:
        assert await client.publish(DOES_NOT) == [
            "OK",
            DOES_NOT.id,
            False,
            "error: the relay's store has refused it (mapper_parsing_exception)",
        ]
        assert await publish_all(client, FITS) == {event.id: (True, "") for event in FITS}
        assert [event["id"] for event in await client.ask("all", {})] == [event.id for event in FITS]
        assert await door.relay.check() is None
