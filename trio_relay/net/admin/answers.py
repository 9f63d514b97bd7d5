"""Methods of NIP-86 that answer "why", and tell what the store holds; all of them read, and change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from trio_relay.net.admin.params import MOST_ITEM, Call, Method, Outcome
from trio_relay.nostr.errors import invalid
from trio_relay.nostr.nip19 import pubkey_of

_MOST_FILTERS: Final = 1_000
"""More than any relay takes in one REQ, so that it is the relay's own limit that is told."""


def explain_filters(call: Call) -> Outcome:
    """What would come of a REQ of these filters: verdict, plans, what is found and what the gate hides."""
    call.at_most(2)
    sources, key = _filters(call), _asked_as(call, ("key",)).get("key")
    return _later(lambda: call.sight.explaining.request(sources, key))


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
}
"""By name."""
