"""Sends writes to the cluster: many records in a request, each with its own outcome, retried while that may help.

Each write names the state that it replaces, "there is no document" or "this state", so that sending it again does no
harm: the second try conflicts with the first.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

import msgspec
import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import (
    OVERLOADED,
    Busy,
    OpenSearchClient,
    Overloaded,
    RequestTooLarge,
    Unreachable,
    encode,
    read,
)
from trio_relay.store.opensearch.documents import Document, Record

log = structlog.get_logger("trio_relay.store")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_BLOCKED_PAUSE: Final = 0.5
"""Seconds before a blocked record is read again; an upgrade blocks for some seconds."""
_FEWEST_BYTES: Final = 65_536
"""A request that a node has refused for now is tried again in halves, but not in smaller ones than this."""
_PASSING: Final = frozenset({429, 502, 503, 504})
_BLOCKED: Final = "cluster_block_exception"
"""The disk is full, or an upgrade moves the index: the operator or the upgrade ends the block."""
_ONLY: Final = "filter_path=items.*.status,items.*._version,items.*.error.type,items.*.error.reason"


class Wrote(Enum):
    """The outcome of one write."""

    DONE = auto()
    CONFLICT = auto()
    """The record is not in the state that the write replaces."""
    FAILED = auto()


@dataclass(slots=True, eq=False)
class Write:
    """The new state of a record.

    Attributes:
        slot: the record's `_id`.
        basis: the state that is replaced; one that does not exist if the record must be new.
        document: the new state.
        wrote: the outcome; None while it is open.
        version: of the new state, once DONE.
        is_blocked: the index took no writes when it was tried.
        is_uncertain: an answer was lost, so a conflict may be with this write itself.
        reason: why it FAILED.
    """

    slot: str
    basis: Record
    document: Document
    wrote: Wrote | None = None
    version: int = 0
    is_uncertain: bool = False
    is_blocked: bool = False
    reason: str = ""

    def lines(self) -> bytes:
        """Return the write as lines of a `_bulk` request."""
        if self.basis.exists:
            action: object = {
                "index": {
                    "_index": self.basis.index_name,
                    "_id": self.slot,
                    "require_alias": False,
                    "if_seq_no": self.basis.seq_no,
                    "if_primary_term": self.basis.primary_term,
                }
            }
        else:
            action = {"create": {"_id": self.slot}}
        return encode(action) + b"\n" + encode(self.document)


class _ItemError(msgspec.Struct, gc=False):
    type: str = ""
    reason: Any = ""


class _Item(msgspec.Struct, gc=False):
    status: int
    version: int = msgspec.field(name="_version", default=0)
    error: _ItemError | None = None


class _BulkResponse(msgspec.Struct, gc=False):
    items: list[dict[str, _Item]]


_decode: Final = msgspec.json.Decoder(_BulkResponse).decode


class Bulk:
    """Sends writes until each has an outcome.

    Args:
        client: of the cluster.
        alias: what is written to.
        most_bytes: of one request.
        seconds: how long writes are tried again.
    """

    def __init__(self, client: OpenSearchClient, alias: str, most_bytes: int, seconds: float) -> None:
        self._client = client
        self._path = f"/{alias}/_bulk?require_alias=true&{_ONLY}"
        self._most_bytes = most_bytes
        self._seconds = seconds
        self.trouble: str | None = None
        """Why the last attempt failed, until one succeeds or the writes are given up."""

    async def carry_out(self, writes: Sequence[Write]) -> None:
        """Try until each write has an outcome, or the time is over; writes that are still open have FAILED then."""
        pause = _FIRST_PAUSE
        deadline = trio.current_time() + self._seconds
        most = self._most_bytes
        while left := [write for write in writes if write.wrote is None]:
            if (refused := await self._attempt(left, most)) > _FEWEST_BYTES:
                most = max(refused // 2, _FEWEST_BYTES)
            left = [write for write in left if write.wrote is None]
            if not left:
                break
            if trio.current_time() + pause > deadline:
                log.error("writes given up", writes=len(left), error=self.trouble)
                for write in left:
                    write.wrote, write.reason = Wrote.FAILED, self.trouble or "the relay's store is busy"
                self.trouble = None
                break
            if any(write.is_blocked and write.basis.exists for write in left):
                pause = max(pause, _BLOCKED_PAUSE)
            # Spread, so that not all relays try at the same moment.
            await trio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST_PAUSE)
            for write in left:
                if write.is_blocked and write.basis.exists:
                    # It may be an upgrade's block: then another index has the record, in a state of its own.
                    write.wrote = Wrote.CONFLICT

    async def _attempt(self, writes: list[Write], most: int) -> int:
        """Send the writes once; returns the bytes of the request in which a node found too much to do, or else 0."""
        pairs = [(write, write.lines()) for write in writes]
        refused = 0
        for part in _parts(pairs, most):
            try:
                if await self._send(part):
                    refused = max(refused, _size(part))
            except Unreachable as error:
                self.trouble = str(error)
                for write, _ in part:
                    write.is_uncertain = True
                break
            except Busy as error:
                self.trouble = str(error)
                return max(refused, _size(part)) if isinstance(error, Overloaded) else refused
        return refused

    async def _send(self, part: list[tuple[Write, bytes]]) -> bool:
        """Send one request, or several if it is too large; returns True if a node had too much to do for some of it."""
        try:
            answer = read(_decode, await self._client.ask_lines(self._path, [lines for _, lines in part]))
        except RequestTooLarge as error:
            if len(part) == 1:
                _fail(part[0][0], str(error))
                return False
            half = len(part) // 2
            is_refused = await self._send(part[:half])
            return await self._send(part[half:]) or is_refused
        except (Unreachable, Busy):
            raise
        except StoreError as error:
            if "cluster_block" in str(error):
                raise Busy(str(error)) from error
            for write, _ in part:
                _fail(write, str(error))
            return False
        if len(answer.items) != len(part):
            raise Unreachable("what answers for the relay's store is no OpenSearch")
        return self._take([write for write, _ in part], answer.items)

    def _take(self, writes: list[Write], items: Iterable[dict[str, _Item]]) -> bool:
        trouble = None
        is_refused = False
        for write, item in zip(writes, items, strict=True):
            (result,) = item.values()
            if result.status < 300:
                write.wrote, write.version = Wrote.DONE, result.version
            elif result.status == 409:
                write.wrote = Wrote.CONFLICT
            elif result.status == 404 and write.basis.exists:
                write.wrote = Wrote.CONFLICT  # its index is gone
            elif result.error is not None and result.error.type == _BLOCKED:
                write.is_blocked = True
                trouble = "the relay's store takes no writes now"
            elif result.status in _PASSING:
                trouble = "the relay's store is busy"
                is_refused = is_refused or result.status == 429
            else:
                error = result.error or _ItemError()
                log.error("a document was refused", slot=write.slot, type=error.type, reason=str(error.reason)[:500])
                _fail(write, f"the relay's store has refused it ({error.type})")
        self.trouble = trouble
        self._client.failed[OVERLOADED] += is_refused
        return is_refused


def _size(part: Iterable[tuple[Write, bytes]]) -> int:
    return sum(len(lines) for _, lines in part)


def _fail(write: Write, reason: str) -> None:
    write.wrote, write.reason = Wrote.FAILED, reason


def _parts(pairs: list[tuple[Write, bytes]], most: int) -> Iterable[list[tuple[Write, bytes]]]:
    """Split the writes into requests of at most so many bytes, or of one write."""
    part: list[tuple[Write, bytes]] = []
    filled = 0
    for pair in pairs:
        filled += len(pair[1])
        if filled > most and part:
            yield part
            part, filled = [], len(pair[1])
        part.append(pair)
    yield part
