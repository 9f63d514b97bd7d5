"""A proxy that does as a bad one: it changes the head of each request, or of its answer, and carries all else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeAlias

import trio

PLACE: Final = "127.0.0.2"
"""From where it connects."""
Lines: TypeAlias = list[bytes]
Change: TypeAlias = Callable[[Lines], Lines]


def without(name: bytes) -> Change:
    """Leave out a header."""
    return lambda lines: [line for line in lines if not line.lower().startswith(name.lower() + b":")]


def also(line: bytes) -> Change:
    """Add a header."""
    return lambda lines: [*lines, line]


def as_it_is(lines: Lines) -> Lines:
    """Change nothing."""
    return lines


@asynccontextmanager
async def proxy(port: int, request: Change = as_it_is, response: Change = as_it_is) -> AsyncIterator[int]:
    """A proxy in front of a port; gives its own.

    Args:
        port: of the relay.
        request: changes the lines of a request's head.
        response: changes those of its answer.
    """

    async def carry(client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            relay = await trio.open_tcp_stream("127.0.0.1", port, local_address=PLACE)
            async with client, relay, trio.open_nursery() as both:
                both.start_soon(_pass, client, relay, request)
                await _pass(relay, client, response)
                both.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _pass(source: trio.SocketStream, target: trio.SocketStream, change: Change) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (more := await source.receive_some()):
            return
        head += more
    lines, _, rest = head.partition(b"\r\n\r\n")
    await target.send_all(b"\r\n".join(change(lines.split(b"\r\n"))) + b"\r\n\r\n" + rest)
    async for chunk in source:
        await target.send_all(chunk)
