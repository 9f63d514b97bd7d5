"""Inputs that once were a fault of the relay, and what each did; they are tried in every run."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tests.fuzz.peers import SENT
from tests.fuzz.script import Kind, Step, written
from tests.fuzz.stranger import STRANGER
from tests.support.wire import upgrade


def _event(**fields: Any) -> str:
    return msgspec.json.encode(replace(STRANGER.event("tea"), **fields)).decode()


CORPUS: Final[dict[str, dict[str, bytes]]] = {
    "http": {
        "a control character in a handshake wrote a traceback into the log": written(
            [Step(Kind.RAW, upgrade(Sec_WebSocket_Protocol="x\x1b[31m"))]
        ),
        "an empty list of extensions was taken for no handshake": written(
            [Step(Kind.RAW, upgrade(Sec_WebSocket_Extensions=""))]
        ),
    },
    "messages": {
        "a kind above all kinds closed a subscription": b'["REQ","a",{"kinds":[65536]}]',
        "filters without values counted as nothing": b'["REQ","a",{},{"ids":[]},{"#t":[]}]',
    },
    "notes": {
        "what has not the shape of an event was delivered to clients": written(
            [Step(Kind.SAY, msgspec.msgpack.encode((1, SENT, [], [_event(id="x"), _event(created_at=2**70)])))]
        ),
    },
    "addresses": {
        "what is no address passed by caps and blocks": b"unknown, _hidden",
    },
}
"""By door, by what each did."""
