"""permessage-deflate between the real program and the client of the websockets library, which offers it by default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.sync.client import ClientConnection, connect

from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE, Program, running
from tests.support.server import plain

pytestmark = pytest.mark.slow

NOTES = [
    ALICE.event("words " * length + "é😀", created_at=NOW - number)
    for number, length in enumerate([1, 100, 200, 1_000, 5_000, 10_000] * 5)
]
LIVE = BOB.event("more words " * 1_000)


class Counted:
    """The bytes of frames as they came, and those of messages in them."""

    def __init__(self, connection: ClientConnection) -> None:
        self.wire = self.messages = 0
        self.agreed = [type(one) for one in connection.protocol.extensions] == [PerMessageDeflate]
        receive = connection.protocol.receive_data

        def counted(data: bytes | bytearray) -> None:
            self.wire += len(data)
            receive(data)

        connection.protocol.receive_data = counted  # type: ignore[method-assign]  # to look at what comes


def converse(program: Program, compression: str | None) -> tuple[Counted, list[Any]]:
    """Publish, ask, and hear the live event of another client; what came, and how much of it."""
    host, port = program.address
    uri = f"ws://{host}:{port}"
    with (
        connect(uri, compression=compression, max_size=None, open_timeout=PATIENCE) as client,
        connect(uri, compression=compression, max_size=None, open_timeout=PATIENCE) as other,
    ):
        counted, heard = Counted(client), list[Any]()

        def hear(number: int) -> None:
            for _ in range(number):
                text = client.recv(PATIENCE)
                counted.messages += len(text.encode() if isinstance(text, str) else text)
                heard.append(json.loads(text))

        other.send(msgspec.json.encode(("REQ", "live", {"authors": [ALICE.pubkey]})).decode())
        assert json.loads(other.recv(PATIENCE)) == ["EOSE", "live"]
        counted.wire = 0
        for note in NOTES:
            client.send(msgspec.json.encode(("EVENT", note)).decode())
        hear(len(NOTES))
        # An event may reach a request that comes between its OK and its delivery: once all are delivered, none does.
        for _ in NOTES:
            assert json.loads(other.recv(PATIENCE))[:2] == ["EVENT", "live"]
        client.send(msgspec.json.encode(("REQ", "sub", {"authors": [ALICE.pubkey, BOB.pubkey]})).decode())
        hear(len(NOTES) + 1)
        other.send(msgspec.json.encode(("EVENT", LIVE)).decode())
        assert json.loads(other.recv(PATIENCE)) == ["OK", LIVE.id, True, ""]
        hear(1)
        return counted, heard


@pytest.mark.parametrize(
    ("compression", "deflate", "is_deflated"),
    [("deflate", "true", True), ("deflate", "false", False), (None, "true", False)],
)
async def test_a_client_that_offers_to_inflate_gets_all_in_fewer_bytes(
    compression: str | None, deflate: str, is_deflated: bool, tmp_path: Path
) -> None:
    async with running(tmp_path, {"net.deflate": deflate}) as program:
        with trio.fail_after(2 * PATIENCE):
            counted, heard = await trio.to_thread.run_sync(converse, program, compression)
        assert "Traceback" not in program.err
    answers, stored, live = heard[: len(NOTES)], heard[len(NOTES) : -1], heard[-1]
    assert sorted(answers) == sorted(["OK", note.id, True, ""] for note in NOTES)
    assert stored == [*(["EVENT", "sub", plain(note)] for note in NOTES), ["EOSE", "sub"]]
    assert live == ["EVENT", "sub", plain(LIVE)]
    assert counted.agreed is is_deflated
    assert (counted.wire < counted.messages / 5) is is_deflated
