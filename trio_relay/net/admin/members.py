"""Methods about members (NIP-43): who is one, and the codes with which somebody becomes one."""

from __future__ import annotations

import secrets
from itertools import dropwhile, islice
from typing import Final

from trio_relay.net.admin.lists import whence, with_consequences
from trio_relay.net.admin.params import MOST_ITEM, Call, Method, Outcome
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.policy.lists import Change, ListEntry, ListName, granted
from trio_relay.policy.membership import inviter, leaving

_MOST_LISTED: Final = 1_000
_MOST_INVITES: Final = 1_000
"""Codes of operators that count at a time."""


def list_members(call: Call) -> Outcome:
    """The members in the order in which they came, at most a thousand; the parameter is the last one that is known."""
    call.at_most(1)
    _check_membership(call)
    members = iter(call.rules.lists.entries(ListName.MEMBERS, call.now).items())
    if call.params and call.params[0] is not None:
        after = call.pubkey(0)
        members = islice(dropwhile(lambda member: member[0] != after, members), 1, None)
    return Outcome([_member(call, pubkey, entry) for pubkey, entry in islice(members, _MOST_LISTED)])


def _member(call: Call, pubkey: str, entry: ListEntry) -> dict[str, object]:
    roles = granted(call.rules.lists, ListName.ROLE_HOLDERS, pubkey, call.now)
    return {"pubkey": pubkey, "since": entry.since, "by": entry.by, "roles": roles}


def add_member(call: Call) -> Outcome:
    """Make a key a member, without a code."""
    call.at_most(2)
    _check_membership(call)
    pubkey, reason = call.pubkey(0), call.reason(1)
    if call.rules.lists.get(ListName.MEMBERS, pubkey, call.now) is not None:
        return Outcome()
    entry = ListEntry(reason, since=call.now)
    return with_consequences(call, Outcome(changes=[Change(ListName.MEMBERS, pubkey, entry)]))


def remove_member(call: Call) -> Outcome:
    """Make a key a member no more, and take its roles and codes from it, as if it had left."""
    call.at_most(2)
    _check_membership(call)
    pubkey = call.pubkey(0)
    call.reason(1)
    return Outcome(changes=leaving(pubkey, call.rules, call.now))


def create_invite(call: Call) -> Outcome:
    """Make a code with which anybody can join until it ends, whoever has made it."""
    call.at_most(1)
    _check_membership(call)
    until = call.until(0) or call.now + call.rules.members.invite_seconds
    own = sum(1 for entry in call.rules.lists.entries(ListName.CLAIMS, call.now).values() if entry.by)
    if own >= _MOST_INVITES:
        raise Rejected(Prefix.RESTRICTED, f"{own:,} codes of operators count now; delete some first")
    claim = secrets.token_hex(16)
    change = Change(ListName.CLAIMS, claim, ListEntry(until=until, since=call.now))
    return Outcome({"claim": claim, "until": until}, [change])


def list_invites(call: Call) -> Outcome:
    """The codes that count, of operators and of members, the newest first, at most a thousand."""
    call.at_most(0)
    _check_membership(call)
    newest = reversed(call.rules.lists.entries(ListName.CLAIMS, call.now).items())
    shown = islice(newest, _MOST_LISTED)
    return Outcome([{"claim": claim, **whence(entry), "by": inviter(entry)} for claim, entry in shown])


def delete_invite(call: Call) -> Outcome:
    """Have a code let in nobody from now on."""
    call.at_most(1)
    _check_membership(call)
    claim = call.text(0, "a code", MOST_ITEM)
    if claim in call.rules.members.claims:
        raise Rejected(Prefix.RESTRICTED, "the configuration says otherwise (members.claims)")
    if not (changes := call.off(ListName.CLAIMS, claim)):
        raise invalid("there is no such code")
    return Outcome(changes=changes)


def _check_membership(call: Call) -> None:
    if not call.rules.has_membership:
        raise Rejected(Prefix.UNSUPPORTED, "this relay has no members (members.enabled)")


MEMBER_METHODS: Final[dict[str, Method]] = {
    "listmembers": list_members,
    "addmember": add_member,
    "removemember": remove_member,
    "createinvite": create_invite,
    "listinvites": list_invites,
    "deleteinvite": delete_invite,
}
"""By name."""
