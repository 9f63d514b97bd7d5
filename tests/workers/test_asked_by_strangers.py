"""What those who may do nothing can have a keeper and its workers do: refusals and health cost the others little."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB
from tests.support.operators import operator
from tests.support.server import Door
from tests.support.wire import open_stream, request
from tests.workers.crew import open_crew
from trio_relay import Relay
from trio_relay.link import Link

MANY = 50
WELL = (200, {"status": "ok"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the keeper has asked a worker, or a worker the keeper, by what."""
    questions: Counter[str] = Counter()
    call = Link.call

    async def counted(self: Link, name: str, payload: bytes = b"") -> bytes:
        questions[name] += 1
        return await call(self, name, payload)

    monkeypatch.setattr(Link, "call", counted)
    return questions


async def health(door: Door) -> tuple[int, dict[str, str]]:
    """What a worker says of the health of all."""
    async with open_stream(door) as wire:
        await wire.send(request("GET", "/health", {}))
        reply = await wire.reply()
        return reply.status, json.loads(reply.body)


async def test_who_may_do_nothing_is_refused_by_the_worker_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, asked: Counter[str]
) -> None:
    async with open_crew(monkeypatch) as (crew, _):
        async with operator(crew.door(1), ALICE) as stranger:
            assert (await stranger.ask("banpubkey", BOB.pubkey)).status == 403
            assert (await stranger.ask("stats")).status == 403
            assert (await stranger.send(b"{}", None)).status == 401
        assert not asked
        async with operator(crew.door(1)) as admin:
            assert await admin.call("listbannedpubkeys") == []
        assert asked["admin"] == 1


async def test_who_was_given_a_method_passes_by_way_of_any_worker(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch) as (crew, _), operator(crew.door(2), ALICE) as moderator:
        async with operator(crew.door(1)) as admin:
            assert (await admin.ask("assignmethod", ALICE.pubkey, "banpubkey")).status == 200
        assert await moderator.call("banpubkey", BOB.pubkey) is True


async def test_many_who_ask_for_its_health_at_once_have_each_worker_look_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, asked: Counter[str]
) -> None:
    found: list[tuple[int, dict[str, str]]] = []
    async with open_crew(monkeypatch) as (crew, _):

        async def ask() -> None:
            found.append(await health(crew.door(1)))

        async with trio.open_nursery() as nursery:
            for _ in range(MANY):
                nursery.start_soon(ask)
        assert (found, asked) == ([WELL] * MANY, {"check": MANY + 2})
        await trio.sleep(1)
        await ask()
        assert asked == {"check": MANY + 2 + 3}


async def test_a_worker_that_does_not_answer_holds_up_what_is_said_of_the_health_for_two_seconds(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch) as (crew, (_, silent)):
        silent.down.shut()
        began = trio.current_time()
        assert await health(crew.door(1)) == WELL
        assert trio.current_time() - began == 2
        assert crew.killed == []


async def test_a_worker_tells_what_is_worse_than_it_should_be(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "degraded", lambda _self: "the bus is away")
    async with open_crew(monkeypatch) as (crew, _):
        assert await health(crew.door(1)) == (200, {"status": "degraded", "reason": "the bus is away"})


async def test_all_workers_tell_what_one_of_them_finds_worse(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them runs the mirrors, and whichever is asked says that one is away."""
    reason = "mirror wss://there.example is away for 61 seconds"
    async with open_crew(monkeypatch) as (crew, _):
        for worse, expected in ((reason, (200, {"status": "degraded", "reason": reason})), (None, WELL)):
            monkeypatch.setattr(crew.talks, "degraded", lambda said=worse: said)
            await trio.sleep(1)  # so long what was asked last is good
            assert [await health(crew.door(number)) for number in (1, 2)] == [expected] * 2
