"""Somebody hostile at a relay's door: what it says, how it says it, and what it may be told at most."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
import trio
from msgspec.structs import replace
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from tests.fuzz.script import Kind, Step, frame_of
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.named_relay import auth_event
from tests.support.oracles import naive_may_read
from tests.support.readers import reading
from tests.support.server import Door
from tests.support.syncing import FIRST
from tests.support.wire import frame, upgrade
from trio_relay import Event
from trio_relay.net import frames

STRANGER: Final = Author("mallory")
ADDRESS: Final = "203.0.113.66"
MARK: Final = "between us"
"""Stands in all that is private."""
NAME: Final = "honest-"
"""Begins each id that an honest client gives to what it asks for."""

NOTE: Final = ALICE.event("tea", created_at=NOW - 5)
OTHER_NOTE: Final = ALICE.event("tea and cake", created_at=NOW - 4, tags=[["e", NOTE.id], ["t", "tea"]])
LETTER: Final = ALICE.event(f"{MARK}, a letter", kind=4, tags=[["p", BOB.pubkey]])
WRAP: Final = Author("throwaway").event(f"{MARK}, a wrap", kind=1_059, tags=[["p", ALICE.pubkey]])
PROFILE: Final = ALICE.event('{"name":"alice"}', kind=0, created_at=NOW - 3)
NEWER_PROFILE: Final = ALICE.event('{"name":"Alice"}', kind=0, created_at=NOW - 2)
FLEETING: Final = ALICE.event("typing", kind=20_001)
DELETION: Final = ALICE.event(kind=5, tags=[["e", OTHER_NOTE.id]])
OWN: Final = (NOTE, OTHER_NOTE, LETTER, WRAP, PROFILE, NEWER_PROFILE, FLEETING, DELETION)
"""What an honest client writes; the stranger knows the ids, and has none of the signatures."""

_OFFER: Final = "permessage-deflate; client_max_window_bits"
_PRIVATE: Final = reading().private_kinds
_VERBS: Final[dict[str, tuple[type, ...]]] = {
    "OK": (str, bool, str),
    "EVENT": (str, dict),
    "EOSE": (str,),
    "CLOSED": (str, str),
    "NOTICE": (str,),
    "COUNT": (str, dict),
    "AUTH": (str,),
    "NEG-MSG": (str, str),
    "NEG-ERR": (str, str),
}
"""All that a relay says, and what follows each verb (NIPs 1, 42, 45 and 77)."""


def _events() -> Iterator[Event]:
    """What the stranger writes: nothing by others, but much about them."""
    targets = [["e", NOTE.id], ["e", LETTER.id], ["a", f"0:{ALICE.pubkey}:"], ["p", ALICE.pubkey]]
    yield STRANGER.event("tea, of mine", tags=[["t", "tea"]])
    yield STRANGER.event("+", kind=7, tags=[["e", NOTE.id], ["p", ALICE.pubkey]])
    yield STRANGER.event(kind=5, tags=targets)
    yield STRANGER.event(kind=62, tags=[["relay", "ALL_RELAYS"]])
    yield STRANGER.event("spam", kind=1_984, tags=[["e", LETTER.id, "spam"], ["p", ALICE.pubkey, "spam"]])
    yield STRANGER.event("", kind=0, tags=[["d", ""]])
    yield STRANGER.event("typing", kind=20_001, tags=targets)
    yield STRANGER.event("gone soon", tags=[["expiration", str(NOW + 1)]])
    yield STRANGER.event("a repost", kind=6, tags=[["e", LETTER.id], ["p", ALICE.pubkey]])
    yield STRANGER.event(kind=28_934, tags=[["claim", "a guess"]])
    yield from (replace(event, sig="0" * 128) for event in (NOTE, LETTER, DELETION))
    yield replace(NEWER_PROFILE, created_at=NOW + 5)


def _filters() -> Iterator[dict[str, Any]]:
    """What the stranger asks with."""
    yield {}
    yield {"limit": 0}
    yield {"kinds": [4, 1_059, 21_059]}
    yield {"ids": [event.id for event in OWN]}
    yield {"authors": [ALICE.pubkey], "kinds": [4]}
    yield {"#p": [ALICE.pubkey, BOB.pubkey]}
    yield {"#e": [LETTER.id], "kinds": [1, 7]}
    yield {"search": MARK}
    yield {"search": "tea sort:top", "since": 0}
    yield {"ids": [f"{number:064x}" for number in range(40)], "#t": ["x"] * 3, "since": 5, "until": 4}


def _messages() -> Iterator[tuple[object, ...]]:
    yield from (("EVENT", event) for event in _events())
    for number, filter_ in enumerate(_filters()):
        yield "REQ", str(number % 3), filter_
        yield "COUNT", str(number % 3), filter_
        yield "NEG-OPEN", str(number % 3), filter_, FIRST.hex()
    yield "REQ", "many", *({"kinds": [kind]} for kind in range(9))
    for number in range(3):
        yield "CLOSE", str(number)
        yield "NEG-MSG", str(number), FIRST.hex()
        yield "NEG-CLOSE", str(number)
    yield "AUTH", auth_event(ALICE, "a guess", created_at=NOW)
    yield "CLOSE", f"{NAME}live"
    yield "NEG-CLOSE", f"{NAME}sync"


VOCABULARY: Final = [msgspec.json.encode(one) for one in _messages()]
"""What the stranger says, whole or changed."""


_addresses: Final[WeakKeyDictionary[trio.abc.Stream, str]] = WeakKeyDictionary()


def pair_from(address: str) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Both ends of a connection in memory from an address."""
    near, far = memory_stream_pair()
    _addresses[far] = address
    return near, far


