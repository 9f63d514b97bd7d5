"""Methods of NIP-86 that answer "why", and tell what the store holds and what has gone; all of them only read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from trio_relay.net.addresses import AddressEntry, AddressList, BlockedAddresses, as_listed
from trio_relay.net.admin.params import MOST_ITEM, Call, Method, Outcome
from trio_relay.net.admin.sight import Sight
from trio_relay.nostr.errors import invalid
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.nostr.written_filters import read_filters
from trio_relay.pipeline.operator_reads import OperatorReads
from trio_relay.policy.explained import CheckVerdict

_MOST_FILTERS: Final = 1_000
"""More than any relay takes in one REQ, so that it is the relay's own limit that is told."""


_ARCHIVED: Final = 100
_MOST_ARCHIVED: Final = 500
"""Events of the archive in one answer."""


def explain_filters(call: Call) -> Outcome:
    """What would come of a REQ of these filters: verdict, plans, what is found and what the gate hides."""
    call.at_most(2)
    sources, key = _filters(call), _asked_as(call, ("key",)).get("key")
    return _later(lambda: call.sight.explaining.request(sources, key))


def explain_event(call: Call) -> Outcome:
    """What would come of an event: each check with what decides it, what the store would say, who would get it."""
    call.at_most(2)
    source = call.params[0] if call.params else None
    if not isinstance(source, dict):
        raise invalid(f"parameter 1 of {call.method} must be an event")
    asked_as = _asked_as(call, ("key", "address"))
    sight, before = call.sight, _address_check(call, asked_as.get("address"))
    return _later(lambda: sight.explaining.event(source, sight.wanting, asked_as.get("key"), before))


def _address_check(call: Call, address: str | None) -> tuple[CheckVerdict, ...]:
    """What comes before anything of an event is read; nothing if no address is given."""
    if address is None:
        return ()
    try:
        address = as_listed(address)
        is_denied = AddressList(map(AddressEntry, call.rules.options.denied_addresses)).covers(address, call.now)
        is_blocked = BlockedAddresses(call.rules, lambda: call.now).covers(address)
    except ValueError as error:
        raise invalid(f"address must be an IP address: {error}") from None
    if not is_blocked:
        return (CheckVerdict("address", True, "", "policy.denied_addresses, listblockedips"),)
    setting = "policy.denied_addresses" if is_denied else "listblockedips"
    return (CheckVerdict("address", False, "blocked: nobody at this address is served", setting),)


def tell_store(call: Call) -> Outcome:
    """What the store holds, in numbers that are a minute old at most."""
    call.at_most(0)
    return Outcome(later=partial(_store, call.sight))


async def _store(sight: Sight) -> object:
    held: dict[str, object] = msgspec.to_builtins(await sight.explaining.holdings())
    return held | {
        "disk_bytes": sight.statistics().store.disk_bytes,
        "next_sweep": sight.explaining.next_sweep(),
        "next_retention": sight.explaining.next_retention(),
    }


def find_events(call: Call) -> Outcome:
    """The newest events that match, whoever may read them."""
    call.at_most(1)
    sources = _filters(call)
    return Outcome(later=lambda: call.sight.explaining.find(sources))


def query_archive(call: Call) -> Outcome:
    """What has been replaced, deleted or has expired and matches a filter, what went last first."""
    call.at_most(2)
    sources = [call.params[0] if call.params else None]
    if not isinstance(sources[0], dict):
        raise invalid(f"parameter 1 of {call.method} must be a filter")
    limit = call.optional_number(1, "a limit", 1, _MOST_ARCHIVED) or _ARCHIVED
    (filter_,) = read_filters(sources, call.rules.search_prefix)
    return Outcome(later=partial(_archived, call.reads, filter_.with_limit(default=limit, most=limit)))


async def _archived(reads: OperatorReads, filter_: Filter) -> object:
    return [msgspec.json.decode(one.encode()) for one in await reads.archived(filter_)]


def _filters(call: Call) -> list[object]:
    sources = call.params[0] if call.params else None
    if not isinstance(sources, list) or not 0 < len(sources) <= _MOST_FILTERS:
        raise invalid(f"parameter 1 of {call.method} must be a list of filters")
    return sources


def _asked_as(call: Call, names: Sequence[str]) -> dict[str, str]:
    """Read who is to be taken for asking: an object of texts, its keys in hex; what is null is left out."""
    given = (call.params[1] if len(call.params) > 1 else None) or {}
    if not isinstance(given, dict) or not given.keys() <= set(names):
        raise invalid(f"parameter 2 of {call.method} must be an object of {' and '.join(names)}")
    found: dict[str, str] = {}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > MOST_ITEM:
            raise invalid(f"{name} must be a text of {MOST_ITEM} characters at most")
        found[name] = _pubkey(value) if name == "key" else value
    return found


def _pubkey(text: str) -> str:
    try:
        return pubkey_of(text)
    except ValueError as error:
        raise invalid(f"key must be a pubkey: {error}") from None


def _later(ask: Callable[[], Awaitable[object]]) -> Outcome:
    """Answer with what is found out, as JSON has it."""

    async def answer() -> object:
        return msgspec.to_builtins(await ask())

    return Outcome(later=answer)


ANSWERS: Final[dict[str, Method]] = {
    "explainfilters": explain_filters,
    "explainevent": explain_event,
    "storestats": tell_store,
    "findevents": find_events,
    "queryarchive": query_archive,
}
"""By name."""
