"""An outbox whose reader comes at a call: it is in the post once, and offers all it has before anyone is too slow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_relay.pipeline.outbox import Outbox, unframed
from trio_relay.pipeline.post import Flush, Post

MESSAGE_COST = 64
"""What a message weighs beyond its bytes."""


class Notes(Post):
    """A post that only notes what it is to carry out."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes: list[Flush] = []

    def add(self, flush: Flush) -> None:
        self.flushes.append(flush)


class Reader:
    """Takes what waits each time it is called, if it can; `network` says how much of that has left."""

    def __init__(self, most_bytes: int, network: Callable[[int], int] = lambda cost: cost) -> None:
        self.taken: list[bytes] = []
        self.overflows = 0
        self.is_stuck = False
        self.post = Notes()
        self.outbox = Outbox(unframed, most_bytes, self._overflow, self.flush, self.post)
        self._network = network

    def flush(self) -> None:
        while not self.is_stuck:
            data, cost = self.outbox.take_nowait()
            if not cost:
                return
            self.taken.append(data)
            self.outbox.sent(self._network(cost))

    def _overflow(self) -> None:
        self.overflows += 1


def test_an_outbox_is_in_the_post_once_however_much_waits() -> None:
    reader = Reader(1000)
    for message in (b"a", b"b", b"c"):
        reader.outbox.send_nowait(message)
    assert reader.post.flushes == [reader.flush]
    reader.flush()
    assert reader.taken == [b"abc"]
    reader.outbox.send_nowait(b"d")
    assert reader.post.flushes == [reader.flush] * 2


def test_an_outbox_that_its_reader_holds_does_not_go_to_the_post() -> None:
    reader = Reader(1000)
    reader.outbox.is_held = True
    reader.outbox.send_nowait(b"a")
    reader.outbox.is_held = False
    reader.outbox.send_nowait(b"b")  # the reader has still to come for the first
    assert reader.post.flushes == []
    reader.flush()
    reader.outbox.send_nowait(b"c")
    assert (reader.taken, reader.post.flushes) == ([b"ab"], [reader.flush])


def test_what_was_never_offered_is_not_the_clients_delay() -> None:
    reader = Reader(1000)
    messages = [bytes([letter]) * 500 for letter in b"abcdefgh"]
    for message in messages:
        reader.outbox.send_nowait(message)
    reader.flush()
    assert (b"".join(reader.taken), reader.overflows) == (b"".join(messages), 0)


def test_who_takes_nothing_overflows_and_only_then() -> None:
    reader = Reader(1000)
    reader.is_stuck = True
    reader.outbox.send_nowait(b"x" * (1000 - MESSAGE_COST))
    assert reader.overflows == 0
    reader.outbox.send_nowait(b"")
    reader.outbox.send_nowait(b"")
    assert reader.overflows == 1
    assert reader.outbox.take_nowait() == (b"x" * (1000 - MESSAGE_COST), 1000)


def test_what_was_taken_but_has_not_left_still_fills_the_outbox() -> None:
    reader = Reader(1000, network=lambda _cost: 0)
    reader.outbox.send_nowait(b"x" * (1000 - MESSAGE_COST))
    reader.outbox.send_nowait(b"y")
    assert reader.overflows == 1


def test_taking_finds_nothing_where_nothing_waits() -> None:
    reader = Reader(1000)
    assert reader.outbox.take_nowait() == (b"", 0)
    reader.outbox.close()
    assert reader.outbox.take_nowait() == (b"", 0)


def test_taking_gives_what_waits_and_its_cost() -> None:
    reader = Reader(1000)
    reader.outbox.send_nowait(b"one")
    assert reader.outbox.take_nowait() == (b"one", 3 + MESSAGE_COST)
    reader.outbox.send_nowait(b"two")
    reader.outbox.send_nowait(b"three")
    assert reader.outbox.take_nowait() == (b"twothree", 8 + 2 * MESSAGE_COST)


@pytest.mark.parametrize(("waiting", "size", "has_room"), [(0, 500, True), (0, 501, False), (200, 300, True)])
def test_stored_results_have_half_of_the_room(waiting: int, size: int, has_room: bool) -> None:
    reader = Reader(1000)
    if waiting:
        reader.outbox.send_nowait(b"x" * (waiting - MESSAGE_COST))
    assert reader.outbox.has_room_for(size) is has_room


def test_there_is_no_room_where_half_is_taken_or_all_is_over() -> None:
    reader = Reader(1000)
    reader.outbox.send_nowait(b"x" * (500 - MESSAGE_COST))
    assert reader.outbox.has_room_for(0)
    assert not reader.outbox.has_room_for(1)
    reader.outbox.send_nowait(b"")
    assert not reader.outbox.has_room_for(0)
    reader.flush()
    assert reader.outbox.has_room_for(0)
    reader.outbox.close()
    assert not reader.outbox.has_room_for(0)


async def test_closing_while_something_waits_leaves_it_to_be_taken_and_wakes_who_waits_for_room() -> None:
    reader = Reader(1000)
    reader.outbox.send_nowait(b"x" * 900)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.outbox.wait_for_room)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            reader.outbox.close(last=b"bye")
    reader.outbox.send_nowait(b"late")
    reader.flush()
    assert reader.taken == [b"x" * 900 + b"bye"]
    assert reader.outbox.take_nowait() == (b"", 0)


def test_closing_may_forget_what_waits_and_the_post_finds_nothing() -> None:
    reader = Reader(1000)
    reader.outbox.send_nowait(b"a")
    reader.outbox.close(forget=True)
    for flush in reader.post.flushes:
        flush()
    assert reader.taken == []


def test_a_reader_that_finds_the_line_broken_while_he_makes_room_is_not_called_too_slow() -> None:
    reader = Reader(1000, network=lambda _cost: 0)
    reader.outbox.send_nowait(b"x" * 900)

    def break_off() -> None:
        reader.outbox.take_nowait()
        reader.outbox.close(forget=True)

    reader.outbox._flush = break_off
    reader.outbox.send_nowait(b"y" * 900)
    assert reader.overflows == 0
    assert reader.outbox.take_nowait() == (b"", 0)
