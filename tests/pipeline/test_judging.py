"""Events wait for verdicts between the check of their signature and the store, and nothing else waits with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.support.judges import REJECT, SHADOW, Jury, judged_by
from tests.support.keys import ALICE, BOB, NOW
from tests.support.pipeline import LocalClient, Replies, ids, subscription, waiting
from trio_relay import Event, Filter, MemoryStore, PluginOptions, PolicyOptions, Relay, Rules, Submission, open_relay
from trio_relay.plugins import Source

EPHEMERAL = 20_001
pytestmark = pytest.mark.usefixtures("inline_threads")


@asynccontextmanager
async def open_court(
    jury: Jury, options: PluginOptions | None = None, *, width: int = 64, rules: Rules | None = None
) -> AsyncIterator[tuple[Relay, Replies]]:
    """A relay in which this jury judges."""
    judges = judged_by(jury, options, width)
    async with open_relay(MemoryStore(), rules=rules, clock=lambda: NOW, judges=judges) as relay:
        yield relay, Replies()


async def publish(relay: Relay, replies: Replies, *events: Event) -> list[tuple[bool, str]]:
    """Send events in one batch, and give what was answered by now, in the order of coming."""
    before = len(replies.heard)
    await relay.publish(replies.batch(*events))
    await trio.testing.wait_all_tasks_blocked()
    return [(accepted, reason) for _, accepted, reason in replies.heard[before:]]


async def test_a_verdict_decides_what_is_stored_and_what_senders_hear() -> None:
    good, bad, shadowed = ALICE.event("good"), ALICE.event("bad"), ALICE.event("shadowed")
    async with open_court(Jury({"bad": REJECT, "shadowed": SHADOW})) as (relay, replies):
        await publish(relay, replies, good, bad, shadowed)
        assert set(replies.heard) == {
            (good.id, True, ""),
            (bad.id, False, "blocked: no"),
            (shadowed.id, True, ""),
        }
        assert await relay.count([Filter()]) == 1


async def test_a_lone_event_is_judged_too() -> None:
    bad = ALICE.event("bad")
    async with open_court(Jury({"bad": REJECT})) as (relay, replies):
        (lone,) = replies.batch(bad)
        assert relay.publish_nowait(lone, is_lone=True)
        await trio.testing.wait_all_tasks_blocked()
        assert replies.heard == [(bad.id, False, "blocked: no")]


@pytest.mark.parametrize("kind", [1, EPHEMERAL])
async def test_live_subscribers_get_what_is_accepted_alone(kind: int) -> None:
    jury = Jury({"bad": REJECT, "shadowed": SHADOW})
    events = [ALICE.event(content, kind=kind) for content in ("good", "bad", "shadowed")]
    async with open_court(jury) as (relay, replies):
        client = LocalClient()
        relay.subscribe(subscription(recipient=client))
        await publish(relay, replies, *events)
        assert ids(await waiting(client)) == [events[0].id]
        assert replies.accepted == {events[0].id, events[2].id}


async def test_what_was_rejected_without_a_word_is_here_already_the_second_time() -> None:
    async with open_court(Jury({"shadowed": SHADOW})) as (relay, replies):
        assert await publish(relay, replies, ALICE.event("good"), ALICE.event("shadowed")) == [(True, "")] * 2
        stored = await publish(relay, replies, ALICE.event("good"))
        assert await publish(relay, replies, ALICE.event("shadowed")) == stored
        ephemeral = ALICE.event("shadowed", kind=EPHEMERAL)
        assert await publish(relay, replies, ephemeral, ephemeral) == [(True, "")] * 2


async def test_verdicts_are_asked_side_by_side_and_carried_out_in_order() -> None:
    events = [ALICE.event(content) for content in ("first", "second")]
    jury = Jury(held=["first"])
    async with open_court(jury) as (relay, replies):
        assert await publish(relay, replies, events[0]) == []
        assert await publish(relay, replies, events[1]) == []
        assert jury.asked == ["first", "second"]
        jury.let("first")
        await trio.testing.wait_all_tasks_blocked()
        assert [event_id for event_id, *_ in replies.heard] == [event.id for event in events]


async def test_no_more_are_asked_at_a_time_than_have_room() -> None:
    contents = [str(number) for number in range(5)]
    jury = Jury(held=contents)
    async with open_court(jury, width=2) as (relay, replies):
        await publish(relay, replies, *map(ALICE.event, contents))
        assert jury.most == len(jury.asked) == 2
        for content in contents:
            jury.let(content)
        await trio.testing.wait_all_tasks_blocked()
        assert len(replies.heard) == 5
        assert jury.most == 2


@pytest.mark.parametrize("kind", [5, 62])
async def test_what_deletes_stays_behind_what_it_deletes_though_nobody_judges_it(kind: int) -> None:
    event = ALICE.event("first")
    deletion = ALICE.event(kind=kind, created_at=NOW + 1, tags=[["e", event.id], ["relay", "ALL_RELAYS"]])
    jury = Jury(held=["first"])
    async with open_court(jury, PluginOptions(skip_kinds=(kind,))) as (relay, replies):
        await publish(relay, replies, event)
        assert await publish(relay, replies, deletion) == []
        jury.let("first")
        await trio.testing.wait_all_tasks_blocked()
        assert replies.heard == [(event.id, True, ""), (deletion.id, True, "")]
        assert jury.asked == ["first"]


async def test_what_nobody_judges_does_not_wait() -> None:
    """Duplicates, kinds that are left out, and what is stored of a private kind: verifiers do not tell those apart."""
    stored, private, other = ALICE.event("stored"), ALICE.event("private", kind=1059), ALICE.event("other", kind=7)
    jury = Jury(held=["slow"])
    async with open_court(jury, PluginOptions(skip_kinds=(7,))) as (relay, replies):
        await publish(relay, replies, stored, private)
        await publish(relay, replies, ALICE.event("slow"))
        assert len(await publish(relay, replies, stored, private, other)) == 3
        assert sorted(map(str, jury.asked)) == ["private", "slow", "stored"]
        jury.let("slow")


async def test_only_the_kinds_that_are_named_are_judged() -> None:
    jury = Jury()
    async with open_court(jury, PluginOptions(only_kinds=(7,))) as (relay, replies):
        await publish(relay, replies, ALICE.event("one"), ALICE.event("seven", kind=7))
    assert jury.asked == ["seven"]


async def test_some_clients_are_not_judged() -> None:
    options = PluginOptions(skip_networks=("192.0.2.0/24", "2001:db8::/32"), skip_pubkeys=(BOB.pubkey,))
    rules = Rules(options=PolicyOptions(admins=(ALICE.pubkey,)))
    jury = Jury()
    async with open_court(jury, options, rules=rules) as (relay, replies):
        for address in ("192.0.2.7", "::ffff:192.0.2.8", "2001:db8::1", "198.51.100.1", "unix"):
            identity = relay.admission.new_identity(address=address)
            await relay.publish([Submission(ALICE.event(address), replies, 0.0, sender=identity)])
        for author in (ALICE, BOB):
            identity = relay.admission.new_identity(address="203.0.113.1")
            await relay.publish([Submission(author.event("a stranger"), replies, 0.0, sender=identity)])
            identity = relay.admission.new_identity(address="203.0.113.1")
            identity.keys.add(author.pubkey)
            await relay.publish([Submission(author.event("known"), replies, 0.0, sender=identity)])
        await trio.testing.wait_all_tasks_blocked()
        assert len(replies.heard) == 9
    assert sorted(map(str, jury.asked)) == ["198.51.100.1", "a stranger", "a stranger", "unix"]


async def test_the_relay_that_stops_waits_for_verdicts(autojump_clock: MockClock) -> None:
    jury = Jury(held=["slow"])
    replies = Replies()
    async with trio.open_nursery() as nursery, open_court(jury) as (relay, _):
        await publish(relay, replies, ALICE.event("slow"))

        async def let() -> None:
            await trio.sleep(5)
            jury.let("slow")

        nursery.start_soon(let)
    assert [accepted for _, accepted, _ in replies.heard] == [True]


@pytest.mark.slow
async def test_senders_wait_once_many_events_wait_for_verdicts() -> None:
    contents = [str(number) for number in range(1_500)]
    jury = Jury(held=contents[:1])
    async with open_court(jury, width=10) as (relay, replies):
        batch = replies.batch(*(ALICE.event(content) for content in contents))
        sent = 0
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                nonlocal sent
                for place in range(0, len(batch), 50):
                    await relay.publish(batch[place : place + 50])
                    sent += 1

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert relay.stages.judging.waiting < 600
            jury.let("0")
        await trio.testing.wait_all_tasks_blocked()
        assert len(replies.accepted) == len(contents)


async def test_a_judge_is_told_where_an_event_comes_from() -> None:
    jury = Jury()
    async with open_court(jury) as (relay, replies):
        identity = relay.admission.new_identity("192.0.2.1", "192.0.2.1")
        identity.keys.add(BOB.pubkey)
        operator = replace(relay.admission.new_identity(), is_operator=True)
        peer = replace(relay.admission.new_identity(None, "wss://there.example"), is_peer=True)
        for sender, content in ((identity, "client"), (operator, "import"), (peer, "sync"), (None, "nobody")):
            await relay.publish([Submission(ALICE.event(content), replies, 0.0, sender=sender)])
            await trio.testing.wait_all_tasks_blocked()
    assert jury.sources == [
        Source("192.0.2.1", frozenset([BOB.pubkey])),
        Source(way="import"),
        Source("wss://there.example", way="sync"),
        Source(),
    ]


async def test_what_is_the_relay_s_own_is_not_judged() -> None:
    jury = Jury()
    async with open_court(jury) as (relay, replies):
        await relay.publish([Submission(ALICE.event("a backup"), replies, 0.0, is_own=True)])
        await trio.testing.wait_all_tasks_blocked()
        assert len(replies.accepted) == 1
    assert jury.asked == []


async def test_verdicts_are_counted() -> None:
    async with open_court(Jury({"bad": REJECT})) as (relay, replies):
        await publish(relay, replies, ALICE.event("good"), ALICE.event("bad"))
        seen = relay.statistics().judging
    assert seen.verdicts == {"event_accept": 1, "event_reject": 1}
    assert seen.event_seconds.count == 2
