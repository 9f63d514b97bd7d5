"""Methods about a relay as it runs: who is connected, what was refused, what was slow."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import asdict, replace

from trio_relay.net.addresses import as_listed
from trio_relay.net.admin.params import Call, Outcome
from trio_relay.net.admin.sight import Sight, WantedRefusals
from trio_relay.net.statistics import RefusalRecord
from trio_relay.nostr.errors import invalid
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.pipeline.statistics import MirrorStatistics

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
    end = partial(_hang_up, call.sight, call.text(0, "a client", _MOST_NAME), call.reason(1))
    return Outcome(later=end, is_act=True)


async def _hang_up(sight: Sight, client: str, reason: str) -> object:
    if not await sight.hang_up(client, reason):
        raise invalid("no such client is connected")
    return True


def list_refusals(call: Call) -> Outcome:
    """What was refused last."""
    call.at_most(1)
    return Outcome(later=partial(_refusals, call.sight, _wanted(call)))


def _wanted(call: Call) -> WantedRefusals:
    source = call.params[0] if call.params else None
    if source is None:
        return WantedRefusals()
    try:
        wanted = msgspec.convert(source, WantedRefusals)
        key = None if wanted.key is None else pubkey_of(wanted.key)
        address = None if wanted.address is None else as_listed(wanted.address)
    except ValueError as error:  # msgspec's errors are such
        raise invalid(
            f"parameter 1 of {call.method} must be an object with key, address, kind and text, each optional: {error}"
        ) from None
    return replace(wanted, key=key, address=address)


async def _refusals(sight: Sight, wanted: WantedRefusals) -> object:
    return [_without_none(record) for record in await sight.refusals(wanted)]


def _without_none(record: RefusalRecord) -> dict[str, object]:
    return {name: value for name, value in asdict(record).items() if value is not None}


def list_slow_requests(call: Call) -> Outcome:
    """What was slow in the last hour."""
    call.at_most(0)
    return Outcome(later=partial(_slow_requests, call.sight))


async def _slow_requests(sight: Sight) -> object:
    return msgspec.to_builtins(await sight.slow_requests())


def list_mirrors(call: Call) -> Outcome:
    """How the links to other relays are."""
    call.at_most(0)
    mirrors = call.sight.statistics().mirrors
    return Outcome([_mirror(url, direction, one) for (url, direction), one in mirrors.items()])


def _mirror(url: str, direction: str, found: MirrorStatistics) -> dict[str, object]:
    shown: dict[str, object] = {"url": url, "direction": direction, **dataclasses.asdict(found)}
    return {name: value for name, value in shown.items() if value is not None}
