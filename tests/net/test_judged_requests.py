"""Requests that wait for a verdict: they are refused, narrowed, or ended meanwhile, as if nobody had judged them."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.support.judges import REJECT, SHADOW, Jury, judged_by
from tests.support.keys import ALICE
from tests.support.server import open_door, plain
from tests.support.syncing import FIRST
from trio_relay import Action, Filter, Limits, PluginOptions, Verdict

NOTE, REACTION = ALICE.event("a note"), ALICE.event("+", kind=7)
NARROWED = Verdict(filters=(Filter(kinds=frozenset([7])),))
TOO_MANY = "error: at most 1 subscriptions on a connection (max_subscriptions)"


async def test_a_request_that_is_accepted_is_answered_and_goes_on() -> None:
    async with open_door(judges=judged_by(Jury())) as door, door.client() as client:
        await client.publish(NOTE)
        assert await client.ask("a", {"kinds": [1]}) == [plain(NOTE)]
        assert await client.count("b", {"kinds": [1]}) == 1
        later = ALICE.event("later")
        await client.send("EVENT", later)
        assert sorted([await client.receive(), await client.receive()])[0] == ["EVENT", "a", plain(later)]


@pytest.mark.parametrize("verb", ["REQ", "COUNT"])
async def test_a_request_that_is_refused_is_closed_with_the_words_of_the_judge(verb: str) -> None:
    async with open_door(judges=judged_by(Jury({1: REJECT}))) as door, door.client() as client:
        await client.send(verb, "a", {"kinds": [1]})
        assert await client.receive() == ["CLOSED", "a", "blocked: no"]
        assert await client.ask("a", {"kinds": [2]}) == []
        assert door.relay.filter_room.held > 0
        await client.send("CLOSE", "a")
        await client.expect_silence()
        assert door.relay.filter_room.held == 0


async def test_a_request_that_is_refused_silently_finds_nothing_and_hears_nothing() -> None:
    async with open_door(judges=judged_by(Jury({1: SHADOW}))) as door, door.client() as client:
        await client.publish(NOTE)
        assert await client.ask("a", {"kinds": [1]}) == []
        assert await client.count("b", {"kinds": [1]}) == 0
        assert await client.publish(ALICE.event("later")) == ["OK", ALICE.event("later").id, True, ""]
        await client.expect_silence()


async def test_a_narrowed_request_gets_what_is_stored_and_what_is_new_of_the_narrower_one() -> None:
    async with open_door(judges=judged_by(Jury({1: NARROWED}))) as door, door.client() as client:
        await client.publish(NOTE)
        await client.publish(REACTION)
        assert await client.ask("a", {"kinds": [1, 1]}) == [plain(REACTION)]
        assert await client.count("b", {"kinds": [1]}) == 1
        assert await client.publish(ALICE.event("another note")) == ["OK", ALICE.event("another note").id, True, ""]
        other = ALICE.event("-", kind=7)
        await client.send("EVENT", other)
        assert ["EVENT", "a", plain(other)] in [await client.receive(), await client.receive()]


async def test_a_narrowed_request_has_no_larger_limit_than_others() -> None:
    jury = Jury({1: Verdict(filters=(Filter(limit=1_000),))})
    limits = Limits(max_limit=2, default_limit=2)
    async with open_door(judges=judged_by(jury), limits=limits) as door, door.client() as client:
        for number in range(3):
            await client.publish(ALICE.event(str(number)))
        assert len(await client.ask("a", {"kinds": [1]})) == 2


@pytest.mark.parametrize("verb", ["REQ", "COUNT"])
async def test_what_is_closed_while_it_is_judged_is_not_answered(verb: str) -> None:
    jury = Jury(held=[1])
    limits = Limits(max_subscriptions=1)
    async with open_door(judges=judged_by(jury), limits=limits) as door, door.client() as client:
        await client.send(verb, "a", {"kinds": [1]})
        await trio.testing.wait_all_tasks_blocked()
        await client.send(verb, "b", {"kinds": [2]})
        assert await client.receive() == ["CLOSED", "b", TOO_MANY]
        await client.send("CLOSE", "a")
        await trio.testing.wait_all_tasks_blocked()
        assert jury.running == 0
        assert door.relay.filter_room.held == 0
        await client.expect_silence()


async def test_a_replacement_wins_over_what_is_being_judged() -> None:
    jury = Jury({1: REJECT}, held=[1])
    async with open_door(judges=judged_by(jury)) as door, door.client() as client:
        await client.send("REQ", "a", {"kinds": [1]})
        await trio.testing.wait_all_tasks_blocked()
        assert await client.ask("a", {"kinds": [2]}) == []
        jury.let(1)
        await client.expect_silence()


async def test_a_client_that_leaves_ends_what_is_being_judged() -> None:
    jury = Jury(held=[1])
    async with open_door(judges=judged_by(jury)) as door:
        async with door.client() as client:
            await client.send("REQ", "a", {"kinds": [1]})
            await trio.testing.wait_all_tasks_blocked()
            assert jury.running == 1
        await trio.testing.wait_all_tasks_blocked()
        assert (jury.running, door.relay.filter_room.held) == (0, 0)


async def test_a_sync_is_judged_too() -> None:
    jury = Jury({1: REJECT, 7: NARROWED, 8: Verdict(filters=(Filter(), Filter()))})
    async with open_door(judges=judged_by(jury)) as door, door.client() as client:
        await client.publish(REACTION)
        message = FIRST.hex()
        for kind, answer in (
            (1, ["NEG-ERR", "a", "blocked: no"]),
            (8, ["NEG-ERR", "a", "error: this relay could not narrow the filter of a sync to one"]),
        ):
            await client.send("NEG-OPEN", "a", {"kinds": [kind]}, message)
            assert await client.receive() == answer
        await client.send("NEG-OPEN", "a", {"kinds": [7]}, message)
        assert (await client.receive())[:2] == ["NEG-MSG", "a"]


async def test_a_judge_may_ask_for_authentication() -> None:
    jury = Jury({1: Verdict(Action.REJECT, "auth-required: who are you?")})
    async with open_door(judges=judged_by(jury)) as door, door.client() as client:
        await client.send("REQ", "a", {"kinds": [1]})
        assert await client.receive() == ["CLOSED", "a", "auth-required: who are you?"]


async def test_some_clients_ask_without_being_judged(peers: list[str]) -> None:
    jury = Jury({1: REJECT})
    peers += ["192.0.2.1", "198.51.100.1"]
    judges = judged_by(jury, PluginOptions(skip_networks=("192.0.2.0/24",)))
    async with open_door(judges=judges) as door, door.client() as near, door.client() as far:
        assert await near.ask("a", {"kinds": [1]}) == []
        await far.send("REQ", "a", {"kinds": [1]})
        assert await far.receive() == ["CLOSED", "a", "blocked: no"]
    assert [source.address for source in jury.sources] == ["198.51.100.1"]
