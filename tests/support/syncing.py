"""The client's side of NIP-77, for its tests: it asks, goes on until it knows what differs, and hears refusals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.named_relay import AuthClient
from tests.support.receiving import NOTHING
from trio_relay import Event
from trio_relay.nostr.negentropy.items import Items, ItemSet
from trio_relay.nostr.negentropy.protocol import initiate, reconcile, reply

FIRST: Final = initiate(NOTHING)
"""The first message of a client that has nothing."""
HASTY: Final = "closed: a message came before the last one was answered"
UNKNOWN: Final = "closed: no sync of this id is open"


@dataclass(slots=True)
class Outcome:
    """What a client knows at the end of a sync: ids, and how long each of the relay's messages was, in bytes."""

    have: set[str] = field(default_factory=set)
    need: set[str] = field(default_factory=set)
    answers: list[int] = field(default_factory=list)


def items_of(events: Iterable[Event]) -> Items:
    """A client's set."""
    collection = ItemSet()
    for event in events:
        collection.add(event.created_at, bytes.fromhex(event.id))
    return collection.snapshot()


def ids_of(events: Iterable[Event]) -> set[str]:
    """Their ids."""
    return {event.id for event in events}


def opening(events: Iterable[Event]) -> bytes:
    """The first message of a client that has these events."""
    return initiate(items_of(events))


def replied(events: Iterable[Event], message: bytes) -> bytes:
    """What a relay answers that has these events."""
    return reply(items_of(events), message)


def needed(answer: bytes) -> set[str]:
    """The ids that a client learns by the answer to `FIRST`."""
    return {event_id.hex() for event_id in reconcile(NOTHING, answer).need}


async def begin(
    client: AuthClient, one: dict[str, Any] | None = None, message: bytes = FIRST, *, sync_id: str = "sync"
) -> bytes:
    """Open a sync, of everything unless there is a filter, and give the relay's first answer."""
    await client.send("NEG-OPEN", sync_id, one or {}, message.hex())
    return await told(client, sync_id)


async def go_on(client: AuthClient, message: bytes, *, sync_id: str = "sync") -> bytes:
    """Send a further message, and give the answer."""
    await client.send("NEG-MSG", sync_id, message.hex())
    return await told(client, sync_id)


async def told(client: AuthClient, sync_id: str = "sync") -> bytes:
    """The next message, which has to be one of this sync."""
    verb, answered, text = await client.receive()
    assert (verb, answered) == ("NEG-MSG", sync_id), text
    return bytes.fromhex(text)


async def refusal(client: AuthClient, sync_id: str = "sync") -> list[Any]:
    """What the relay says of a sync that is over: the reason, and a number if there is one."""
    verb, answered, *said = await client.receive()
    assert (verb, answered) == ("NEG-ERR", sync_id), said
    return said


async def refused(
    client: AuthClient, one: dict[str, Any] | None = None, message: bytes = FIRST, *, sync_id: str = "sync"
) -> list[Any]:
    """Open a sync, and give why there is none."""
    await client.send("NEG-OPEN", sync_id, one or {}, message.hex())
    return await refusal(client, sync_id)


async def is_over(client: AuthClient, sync_id: str = "sync") -> bool:
    """True if the relay knows no sync of this id; if it does, the sync goes on as it was."""
    await client.send("NEG-MSG", sync_id, FIRST.hex())
    verb, answered, said = await client.receive()
    assert answered == sync_id
    assert verb == "NEG-MSG" or (verb, said) == ("NEG-ERR", UNKNOWN)
    return bool(verb == "NEG-ERR")


async def compared(
    client: AuthClient, one: dict[str, Any] | None = None, own: Sequence[Event] = (), *, sync_id: str = "sync"
) -> Outcome:
    """A whole sync of these events with what the relay has for a filter."""
    items, outcome = items_of(own), Outcome()
    answer = await begin(client, one, initiate(items), sync_id=sync_id)
    while True:
        outcome.answers.append(len(answer))
        message, have, need = reconcile(items, answer)
        outcome.have |= {event_id.hex() for event_id in have}
        outcome.need |= {event_id.hex() for event_id in need}
        if message is None:
            await client.send("NEG-CLOSE", sync_id)
            return outcome
        answer = await go_on(client, message, sync_id=sync_id)
