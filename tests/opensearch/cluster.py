"""A cluster that does as a test says, without a wire, so that time may be virtual; and an index for it to have."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
import msgspec
import trio

from trio_relay import OpenSearchOptions
from trio_relay.nostr.event import encode
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import Record


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `path` with its leading slash, `query` as in the URL."""

    method: str
    host: str
    path: str
    query: str
    body: bytes

    @property
    def kind(self) -> str:
        """The last part of its path, such as `_bulk`."""
        return self.path.rpartition("/")[2]

    @property
    def value(self) -> Any:
        """Its body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def lines(self) -> list[Any]:
        """Its body, decoded line by line."""
        assert self.body.endswith(b"\n")
        return list(map(msgspec.json.decode, self.body.splitlines()))


Reply: TypeAlias = int | httpx.Response | Exception | object
"""A status alone, a response, what happens instead of one, or what 200 comes with as JSON."""
Answer: TypeAlias = Callable[[Asked], Awaitable[Reply]]


class Cluster:
    """What was asked, in order, and the client that asks."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[Asked] = []
        self.client: OpenSearchClient
        self._answer = answer

    async def respond(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        url = request.url
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([part async for part in request.stream])
        asked = Asked(request.method, url.host, url.path, url.query.decode(), body)
        self.asked.append(asked)
        await trio.lowlevel.checkpoint()
        reply = await self._answer(asked)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, httpx.Response):
            return reply
        return httpx.Response(reply) if isinstance(reply, int) else httpx.Response(200, json=reply)


@asynccontextmanager
async def scripted(answer: Answer, **changes: Any) -> AsyncIterator[Cluster]:
    """A cluster that answers like this, as long as the context lasts."""
    cluster = Cluster(answer)
    async with httpx.AsyncClient(transport=httpx.MockTransport(cluster.respond)) as http:
        cluster.client = OpenSearchClient(http, OpenSearchOptions(**changes))
        yield cluster


def in_turn(*replies: Reply) -> Answer:
    """One reply after another; a request more fails the test."""
    left = deque(replies)

    async def answer(asked: Asked) -> Reply:
        assert left, asked
        return left.popleft()

    return answer


@dataclass(slots=True)
class Held:
    """One document of an `Index`."""

    source: dict[str, Any]
    version: int
    seq_no: int


class Index:
    """Records as OpenSearch keeps them: asked by `_bulk`, `_mget`, and a `_search` for what a deletion deletes.

    Attributes:
        held: its documents by `_id`.
        faults: by kind of request, what becomes of the next ones: a status, an exception instead of carrying it out, or
            `LOST`, where it is carried out and nobody hears of it. None: all is well.
        item_faults: the same for single writes, by `_id`: statuses.
        meanwhile: by kind of request, what others do just before the next ones.
        is_refreshed: searches find what was written.
    """

    LOST = httpx.ReadError("lost")

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.faults: dict[str, deque[int | Exception | None]] = {}
        self.item_faults: dict[str, deque[int]] = {}
        self.meanwhile: dict[str, deque[Callable[[], None]]] = {}
        self.is_refreshed = True
        self._writes = 0

    async def answer(self, asked: Asked) -> Reply:
        """For `scripted`."""
        if steps := self.meanwhile.get(asked.kind):
            steps.popleft()()
        faults = self.faults.get(asked.kind)
        fault = faults.popleft() if faults else None
        if fault is not None and fault is not self.LOST:
            return fault
        reply = {"_bulk": self._bulk, "_mget": self._mget, "_search": self._search}[asked.kind](asked)
        return reply if fault is None else fault

    def put(self, slot: str, **source: Any) -> None:
        """Write as another relay does."""
        before = self.held.get(slot)
        self._writes += 1
        self.held[slot] = Held({"arrived": 1} | source, before.version + 1 if before else 1, self._writes)

    def _bulk(self, asked: Asked) -> Reply:
        lines = asked.lines
        return {"items": [self._write(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]}

    def _write(self, action: dict[str, Any], source: dict[str, Any]) -> object:
        ((name, about),) = action.items()
        slot = about["_id"]
        if faults := self.item_faults.get(slot):
            return {name: {"status": faults.popleft()}}
        before = self.held.get(slot)
        is_due = before is None if name == "create" else before is not None and before.seq_no == about["if_seq_no"]
        if not is_due:
            return {name: {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "…"}}}
        self.put(slot, **source)
        return {name: {"status": 200 if before else 201, "_version": self.held[slot].version}}

    def _mget(self, asked: Asked) -> Reply:
        return {"docs": [self._found(slot) for slot in asked.value["ids"]]}

    def _found(self, slot: str) -> object:
        if (held := self.held.get(slot)) is None:
            return {"_id": slot, "found": False}
        about = {"_seq_no": held.seq_no, "_primary_term": 1, "_version": held.version}
        return {"_id": slot, "found": True, "_source": held.source, **about}

    def _search(self, asked: Asked) -> Reply:
        ((targets,), (requests,)) = (asked.value["query"]["bool"][part] for part in ("filter", "must_not"))
        found = [
            {"_id": slot}
            for slot, held in self.held.items()
            if self.is_refreshed
            and held.source.get("kind") not in requests["terms"]["kind"]
            and any(_is_meant(held.source, *one["bool"]["filter"]) for one in targets["bool"]["should"])
        ]
        return {"hits": {"hits": found}} if found else {}

    @property
    def events(self) -> set[str]:
        """The JSON of all events that stand."""
        return {held.source["event"] for held in self.held.values() if "event" in held.source}


def _is_meant(source: dict[str, Any], named: dict[str, Any], owned: dict[str, Any]) -> bool:
    """True for one of the ids that belongs to who asks; gift wraps, which no test gives an `Index`, are left out."""
    own, _ = owned["bool"]["should"]
    return source.get("id") in named["terms"]["id"] and source["pubkey"] == own["term"]["pubkey"]


def standing(events: Iterable[Any]) -> set[str]:
    """Events as `Index.events` has them."""
    return {encode(event).decode() for event in events}


def existing(seq_no: int = 7) -> Record:
    """A record that has been written."""
    return Record(seq_no=seq_no, primary_term=1, version=1, index_name="v1")
