"""NIP-77: how large a sync may be, how many there may be, and how each ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import NOW, made_up
from tests.support.named_relay import open_client, open_named
from tests.support.obedient_store import SyncedStore
from tests.support.syncing import FIRST, HASTY, begin, compared, go_on, ids_of, is_over, refusal, refused, told
from trio_relay import MemoryStore, Relay, Store, SyncOptions
from trio_relay.nostr.negentropy.wire import ID_LIST, INFINITY, Range, read_ranges

NOTES: Final = [made_up(str(number), created_at=NOW + number) for number in range(1_000)]
KINDS: Final[dict[str, Any]] = {"kinds": [1]}
"""What is read for each sync, while `{}` is kept."""
LONG: Final = bytes.fromhex("610000") + bytes(20_000)
"""A message for a thread: the skip of all there is, and of nothing behind it, again and again."""

both_sets = pytest.mark.parametrize("one", [{}, KINDS], ids=["kept", "read"])


def sessions(relay: Relay) -> int:
    return relay.statistics().syncing.sessions


@both_sets
@pytest.mark.parametrize(("number", "is_taken"), [(10, True), (11, False)])
async def test_too_many_events_are_blocked_with_how_many_there_may_be(
    store: Store, one: dict[str, Any], number: int, is_taken: bool
) -> None:
    """Of `max_events` and one more."""
    await store.save_many(NOTES[:number])
    async with open_named(store, sync=SyncOptions(max_events=10)) as door, open_client(door) as client:
        for _ in range(2):
            if is_taken:
                assert (await compared(client, one)).need == ids_of(NOTES[:number])
            else:
                assert await refused(client, one) == ["blocked: this sync is of more than 10 events (max_events)", 10]
                assert await is_over(client)
                assert (await compared(client, {"since": NOW + 1})).need == ids_of(NOTES[1:number])
        assert await is_over(client)
        assert sessions(door.relay) == 0


async def test_what_grows_too_large_while_it_is_kept_is_blocked_then(store: Store) -> None:
    await store.save_many(NOTES[:10])
    async with open_named(store, sync=SyncOptions(max_events=10)) as door, open_client(door) as client:
        assert (await compared(client, {})).need == ids_of(NOTES[:10])
        await store.save_many(NOTES[10:12])
        assert (await refused(client, {}))[1:] == [10]
        assert (await compared(client, {"since": NOW + 2})).need == ids_of(NOTES[2:12])


@both_sets
async def test_a_connection_has_so_many_syncs_and_no_more(one: dict[str, Any]) -> None:
    reason = "error: at most 2 syncs on a connection (max_sessions)"
    async with (
        open_named(MemoryStore(), sync=SyncOptions(max_sessions=2)) as door,
        open_client(door) as client,
        open_client(door) as other,
    ):
        for sync_id in ("a", "b", "b", "a"):
            await begin(client, one, sync_id=sync_id)
        assert await refused(client, one, sync_id="c") == [reason]
        assert not await is_over(client, "a")
        await begin(other, one, sync_id="c")
        assert sessions(door.relay) == 3
        await client.send("NEG-CLOSE", "a")
        await begin(client, one, sync_id="c")
        assert await refused(client, one, sync_id="a") == [reason]


async def test_syncs_that_are_being_opened_count_too() -> None:
    store = SyncedStore()
    await store.save_many(NOTES[:1])
    async with open_named(store, sync=SyncOptions(max_sessions=1)) as door, open_client(door) as client:
        store.block("records")
        await client.send("NEG-OPEN", "a", KINDS, FIRST.hex())
        reason = "error: at most 1 syncs on a connection (max_sessions)"
        assert await refused(client, KINDS, sync_id="b") == [reason]
        store.release("records")
        assert len(await told(client, "a")) > 32


async def test_all_connections_together_hold_so_many_events() -> None:
    """Each of them for itself, and the one that is kept once for all who compare with it."""
    store = MemoryStore()
    await store.save_many(NOTES[:10])
    async with (
        open_named(store, sync=SyncOptions(max_events=10, max_events_of_all=50, max_sessions=9)) as door,
        open_client(door) as client,
    ):
        await begin(client, {}, sync_id="of all")
        for number in range(4):
            await begin(client, KINDS, sync_id=f"{number}")
        assert await refused(client, KINDS) == ["error: too many syncs are running"]
        await begin(client, {}, sync_id="of all again")
        assert (door.relay.statistics().syncing.held, door.relay.statistics().syncing.kept) == (40, 10)
        await client.send("NEG-CLOSE", "2")
        await begin(client, KINDS)
        assert sessions(door.relay) == 6


@pytest.mark.usefixtures("inline_threads")
async def test_silence_ends_a_sync(autojump_clock: MockClock) -> None:
    """Each message is a sign of life of its own sync alone."""
    async with (
        open_named(MemoryStore(), sync=SyncOptions(idle_seconds=20)) as door,
        open_client(door) as client,
    ):
        await begin(client, sync_id="quiet")
        await begin(client, sync_id="lively")
        started = trio.current_time()
        for _ in range(2):
            await trio.sleep(9)
            await go_on(client, FIRST, sync_id="lively")
        assert await refusal(client, "quiet") == ["closed: nothing was heard of this sync for too long"]
        assert 20 <= trio.current_time() - started <= 22
        assert await is_over(client, "quiet")
        assert await refusal(client, "lively") == ["closed: nothing was heard of this sync for too long"]
        assert 38 <= trio.current_time() - started <= 40
        assert sessions(door.relay) == 0


@both_sets
async def test_no_message_is_longer_than_its_bound_and_all_is_found_all_the_same(
    store: Store, one: dict[str, Any]
) -> None:
    await store.save_many(NOTES[:600])
    own = NOTES[300:900]
    async with open_named(store, sync=SyncOptions(frame_bytes=4_096)) as door, open_client(door) as client:
        outcome = await compared(client, one, own)
    assert (outcome.have, outcome.need) == (ids_of(NOTES[600:900]), ids_of(NOTES[:300]))
    assert max(outcome.answers) <= 4_096
    assert len(outcome.answers) > 2


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_client_may_send_messages_of_twice_that_bound(is_first: bool) -> None:
    async with (
        open_named(MemoryStore(), sync=SyncOptions(frame_bytes=4_096)) as door,
        open_client(door) as client,
    ):
        longest = bytes([0x60]) + bytes(2 * 4_096 - 1)
        assert await begin(client, {}, longest) == b"\x61"
        assert await go_on(client, longest) == b"\x61"
        await client.send(*(["NEG-OPEN", "sync", {}] if is_first else ["NEG-MSG", "sync"]), (longest + b"\0").hex())
        assert await refusal(client) == ["invalid: a sync's message has at most 8192 bytes"]
        assert await is_over(client)


class Workroom:
    """Work for threads waits here until `go` is set."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()


