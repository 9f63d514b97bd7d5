"""Every way in which a client learns of events, beside those of `AuthClient`: EOSE with its hint, live, by a sync."""

from __future__ import annotations

from typing import Any

from tests.support.named_relay import AuthClient
from trio_relay import Event
from trio_relay.nostr.negentropy.items import ItemSet
from trio_relay.nostr.negentropy.protocol import initiate, reconcile

NOTHING = ItemSet().snapshot()


async def answered(client: AuthClient, *filters: dict[str, Any], sub_id: str = "sub") -> tuple[list[str], list[Any]]:
    """The ids of what a REQ finds, and what its EOSE says behind the id; the subscription stays open."""
    await client.send("REQ", sub_id, *filters)
    found = []
    while (message := await client.receive())[0] == "EVENT":
        assert message[1] == sub_id
        found.append(message[2]["id"])
    assert message[:2] == ["EOSE", sub_id], message
    return found, message[2:]


async def told_until(client: AuthClient, last: Event, sub_id: str = "sub") -> list[str]:
    """The ids of the live events that a subscription is sent in front of this one, in their order."""
    found = []
    while (message := await client.receive())[2]["id"] != last.id:
        assert message[:2] == ["EVENT", sub_id], message
        found.append(message[2]["id"])
    return found


async def synced(client: AuthClient, one: dict[str, Any], sync_id: str = "sync") -> set[str]:
    """The ids of all that the relay has for a filter, learnt by a sync of nothing with it (NIP-77)."""
    message: bytes | None = initiate(NOTHING)
    await client.send("NEG-OPEN", sync_id, one, initiate(NOTHING).hex())
    found: set[str] = set()
    while message is not None:
        verb, answered_id, text = await client.receive()
        assert (verb, answered_id) == ("NEG-MSG", sync_id), text
        message, _, need = reconcile(NOTHING, bytes.fromhex(text))
        found |= {event_id.hex() for event_id in need}
        if message is not None:
            await client.send("NEG-MSG", sync_id, message.hex())
    await client.send("NEG-CLOSE", sync_id)
    return found
