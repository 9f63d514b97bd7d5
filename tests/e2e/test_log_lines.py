"""What the real program logs of its clients: who came and went, and never what they said."""

from __future__ import annotations

from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.crew import TWO, client_of, pids
from tests.support.keys import ALICE
from tests.support.named_relay import auth_event
from tests.support.program import running
from tests.support.wire import connected

pytestmark = pytest.mark.slow

_SECRET = "for your eyes only"


async def test_lines_of_a_connection_carry_its_number_and_none_what_was_said(tmp_path: Path) -> None:
    note = ALICE.event(_SECRET, tags=[["t", _SECRET]])
    forged = ALICE.signed("0" * 64, note.created_at, 1, [["t", _SECRET]], _SECRET)
    async with running(tmp_path, {"log.level": "debug"}) as program:
        for _ in range(2):
            async with program.client() as client:
                await client.publish(note)
                await client.publish(forged)
                await client.ask(_SECRET, {"#t": [_SECRET]})
                await client.send("REQ", "private", {"kinds": [4]})
                _, challenge = await client.receive()
                assert (await client.receive())[0] == "CLOSED"
                host, port = program.address
                await client.send("AUTH", auth_event(ALICE, challenge, f"ws://{host}:{port}/"))
                assert (await client.receive())[2] is True
                await client.send_text(f"{_SECRET} is not JSON")
                assert (await client.receive())[0] == "NOTICE"
                await client.send(_SECRET, note)
                assert (await client.receive())[0] == "NOTICE"
                await client.send("EVENT", {"id": note.id, "content": _SECRET})
                assert (await client.receive())[:3] == ["OK", note.id, False]
        async with connected(program.address) as wire:
            await wire.send(f'["EVENT",{{"content":"{_SECRET}"}}]\r\n\r\n'.encode())
            assert (await wire.reply()).status == 400
        program.signal(SIGTERM)
        assert await program.wait() == 0
    lines = program.log
    assert sorted(line["client"] for line in lines if line["event"] == "connected") == [1, 2]
    assert sorted(line["client"] for line in lines if line["event"] == "disconnected") == [1, 2]
    assert [line["event"] for line in lines if line["level"] == "info"] == ["stopping", "listeners closed"]
    for number in (1, 2):
        mine = [line for line in lines if line.get("client") == number]
        assert {line["address"] for line in mine} == {"127.0.0.1"}
        refused = [line for line in mine if line["event"] == "refused"]
        assert [line["verb"] for line in refused] == ["EVENT", "REQ", "other", "other", "EVENT"]
        assert (refused[0]["event_id"], refused[0]["key"]) == (forged.id, ALICE.pubkey)
        assert [line["key"] for line in mine if line["event"] == "authenticated"] == [ALICE.pubkey]
        told = ["invalid", "auth-required", "invalid", "invalid", "invalid"]
        assert [line["reason"].partition(":")[0] for line in refused] == told
    [request] = [line for line in lines if line["event"] == "request refused"]
    assert (request["address"], request["status"]) == ("127.0.0.1", 400)
    assert _SECRET not in program.err + program.out


async def test_lines_of_several_processes_name_theirs_and_none_is_cut(tmp_path: Path) -> None:
    async with running(tmp_path, {**TWO, "log.level": "debug"}) as program:
        for worker in (1, 2, 2):
            async with client_of(program, worker) as client:
                await client.send_text(f"{_SECRET} is not JSON")
                assert (await client.receive())[0] == "NOTICE"
        numbers = list(pids(program))
        program.signal(SIGTERM)
        assert await program.wait() == 0
    lines = program.log  # all of them JSON
    met = sorted((line["worker"], line["client"]) for line in lines if line["event"] == "connected")
    assert met == [(1, 1), (2, 1), (2, 2)]
    assert sorted((line["worker"], line["client"]) for line in lines if line["event"] == "refused") == met
    assert sorted(line["worker"] for line in lines if line["event"] == "listeners closed") == sorted(numbers)
    assert [line for line in lines if "worker" not in line and line["event"] != "stopping"] == []
    assert _SECRET not in program.err + program.out
