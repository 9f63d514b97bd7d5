"""What a keeper says to its workers, and what it answers them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.nips.members_relay import join
from tests.support.keys import ALICE, BOB, NOW
from tests.support.operators import headers_for
from tests.workers.keeping import CODE, CONFIG, NEWEST, Keeping, keeping
from tests.workers.test_statistics import told_of
from trio_relay import Limits, PolicyOptions
from trio_relay.config import Config
from trio_relay.link import LinkEnded, Refused
from trio_relay.net import http, http_responses
from trio_relay.net.listeners import Preamble
from trio_relay.net.tls import CertifiedKey
from trio_relay.policy import lists, retention
from trio_relay.workers import instructions, statistics

BANNED = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
REMOVAL = lists.Change(lists.ListName.REMOVALS, ALICE.pubkey, lists.ListEntry(since=NOW))


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """How long something takes."""
    began = trio.current_time()
    await work()
    return trio.current_time() - began


async def test_a_worker_is_first_told_how_to_serve(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        worker = await kept.worker(2, is_ready=False)
        assert [name for name, _ in worker.told] == ["version", "begin"]
        beginning = worker.beginning
        assert (beginning.config, beginning.workers, beginning.newest) == (CONFIG, 2, NEWEST)
        assert beginning.listeners == [102]
        assert kept.ready == []
        worker.link.tell("ready", b"")
        await wait_all_tasks_blocked()
        assert kept.ready == [2]


async def test_it_has_its_part_until_it_goes(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        worker, _ = await kept.worker(1), await kept.worker(2)
        worker.link.tell("mark", b"here")
        assert await worker.link.call("twice", b"ab") == b"abab"
        assert (kept.marks, kept.present) == ([b"here"], 2)
        worker.gone.cancel()
        await wait_all_tasks_blocked()
        assert kept.present == 1
        await kept.worker(1)
        assert (kept.present, kept.ready) == (2, [1, 2, 1])


async def test_all_are_told_to_end_and_who_comes_later_too(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        early = [await kept.worker(1), await kept.worker(2, is_ready=False)]
        kept.conversations.stop()
        early[0].gone.cancel()
        await wait_all_tasks_blocked()
        late = await kept.worker(1, is_ready=False)
        assert [worker.heard("stop") for worker in (early[1], late)] == [[b""], [b""]]
        assert [name for name, _ in late.told] == ["version", "begin", "stop"]


async def test_changes_of_lists_go_to_all_but_those_that_no_worker_looks_at(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        workers = [await kept.worker(1), await kept.worker(2, is_ready=False)]
        kept.conversations.follow([REMOVAL])
        kept.conversations.follow([BANNED, REMOVAL])
        await wait_all_tasks_blocked()
        for worker in workers:
            [payload] = worker.heard("rules")
            assert instructions.changes_of(payload) == [BANNED]


async def test_another_configuration_goes_to_all_and_to_who_comes_later(autojump_clock: MockClock) -> None:
    config = Config(policy=PolicyOptions(admins=(BOB.pubkey,)), limits=Limits(max_filters=7))
    async with keeping() as kept:
        early = await kept.worker(1)
        kept.conversations.take_config(config)
        late = await kept.worker(2)
        assert list(map(instructions.config_of, early.heard("config"))) == [config]
        assert late.heard("config") == []
        assert late.beginning.config == config


async def test_what_has_no_more_room_goes_to_all_and_to_who_comes_later(autojump_clock: MockClock) -> None:
    floors = retention.Floors({1: NOW}, {0: NOW}, "store.max_events", {0: {bytes(32): NOW}})
    async with keeping() as kept:
        early = await kept.worker(1)
        kept.conversations.take_floors(floors)
        late = await kept.worker(2)
        assert list(map(instructions.floors_of, early.heard("floors"))) == [floors]
        assert late.heard("floors") == []
        assert late.beginning.floors == floors


async def test_a_certificate_goes_to_all_and_to_who_comes_later(autojump_clock: MockClock) -> None:
    first, second = CertifiedKey(b"chain", b"key"), CertifiedKey(b"newer chain", b"newer key")
    async with keeping() as kept:
        kept.conversations.take_certificate(first)
        kept.conversations.preambles = [Preamble(tls=True)]
        early = await kept.worker(1)
        kept.conversations.take_certificate(second)
        late = await kept.worker(2)
        assert (early.beginning.certified, late.beginning.certified) == (first, second)
        assert early.beginning.preambles == [Preamble(tls=True)]
        assert list(map(instructions.certified_of, early.heard("certificate"))) == [second]
        assert late.heard("certificate") == []


async def test_it_is_waited_until_all_obey_that_serve(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2, is_ready=False)
        assert await seconds(kept.conversations.obeyed) == 0
        assert (one.asked, other.asked, kept.settled) == (["obey"], [], 0)
        other.link.tell("ready", b"")
        await wait_all_tasks_blocked()
        await kept.conversations.obeyed()
        assert (one.asked, other.asked, kept.settled) == (["obey"] * 2, ["obey"], 0)


async def test_it_is_waited_for_what_they_sent_however_long_that_takes(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2)
        del other.answers["settle"]

        async def go() -> None:
            await trio.sleep(3_600)
            other.gone.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            assert await seconds(kept.conversations.settled) == 3_600
        assert (one.asked, other.asked, kept.settled) == (["obey", "settle"], ["obey", "settle"], 1)
        assert kept.killed == []


async def test_one_that_does_not_answer_for_ten_seconds_is_killed_and_no_longer_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with keeping() as kept:
        _, stuck = await kept.worker(1), await kept.worker(2)
        del stuck.answers["obey"]
        assert await seconds(kept.conversations.obeyed) == 10
        assert kept.killed == [(2, "did not answer for 10 seconds")]


async def test_one_that_goes_meanwhile_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        stuck = await kept.worker(2)
        del stuck.answers["obey"]

        async def go() -> None:
            await trio.sleep(3)
            stuck.gone.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            assert await seconds(kept.conversations.obeyed) == 3
        assert kept.killed == []


async def test_numbers_are_of_those_that_answer_at_once_and_not_asked_for_again_at_once(
    autojump_clock: MockClock,
) -> None:
    async with keeping() as kept:
        one, stuck = await kept.worker(1), await kept.worker(2)
        one.answers["statistics"] = statistics.encode(told_of(7))
        assert await seconds(kept.conversations.gather) == 1
        figures = kept.totals.figures(7, 0)
        assert [(each.connections, each.process.age_seconds > 0) for each in figures.workers] == [(1, True), (0, True)]
        stuck.gone.cancel()
        assert await seconds(kept.conversations.gather) == 0
        assert await seconds(kept.conversations.gather) == 0
        assert one.asked == ["statistics"] * 2


@pytest.mark.parametrize("trouble", ["keeper", "worker", None])
async def test_the_health_of_one_is_that_of_all(trouble: str | None, autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2)
        if trouble == "keeper":
            kept.store.trouble = "the disk is full"
        elif trouble == "worker":
            other.answers["check"] = b"the disk is full"
        expected = instructions.RelayHealth("" if trouble is None else "the disk is full")
        assert [instructions.health_of(await worker.link.call("check")) for worker in (one, other)] == [expected] * 2


async def test_a_worker_that_does_not_answer_is_not_asked_for_its_health_for_ever(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, stuck = await kept.worker(1), await kept.worker(2)
        del stuck.answers["check"]
        assert await seconds(partial(one.link.call, "check")) == 2


def call_of(method: str, *params: object) -> bytes:
    """An operator's request, as a worker passes it on."""
    body = msgspec.json.encode({"method": method, "params": params})
    headers = headers_for(body)
    request = http.Request("POST", "/", headers, list(headers.items()), "/", body)
    return instructions.encode(request)


