"""All methods of NIP-86 by their names, and those about the relay itself: what it is called, how it is."""

from __future__ import annotations

from typing import Final

from trio_relay.net.admin.acts import list_acts, undo_act
from trio_relay.net.admin.answers import ANSWERS
from trio_relay.net.admin.lists import (
    allow_event,
    ban_event,
    ban_pubkey,
    block_address,
    deny_word,
    listing,
    putting,
    taking,
)
from trio_relay.net.admin.members import MEMBER_METHODS
from trio_relay.net.admin.params import OPERATOR, Call, Method, Outcome
from trio_relay.net.admin.queue import list_reported, list_reported_events
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
from trio_relay.net.admin.settings import list_settings
from trio_relay.net.admin.sights import (
    disconnect_client,
    list_clients,
    list_mirrors,
    list_refusals,
    list_slow_requests,
)
from trio_relay.net.admin.upkeep import UPKEEP
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.policy.lists import Change, ListEntry, ListName

_MOST: Final = {"name": 29, "description": 5_000, "icon": 2_000}
"""Characters; NIP-11 asks for a name of less than 30."""
MOST_ON_A_LIST: Final = 100_000
"""Items, beyond which only admins put more on a list: all of them are in memory, and looked through each minute."""


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
            return Outcome(changes=call.off(ListName.IDENTITY, field))
        return Outcome(changes=[Change(ListName.IDENTITY, field, ListEntry(text, since=call.now))])

    return change


def tell_statistics(call: Call) -> Outcome:
    """Numbers since the relay has started, and sizes as they are now."""
    call.at_most(0)
    found, lists = call.sight.statistics(), call.rules.lists
    return Outcome(
        {
            "subscriptions": found.broadcaster.subscriptions,
            "delivered": found.broadcaster.deliveries,
            "stored": found.writer.outcomes.get("stored", 0),
            "refused": sum(found.refused.values()),
            "disk_bytes": found.store.disk_bytes,
            "banned_pubkeys": len(lists.entries(ListName.BANNED_PUBKEYS, call.now)),
            "reported_events": len(lists.entries(ListName.REPORTED_EVENTS, call.now)),
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
    outcome = method(call)
    _check_room(call, outcome)
    return outcome


def _check_room(call: Call, outcome: Outcome) -> None:
    """Leave the room that is left on a full list to the admins."""
    if call.caller == OPERATOR or call.caller in call.rules.admins:
        return
    lists = call.rules.lists
    for change in outcome.changes:
        is_new = change.entry is not None and lists.get(change.name, change.item, 0) is None
        if is_new and lists.size(change.name) >= MOST_ON_A_LIST:
            raise Rejected(
                Prefix.RESTRICTED, f"this list has {MOST_ON_A_LIST:,} items; only an admin can put more on it"
            )


def _assign_method(call: Call) -> Outcome:
    return assign_method(call, METHODS)


METHODS: Final[dict[str, Method]] = {
    "banpubkey": ban_pubkey,
    "unbanpubkey": taking(ListName.BANNED_PUBKEYS),
    "listbannedpubkeys": listing(ListName.BANNED_PUBKEYS),
    "allowpubkey": putting(ListName.ALLOWED_PUBKEYS),
    "unallowpubkey": taking(ListName.ALLOWED_PUBKEYS),
    "listallowedpubkeys": listing(ListName.ALLOWED_PUBKEYS),
    "banevent": ban_event,
    "unbanevent": taking(ListName.BANNED_EVENTS),
    "listbannedevents": listing(ListName.BANNED_EVENTS),
    "allowevent": allow_event,
    "unallowevent": taking(ListName.ALLOWED_EVENTS),
    "listallowedevents": listing(ListName.ALLOWED_EVENTS),
    "listeventsneedingmoderation": list_reported,
    "listreportedevents": list_reported_events,
    "allowkind": putting(ListName.ALLOWED_KINDS),
    "unallowkind": taking(ListName.ALLOWED_KINDS),
    "listallowedkinds": listing(ListName.ALLOWED_KINDS),
    "disallowkind": putting(ListName.DISALLOWED_KINDS),
    "undisallowkind": taking(ListName.DISALLOWED_KINDS),
    "listdisallowedkinds": listing(ListName.DISALLOWED_KINDS),
    "blockip": block_address,
    "unblockip": taking(ListName.BLOCKED_ADDRESSES),
    "listblockedips": listing(ListName.BLOCKED_ADDRESSES),
    "denyword": deny_word,
    "undenyword": taking(ListName.DENIED_WORDS),
    "listdeniedwords": listing(ListName.DENIED_WORDS),
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
    **MEMBER_METHODS,
    "listsettings": list_settings,
    "listacts": list_acts,
    "undoact": undo_act,
    "stats": tell_statistics,
    **UPKEEP,
    "listclients": list_clients,
    "disconnectclient": disconnect_client,
    "listrefusals": list_refusals,
    "listslowrequests": list_slow_requests,
    "listmirrors": list_mirrors,
    **ANSWERS,
}
"""NIP-86's, but for `supportedmethods`; beyond it `unallowkind`, `undisallowkind`, `listroles`, `stats`, and those of
`sights` and `answers`."""
READING: Final = frozenset(
    {SUPPORTED, "stats", "countevents", "checkstore", *ANSWERS, *(name for name in METHODS if name.startswith("list"))}
)
"""Those that change nothing, whenever they are called."""
