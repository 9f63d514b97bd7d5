"""The line between two processes: order, questions, refusals, and every way in which it can end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.marks import examples
from tests.support.server import socket_pair
from trio_relay.link import Calls, Link, LinkEnded, Refused, Tells


class Heard(list[bytes]):
    """What was told, in its order."""

    async def take(self, payload: bytes) -> None:
        self.append(payload)


async def echo(payload: bytes) -> bytes:
    return payload


async def never(_payload: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


async def refuse(payload: bytes) -> bytes:
    raise Refused(payload.decode())


async def fall_over(_payload: bytes) -> bytes:
    raise RuntimeError("a bug")


@asynccontextmanager
async def linked(tells: Tells, calls: Calls | None = None) -> AsyncIterator[tuple[Link, Link]]:
    """Both ends of a line that runs; the far one takes and answers this."""
    near, far = map(Link, trio.testing.memory_stream_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        nursery.start_soon(far.run, tells, calls)
        yield near, far
        nursery.cancel_scope.cancel()


async def test_what_is_told_comes_in_its_order_and_one_after_the_other(autojump_clock: MockClock) -> None:
    heard: list[tuple[str, bytes, float]] = []

    async def take(name: str, payload: bytes) -> None:
        heard.append((name, payload, trio.current_time()))
        await trio.sleep(1)

    async with linked({"a": partial(take, "a"), "b": partial(take, "b")}) as (near, _):
        began = trio.current_time()
        for name, payload in (("a", b"1"), ("b", b"2"), ("a", b"")):
            near.tell(name, payload)
        await trio.sleep(10)
    assert heard == [("a", b"1", began), ("b", b"2", began + 1), ("a", b"", began + 2)]


async def test_both_sides_tell_and_ask(autojump_clock: MockClock) -> None:
    ends = dict(zip("ab", map(Link, trio.testing.memory_stream_pair()), strict=True))
    heard = {name: Heard() for name in ends}
    async with trio.open_nursery() as nursery:
        for name, link in ends.items():
            nursery.start_soon(link.run, {"note": heard[name].take}, {"echo": echo})
        for name, link in ends.items():
            link.tell("note", name.encode())
        assert [await link.call("echo", name.encode()) for name, link in ends.items()] == [b"a", b"b"]
        nursery.cancel_scope.cancel()
    assert heard == {"a": [b"b"], "b": [b"a"]}


async def test_what_came_before_a_question_was_taken_before_it_is_answered(autojump_clock: MockClock) -> None:
    taken = Heard()

    async def take_slowly(payload: bytes) -> None:
        await trio.sleep(5)
        await taken.take(payload)

    async def so_far(_payload: bytes) -> bytes:
        return b"".join(taken)

    async with linked({"note": take_slowly}, {"so far": so_far}) as (near, _):
        near.tell("note", b"1")
        near.tell("note", b"2")
        assert await near.call("so far") == b"12"


async def test_a_question_that_takes_long_holds_up_no_other(autojump_clock: MockClock) -> None:
    async def wait(payload: bytes) -> bytes:
        await trio.sleep(int(payload))
        return payload

    async with linked({}, {"wait": wait}) as (near, _):
        answers: list[bytes] = []

        async def ask(seconds: int) -> None:
            answers.append(await near.call("wait", b"%d" % seconds))

        async with trio.open_nursery() as asking:
            for seconds in (3, 1, 2):
                asking.start_soon(ask, seconds)
    assert answers == [b"1", b"2", b"3"]


async def test_a_refusal_comes_to_who_asks_in_its_words_and_the_line_goes_on(autojump_clock: MockClock) -> None:
    async with linked({}, {"refuse": refuse, "echo": echo}) as (near, _):
        with pytest.raises(Refused, match=r"^the disk is full — völlig$"):
            await near.call("refuse", "the disk is full — völlig".encode())
        assert await near.call("echo", b"still here") == b"still here"


@pytest.mark.parametrize("size", [0, 1, 262_139, 262_144, 5_000_000])
async def test_messages_of_any_size_come_whole(size: int, autojump_clock: MockClock) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    async with linked({}, {"echo": echo}) as (near, _):
        assert await near.call("echo", payload[:size]) == payload[:size]


async def test_who_asks_may_go_away_and_a_late_answer_is_nobody_s(autojump_clock: MockClock) -> None:
    async def late(payload: bytes) -> bytes:
        await trio.sleep(10)
        return payload

    async with linked({}, {"late": late, "echo": echo}) as (near, _):
        with trio.move_on_after(1) as patience:
            await near.call("late", b"nobody's")
        assert patience.cancelled_caught
        assert await near.call("late", b"mine") == b"mine"
        assert await near.call("echo", b"another") == b"another"


async def test_an_answer_to_a_side_that_is_gone_is_not_given_and_not_waited_for(autojump_clock: MockClock) -> None:
    began, cancelled = trio.Event(), trio.Event()

    async def ponder(_payload: bytes) -> bytes:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    ours, theirs = trio.testing.memory_stream_pair()
    near, far = Link(ours), Link(theirs)
    async with trio.open_nursery() as nursery:
        asking = trio.CancelScope()

        async def ask() -> None:
            with asking:
                await near.run({})

        nursery.start_soon(ask)
        nursery.start_soon(far.run, {}, {"ponder": ponder})
        nursery.start_soon(_ends, partial(near.call, "ponder"))
        await began.wait()
        asking.cancel()
    assert cancelled.is_set()
    with pytest.raises(LinkEnded):
        await far.call("anything")


async def _ends(call: Callable[[], Awaitable[bytes]]) -> None:
    with pytest.raises(LinkEnded):
        await call()


async def test_questions_end_when_the_other_side_goes(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    near = Link(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        for _ in range(3):
            nursery.start_soon(_ends, partial(near.call, "what"))
        await wait_all_tasks_blocked()
        await theirs.aclose()
    near.tell("note", b"to nobody")
    assert near.waiting == 0
    await _ends(partial(near.call, "what"))


async def test_questions_end_when_this_side_stops(autojump_clock: MockClock) -> None:
    async with linked({}, {"never": never}) as (near, _), trio.open_nursery() as asking:
        for _ in range(3):
            asking.start_soon(_ends, partial(near.call, "never"))
        await wait_all_tasks_blocked()
        near.end()
    await _ends(partial(near.call, "never"))


@pytest.mark.parametrize("kept", [1, 4, 5, 12])
async def test_an_end_in_the_middle_of_a_message_is_an_end_and_its_half_is_not_taken(
    autojump_clock: MockClock, kept: int
) -> None:
    whole = await written(lambda link: link.tell("note", b"12345678"))
    assert kept < len(whole)
    near, far = trio.testing.memory_stream_pair()
    heard = Heard()
    await near.send_all(whole + whole[:kept])
    await near.aclose()
    await Link(far).run({"note": heard.take})
    assert heard == [b"12345678"]


async def test_a_connection_that_breaks_is_an_end() -> None:
    """As a socket is that is closed before all was read from it."""
    ours, theirs = socket_pair()
    near = Link(ours)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.run, {})
            nursery.start_soon(_ends, partial(near.call, "what", bytes(1_000)))
            near.tell("note", bytes(10_000_000))
            assert await theirs.receive_some(1)
            await theirs.aclose()


@pytest.mark.parametrize("ask", [True, False])
async def test_a_fault_of_who_takes_or_answers_ends_the_line_and_comes_out(
    ask: bool, autojump_clock: MockClock
) -> None:
    async def fall(payload: bytes) -> None:
        await fall_over(payload)

    near, far = map(Link, trio.testing.memory_stream_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        if ask:
            nursery.start_soon(_ends, partial(near.call, "fall"))
        else:
            near.tell("fall", b"")
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug"), flatten_subgroups=True):
            await far.run({"fall": fall}, {"fall": fall_over})
    with pytest.raises(LinkEnded):
        await far.call("anything")


@pytest.mark.parametrize("ask", [True, False])
async def test_what_nobody_takes_ends_the_line(ask: bool, autojump_clock: MockClock) -> None:
    near, far = map(Link, trio.testing.memory_stream_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run, {})
        if ask:
            nursery.start_soon(_ends, partial(near.call, "unheard of"))
        else:
            near.tell("unheard of", b"")
        with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
            await far.run({})


async def test_what_waits_is_told_and_its_leaving_too(autojump_clock: MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    link, heard, left = Link(near), Heard(), list[int]()
    link.on_room = lambda: left.append(link.waiting)
    assert link.waiting == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, {})
        for number in range(3):
            link.tell("note", bytes(1_000 * (number + 1)))
        assert 6_000 < link.waiting < 6_100
        waited = link.waiting
        await wait_all_tasks_blocked()
        assert (link.waiting, left) == (waited, [])  # nobody reads
        nursery.start_soon(Link(far).run, {"note": heard.take})
        await wait_all_tasks_blocked()
        assert (link.waiting, left) == (0, [0])
        nursery.cancel_scope.cancel()
    assert list(map(len, heard)) == [1_000, 2_000, 3_000]


async def test_room_is_waited_for_until_little_waits_or_the_line_has_ended(autojump_clock: MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    link, found = Link(near), list[int]()

    async def wait(most: int) -> None:
        await link.room(most)
        found.append(most)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, {})
        link.tell("note", bytes(1_000))
        await wait_all_tasks_blocked()  # it is being sent, and the next ones wait behind it
        link.tell("note", bytes(1_000))
        for most in (5_000, 1_500, 0):
            nursery.start_soon(wait, most)
        await wait_all_tasks_blocked()
        assert found == [5_000]
        while link.waiting > 1_500:
            await far.receive_some(100)
            await wait_all_tasks_blocked()
        assert found == [5_000, 1_500]
        await far.aclose()
        await wait_all_tasks_blocked()
        assert found == [5_000, 1_500, 0]


async def written(say: Callable[[Link], None]) -> bytes:
    """What a link sends that is told this."""
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, {})
        say(link)
        while link.waiting:
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return b"".join([bytes(part) async for part in theirs])


async def _taken(parts: list[bytes]) -> list[bytes]:
    """What a link takes from a stream that comes in these parts."""
    heard = Heard()
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Link(far).run, {"note": heard.take})
        async with near:
            for part in parts:
                await near.send_all(part)
    return heard


@settings(max_examples=examples(50))
@given(payloads=st.lists(st.binary(max_size=300), max_size=8), data=st.data())
def test_however_the_stream_is_cut_the_same_messages_come(payloads: list[bytes], data: st.DataObject) -> None:
    def say(link: Link) -> None:
        for payload in payloads:
            link.tell("note", payload)

    stream = trio.run(partial(written, say))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=20)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert trio.run(partial(_taken, [part for part in parts if part])) == payloads
