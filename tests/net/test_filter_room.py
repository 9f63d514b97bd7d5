"""Room for filters over the wire: so much of a connection, of an address and in all, whatever asks, until it ends."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE
from tests.support.marks import replaces_what_is_compiled
from tests.support.obedient_store import SyncedStore
from tests.support.receiving import NOTHING
from tests.support.server import Door, Talker, open_door
from trio_relay import Limits, turns
from trio_relay.net import server as server_module
from trio_relay.nostr.negentropy.protocol import initiate

pytestmark = pytest.mark.usefixtures("inline_threads", "autojump_clock")

FIRST = initiate(NOTHING).hex()
OF_ALL = (
    "error: at most 12 values in the filters of all clients (max_filter_values_of_all): the relay is full, try again"
    " later"
)
OF_ONE = "error: at most 12 values in the filters of one address (max_filter_values_per_address)"
FULL = Limits(max_filter_values_of_all=12)
EMPTY: dict[str, Any] = {}
SIX, SEVEN = {"kinds": [1]}, {"kinds": [1, 2]}


def held(door: Door) -> int:
    """What the relay counts for all open filters."""
    return door.relay.statistics().broadcaster.filter_values


async def told(client: Talker, verb: str, *filters: dict[str, Any], sub_id: str = "a") -> list[Any]:
    """The first answer to a request."""
    await client.send(verb, sub_id, *filters, *([FIRST] if verb == "NEG-OPEN" else []))
    return await client.receive()


@pytest.mark.parametrize(("verb", "answer"), [("REQ", "CLOSED"), ("COUNT", "CLOSED"), ("NEG-OPEN", "NEG-ERR")])
async def test_who_comes_when_the_relay_is_full_is_told_so(verb: str, answer: str) -> None:
    async with open_door(limits=FULL) as door, door.client() as client, door.client() as other:
        assert await told(client, "REQ", SIX) == ["EOSE", "a"]
        assert await told(other, verb, SEVEN) == [answer, "a", OF_ALL]
        assert held(door) == 6
        assert (await told(other, verb, SIX))[0] in {"EOSE", "COUNT", "NEG-MSG"}
        await client.send("CLOSE", "a")
        await wait_all_tasks_blocked()
        assert held(door) == (6 if verb == "REQ" else 0), "counts and syncs are over"


async def test_who_leaves_makes_room() -> None:
    async with open_door(limits=FULL) as door, door.client() as other:
        async with door.client() as client:
            assert await told(client, "REQ", {}, SIX) == ["EOSE", "a"]
        await wait_all_tasks_blocked()
        assert held(door) == 0
        assert await told(other, "REQ", SEVEN) == ["EOSE", "a"]


async def test_what_is_replaced_makes_room_for_what_replaces_it() -> None:
    async with open_door(limits=FULL) as door, door.client() as client:
        for first, *others in ([SIX], [SEVEN], [SIX, SIX], [EMPTY]):
            assert await told(client, "REQ", first, *others) == ["EOSE", "a"]
        assert held(door) == 5
        assert await told(client, "REQ", SIX, SEVEN) == ["CLOSED", "a", OF_ALL]
        assert held(door) == 0, "what would have been replaced has ended (NIP-01)"


@pytest.mark.parametrize(("verb", "step"), [("COUNT", "count"), ("NEG-OPEN", "records")])
async def test_what_waits_for_the_store_holds_its_room(verb: str, step: str) -> None:
    store = SyncedStore()
    store.block(step)
    limits = Limits(max_filter_values_of_all=30, max_filter_values=24)
    async with open_door(store, limits=limits) as door, door.client() as client:
        for number in range(4):  # two at work, two that wait
            await client.send(verb, str(number), SIX, *([FIRST] if verb == "NEG-OPEN" else []))
        await wait_all_tasks_blocked()
        assert held(door) == 24
        assert (await told(client, "REQ", {}))[2] == (
            "error: at most 24 values in the filters of a connection (max_filter_values)"
        )
        if verb == "NEG-OPEN":
            await client.send("NEG-CLOSE", "3")
            await wait_all_tasks_blocked()
            assert held(door) == 18
        store.release(step)
        await wait_all_tasks_blocked()
        assert held(door) == 0


@pytest.mark.parametrize("verb", ["COUNT", "NEG-OPEN"])
async def test_who_leaves_while_the_store_is_asked_makes_room(verb: str) -> None:
    store = SyncedStore()
    store.block("count")
    store.block("records")
    async with open_door(store, limits=FULL) as door:
        async with door.client() as client:
            await client.send(verb, "a", SIX, *([FIRST] if verb == "NEG-OPEN" else []))
            await wait_all_tasks_blocked()
            assert held(door) == 6
        await wait_all_tasks_blocked()
        assert held(door) == 0


@replaces_what_is_compiled
async def test_one_address_has_its_share_over_all_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(max_filter_values_per_address=12)
    origins = iter(["192.0.2.1", "192.0.2.1", "192.0.2.2", None])
    async with open_door(limits=limits) as door:
        new_identity = door.relay.admission.new_identity
        monkeypatch.setattr(door.relay.admission, "new_identity", lambda *_: new_identity(next(origins)))
        async with door.client() as one, door.client() as same, door.client() as other, door.client() as proxied:
            assert await told(one, "REQ", SIX) == ["EOSE", "a"]
            for verb in ("REQ", "COUNT"):
                assert await told(same, verb, SEVEN) == ["CLOSED", "a", OF_ONE]
            assert await told(other, "REQ", SEVEN) == ["EOSE", "a"]
            assert await told(proxied, "REQ", SIX, SEVEN) == ["EOSE", "a"]
            await one.send("CLOSE", "a")
            assert await told(same, "REQ", SEVEN) == ["EOSE", "a"]


async def test_a_large_request_may_be_replaced_closed_and_left_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SECONDS", -1.0)
    follows = {"authors": [f"{number:064x}" for number in range(2_500)] + [ALICE.pubkey]}
    async with open_door() as door, door.client() as speaker:
        async with door.client() as client:
            await client.send("REQ", "a", follows)
            await client.send("REQ", "a", follows, {"#t": ["tea"]})
            assert await client.receive() == ["EOSE", "a"]
            await speaker.publish(note := ALICE.event("note"))
            assert (await client.receive())[2]["id"] == note.id
            await client.send("REQ", "b", follows)
            await client.send("CLOSE", "b")
            await client.send("CLOSE", "a")
            await speaker.publish(ALICE.event("later"))
            await client.expect_silence()
            assert held(door) == 0
            await client.send("REQ", "a", follows)
            await wait_all_tasks_blocked()
            await client.send("REQ", "c", follows)
        await wait_all_tasks_blocked()
        statistics = door.relay.statistics().broadcaster
        assert (statistics.subscriptions, statistics.filter_values, statistics.index_keys) == (0, 0, 0)


async def test_a_silent_client_keeps_nothing_of_its_last_message() -> None:
    """Ten thousand of them would keep ten gigabytes."""
    async with open_door() as door, door.client() as client:
        await client.send_text("x")
        assert (await client.receive())[0] == "NOTICE"
        gc.collect()
        tracemalloc.start()
        await client.send("REQ", "a", {"#t": ["x"], "search": "y" * 900_000})
        assert (await client.receive())[0] == "CLOSED"
        await wait_all_tasks_blocked()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 400_000


async def test_who_has_many_times_more_than_others_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten clients hold little, an address with two connections nearly all of it; whoever comes then is told to wait."""
    limits = Limits(max_filter_values_of_all=1_000)
    origins = iter([*map("192.0.2.{}".format, range(10)), "198.51.100.1", "198.51.100.1", "203.0.113.1"])
    many = {"#t": [str(number) for number in range(460)]}
    monkeypatch.setattr(server_module, "peer_address", lambda _stream: next(origins))
    async with open_door(limits=limits) as door, AsyncExitStack() as stack:
        small = [await stack.enter_async_context(door.client()) for _ in range(10)]
        for client in small:
            assert await told(client, "REQ", SIX) == ["EOSE", "a"]
        greedy = [await stack.enter_async_context(door.client()) for _ in range(2)]
        for client in greedy:
            assert await told(client, "REQ", many) == ["EOSE", "a"]
        late = await stack.enter_async_context(door.client())
        full = await told(late, "REQ", SIX, SEVEN)
        assert full[0] == "CLOSED"
        assert "try again later" in full[2]
        await trio.sleep(1.5)
        assert held(door) == 10 * 6 + 466
        assert await told(late, "REQ", SIX, SEVEN) == ["EOSE", "a"]
        await trio.sleep(10)
        assert door.server.statistics().close_reasons == {"filters": 1}


async def test_where_all_have_as_much_nobody_has_to_go() -> None:
    async with open_door(limits=Limits(max_filter_values_of_all=60)) as door, AsyncExitStack() as stack:
        for _ in range(10):
            client = await stack.enter_async_context(door.client())
            assert await told(client, "REQ", SIX) == ["EOSE", "a"]
        late = await stack.enter_async_context(door.client())
        assert (await told(late, "REQ", SIX))[0] == "CLOSED"
        await trio.sleep(3)
        assert held(door) == 60
        assert door.server.statistics().connections == 11
