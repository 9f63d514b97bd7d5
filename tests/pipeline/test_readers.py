"""Turns over the real readers of SQLite: queries that would never end, a pool of four, and a bystander."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
import trio

from tests.store.files import opened
from tests.support.pipeline import open_desk, subscription, waiting
from tests.support.working_store import of_kind
from trio_relay import Filter, Relay

ENDLESS, LIGHT = 7, 1
ENDLESS_SQL = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def first_page(connection: apsw.Connection, filters: list[Filter], *_: object, **__: object) -> list[bytes]:
    """Finds nothing; by some filters it looks for that until it is interrupted."""
    connection.execute(ENDLESS_SQL if ENDLESS in (filters[0].kinds or ()) else "SELECT 1").fetchall()
    return []


async def end_of(relay: Relay, kind: int, address: str) -> list[list[str]]:
    """How the answer ends for somebody at this address."""
    target = subscription(of_kind(kind))
    await relay.answer(target, relay.admission.new_identity(address)).send()
    return await waiting(target.recipient)


@pytest.mark.slow
async def test_queries_that_never_end_do_not_hold_all_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_relay.store.sqlite.fetch.first_page", first_page)
    ends: list[list[str]] = []

    async def ask_for_ever(relay: Relay, address: str) -> None:
        while True:
            ends.extend(await end_of(relay, ENDLESS, address))

    async with opened(tmp_path / "relay.db", readers=4) as store:
        async with open_desk(store, query_seconds=1.0) as (relay, _), trio.open_nursery() as nursery:
            for number in range(12):
                for _ in range(2):
                    nursery.start_soon(ask_for_ever, relay, f"192.0.2.{number}")
            await trio.sleep(2)
            for _ in range(5):  # each has one second, as each that never ends: there are two dozen of them
                assert await end_of(relay, LIGHT, "203.0.113.9") == [["EOSE", "sub"]]
            turns = relay.statistics().turns
            assert turns.running >= 1  # where there are few cores, long ones have fewer readers than there are
            assert turns.yielded > 0  # newcomers were found to be long
            nursery.cancel_scope.cancel()
        late = ["CLOSED", "sub", "error: the query took more than 1 seconds (query_seconds)"]
        assert ends
        assert all(end == late for end in ends)
        assert await store.count([of_kind(LIGHT)]) == 0  # the readers are there again
