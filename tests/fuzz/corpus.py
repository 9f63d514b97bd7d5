"""Inputs that once were a fault of the relay, and what each did; they are tried in every run."""

from __future__ import annotations

from typing import Final

from tests.fuzz.script import Kind, Step, written
from tests.support.wire import upgrade

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
    "addresses": {
        "what is no address passed by caps and blocks": b"unknown, _hidden",
    },
}
"""By door, by what each did."""
