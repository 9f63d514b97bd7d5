"""Answers given at once: in one piece with their end, each event once, and the long way where there is no room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import LocalClient, ids, open_desk, queries, subscription, waiting
from tests.support.server import run_threads_inline
from trio_relay import Filter, Subscription
from trio_relay.nostr.event import encode

NOTES = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
NEW = BOB.event("new")
NOTES_ONLY = Filter(kinds=frozenset({1}), limit=500)
HEAD, END = b'["EVENT","sub",', b'["EOSE","sub"]'
SIZE = sum(len(HEAD) + len(encode(note)) for note in NOTES)
"""Bytes of an answer with all of them."""


def deliver(target: Subscription, number: int) -> None:
    """A note comes live."""
    target.deliver(NOTES[number].id, encode(NOTES[number]), {})


async def quick_store() -> ObedientStore:
    store = ObedientStore(is_quick=True)
    await store.save_many(NOTES)
    return store


def narrow_outbox() -> LocalClient:
    """There is room in it for all notes, but not in one go."""
    return LocalClient(chunk_bytes=SIZE - 1)


async def test_all_that_is_stored_and_eose_are_one_piece_of_framed_messages() -> None:
    pieces: list[bytes] = []

    class Noted(LocalClient):
        def send_framed_nowait(self, framed: bytes) -> None:
            pieces.append(framed)

    target = subscription(recipient=Noted(frame=lambda message: b"<" + message + b">"))
    assert queries(await quick_store()).answer(target).send_nowait() is True
    events = b"".join(b"<" + HEAD + encode(note) + b"]>" for note in NOTES)
    assert pieces == [events + b'<["EOSE","sub"]>']


async def test_an_answer_at_once_is_counted_as_one_and_takes_no_time() -> None:
    desk = queries(await quick_store())
    desk.answer(subscription()).send_nowait()
    desk.answer(subscription(Filter(limit=0))).send_nowait()
    await desk.answer(subscription()).send()
    statistics = desk.statistics()
    assert (statistics.running, statistics.at_once, statistics.outcomes) == (0, 2, {"answered": 3})
    assert statistics.seconds.count == 1


async def test_nothing_found_is_eose_alone() -> None:
    target = subscription()
    assert queries(ObedientStore(is_quick=True)).answer(target).send_nowait() is True
    assert await waiting(target.recipient) == [["EOSE", "sub"]]


async def test_a_store_that_cannot_answer_at_once_leaves_all_to_the_long_way() -> None:
    desk, target = queries(ObedientStore()), subscription()
    assert desk.answer(target).send_nowait() is False
    assert await waiting(target.recipient) == []
    assert (desk.statistics().at_once, desk.statistics().outcomes) == (0, {})


@pytest.mark.parametrize(
    ("half_bytes", "waits", "at_once"),
    [(SIZE, b"", True), (SIZE - 1, b"", False), (SIZE + 65, b"0", True), (SIZE + 64, b"0", False)],
)
async def test_an_answer_that_finds_no_room_goes_the_long_way_and_nothing_was_sent(
    half_bytes: int, waits: bytes, at_once: bool
) -> None:
    recipient = LocalClient(2 * half_bytes)
    if waits:
        recipient.send_nowait(waits)  # which costs 64 bytes more
    assert queries(await quick_store()).answer(subscription(recipient=recipient)).send_nowait() is at_once
    sent = recipient.read().removeprefix(waits)
    assert sent == (b"" if not at_once else b"".join(HEAD + encode(note) + b"]" for note in NOTES) + END)


async def test_an_answer_too_large_to_be_framed_in_one_go_takes_the_long_way() -> None:
    desk = queries(await quick_store())
    for chunk_bytes, at_once in ((SIZE - 1, False), (SIZE, True)):
        recipient = LocalClient(chunk_bytes=chunk_bytes)
        assert desk.answer(subscription(recipient=recipient)).send_nowait() is at_once


async def test_a_long_sub_id_does_not_make_an_answer_overflow_that_found_room() -> None:
    """It stands in front of every event, and JSON writes a control character as six."""
    recipient = LocalClient(2 * (SIZE + 65))
    recipient.send_nowait(b"0")
    target = Subscription("\x00" * 64, (Filter(limit=500),), recipient)
    assert queries(await quick_store()).answer(target).send_nowait() is False
    assert not recipient.is_gone


async def test_a_client_that_is_gone_is_not_answered() -> None:
    recipient = LocalClient()
    recipient.is_gone = True
    assert queries(await quick_store()).answer(subscription(recipient=recipient)).send_nowait() is False


@pytest.mark.parametrize("pending_ids", [set(), {NOTES[1].id}, {NOTES[0].id, NOTES[1].id, "another"}])
async def test_what_is_saved_and_still_to_be_broadcast_comes_stored_and_not_again(pending_ids: set[str]) -> None:
    target = subscription()
    assert target.deliver_at_once([encode(note) for note in NOTES[:2]], pending_ids) is True
    for number in range(3):
        deliver(target, number)
        deliver(target, number)  # the second time it is held back no more
    sent = ids(await waiting(target.recipient))
    held = [number for number in range(3) if NOTES[number].id in pending_ids]
    live = [NOTES[number].id for number in range(3) for _ in range(1 if number in held else 2)]
    assert sent == [NOTES[0].id, NOTES[1].id, "EOSE", *live]


async def test_after_an_answer_at_once_nothing_is_remembered_of_live_events() -> None:
    target = subscription(recipient=LocalClient(2**30))
    target.deliver_at_once([], frozenset())
    for number in range(10_001):
        target.deliver(f"{number:064}", b"{}", {})
    assert not target.has_lost_track
    assert len(await waiting(target.recipient)) == 10_002


@pytest.mark.usefixtures("inline_threads")
async def test_an_event_between_commit_and_broadcast_comes_once() -> None:
    store = ObedientStore(is_quick=True)
    async with open_desk(store) as (relay, replies):
        store.block("saved")
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        target = subscription()
        relay.subscribe(target)
        assert relay.answer(target).send_nowait() is True
        assert ids(await waiting(target.recipient)) == [NEW.id, "EOSE"]
        store.release("saved")
        await wait_all_tasks_blocked()
        assert replies.accepted == {NEW.id}
    assert await waiting(target.recipient) == []


async def test_what_was_found_at_once_but_has_no_room_is_sent_later_and_not_searched_again() -> None:
    store = await quick_store()
    desk, target = queries(store), subscription(NOTES_ONLY, recipient=narrow_outbox())
    answer = desk.answer(target)
    assert answer.send_nowait() is False
    deliver(target, 1)
    target.deliver(NEW.id, encode(NEW), {})
    assert await answer.send() is True
    rest = [NOTES[number].id for number in (0, 2, 3, 4)]
    assert ids(await waiting(target.recipient)) == [NOTES[1].id, NEW.id, *rest, "EOSE"]
    assert (store.calls["query_nowait"], store.calls["query"]) == (1, 0)


@pytest.mark.usefixtures("inline_threads")
@pytest.mark.parametrize("is_answered_first", [True, False])
async def test_what_was_found_between_commit_and_broadcast_comes_once(is_answered_first: bool) -> None:
    store = await quick_store()
    async with open_desk(store) as (relay, replies):
        store.block("saved")
        await relay.publish(replies.batch(NEW))
        await wait_all_tasks_blocked()
        target = subscription(NOTES_ONLY, recipient=narrow_outbox())
        relay.subscribe(target)
        answer = relay.answer(target)
        assert answer.send_nowait() is False
        if is_answered_first:
            assert await answer.send() is True
        store.release("saved")
        await wait_all_tasks_blocked()
        if not is_answered_first:
            assert await answer.send() is True
        sent = ids(await waiting(target.recipient))
        assert sent[-1] == "EOSE"
        assert sorted(sent) == sorted([NEW.id, *(note.id for note in NOTES), "EOSE"])
        assert (store.calls["query_nowait"], store.calls["query"]) == (1, 0)


@pytest.mark.slow
def test_at_whatever_moment_it_is_asked_each_event_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription is opened after every number of turns of the scheduler that the events' way through takes."""
    run_threads_inline(monkeypatch)
    seen: set[int] = set()
    for turns in range(40):
        messages = trio.run(meet, turns)
        assert sorted(messages) == sorted([*(note.id for note in NOTES), "EOSE"]), f"after {turns} turns"
        seen.add(messages.index("EOSE"))
    assert {0, len(NOTES)} < seen, "all came live, all came stored, and some of both"


async def meet(turns: int) -> list[str]:
    """Publish events, and ask so many turns later; gives what came."""
    target = subscription(Filter(limit=500))
    with trio.fail_after(10):
        async with open_desk(ObedientStore(is_quick=True), write_batch=1) as (relay, replies):
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    for note in NOTES:
                        [one] = replies.batch(note)
                        if not relay.publish_nowait(one):
                            await relay.publish([one])
                        await trio.lowlevel.checkpoint()

                nursery.start_soon(publish)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                relay.subscribe(target)
                assert relay.answer(target).send_nowait()
            await wait_all_tasks_blocked()
    return ids(await waiting(target.recipient))
