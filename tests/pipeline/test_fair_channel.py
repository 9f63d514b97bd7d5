"""The intake: senders take turns by whom they count as, nothing is lost, and nothing comes twice."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import open_desk
from trio_relay.pipeline import fair_channel


async def filled(capacity: int, *items: tuple[str, int]) -> fair_channel.FairChannel[tuple[str, int]]:
    channel: fair_channel.FairChannel[tuple[str, int]] = fair_channel.FairChannel(capacity)
    for item in items:
        await channel.send(item, item[0])
    return channel


async def received(channel: fair_channel.FairChannel[tuple[str, int]], number: int) -> list[tuple[str, int]]:
    return [await channel.receive() for _ in range(number)]


async def test_each_holder_has_its_turn_and_its_own_order() -> None:
    channel = await filled(10, ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("b", 2))
    assert await received(channel, 6) == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3)]


async def test_what_is_brought_by_those_who_wait_has_its_turn_as_well() -> None:
    channel = await filled(2, ("a", 1), ("a", 2))
    async with trio.open_nursery() as nursery:
        for item in (("a", 3), ("a", 4), ("b", 1)):
            nursery.start_soon(channel.send, item, item[0])
            await wait_all_tasks_blocked()
        assert await received(channel, 2) == [("a", 1), ("b", 1)]
        assert await received(channel, 3) == [("a", 2), ("a", 3), ("a", 4)]


async def test_a_full_channel_makes_senders_wait_and_no_others(autojump_clock: MockClock) -> None:
    channel = await filled(1, ("a", 1))
    with trio.move_on_after(1) as patience:
        await channel.send(("b", 1), "b")
    assert patience.cancelled_caught
    assert await received(channel, 1) == [("a", 1)]  # who was cancelled has sent nothing
    with pytest.raises(trio.WouldBlock):
        channel.receive_nowait()
    with trio.fail_after(1):
        await channel.send(("b", 2), "b")
    assert channel.statistics().depth == channel.statistics().peak == 1


async def test_without_capacity_each_sender_waits_until_it_is_heard() -> None:
    channel: fair_channel.FairChannel[tuple[str, int]] = fair_channel.FairChannel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.send, ("a", 1), "a")
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert await channel.receive() == ("a", 1)
    assert channel.statistics().peak == 0


async def test_closing_lets_out_what_is_in_and_refuses_those_who_wait() -> None:
    channel = await filled(1, ("a", 1))

    async def refused() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await channel.send(("b", 1), "b")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        channel.close()
    assert await received(channel, 1) == [("a", 1)]
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()
    with pytest.raises(trio.ClosedResourceError):
        await channel.send(("a", 2), "a")


async def test_closing_ends_those_who_wait_for_more() -> None:
    channel: fair_channel.FairChannel[int] = fair_channel.FairChannel(1)

    async def ended() -> None:
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ended)
        nursery.start_soon(ended)
        await wait_all_tasks_blocked()
        channel.close()


SENT = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from([0.0, 0.0, 1.0, 2.0]),  # when it is sent
        st.sampled_from([None, None, 0.0, 1.0, 5.0]),  # after what time its sender gives up
    ),
    max_size=30,
)


@given(capacity=st.integers(0, 4), receivers=st.integers(1, 3), sent=SENT, pause=st.sampled_from([0.0, 0.5]))
def test_what_was_sent_comes_once_and_nobody_is_passed_over(
    capacity: int, receivers: int, sent: list[tuple[str, float, float | None]], pause: float
) -> None:
    channel: fair_channel.FairChannel[tuple[str, int]] = fair_channel.FairChannel(capacity)
    accepted: set[tuple[str, int]] = set()
    came: list[tuple[str, int]] = []

    async def send(number: int, holder: str, at: float, patience: float | None) -> None:
        await trio.sleep(at)
        with trio.move_on_after(float("inf") if patience is None else patience):
            await channel.send((holder, number), holder)
            accepted.add((holder, number))

    async def receive() -> None:
        while True:
            try:
                came.append(await channel.receive())
            except trio.EndOfChannel:
                return
            await trio.sleep(pause)

    async def main() -> None:
        async with trio.open_nursery() as receiving:
            for _ in range(receivers):
                receiving.start_soon(receive)
            async with trio.open_nursery() as sending:
                for number, (holder, at, patience) in enumerate(sent):
                    sending.start_soon(send, number, holder, at, patience)
            channel.close()
        assert channel.statistics().depth == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert sorted(came) == sorted(accepted)


@given(numbers=st.lists(st.sampled_from("abc"), max_size=40))
def test_between_one_of_a_holder_and_its_second_next_each_other_that_waits_has_one(numbers: list[str]) -> None:
    async def main() -> list[tuple[str, int]]:
        channel = await filled(100, *((holder, number) for number, holder in enumerate(numbers)))
        return await received(channel, len(numbers))

    came = trio.run(main, clock=MockClock(autojump_threshold=0))
    left: defaultdict[str, list[int]] = defaultdict(list)
    for number, holder in enumerate(numbers):
        left[holder].append(number)
    for place, (holder, number) in enumerate(came):
        assert left[holder].pop(0) == number
        waiting = {other for other, items in left.items() if items and other != holder}
        again = [other for other, _ in came[place + 1 :]]
        if again.count(holder) > 1:
            assert waiting <= set(again[: again.index(holder, again.index(holder) + 1)])


async def test_events_of_many_connections_of_one_address_do_not_make_another_wait() -> None:
    """Three hundred batches wait, and the other's is stored in the second commit from now on."""
    store = ObedientStore()
    store.block("save_many")
    async with (
        open_desk(store, channel_parcels=64, verifiers=1, verify_batch=1, write_batch=1) as (relay, replies),
        trio.open_nursery() as nursery,
    ):
        for number in range(300):
            crowd = relay.admission.new_identity("192.0.2.1")
            batch = replies.batch(ALICE.event(f"{number}"))
            nursery.start_soon(partial(relay.publish, batch, crowd))
        await wait_all_tasks_blocked()
        nursery.start_soon(relay.publish, replies.batch(BOB.event("other")), relay.admission.new_identity("192.0.2.2"))
        await wait_all_tasks_blocked()
        store.release("save_many")
    stored = [batch for batch in store.batches if batch]
    place = stored.index([BOB.event("other").id])
    # One is being written, two wait for that, one is being verified, and the turn of one of the crowd may be next.
    assert place <= 5
    assert len(stored) == 301


