"""The stream in Redis or Valkey, by coredis; the only module that knows it.

Of coredis's own ways through failures none is used: it may send a command once more that has been carried out, and goes
on over connections of which it does not know what they still bring. So a client has one connection and no retries, and
whoever gets an error closes it.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import coredis
import trio
from coredis.retry import NoRetryPolicy
from coredis.tokens import PureToken

from trio_relay.bus.member import StreamBus
from trio_relay.bus.options import BusOptions
from trio_relay.bus.stream import READ_SECONDS, StreamAway

ANSWER_SECONDS: Final = 3.0
"""For one answer of Redis, the connection and its handshake included; reads get as much besides their own wait."""
_FIELD: Final = b"e"


class BusRefused(Exception):
    """A bus that cannot be used as it is set up, with the reason for the operator."""


def open_redis_bus(options: BusOptions, prefix: str) -> StreamBus:
    """Return a member of the bus of all relays that share a prefix of OpenSearch; nothing is connected yet.

    Raises:
        BusRefused: the certificates of `ca_file` cannot be read.
    """
    stream = RedisStream(options.url, f"trio-relay:{prefix}:bus", _trust(options))
    return StreamBus(stream, options.max_entries, options.max_bytes, options.waiting_bytes)


async def facts_of_server(options: BusOptions) -> dict[str, str]:
    """Return what the server of a bus tells of itself (INFO): of its version, its memory and what it keeps on disk.

    Raises:
        BusRefused: the certificates of `ca_file` cannot be read.
        StreamAway: it does not answer.
    """
    stream = RedisStream(options.url, "", _trust(options))
    async with stream.connect() as line:
        return await line.facts()


def _trust(options: BusOptions) -> ssl.SSLContext | None:
    """Return whom to trust; coredis's own context would take a certificate of any host."""
    if not options.url.startswith("rediss:"):
        return None
    try:
        return ssl.create_default_context(cafile=options.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BusRefused(f"bus.ca_file: {options.ca_file}: {error}") from error


class RedisStream:
    """One key of a Redis; implements `Stream`.

    Args:
        url: as in the settings.
        key: of the stream.
        trust: for rediss.
    """

    def __init__(self, url: str, key: str, trust: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._key = key
        self._more: dict[str, Any] = {} if trust is None else {"ssl_context": trust}
        # It logs each attempt that fails, with a traceback; we say once why the bus is away.
        logging.getLogger("coredis").setLevel(logging.CRITICAL)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_RedisLine]:
        """Open a connection; see `Stream.connect`."""
        failure: Exception | None = None
        with _away():
            client = coredis.Redis.from_url(
                self._url,
                decode_components=True,
                max_connections=1,
                connect_timeout=ANSWER_SECONDS,
                retry_policy=NoRetryPolicy(),
                verify_version=False,
                **self._more,
            )
            async with client:
                # What passes through the client's own tasks would come out in a group.
                try:
                    yield _RedisLine(client, self._key)
                except Exception as error:
                    failure = error
        if failure is not None:
            raise failure


class _RedisLine:
    """A connection; implements `StreamLine`."""

    def __init__(self, client: coredis.Redis[bytes], key: str) -> None:
        self._client = client
        self._key = key

    async def append(self, entry: bytes, keep: int) -> str:
        with _away(ANSWER_SECONDS):
            position = await self._client.xadd(
                self._key,
                {_FIELD: entry},
                trim_strategy=PureToken.MAXLEN,
                trim_operator=PureToken.APPROXIMATELY,
                threshold=keep,
            )
            assert position is not None
            return position.decode()

    async def read(self, after: str, most: int) -> list[tuple[str, bytes]]:
        with _away(ANSWER_SECONDS + READ_SECONDS):
            answer = await self._client.xread({self._key: after}, count=most, block=int(READ_SECONDS * 1_000))
            if not answer:
                return []
            ((_, entries),) = answer.items()
            return [(_text(entry.identifier), _field(entry.field_values)) for entry in entries]

    async def holds(self, position: str) -> bool:
        with _away(ANSWER_SECONDS):
            return bool(await self._client.xrange(self._key, position, position, count=1))

    async def facts(self) -> dict[str, str]:
        """What the server tells of itself; see `facts_of_server`."""
        with _away(ANSWER_SECONDS):
            told = await self._client.info("server", "memory", "persistence")
            return {_text(name): str(value) for name, value in told.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _field(fields: Any) -> bytes:
    """Return what we wrote; of an entry that somebody else wrote, nothing, which cannot be read either."""
    value = fields.get(_FIELD, b"")
    return value if isinstance(value, bytes) else b""


@contextmanager
def _away(seconds: float = float("inf")) -> Iterator[None]:
    """Turn every failure, of Redis, of the network and of the library, into `StreamAway`, and so being late."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise StreamAway("Redis does not answer") from None
    except Exception as error:
        raise StreamAway(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """Return what went wrong first, of all that has words."""
    reason = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        reason = str(cause) or reason
        cause = cause.__cause__
    return reason
