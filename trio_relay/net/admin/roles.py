"""Methods about who is what: the roles of members (NIP-43), and who may call which method."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from trio_relay.net.admin.lists import whence
from trio_relay.net.admin.params import MOST_ITEM, OPERATOR, Call, Outcome
from trio_relay.nostr.errors import invalid
from trio_relay.policy.lists import Change, ListEntry, ListName, all_granted, granted, granting, revoking

_MOST_LABEL: Final = 200
_MOST_DESCRIPTION: Final = 2_000
_MOST_HUE: Final = 360
"""NIP-43's colors are hues: it says 0 to 255, color wheels go on to 360."""
FOR_ADMINS: Final = frozenset({"removeevents", "compactstore", "checkstore"})
"""What nobody else can be let do: it takes anything away for good, or keeps the store busy for long."""
FOR_OPERATOR: Final = frozenset({"reloadconfig"})
"""What not even admins may call, but who is on the relay's machine: what is wrong with its files is told."""
_MOST_ORDER: Final = 2**31


def create_role(call: Call) -> Outcome:
    """Make a new role."""
    if call.rules.lists.get(ListName.ROLES, _role(call, 0), call.now) is not None:
        raise invalid("there is a role with this id; editrole changes it")
    return _put_role(call, call.now)


def edit_role(call: Call) -> Outcome:
    """Change a role in whole."""
    return _put_role(call, _known_role(call, 0)[1].since)


def delete_role(call: Call) -> Outcome:
    """Delete a role, and take it from all who have it."""
    call.at_most(1)
    role, _ = _known_role(call, 0)
    changes = [Change(ListName.ROLES, role)]
    for pubkey in all_granted(call.rules.lists, ListName.ROLE_HOLDERS, call.now):
        changes += revoking(call.rules.lists, ListName.ROLE_HOLDERS, pubkey, role, call.now)
    return Outcome(changes=changes)


def list_roles(call: Call) -> Outcome:
    """All roles, with those who have them."""
    call.at_most(0)
    holders = all_granted(call.rules.lists, ListName.ROLE_HOLDERS, call.now)
    return Outcome(
        [
            {
                "id": role,
                **entry.data,
                "pubkeys": [pubkey for pubkey, roles in holders.items() if role in roles],
                **whence(entry),
            }
            for role, entry in call.rules.lists.entries(ListName.ROLES, call.now).items()
        ]
    )


def assign_role(call: Call) -> Outcome:
    """Give a role to a key."""
    call.at_most(2)
    pubkey, (role, _) = call.pubkey(0), _known_role(call, 1)
    return Outcome(changes=granting(call.rules.lists, ListName.ROLE_HOLDERS, pubkey, role, call.now))


def unassign_role(call: Call) -> Outcome:
    """Take a role from a key."""
    call.at_most(2)
    pubkey, role = call.pubkey(0), _role(call, 1)
    return Outcome(changes=revoking(call.rules.lists, ListName.ROLE_HOLDERS, pubkey, role, call.now))


def assign_method(call: Call, methods: Collection[str]) -> Outcome:
    """Let a key call a method: one of these, that the caller may call."""
    pubkey, method = _grant(call)
    if method not in methods:
        return Outcome([False, "no such method"])
    if not may_call(call, method):
        return Outcome([False, "you may not call it yourself"])
    if method in FOR_ADMINS | FOR_OPERATOR:
        return Outcome([False, "it is for admins alone"])
    return Outcome([True, "assigned"], granting(call.rules.lists, ListName.METHODS, pubkey, method, call.now))


def unassign_method(call: Call) -> Outcome:
    """Let a key call a method no more."""
    pubkey, method = _grant(call)
    changes = revoking(call.rules.lists, ListName.METHODS, pubkey, method, call.now)
    return Outcome([True, "unassigned"] if changes else [False, "it was not assigned"], changes)


def list_assignees(call: Call) -> Outcome:
    """Who may call which methods, beside the admins."""
    call.at_most(0)
    assigned = all_granted(call.rules.lists, ListName.METHODS, call.now)
    return Outcome([{"pubkey": pubkey, "methods": methods} for pubkey, methods in assigned.items()])


def may_call(call: Call, method: str) -> bool:
    """True for admins and the operator, and for those to whom the method was assigned, if it can be."""
    rules = call.rules
    if call.caller == OPERATOR:
        return True
    if method in FOR_OPERATOR:
        return False
    if call.caller in rules.admins:
        return True
    return method not in FOR_ADMINS and method in granted(rules.lists, ListName.METHODS, call.caller, call.now)


def _put_role(call: Call, since: int) -> Outcome:
    call.at_most(5)
    data: dict[str, str | int | list[str] | None] = {
        "label": call.text(1, "a label", _MOST_LABEL, is_optional=True),
        "description": call.text(2, "a description", _MOST_DESCRIPTION, is_optional=True),
        "color": call.optional_number(3, "a color's hue", 0, _MOST_HUE),
        "order": call.optional_number(4, "an order", -_MOST_ORDER, _MOST_ORDER),
    }
    return Outcome(changes=[Change(ListName.ROLES, _role(call, 0), ListEntry(since=since, data=data))])


def _role(call: Call, place: int) -> str:
    return call.text(place, "a role's id", MOST_ITEM)


def _known_role(call: Call, place: int) -> tuple[str, ListEntry]:
    role = _role(call, place)
    if (entry := call.rules.lists.get(ListName.ROLES, role, call.now)) is None:
        raise invalid("there is no role with this id")
    return role, entry


def _grant(call: Call) -> tuple[str, str]:
    call.at_most(2)
    return call.pubkey(0), call.text(1, "a method", MOST_ITEM)