def address_of(stream: trio.abc.Stream) -> str:
    """Where a connection comes from, by the relay's end of it."""
    return _addresses[stream]


@asynccontextmanager
async def open_stranger(door: Door) -> AsyncIterator[Stranger]:
    """A stranger at a relay's door, who goes away without a word at the end."""
    async with trio.open_nursery() as nursery:
        stranger = Stranger(door, nursery)
        try:
            yield stranger
        finally:
            stranger.leave()


class Stranger:
    """Does what steps say on one connection after the other, since most of them end soon; see `open_stranger`.

    Args:
        door: of the relay.
        nursery: for who hears what the relay says.
    """

    def __init__(self, door: Door, nursery: trio.Nursery) -> None:
        self._door = door
        self._nursery = nursery
        self._line: _Line | None = None
        self._waiting = b""

    def leave(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.leave()

    async def do(self, steps: Sequence[Step]) -> None:
        """Do these steps; of what they make, some may be on its way afterwards."""
        for step in steps:
            line = self._line
            if line is None or line.is_over:
                line = self._line = await self._call()
            if step.kind is Kind.REST:
                await wait_all_tasks_blocked()
            elif step.kind is Kind.CUT:
                place = int.from_bytes(step.payload[:2]) % (len(self._waiting) + 1)
                await line.send(self._waiting[:place])
                self._waiting = self._waiting[place:]
            else:
                self._waiting += line.proof() if step.kind is Kind.PROVE else frame_of(step, VOCABULARY)
                if not step.is_joined:
                    await line.send(self._waiting)
                    self._waiting = b""

    async def _call(self) -> _Line:
        line = _Line(await self._door.listener.connect(lambda: pair_from(ADDRESS)))
        self._nursery.start_soon(line.hear_all)
        await line.send(upgrade(Sec_WebSocket_Extensions=_OFFER))
        return line


class _Line:
    """One connection of the stranger's; all that is heard on it is checked."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.StapledStream)
        self._stream = stream
        self._core = Protocol(CLIENT, max_size=None)
        self._core.extensions = [PerMessageDeflate(True, True, frames.DEFLATE_WINDOW, 15)]
        self._challenge = ""
        self._keys: list[str] = []
        self.is_over = False

    async def send(self, data: bytes) -> None:
        try:
            if data:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.is_over = True

    def leave(self) -> None:
        self.is_over = True
        self._stream.send_stream.close()
        self._stream.receive_stream.close()

    def proof(self) -> bytes:
        """What authenticates the stranger, if it has been asked to."""
        if not self._challenge:
            return b""
        self._keys.append(STRANGER.pubkey)
        return frame(1, msgspec.json.encode(("AUTH", auth_event(STRANGER, self._challenge, created_at=NOW))))

    async def hear_all(self) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                if not (data := await self._stream.receive_some()):
                    return
                head += data
            assert head.startswith(b"HTTP/1.1 101 "), head
            data = head.partition(b"\r\n\r\n")[2]
            while self._core.state is OPEN:
                self._hear(data)
                if self._core.state is OPEN and not (data := await self._stream.receive_some()):
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.leave()

    def _hear(self, data: bytes) -> None:
        if not data:
            return
        self._core.receive_data(data)
        assert self._core.parser_exc is None, "what the relay sends is frames"
        for found in self._core.events_received():
            assert found.opcode in (Opcode.TEXT, Opcode.PING, Opcode.PONG, Opcode.CLOSE)  # type: ignore[union-attr]  # frames only
            if found.opcode is Opcode.TEXT:  # type: ignore[union-attr]  # as above
                self._check(bytes(found.data).decode())  # type: ignore[union-attr]  # as above

    def _check(self, text: str) -> None:
        """One message: valid JSON, of a known form, and nothing in it that is not for the stranger."""
        verb, *rest = json.loads(text)
        forms = _VERBS[verb]
        assert len(rest) >= len(forms), text
        assert all(type(value) is form for value, form in zip(rest, forms, strict=False)), text
        if verb == "AUTH":
            self._challenge = rest[0]
        elif verb == "EVENT":
            event = msgspec.convert(rest[1], Event)
            assert naive_may_read(event, self._keys, _PRIVATE), text
        elif verb == "NEG-MSG":
            assert all(private.id not in rest[1] for private in (LETTER, WRAP)), text
        assert MARK not in text or verb in ("NOTICE", "CLOSED"), "what is between others"
        assert not (rest[0].startswith(NAME) and verb != "NEG-ERR"), "what others have called their own"