async def test_what_waits_without_its_senders_is_bounded_in_bytes_too() -> None:
    channel: fair_channel.FairChannel[str] = fair_channel.FairChannel(10, most_bytes=100)
    sent: list[str] = []

    async def send(item: str, size: int) -> None:
        await channel.send(item, "a", size)
        sent.append(item)

    async with trio.open_nursery() as nursery:
        for item, size in (("60", 60), ("50", 50), ("10", 10), ("20", 20), ("1000", 1_000), ("1", 1)):
            nursery.start_soon(send, item, size)
            await wait_all_tasks_blocked()
        assert sent == ["60", "50"]
        assert await channel.receive() == "60"
        await wait_all_tasks_blocked()
        assert sorted(sent[2:]) == ["10", "1000", "20"]
        assert [await channel.receive() for _ in range(5)] == ["50", "10", "20", "1000", "1"]
    assert sent[-1] == "1"


async def test_who_brings_little_waits_for_none_of_the_large_ones_that_others_have_more_of() -> None:
    channel: fair_channel.FairChannel[str] = fair_channel.FairChannel(100)
    for number in range(3):
        for holder in "abcd":
            await channel.send(f"{holder}{number}", holder, 60_000)
    assert [await channel.receive() for _ in range(4)] == ["a0", "b0", "c0", "d0"]
    await channel.send("lone", "e", 300)
    await channel.send("second", "e", 300)
    assert [await channel.receive() for _ in range(4)] == ["lone", "second", "a1", "b1"]


async def test_nothing_is_kept_of_holders_that_are_gone() -> None:
    channel: fair_channel.FairChannel[int] = fair_channel.FairChannel(10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(20_000):
        await channel.send(number, f"holder {number}", 100)
        await channel.receive()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 300_000
