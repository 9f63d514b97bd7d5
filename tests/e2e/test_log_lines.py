"""What the real program logs of its clients: who came and went, and never what they said."""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.keys import ALICE
from tests.support.program import running

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
                await client.send_text(f"{_SECRET} is not JSON")
                assert (await client.receive())[0] == "NOTICE"
        program.signal(SIGTERM)
        assert await program.wait() == 0
    lines = [json.loads(line) for line in program.err.splitlines()]
    assert sorted(line["client"] for line in lines if line["event"] == "connected") == [1, 2]
    assert sorted(line["client"] for line in lines if line["event"] == "disconnected") == [1, 2]
    assert [line["event"] for line in lines if line["level"] == "info"] == ["stopping", "listeners closed"]
    assert _SECRET not in program.err + program.out