@pytest.fixture
def workroom(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workroom]:
    """Where the syncs' long messages are answered."""
    room, run_sync = Workroom(), trio.to_thread.run_sync

    async def slow(work: Any, *args: Any, **options: Any) -> Any:
        def wait() -> Any:
            room.entered.set()
            assert room.go.wait(30)
            return work(*args)

        return await run_sync(wait, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", slow)
    yield room
    room.go.set()


async def _entered(room: Workroom) -> None:
    with trio.fail_after(30):
        while not room.entered.is_set():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_long_message_is_worked_on_in_a_thread_while_others_are_answered(
    workroom: Workroom, is_first: bool
) -> None:
    store = MemoryStore()
    await store.save_many(NOTES[:50])
    listed = Range(INFINITY, ID_LIST, b"".join(bytes.fromhex(event.id) for event in NOTES[:50]))
    long = bytes.fromhex("61") + bytes.fromhex("010000") * 10_000 + FIRST[1:]
    async with open_named(store) as door, open_client(door) as client:
        await begin(client, sync_id="small")
        await begin(client, sync_id="sync")
        await client.send(*(["NEG-OPEN", "sync", {}] if is_first else ["NEG-MSG", "sync"]), long.hex())
        await _entered(workroom)
        assert not await is_over(client, "small")
        workroom.go.set()
        answers = [await told(client), await go_on(client, FIRST, sync_id="small")]
        assert [list(read_ranges(one))[-1] for one in answers] == [listed] * 2


async def test_a_long_message_that_breaks_the_format_ends_the_sync_too() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        for _ in range(2):
            await begin(client)
            await client.send("NEG-MSG", "sync", (b"\x61" + b"\xff" * 20_000).hex())
            assert await refusal(client) == ["invalid: negentropy: a number has at most 64 bits"]
            assert await is_over(client)


async def test_a_message_that_does_not_wait_for_the_answer_ends_the_sync(workroom: Workroom) -> None:
    """The two sides take turns, and one that does not wait could keep threads busy."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await begin(client)
        await client.send("NEG-MSG", "sync", LONG.hex())
        await _entered(workroom)
        await client.send("NEG-MSG", "sync", FIRST.hex())
        assert await refusal(client) == [HASTY]
        assert await is_over(client)
        workroom.go.set()
        assert await begin(client) == FIRST


async def test_a_sync_that_is_closed_while_a_thread_works_on_it_is_told_nothing_more(workroom: Workroom) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await begin(client)
        await client.send("NEG-MSG", "sync", LONG.hex())
        await _entered(workroom)
        await client.send("NEG-CLOSE", "sync")
        assert await begin(client) == FIRST
        assert sessions(door.relay) == 1
        workroom.go.set()
        assert await go_on(client, FIRST) == FIRST
        with trio.fail_after(30):
            while trio.to_thread.current_default_thread_limiter().borrowed_tokens:
                await trio.lowlevel.checkpoint()
        assert await client.ask({}) == []