async def test_what_is_decided_by_one_holds_on_all_before_it_is_answered(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2)
        response = instructions.response_of(await one.link.call("admin", call_of("banpubkey", BOB.pubkey)))
        assert (response.status, json.loads(response.body)) == (200, {"result": True})
        for worker in (one, other):
            changes = [change for payload in worker.heard("rules") for change in instructions.changes_of(payload)]
            assert [(change.name, change.item) for change in changes] == [(BANNED.name, BOB.pubkey)]
            assert worker.asked[-1] == "obey"
            assert [name for name, _ in worker.told][-1] == "rules"


async def test_a_fault_in_a_call_lets_its_caller_down_and_nobody_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    async def answer(_request: http.Request) -> http_responses.Response:
        raise RuntimeError("a bug")

    async with keeping() as kept:
        monkeypatch.setattr(kept.conversations.admin, "answer", answer)
        one, other = await kept.worker(1), await kept.worker(2)
        response = instructions.response_of(await one.link.call("admin", call_of("stats")))
        assert response == http_responses.Response(500, b"the relay has failed\n")
        assert instructions.health_of(await other.link.call("check")) == instructions.RelayHealth("")
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["management failed"]


async def test_who_joins_by_one_is_a_member_on_all_before_it_is_answered(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2)
        answer = await one.link.call(
            "join", instructions.encode(instructions.Joining(join(ALICE, CODE, at=NOW), "1.2.3.4"))
        )
        assert instructions.verdict_of(answer).accepted
        [change] = [change for payload in other.heard("rules") for change in instructions.changes_of(payload)]
        assert (change.name, change.item) == (lists.ListName.MEMBERS, ALICE.pubkey)
        assert other.asked == ["obey"]
        refused = instructions.verdict_of(
            await one.link.call("join", instructions.encode(instructions.Joining(join(BOB, "a guess", at=NOW), None)))
        )
        assert not refused.accepted
        assert refused.reason.startswith("restricted: ")


async def test_what_one_asks_to_have_stored_is_so_or_it_hears_why_not(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        one, other = await kept.worker(1), await kept.worker(2)
        assert await one.link.call("amend", instructions.encode([BANNED])) == b""
        assert list(map(instructions.changes_of, other.heard("rules"))) == [[BANNED]]
        kept.store.refuses = "the disk is full"
        taken = lists.Change(BANNED.name, BANNED.item, None)
        with pytest.raises(Refused, match="the disk is full"):
            await one.link.call("amend", instructions.encode([taken]))
        assert kept.conversations.relay is not None
        assert kept.conversations.relay.rules.lists.entries(BANNED.name, NOW).keys() == {ALICE.pubkey}


async def test_reports_are_the_keeper_s(autojump_clock: MockClock) -> None:
    async with keeping() as kept:
        worker = await kept.worker(1)
        report = ALICE.event("spam", kind=1_984, tags=[["e", "e" * 64, "spam"], ["p", BOB.pubkey]])
        reported = instructions.Reported([report], {report.id: "1.2.3.4"})
        worker.link.tell("reports", instructions.encode(reported))
        await wait_all_tasks_blocked()
        assert await reported_events(kept) == {"e" * 64}


async def reported_events(kept: Keeping) -> set[str]:
    """What operators are shown as reported."""
    await trio.sleep(60)
    assert kept.conversations.relay is not None
    return set(kept.conversations.relay.rules.lists.entries(lists.ListName.REPORTED_EVENTS, NOW))


async def test_a_worker_whose_message_makes_no_sense_ends_the_whole(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with keeping() as kept:
            worker = await kept.worker(1)
            with pytest.raises(LinkEnded):
                await worker.link.call("unheard of")
