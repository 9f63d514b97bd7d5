"""Methods about a relay as it runs: who is connected, what was refused, what was slow."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from trio_relay.net.admin.params import Call, Outcome
from trio_relay.net.admin.sight import Sight
from trio_relay.nostr.errors import invalid

_MOST_NAME: Final = 40
"""Characters of a client's name."""


def list_clients(call: Call) -> Outcome:
    """Who is connected."""
    call.at_most(0)
    return Outcome(later=partial(_clients, call.sight))


async def _clients(sight: Sight) -> object:
    return msgspec.to_builtins(await sight.clients())


def disconnect_client(call: Call) -> Outcome:
    """End a connection; its client is told the reason."""
    call.at_most(2)
    return Outcome(later=partial(_hang_up, call.sight, call.text(0, "a client", _MOST_NAME), call.reason(1)))


async def _hang_up(sight: Sight, client: str, reason: str) -> object:
    if not await sight.hang_up(client, reason):
        raise invalid("no such client is connected")
    return True
