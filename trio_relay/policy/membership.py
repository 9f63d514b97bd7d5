"""Membership (NIP-43): requests to join and to leave, invite codes, and what the relay publishes about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.event import Event, is_protected
from trio_relay.nostr.kinds import DELETION, JOIN, LEAVE, MEMBER_ADDED, MEMBER_REMOVED, MEMBERS, ROLE
from trio_relay.policy.capabilities import relay_info_of
from trio_relay.policy.lists import Change, ListEntry, ListName, granted
from trio_relay.policy.rules import Rules

REQUESTS: Final = frozenset({JOIN, LEAVE})
"""Requests to the relay itself: never stored, never delivered."""
MOST_INVITES: Final = 20
"""Most valid codes of one member; a new one replaces the oldest."""
MOST_ROLES: Final = 1_000
"""Most roles that are published."""
_AT_A_TIME: Final = 500
"""Members in one step of work, about a millisecond."""
_REQUEST_SECONDS: Final = 600
"""How far the time of a request may be from the relay's, either way."""


@dataclass(frozen=True, slots=True)
class JoinVerdict:
    """The answer to a request, as the last two items of its OK, and the changes that it makes."""

    accepted: bool
    reason: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that the relay has to sign."""

    kind: int
    tags: list[list[str]]


def check_request(event: Event, now: int) -> Rejected | None:
    """Return why a request to join or to leave is refused before it is judged, or None.

    Args:
        event: of one of the `REQUESTS`, whose author has authenticated.
        now: seconds since 1970.
    """
    if not is_protected(event):
        return invalid(f"kind {event.kind} needs the tag '-' (NIP-43)")
    if abs(event.created_at - now) > _REQUEST_SECONDS:
        return invalid(f"created_at is more than {_REQUEST_SECONDS} seconds from the relay's time (NIP-43)")
    return None


def judge(event: Event, rules: Rules, now: int) -> JoinVerdict:
    """Judge a request to join or to leave (NIP-43, "Join Request", "Leave Request").

    Args:
        event: one that has passed `check_event`, which looks for bans, and whose signature is valid.
        rules: as they are now.
        now: seconds since 1970.
    """
    if rules.is_banned(event.pubkey, now):  # since it was admitted
        return JoinVerdict(False, f"{Prefix.BLOCKED}: this key is banned here")
    if event.kind == LEAVE:
        return _leave(event.pubkey, rules, now)
    if rules.is_member(event.pubkey, now):
        return JoinVerdict(True, f"{Prefix.DUPLICATE}: you are a member already")
    if not _value(event, "claim"):
        return JoinVerdict(False, f"{Prefix.RESTRICTED}: a request to join needs a code in a claim tag")
    if not lets_in(event, rules, now):
        return JoinVerdict(False, f"{Prefix.RESTRICTED}: this code lets nobody in, or not any more")
    if rules.lists.size(ListName.MEMBERS) >= rules.members.max_members:
        return JoinVerdict(False, f"{Prefix.RESTRICTED}: there is no room for more members (max_members)")
    joined = Change(ListName.MEMBERS, event.pubkey, ListEntry(since=now))
    return JoinVerdict(True, f"{Prefix.INFO}: welcome to {relay_info_of(rules).name}", (joined,))


def _leave(pubkey: str, rules: Rules, now: int) -> JoinVerdict:
    if not (changes := leaving(pubkey, rules, now)):
        return JoinVerdict(True, f"{Prefix.INFO}: you are no member")
    return JoinVerdict(True, f"{Prefix.INFO}: you are a member no more", changes)


def leaving(pubkey: str, rules: Rules, now: int) -> tuple[Change, ...]:
    """Return the changes that make a key a member no more, and take its roles and codes; none if it is no member."""
    lists = rules.lists
    if lists.get(ListName.MEMBERS, pubkey, now) is None:
        return ()
    roles = () if lists.get(ListName.ROLE_HOLDERS, pubkey, now) is None else (Change(ListName.ROLE_HOLDERS, pubkey),)
    invites = (Change(ListName.CLAIMS, claim) for claim in _invites_by(pubkey, rules, now))
    return Change(ListName.MEMBERS, pubkey), *roles, *invites


def lets_in(event: Event, rules: Rules, now: int) -> bool:
    """Return True if a request to join names a code that counts."""
    claim = _value(event, "claim")
    return claim in rules.members.claims or _is_invited(claim, rules, now)


def _is_invited(claim: str, rules: Rules, now: int) -> bool:
    """Return True if the code still counts: an operator has made it, or a key that is still a member."""
    entry = rules.lists.get(ListName.CLAIMS, claim, now)
    if entry is None:
        return False
    return bool(entry.by) or _is_welcome(inviter(entry), rules, now)


def inviter(entry: ListEntry) -> str:
    """Return who has had a code made: a member, or an operator."""
    return entry.by or str(entry.data.get("by") or "")


def _is_welcome(pubkey: str, rules: Rules, now: int) -> bool:
    return rules.is_member(pubkey, now) and not rules.is_banned(pubkey, now)


def host_among(keys: Iterable[str], rules: Rules, now: int) -> str | None:
    """Return the first of these authenticated keys that may have codes made; None if none may."""
    return min((key for key in keys if _is_welcome(key, rules, now)), default=None)


def invite(claim: str, host: str, rules: Rules, now: int) -> list[Change]:
    """Return the changes that make a code valid, for `members.invite_seconds` and for anybody who names it."""
    oldest = _invites_by(host, rules, now)[: -MOST_INVITES + 1]
    entry = ListEntry(until=now + rules.members.invite_seconds, since=now, data={"by": host})
    return [*(Change(ListName.CLAIMS, old_claim) for old_claim in oldest), Change(ListName.CLAIMS, claim, entry)]


def _invites_by(pubkey: str, rules: Rules, now: int) -> list[str]:
    claims = rules.lists.entries(ListName.CLAIMS, now)
    return [claim for claim, entry in claims.items() if entry.data.get("by") == pubkey]


def unpublished(published: Iterable[Event], rules: Rules, now: int) -> Iterator[Draft | None]:
    """Yield the events that the relay has to publish so that its published lists are true.

    With thousands of members this takes a while: every None is a pause in which others can be served. If the lists
    change meanwhile, it has to be called once more.

    Args:
        published: the stored events of the relay itself, of kinds `MEMBERS` and `ROLE`.
        rules: as they are now.
        now: seconds since 1970.
    """
    said = {(event.kind, _value(event, "d")): event for event in published}
    yield from _about_members(said.get((MEMBERS, "")), rules, now)
    yield from _about_roles(said, rules, now)


def _about_members(said: Event | None, rules: Rules, now: int) -> Iterator[Draft | None]:
    tags, most = [["-"]], rules.limits.max_event_tags
    for portion in _member_tags(rules, now):
        tags += portion
        yield None
        if len(tags) >= most:
            break
    del tags[max(most, 1) :]
    if tags == ([["-"]] if said is None else said.tags):
        return
    before, members = _members_in([] if said is None else said.tags), _members_in(tags)
    for kind, keys, others in ((MEMBER_ADDED, members, before), (MEMBER_REMOVED, before, members)):
        known = set(others)
        yield from (Draft(kind, [["-"], ["p", key]]) for key in keys if key not in known)
    yield Draft(MEMBERS, tags)


def _members_in(tags: list[list[str]]) -> list[str]:
    return [tag[1] for tag in tags if tag[0] == "member"]


def _member_tags(rules: Rules, now: int) -> Iterator[list[list[str]]]:
    """Yield tags of all members, and of admins that have roles, with their roles; in portions."""
    holders = rules.lists.entries(ListName.ROLE_HOLDERS, now)
    keys = dict.fromkeys(
        [*rules.lists.entries(ListName.MEMBERS, now), *(key for key in holders if key in rules.admins)]
    )
    left = iter(keys)
    while portion := list(islice(left, _AT_A_TIME)):
        yield [["member", key, *_roles_of(key, rules, now)] for key in portion if _is_welcome(key, rules, now)]


def _roles_of(pubkey: str, rules: Rules, now: int) -> list[str]:
    held = granted(rules.lists, ListName.ROLE_HOLDERS, pubkey, now)
    return [role for role in held if rules.lists.get(ListName.ROLES, role, now) is not None]


def _about_roles(said: dict[tuple[int, str], Event], rules: Rules, now: int) -> Iterator[Draft]:
    roles = dict(list(rules.lists.entries(ListName.ROLES, now).items())[:MOST_ROLES])
    for role, entry in roles.items():
        tags = [["-"], ["d", role], *_properties(entry)]
        event = said.get((ROLE, role))
        if event is None or event.tags != tags:
            yield Draft(ROLE, tags)
    for (kind, role), event in said.items():
        if kind == ROLE and role not in roles:
            yield Draft(DELETION, [["-"], ["a", f"{ROLE}:{event.pubkey}:{role}"], ["k", str(ROLE)]])


def _properties(entry: ListEntry) -> Iterator[list[str]]:
    for name in ("label", "description", "color", "order"):
        value = entry.data.get(name)
        if value is not None and value != "":
            yield [name, str(value)]


def _value(event: Event, name: str) -> str:
    return next((tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == name), "")
