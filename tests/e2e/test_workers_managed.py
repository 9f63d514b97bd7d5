"""What operators decide by one worker holds on the other before they are answered (NIP-86), and so do members."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.nips.members_relay import ADDED, join, leave
from tests.support.crew import TWO, client_of, stream_to
from tests.support.keys import ALICE, BOB, Author
from tests.support.named_relay import auth_event
from tests.support.operators import ADMIN, Operator
from tests.support.program import Program, running
from tests.support.server import Talker
from tests.support.wire import Wire
from trio_relay import Event

pytestmark = pytest.mark.slow

SETTINGS = {**TWO, "policy.admins": json.dumps([ADMIN.pubkey])}
CODE = "open sesame"
WITH_MEMBERS = {
    **SETTINGS,
    "members.enabled": "true",
    "members.claims": json.dumps([CODE]),
    "policy.challenge": "connect",
}
_BANNED = "blocked: the author of this event is banned here"
_TURNS = 10


@asynccontextmanager
async def operator_of(program: Program, worker: int) -> AsyncIterator[Operator]:
    """An administrator who is connected to this worker."""
    host, port = program.address
    async with await stream_to(program, worker) as stream:
        operator = Operator(Wire(stream), url=f"http://{host}:{port}/")
        operator.now = int(time.time())
        yield operator


async def document(program: Program, worker: int) -> dict[str, Any]:
    """What this worker says of the relay (NIP-11)."""
    async with await stream_to(program, worker) as stream:
        reply = await Wire(stream).ask(Accept="application/nostr+json")
    said: dict[str, Any] = json.loads(reply.body)
    return said


async def found(client: Talker, author: Author) -> list[str]:
    ids = [event["id"] for event in await client.ask("a", {"authors": [author.pubkey]})]
    await client.send("CLOSE", "a")
    return ids


def note(author: Author, text: str) -> Event:
    return author.event(text, created_at=int(time.time()))


@pytest.mark.parametrize("worker", [1, 2])
async def test_a_ban_and_its_end_hold_on_both_when_they_are_answered(tmp_path: Path, worker: int) -> None:
    async with (
        running(tmp_path, SETTINGS) as program,
        client_of(program, 1) as one,
        client_of(program, 2) as other,
        operator_of(program, worker) as operator,
    ):
        for turn in range(_TURNS):
            author = Author(f"spammer {turn}")
            first, second = note(author, "first"), note(author, "second")
            assert await (one, other)[turn % 2].publish(first) == ["OK", first.id, True, ""]
            assert await operator.call("banpubkey", author.pubkey, "spam") is True
            for client in (one, other):
                assert await client.publish(second) == ["OK", second.id, False, _BANNED]
                assert await found(client, author) == []
        async with operator_of(program, 3 - worker) as elsewhere:
            assert len(await elsewhere.call("listbannedpubkeys")) == _TURNS
            assert await elsewhere.call("unbanpubkey", author.pubkey) is True
        assert len(await operator.call("listbannedpubkeys")) == _TURNS - 1
        assert await one.publish(first) == ["OK", first.id, True, ""]
        assert await other.publish(second) == ["OK", second.id, True, ""]


async def test_kinds_names_and_numbers_are_the_same_on_both(tmp_path: Path) -> None:
    async with (
        running(tmp_path, SETTINGS) as program,
        client_of(program, 1) as one,
        client_of(program, 2) as other,
        operator_of(program, 1) as operator,
        operator_of(program, 2) as another,
    ):
        assert await operator.call("disallowkind", 7) is True
        for client in (one, other):
            assert (await client.publish(ALICE.event("+", kind=7)))[2] is False
        assert await another.call("undisallowkind", 7) is True
        for client, author in ((one, ALICE), (other, BOB)):
            assert (await client.publish(author.event("+", kind=7)))[2] is True
        for turn in range(_TURNS):
            assert await (operator, another)[turn % 2].call("changerelayname", f"name {turn}") is True
            assert [(await document(program, worker))["name"] for worker in (1, 2)] == [f"name {turn}"] * 2
        assert [(await each.call("stats"))["stored"] for each in (operator, another)] == [2, 2]


async def test_one_signature_is_good_for_one_call_whichever_worker_gets_it(tmp_path: Path) -> None:
    """Of those that change something (NIP-98): whoever sends it again is told what came of it then."""
    async with (
        running(tmp_path, SETTINGS) as program,
        operator_of(program, 1) as one,
        operator_of(program, 2) as other,
    ):
        body, signature = one.signed_call("banpubkey", ALICE.pubkey)
        assert [(await each.send(body, signature)).status for each in (one, other, one)] == [200] * 3
        [act] = await other.call("listacts")
        assert act["method"] == "banpubkey"


async def test_who_joins_on_one_may_write_on_the_other_and_both_hear_of_it(tmp_path: Path) -> None:
    async with (
        running(tmp_path, WITH_MEMBERS) as program,
        client_of(program, 1) as one,
        client_of(program, 2) as other,
    ):
        challenges = [(await client.receive())[1] for client in (one, other)]
        host, port = program.address
        for client, challenge in zip((one, other), challenges, strict=True):
            proof = auth_event(ALICE, challenge, f"ws://{host}:{port}/")
            await client.send("AUTH", proof)
            assert await client.receive() == ["OK", proof.id, True, ""]
            assert await client.ask("added", {"kinds": [ADDED]}) == []
        hello = note(ALICE, "hello")
        for client in (one, other):
            assert (await client.publish(hello))[2] is False
        await one.send("EVENT", join(ALICE, CODE, at=int(time.time())))
        heard = sorted([await one.receive(), await one.receive()], key=lambda message: message[0])
        assert [message[0] for message in heard] == ["EVENT", "OK"]
        assert heard[1][2] is True
        assert (await other.receive())[2] == heard[0][2]
        assert await other.publish(hello) == ["OK", hello.id, True, ""]
        assert (await other.publish(leave(ALICE, at=int(time.time()))))[2] is True
        assert (await one.publish(note(ALICE, "again")))[2] is False
