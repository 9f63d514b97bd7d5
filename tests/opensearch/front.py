"""A server that stands before a node and passes on what it is asked, unless a test has it do something else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import h11
import httpx
import msgspec
import trio

from tests.support.program import PATIENCE

_SMALL: Final = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    target: str
    content_type: str
    body: bytes

    @property
    def is_bulk(self) -> bool:
        """True if it writes events."""
        return "/_bulk" in self.target


Answer: TypeAlias = tuple[int, bytes] | None
"""Status and body; None if the connection is to be cut instead."""
PassOn: TypeAlias = Callable[[Request], Awaitable[tuple[int, bytes]]]
Rule: TypeAlias = Callable[[Request, PassOn], Awaitable[Answer]]
"""Answers a request in its own way, or passes it on."""


class Front:
    """What stands before the node; `rule` is for `_bulk` alone."""

    def __init__(self, node: httpx.AsyncClient, url: str) -> None:
        self.url = url
        self.rule: Rule | None = None
        self.bulks = 0
        """`_bulk` requests so far."""
        self._node = node

    async def converse(self, stream: trio.SocketStream) -> None:
        """Answer requests on a connection until it ends."""
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _read(connection, stream)) is not None:
                answer = await self._answer(request)
                if answer is None:
                    break
                await _send(connection, stream, *answer)
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass  # whoever asked has gone
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: Request) -> Answer:
        if request.is_bulk:
            self.bulks += 1
            if self.rule is not None:
                return await self.rule(request, self._pass_on)
        return await self._pass_on(request)

    async def _pass_on(self, request: Request) -> tuple[int, bytes]:
        headers = {"content-type": request.content_type} if request.body else {}
        answer = await self._node.request(request.method, request.target, content=request.body, headers=headers)
        return answer.status_code, answer.content


async def _read(connection: h11.Connection, stream: trio.SocketStream) -> Request | None:
    head, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_SMALL))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            content_type = dict(head.headers).get(b"content-type", b"")
            return Request(head.method.decode(), head.target.decode(), content_type.decode(), body)
        else:
            return None


async def _send(connection: h11.Connection, stream: trio.SocketStream, status: int, body: bytes) -> None:
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    parts = [h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
    await stream.send_all(b"".join(connection.send(part) or b"" for part in parts))


@asynccontextmanager
async def standing_before(node: str) -> AsyncIterator[Front]:
    """A front of this node while the context lasts."""
    async with httpx.AsyncClient(base_url=node, timeout=PATIENCE) as client, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        front = Front(client, f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.start_soon(partial(trio.serve_listeners, front.converse, [listener]))
        yield front
        nursery.cancel_scope.cancel()


async def busy(_request: Request, _pass_on: PassOn) -> Answer:
    """As a node whose queue is full."""
    return 429, b'{"error":{"type":"rejected_execution_exception"},"status":429}'


async def lost(request: Request, pass_on: PassOn) -> Answer:
    """It is carried out, and nobody hears of it."""
    await pass_on(request)
    return None


async def dropped(_request: Request, _pass_on: PassOn) -> Answer:
    """It is not carried out, and nobody hears of that."""
    return None


async def picky(request: Request, pass_on: PassOn) -> Answer:
    """Every other item finds the queue full, the rest is carried out."""
    lines = request.body.splitlines()
    pairs = [lines[start : start + 2] for start in range(0, len(lines), 2)]
    taken = [line for pair in pairs[1::2] for line in pair]
    answers = iter(())
    if taken:
        body = b"\n".join([*taken, b""])
        _, answer = await pass_on(Request(request.method, request.target, request.content_type, body))
        answers = iter(msgspec.json.decode(answer)["items"])
    items: list[Any] = [next(answers) if place % 2 else _refused(pair) for place, pair in enumerate(pairs)]
    return 200, msgspec.json.encode({"items": items})


def _refused(pair: list[bytes]) -> dict[str, Any]:
    (action,) = msgspec.json.decode(pair[0])
    return {action: {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "queue is full"}}}


def times(number: int, rule: Rule) -> Rule:
    """A rule for so many requests; all others are passed on."""
    left = number

    async def answer(request: Request, pass_on: PassOn) -> Answer:
        nonlocal left
        left -= 1
        return await (rule(request, pass_on) if left >= 0 else pass_on(request))

    return answer
