"""All methods by their names."""

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
from trio_relay.net.admin.standing import changing, tell_statistics
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.policy.lists import Name

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
