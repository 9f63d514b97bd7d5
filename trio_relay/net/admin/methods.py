"""All methods of NIP-86 by their names, and those about the relay itself: what it is called, how it is."""

from __future__ import annotations

from typing import Final

from trio_relay.net.admin.lists import (
    allow_event,
    ban_event,
    ban_pubkey,
    block_address,
    list_reported,
    listing,
    putting,
    taking,
)
from trio_relay.net.admin.params import Call, Method, Outcome
from trio_relay.net.admin.roles import (
    assign_method,
    assign_role,
    create_role,
    delete_role,
    edit_role,
    list_assignees,
    list_roles,
    may_call,
    unassign_method,
    unassign_role,
)
from trio_relay.nostr.errors import Prefix, Rejected, invalid
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


SUPPORTED: Final = "supportedmethods"


def carry_out(call: Call) -> Outcome:
    """What comes of a call.

    Raises:
        Rejected: there is no such method, the caller may not call it, or its parameters are not right.
    """
    if call.method == SUPPORTED:
        call.at_most(0)
        return Outcome([method for method in METHODS if may_call(call, method)])
    method = METHODS.get(call.method)
    if method is None:
        raise Rejected(Prefix.UNSUPPORTED, "there is no such method")
    if not may_call(call, call.method):
        raise Rejected(Prefix.RESTRICTED, "you may not call this method")
    return method(call)


def _assign_method(call: Call) -> Outcome:
    return assign_method(call, METHODS)


METHODS: Final[dict[str, Method]] = {
    "banpubkey": ban_pubkey,
    "unbanpubkey": taking(Name.BANNED_PUBKEYS),
    "listbannedpubkeys": listing(Name.BANNED_PUBKEYS),
    "allowpubkey": putting(Name.ALLOWED_PUBKEYS),
    "unallowpubkey": taking(Name.ALLOWED_PUBKEYS),
    "listallowedpubkeys": listing(Name.ALLOWED_PUBKEYS),
    "banevent": ban_event,
    "unbanevent": taking(Name.BANNED_EVENTS),
    "listbannedevents": listing(Name.BANNED_EVENTS),
    "allowevent": allow_event,
    "unallowevent": taking(Name.ALLOWED_EVENTS),
    "listallowedevents": listing(Name.ALLOWED_EVENTS),
    "listeventsneedingmoderation": list_reported,
    "allowkind": putting(Name.ALLOWED_KINDS),
    "unallowkind": taking(Name.ALLOWED_KINDS),
    "listallowedkinds": listing(Name.ALLOWED_KINDS),
    "disallowkind": putting(Name.DISALLOWED_KINDS),
    "undisallowkind": taking(Name.DISALLOWED_KINDS),
    "listdisallowedkinds": listing(Name.DISALLOWED_KINDS),
    "blockip": block_address,
    "unblockip": taking(Name.BLOCKED_ADDRESSES),
    "listblockedips": listing(Name.BLOCKED_ADDRESSES),
    "changerelayname": changing("name"),
    "changerelaydescription": changing("description"),
    "changerelayicon": changing("icon"),
    "createrole": create_role,
    "editrole": edit_role,
    "deleterole": delete_role,
    "listroles": list_roles,
    "assignrole": assign_role,
    "unassignrole": unassign_role,
    "assignmethod": _assign_method,
    "unassignmethod": unassign_method,
    "listmethodassignees": list_assignees,
    "stats": tell_statistics,
}
"""NIP-86's, but for `supportedmethods`; beyond it `unallowkind`, `undisallowkind`, `listroles` and `stats`."""
