"""Each limit of the table `rates`, on the wire: what is at it is served, one more is refused, and later is served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author, made_up
from tests.support.named_relay import auth_event, open_named, rules_for
from tests.support.operators import ADMIN, MODERATOR, operator
from tests.support.scoreboards import boards
from tests.support.server import Door, open_door
from tests.support.wire import Reply, Wire, message, open_stream, open_wire, request, upgrade
from trio_relay import KindRate, MemoryStore, NetOptions, RateOptions, Rules
from trio_relay.nostr import kinds

pytestmark = pytest.mark.usefixtures("inline_threads")

HERE, THERE = "192.0.2.1", "192.0.2.2"
GOOD = (True, "")
PATIENT = NetOptions(ping_seconds=10_000)
"""Lets clients be silent for as long as a limit takes to recover."""


def rules(**rates: Any) -> Rules:
    return Rules(rates=RateOptions(**rates))


@asynccontextmanager
async def two_wires(door: Door, peers: list[str], *addresses: str) -> AsyncIterator[list[Wire]]:
    peers += addresses
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_wire(door)) for _ in addresses]


async def publish(wire: Wire, keys: Author, *texts: str, kind: int = 1) -> list[tuple[bool, str]]:
    """Publish events, all in one read; gives their answers in order."""
    events = [keys.event(text, kind=kind, created_at=NOW) for text in texts]
    await wire.send(*(message("EVENT", event) for event in events))
    answers = {answer[1]: (answer[2], answer[3]) for answer in [await wire.receive() for _ in events]}
    return [answers[event.id] for event in events]


def too_many(what: str, seconds: int) -> tuple[bool, str]:
    return (False, f"rate-limited: {what}; again in {seconds} s")


@pytest.mark.parametrize(("scope", "where"), [("connection", "on this connection"), ("address", "from this address")])
async def test_an_event_above_the_limit_is_refused_until_one_more_may_come(
    scope: str, where: str, peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules(**{f"events_per_{scope}": "5/minute burst 3"})
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        what = f"5 events a minute {where}"
        assert await publish(wire, ALICE, "1", "2", "3", "4") == [GOOD, GOOD, GOOD, too_many(what, 12)]
        autojump_clock.jump(11)
        assert await publish(wire, ALICE, "4") == [too_many(what, 1)]
        autojump_clock.jump(1)
        assert await publish(wire, ALICE, "4", "5") == [GOOD, too_many(what, 12)]
        assert door.server.statistics().rate_limited == {f"events_per_{scope}": 3}


async def test_connections_of_one_network_share_what_their_address_may(
    peers: list[str], autojump_clock: MockClock
) -> None:
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
    async with (
        open_door(rules=rules(events_per_address="1/s burst 2")) as door,
        two_wires(door, peers, *addresses) as [one, same, other],
    ):
        assert await publish(one, ALICE, "1", "2") == [GOOD, GOOD]
        assert await publish(same, ALICE, "3") == [too_many("1 event a second from this address", 1)]
        assert await publish(other, ALICE, "4") == [GOOD]


async def test_an_events_author_is_charged_once_it_is_known_who_it_is(
    peers: list[str], autojump_clock: MockClock
) -> None:
    async with (
        open_door(rules=rules(events_per_key="1/minute burst 2")) as door,
        two_wires(door, peers, HERE, THERE) as [here, there],
    ):
        forged = replace(ALICE.event("forged"), sig=BOB.event("forged").sig)
        await here.send(message("EVENT", forged))
        assert (await here.receive())[2:] == [False, "invalid: sig is not a valid signature of the id by the pubkey"]
        assert await publish(here, ALICE, "1") == [GOOD]
        assert await publish(there, ALICE, "1") == [(True, "duplicate: already have this event")]
        assert await publish(there, ALICE, "2", "3") == [GOOD, too_many("1 event a minute from this key", 60)]
        assert await publish(here, ALICE, "4") == [too_many("1 event a minute from this key", 60)]
        assert await publish(here, BOB, "5") == [GOOD]


async def test_a_gift_wrap_is_charged_to_no_key_but_to_the_address(peers: list[str], autojump_clock: MockClock) -> None:
    limited = rules_for(
        challenge="needed", rates=RateOptions(events_per_key="1/minute burst 1", events_per_address="1/minute burst 3")
    )
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        wraps = [ALICE.event(str(number), kind=kinds.GIFT_WRAP, tags=[["p", BOB.pubkey]]) for number in range(4)]
        await wire.send(*(message("EVENT", wrap) for wrap in wraps))
        answers = {answer[1]: answer[2:] for answer in [await wire.receive() for _ in wraps]}
        refusal = list(too_many("1 event a minute from this address", 60))
        assert [answers[wrap.id] for wrap in wraps] == [[True, ""]] * 3 + [refusal]


async def test_kinds_have_limits_of_their_own(peers: list[str], autojump_clock: MockClock) -> None:
    limited = rules(
        kinds=(
            KindRate(kinds=(6, 7), per_address="2/hour"),
            KindRate(kinds=(1,), per_connection="1/minute", per_key="1/hour"),
        )
    )
    async with (
        open_door(rules=limited, net=PATIENT) as door,
        two_wires(door, peers, HERE, HERE, THERE) as [one, same, other],
    ):
        assert await publish(one, ALICE, "a", kind=6) == [GOOD]
        assert await publish(one, ALICE, "b", "c", kind=7) == [
            GOOD,
            too_many("2 events of kinds 6, 7 an hour from this address", 1800),
        ]
        assert await publish(same, BOB, "d", kind=6) == [
            too_many("2 events of kinds 6, 7 an hour from this address", 1800)
        ]
        assert await publish(one, ALICE, "e", "f") == [
            GOOD,
            too_many("1 event of kind 1 a minute on this connection", 60),
        ]
        assert await publish(other, ALICE, "g") == [too_many("1 event of kind 1 an hour from this key", 3600)]
        assert await publish(same, CAROL, "h") == [GOOD]
        assert await publish(one, ALICE, *"ijk", kind=5) == [GOOD] * 3


FIRST_OF_SYNC = "6100000200"


async def test_messages_above_the_limit_are_refused_in_their_own_words(
    peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules(messages_per_address="1/minute burst 2")
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        await wire.send(
            message("REQ", "a", {"limit": 0}),
            message("REQ", "b", {"limit": 0}),
            message("REQ", "c", {}),
            message("COUNT", "d", {}),
            message("NEG-OPEN", "e", {}, FIRST_OF_SYNC),
            message("NEG-MSG", "f", FIRST_OF_SYNC),
            message("EVENT", event := ALICE.event("1")),
            message("CLOSE", "a"),
        )
        reason = "rate-limited: 1 message a minute from this address; again in 60 s"
        assert [await wire.receive() for _ in range(7)] == [
            ["EOSE", "a"],
            ["EOSE", "b"],
            ["CLOSED", "c", reason],
            ["CLOSED", "d", reason],
            ["NEG-ERR", "e", reason],
            ["NEG-ERR", "f", reason],
            ["OK", event.id, False, reason],
        ]
        await trio.sleep(60)
        assert [len(client.open_requests) for client in door.server.connections] == [1]
        await wire.send(message("REQ", "c", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "c"]


async def test_bytes_above_the_limit_are_refused_with_all_that_the_read_brought(
    peers: list[str], autojump_clock: MockClock
) -> None:
    at_once = message("REQ", "a", {"limit": 0}) + message("REQ", "b", {"limit": 0})
    limited = rules(bytes_per_connection=f"1/s burst {len(at_once)}")
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        await wire.send(at_once)
        assert [await wire.receive() for _ in range(2)] == [["EOSE", "a"], ["EOSE", "b"]]
        await wire.send(more := message("REQ", "c", {"limit": 0}))
        reason = f"rate-limited: 1 byte a second on this connection; again in {len(more)} s"
        assert await wire.receive() == ["CLOSED", "c", reason]
        await trio.sleep(len(more))
        await wire.send(more)
        assert await wire.receive() == ["EOSE", "c"]


async def test_work_is_one_account_for_all_that_asks(peers: list[str], autojump_clock: MockClock) -> None:
    limited = rules(work_per_address="6/minute burst 2")
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE, THERE) as [wire, other]:
        account = door.relay.rates.account(HERE)
        account.charge(2.0, trio.current_time())
        await wire.send(message("REQ", "a", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "a"]
        account.charge(0.5, trio.current_time())
        reason = "rate-limited: 6 s of work a minute from this address; again in 5 s"
        await wire.send(message("REQ", "b", {}), message("COUNT", "c", {}), message("NEG-OPEN", "d", {}, FIRST_OF_SYNC))
        assert [await wire.receive() for _ in range(3)] == [
            ["CLOSED", "b", reason],
            ["CLOSED", "c", reason],
            ["NEG-ERR", "d", reason],
        ]
        await wire.send(message("CLOSE", "a"))
        assert await publish(wire, ALICE, "1") == [GOOD]  # events make no work of this account
        await other.send(message("REQ", "b", {"limit": 0}))
        assert await other.receive() == ["EOSE", "b"]
        await trio.sleep(6)
        await wire.send(message("REQ", "b", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "b"]


async def test_failed_auths_above_the_limit_are_not_looked_at(peers: list[str], autojump_clock: MockClock) -> None:
    limited = rules_for(rates=RateOptions(failed_auths_per_address="1/minute burst 2"))
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        _, challenge = await wire.receive()
        for expected in (
            "invalid:",
            "invalid:",
            "rate-limited: 1 failed AUTH a minute from this address; again in 60 s",
        ):
            await wire.send(message("AUTH", auth_event(ALICE, "another", created_at=NOW)))
            assert (await wire.receive())[3].startswith(expected)
        await trio.sleep(60)
        await wire.send(message("AUTH", auth_event(ALICE, challenge, created_at=NOW)))
        assert (await wire.receive())[2:] == [True, ""]


async def knock(door: Door, *, send: bytes = upgrade()) -> Reply:
    async with open_stream(door) as wire:
        await wire.send(send)
        return await wire.reply()


async def test_connections_above_the_limit_are_told_when_to_come_again(
    peers: list[str], autojump_clock: MockClock
) -> None:
    async with open_door(rules=rules(connections_per_address="6/minute burst 2")) as door:
        peers += [HERE] * 3 + [THERE] + [HERE] * 2
        assert [(await knock(door)).status for _ in range(2)] == [101, 101]
        refused = await knock(door)
        assert (refused.status, refused.headers["retry-after"]) == (429, "10")
        assert refused.body == b"rate-limited: 6 connections a minute from this address; again in 10 s\n"
        assert (await knock(door)).status == 101
        await trio.sleep(10)
        assert [(await knock(door)).status for _ in range(2)] == [101, 429]


async def test_calls_above_the_limit_are_told_when_to_come_again(peers: list[str], autojump_clock: MockClock) -> None:
    call = request("POST", "/", {"Content-Type": "application/nostr+json+rpc"}, b"{}")
    limited = rules_for(rates=RateOptions(calls_per_address="6/minute burst 2"), admins=(ALICE.pubkey,))
    async with open_door(rules=limited, net=PATIENT) as door:
        peers += [HERE] * 4 + [THERE]
        assert [(await knock(door, send=call)).status for _ in range(2)] == [401, 401]
        refused = await knock(door, send=call)
        assert (refused.status, refused.headers["retry-after"]) == (429, "10")
        assert refused.headers["access-control-allow-origin"] == "*"
        assert refused.body == b'{"error":"rate-limited: 6 management calls a minute from this address; again in 10 s"}'
        await trio.sleep(10)
        assert [(await knock(door, send=call)).status for _ in range(2)] == [401, 401]


async def test_who_goes_on_is_not_read_for_a_while_and_then_has_to_go(
    peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules(messages_per_connection="1/hour burst 1")
    async with open_door(rules=limited, net=PATIENT) as door, two_wires(door, peers, HERE) as [wire]:
        asking = [message("REQ", "a", {"limit": 0})] * 102
        began = trio.current_time()
        for pauses in range(5):
            await wire.send(*asking)
            answers = [(await wire.receive())[0] for _ in asking]
            assert answers == ["CLOSED" if pauses else "EOSE"] + ["CLOSED"] * 101
            assert trio.current_time() == pytest.approx(began + 30 * pauses)
        assert await wire.receive_close() == (1008, "rate-limited: this client goes on whatever it is told")
        assert door.server.statistics().close_reasons == {}


@pytest.mark.parametrize("why", ["admin", "network", "off", "this machine", "proxy"])
async def test_who_is_exempt_meets_no_limit_of_an_address(
    why: str, peers: list[str], autojump_clock: MockClock
) -> None:
    rates = RateOptions(
        enabled=why != "off",
        exempt_networks=("192.0.2.0/31",) if why == "network" else (),
        events_per_address="1/minute",
        work_per_address="1/minute",
        connections_per_address="2/minute",
        faults_per_address="1/minute",
    )
    net = NetOptions(trusted_proxies=(HERE,) if why == "proxy" else ())
    address = "127.0.0.1" if why == "this machine" else HERE
    limited = rules_for(rates=rates, admins=(ALICE.pubkey,) if why == "admin" else ())
    async with open_door(rules=limited, net=net) as door, two_wires(door, peers, address, address) as [wire, _]:
        _, challenge = await wire.receive()
        if why == "admin":
            await wire.send(message("AUTH", auth_event(ALICE, challenge, created_at=NOW)))
            assert (await wire.receive())[2:] == [True, ""]
        await wire.send(*[message("what")] * 3)
        assert [(await wire.receive())[0] for _ in range(3)] == ["NOTICE"] * 3
        assert await publish(wire, BOB, "1", "2") == [GOOD, GOOD]
        await wire.send(message("REQ", "a", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "a"]
        if why != "admin":
            peers += [address]
            assert (await knock(door)).status == 101


async def test_who_breaks_too_many_rules_is_barred_for_a_growing_time(
    peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules(faults_per_address="1/hour burst 3", bar_seconds=60)
    async with open_door(rules=limited, net=PATIENT) as door:
        for seconds in (60, 120):
            async with two_wires(door, peers, HERE, HERE, THERE) as [wire, same, other]:
                await wire.send(*(message("EVENT", made_up(f"{seconds} {number}")) for number in range(2)))
                assert [(await wire.receive())[2] for _ in range(2)] == [False] * 2
                await wire.send(message("what"), message("what"))
                assert [(await wire.receive())[0] for _ in range(2)] == ["NOTICE"] * 2
                assert await wire.receive_close() == (
                    1008,
                    "blocked: this address has broken too many rules, and is barred for a while",
                )
                await trio.sleep(1)
                assert (await same.receive_close())[0] == 1008
                await other.send(message("REQ", "a", {"limit": 0}))
                assert await other.receive() == ["EOSE", "a"]
            assert door.server.statistics().barred == 1
            peers += [HERE]
            async with open_stream(door) as wire:
                assert await wire.receive_end() == b""
            await trio.sleep(seconds - 2)
            peers += [HERE]
            async with open_stream(door) as wire:
                assert await wire.receive_end() == b""
            await trio.sleep(1.5)
            assert door.server.statistics().barred == 0
        peers += [HERE]
        assert (await knock(door)).status == 101


@asynccontextmanager
async def two_doors(limited: Rules) -> AsyncIterator[list[Door]]:
    """Two workers of one relay."""
    with boards(2) as (_, opened_boards):
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(open_door(rules=Rules(rates=limited.rates), scoreboard=board))
                for board in opened_boards
            ]


async def test_the_limits_of_an_address_and_an_author_hold_over_all_workers(
    peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules(
        events_per_address="1/minute burst 3", events_per_key="1/hour burst 4", connections_per_address="1/hour burst 3"
    )
    async with two_doors(limited) as (here, there), AsyncExitStack() as stack:
        peers += [HERE, HERE, THERE]
        one, two, other = [await stack.enter_async_context(open_wire(door)) for door in (here, there, there)]
        assert await publish(one, ALICE, "1", "2") == [GOOD, GOOD]
        assert await publish(two, ALICE, "3", "4") == [GOOD, too_many("1 event a minute from this address", 60)]
        assert await publish(other, ALICE, "5", "6") == [GOOD, too_many("1 event an hour from this key", 3600)]
        peers += [HERE, HERE]
        assert [(await knock(door)).status for door in (here, there)] == [101, 429]


async def test_who_is_barred_by_one_worker_is_by_all(peers: list[str], autojump_clock: MockClock) -> None:
    limited = rules(faults_per_address="1/hour burst 3")
    async with two_doors(limited) as (here, there), AsyncExitStack() as stack:
        peers += [HERE, HERE, THERE]
        one, two, other = [await stack.enter_async_context(open_wire(door)) for door in (here, there, there)]
        await one.send(*[message("what")] * 2)
        await two.send(*[message("what")] * 2)
        assert [(await wire.receive())[0] for wire in (one, one, two, two)] == ["NOTICE"] * 4
        assert (await two.receive_close())[0] == 1008
        await trio.sleep(1)
        assert (await one.receive_close())[0] == 1008
        await other.send(message("REQ", "a", {"limit": 0}))
        assert await other.receive() == ["EOSE", "a"]
        peers += [HERE]
        async with open_stream(here) as wire:
            assert await wire.receive_end() == b""
        assert [door.server.statistics().barred for door in (here, there)] == [1, 1]


@asynccontextmanager
async def authenticated(door: Door, peers: list[str], keys: Author) -> AsyncIterator[Wire]:
    """A client that has authenticated this key, from an address of its own."""
    peers.append(f"198.51.100.{len(peers) + 1}")
    async with open_wire(door) as wire:
        _, challenge = await wire.receive()
        await wire.send(message("AUTH", auth_event(keys, challenge, created_at=NOW)))
        assert (await wire.receive())[2:] == [True, ""]
        yield wire


@pytest.mark.parametrize("counted", ["messages", "bytes", "work"])
async def test_what_connections_with_one_key_bring_and_ask_is_one_account(
    counted: str, peers: list[str], autojump_clock: MockClock
) -> None:
    asking = message("REQ", "a", {"limit": 0})
    rate, what = {
        "messages": ("1/minute burst 2", "1 message a minute from this key; again in 60 s"),
        "bytes": (f"1/s burst {2 * len(asking)}", f"1 byte a second from this key; again in {len(asking)} s"),
        "work": ("6/minute burst 2", "6 s of work a minute from this key; again in 5 s"),
    }[counted]
    limited = rules_for(rates=rules(**{f"{counted}_per_key": rate}).rates)
    async with (
        open_door(rules=limited, net=PATIENT) as door,
        authenticated(door, peers, ALICE) as one,
        authenticated(door, peers, ALICE) as two,
        authenticated(door, peers, BOB) as other,
    ):
        account = door.relay.rates.account("203.0.113.1")
        account.add_key(ALICE.pubkey)
        if counted == "work":
            account.charge(2.0, trio.current_time())
        for wire in (one, two):
            await wire.send(asking)
            assert await wire.receive() == ["EOSE", "a"]
        if counted == "work":
            account.charge(0.5, trio.current_time())
        await one.send(asking)
        assert await one.receive() == ["CLOSED", "a", f"rate-limited: {what}"]
        await other.send(asking)
        assert await other.receive() == ["EOSE", "a"]
        await trio.sleep(60)
        await two.send(asking)
        assert await two.receive() == ["EOSE", "a"]


async def test_calls_of_a_key_above_the_limit_are_refused_and_those_of_admins_are_not(
    peers: list[str], autojump_clock: MockClock
) -> None:
    limited = rules_for(rates=RateOptions(calls_per_key="1/minute burst 2"), admins=(ADMIN.pubkey,))
    async with (
        open_named(MemoryStore(), limited, clock=lambda: NOW) as door,
        operator(door) as admin,
        operator(door, MODERATOR) as moderator,
    ):
        assert await admin.call("assignmethod", MODERATOR.pubkey, "listbannedevents") == [True, "assigned"]
        assert [await moderator.call("listbannedevents") for _ in range(2)] == [[], []]
        refused = await moderator.ask("listbannedevents")
        assert (refused.status, refused.headers["retry-after"]) == (429, "60")
        assert refused.body == b'{"error":"rate-limited: 1 management call a minute from this key; again in 60 s"}'
        assert [await admin.call("listbannedevents") for _ in range(4)] == [[]] * 4


async def test_the_log_has_one_line_a_minute_with_who_met_limits_most(
    peers: list[str], autojump_clock: MockClock, logged: list[dict[str, Any]]
) -> None:
    async with (
        open_door(rules=rules(messages_per_connection="1/hour burst 1"), net=PATIENT) as door,
        two_wires(door, peers, *(f"192.0.2.{number}" for number in range(1, 13))) as wires,
    ):
        for number, wire in enumerate(wires, start=1):
            await wire.send(*[message("REQ", "a", {"limit": 0})] * (number + 1))
            assert [(await wire.receive())[0] for _ in range(number + 1)] == ["EOSE"] + ["CLOSED"] * number
        await trio.sleep(120)
        [line] = [line for line in logged if line["event"] == "rate limited"]
        assert line == {
            "event": "rate limited",
            "log_level": "info",
            "limits": {"messages_per_connection": 78},
            "addresses": {f"192.0.2.{number}": number for number in range(12, 2, -1)},
            "others": 2,
        }
