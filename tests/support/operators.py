"""Those who manage a relay over HTTP, and the requests that they sign."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import count
from typing import Any

import msgspec

from tests.support.keys import NOW, Author
from tests.support.named_relay import URL, open_named, rules_for
from tests.support.server import Door
from tests.support.wire import Reply, Wire, open_stream, request
from trio_relay import Filter, MemoryStore, Store, StoreError
from trio_relay.net.admin.api import CONTENT_TYPE
from trio_relay.nostr.event import Event, encode

ADMIN = Author("admin")
MODERATOR = Author("moderator")

BY_ADMIN = {"by": ADMIN.pubkey, "since": NOW}
"""What listings say of all that the admin has put there, at the time of most tests."""
_numbers = count()


class Clock:
    """The time of day that a test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class FailingStore(MemoryStore):
    """A memory store of which some methods fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        self._check("keep")
        await super().put_metadata(changes)

    async def remove(self, filters: Sequence[Filter]) -> int:
        self._check("remove")
        return await super().remove(filters)

    def _check(self, method: str) -> None:
        if method in self.failing:
            raise StoreError(f"no {method}")


@asynccontextmanager
async def managed(store: Store, clock: Clock | None = None, **policy: Any) -> AsyncIterator[Door]:
    """A relay that `ADMIN` manages; `policy` are more fields of `PolicyOptions`."""
    async with open_named(store, rules_for(**{"admins": (ADMIN.pubkey,), **policy}), clock=clock or Clock()) as door:
        yield door


@asynccontextmanager
async def operator(door: Door, key: Author = ADMIN) -> AsyncIterator[Operator]:
    """Somebody at this door who signs with this key."""
    async with open_stream(door) as wire:
        yield Operator(wire, key)


class Operator:
    """Somebody who sends signed requests over a connection of his own."""

    def __init__(self, wire: Wire, key: Author = ADMIN, url: str = URL) -> None:
        self.wire = wire
        self.key = key
        self.url = url
        self.now = NOW

    async def send(self, body: bytes, authorization: str | None, **headers: str) -> Reply:
        """Post this body at the relay's own URL."""
        named = {"Content-Type": CONTENT_TYPE, **{name.replace("_", "-"): text for name, text in headers.items()}}
        if authorization is not None:
            named["Authorization"] = authorization
        await self.wire.send(request("POST", "/", named, body))
        return await self.wire.reply()

    async def post(self, body: bytes, **headers: str) -> Reply:
        """Post this body, and sign for it."""
        return await self.send(body, self._sign(body), **headers)

    async def ask(self, method: str, *params: object) -> Reply:
        """What a call is answered."""
        return await self.send(*self.signed_call(method, *params))

    def signed_call(self, method: str, *params: object) -> tuple[bytes, str]:
        """The body of a call, and what authorises it once."""
        body = msgspec.json.encode({"method": method, "params": params})
        return body, self._sign(body)

    def _sign(self, body: bytes) -> str:
        return header(signed(self.key, body, url=self.url, created_at=self.now))

    async def call(self, method: str, *params: object) -> Any:
        """The result of a call that succeeds."""
        reply = await self.ask(method, *params)
        answer = json.loads(reply.body)
        assert (reply.status, list(answer)) == (200, ["result"]), reply
        return answer["result"]

    async def refusal(self, method: str, *params: object) -> str:
        """Why a call is refused."""
        reply = await self.ask(method, *params)
        assert reply.status == 200
        return error_of(reply)


def error_of(reply: Reply) -> str:
    """What an answer has to say of a failure; it says nothing else."""
    answer = json.loads(reply.body)
    assert list(answer) == ["error"], answer
    error: str = answer["error"]
    return error


def signed(
    key: Author,
    body: bytes,
    *,
    kind: int = 27_235,
    created_at: int = NOW,
    url: str = URL,
    tags: Mapping[str, str | None] | None = None,
) -> Event:
    """An event that authorises a POST of this body (NIP-98), another one each time; None leaves a tag out."""
    payload = sha256(body).hexdigest()
    named = {"u": url, "method": "POST", "payload": payload, "nonce": str(next(_numbers)), **(tags or {})}
    return key.event(
        kind=kind, created_at=created_at, tags=[[n, text] for n, text in named.items() if text is not None]
    )


def headers_for(body: bytes, key: Author = ADMIN) -> dict[str, str]:
    """The headers of a call, their names in lower case, as a server reads them."""
    return {"content-type": CONTENT_TYPE, "authorization": header(signed(key, body))}


def header(event: Event) -> str:
    """The same as a header has it."""
    return f"Nostr {b64encode(encode(event)).decode()}"
