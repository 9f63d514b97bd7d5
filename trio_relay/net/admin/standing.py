"""Methods about the relay itself: what it is called, how it is."""

from __future__ import annotations

from typing import Final

from trio_relay.net.admin.params import Call, Method, Outcome
from trio_relay.nostr.errors import invalid
from trio_relay.policy.lists import Change, Entry, Name

_MOST: Final = {"name": 29, "description": 5_000, "icon": 2_000}
"""Characters; NIP-11 asks for a name of less than 30."""


def changing(field: str) -> Method:
    """The method that changes a field of the NIP-11 document; an empty text brings the configuration's back."""

    def change(call: Call) -> Outcome:
        call.at_most(1)
        if not call.params:
            raise invalid(f"{call.method} takes 1 parameter")
        text = call.text(0, f"the {field}", _MOST[field], is_optional=True)
        if field == "icon" and text and not text.startswith(("https://", "http://")):
            raise invalid("the icon must be an http or https URL")
        if not text:
            return Outcome(changes=call.off(Name.IDENTITY, field))
        return Outcome(changes=[Change(Name.IDENTITY, field, Entry(text, since=call.now))])

    return change


def tell_statistics(call: Call) -> Outcome:
    """Numbers since the relay has started, and sizes as they are now."""
    call.at_most(0)
    found, lists = call.statistics(), call.rules.lists
    return Outcome(
        {
            "subscriptions": found.broadcaster.subscriptions,
            "delivered": found.broadcaster.deliveries,
            "stored": found.writer.outcomes.get("stored", 0),
            "refused": sum(found.refused.values()),
            "disk_bytes": found.store.disk_bytes,
            "banned_pubkeys": len(lists.entries(Name.BANNED_PUBKEYS, call.now)),
            "reported_events": len(lists.entries(Name.REPORTED_EVENTS, call.now)),
        }
    )
