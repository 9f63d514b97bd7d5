"""Methods that judge keys, events, kinds and addresses: pairs of lists, of which an item is on one at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from trio_relay.moderation.reports import without_reporter
from trio_relay.net.addresses import AddressList, as_listed
from trio_relay.net.admin.params import Call, Method, Outcome
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.policy.lists import Change, ListEntry, ListName
from trio_relay.policy.rules import Rules

MOST_WORDS: Final = 1_000
"""On the list of denied words: each is looked for in all contents."""


@dataclass(frozen=True, slots=True)
class _ListPair:
    """A list as its methods see it.

    Attributes:
        name: which list.
        other: the list that excludes it, if there is one.
        read: reads the item, the first parameter.
        field: what the item is called in a listing; empty if a listing has nothing but items, which are kinds.
        key: of the configuration that holds items of the same sort, which no call can change.
        allows: True if it lets its items pass; what the configuration bans counts more.
    """

    name: ListName
    other: ListName | None
    read: Callable[[Call], str]
    field: str = ""
    key: str = ""
    allows: bool = False


def _pubkey(call: Call) -> str:
    return call.pubkey(0)


def _event_id(call: Call) -> str:
    return call.event_id(0)


def _kind(call: Call) -> str:
    return call.kind(0)


def _address(call: Call) -> str:
    return call.address(0)


def _word(call: Call) -> str:
    return call.word(0)


_SIDES: Final = (
    _ListPair(ListName.BANNED_PUBKEYS, ListName.ALLOWED_PUBKEYS, _pubkey, "pubkey", "denied_pubkeys"),
    _ListPair(ListName.ALLOWED_PUBKEYS, ListName.BANNED_PUBKEYS, _pubkey, "pubkey", "allowed_pubkeys", allows=True),
    _ListPair(ListName.BANNED_EVENTS, ListName.ALLOWED_EVENTS, _event_id, "id"),
    _ListPair(ListName.ALLOWED_EVENTS, ListName.BANNED_EVENTS, _event_id, "id", allows=True),
    _ListPair(ListName.DISALLOWED_KINDS, ListName.ALLOWED_KINDS, _kind, "", "denied_kinds"),
    _ListPair(ListName.ALLOWED_KINDS, ListName.DISALLOWED_KINDS, _kind, "", "allowed_kinds", allows=True),
    _ListPair(ListName.BLOCKED_ADDRESSES, None, _address, "ip", "denied_addresses"),
    _ListPair(ListName.DENIED_WORDS, None, _word, "word", "denied_words"),
)
_BY_NAME: Final = {side.name: side for side in _SIDES}


def putting(name: ListName) -> Method:
    """The method that puts an item on this list, for a reason if that is told.

    A ban may have an end. Who is allowed is so for good: the last one to lapse would open the relay to all.
    """
    side = _BY_NAME[name]

    def put(call: Call) -> Outcome:
        call.at_most(2 if side.allows else 3)
        item = side.read(call)
        entry = ListEntry(call.reason(1), None if side.allows else call.until(2), call.now)
        if side.other is not None and side.allows:
            _refuse_configured(call, _BY_NAME[side.other], item)
        off = () if side.other is None else call.off(side.other, item)
        return Outcome(changes=(*off, Change(name, item, entry)))

    return put


def taking(name: ListName) -> Method:
    """The method that takes an item off this list; it does not go on another."""
    side = _BY_NAME[name]

    def take(call: Call) -> Outcome:
        call.at_most(2)
        item = side.read(call)
        call.reason(1)
        _refuse_configured(call, side, item)
        return Outcome(changes=call.off(name, item))

    return take


def listing(name: ListName) -> Method:
    """The method that tells what is on this list, what the configuration has there first."""
    side = _BY_NAME[name]

    def show(call: Call) -> Outcome:
        call.at_most(0)
        shown = {item: ListEntry(f"configured (policy.{side.key})") for item in _configured(call.rules, side)}
        shown |= call.rules.lists.entries(name, call.now)
        if not side.field:
            return Outcome(sorted(map(int, shown)))
        return Outcome([_line(side.field, item, entry) for item, entry in shown.items()])

    return show


def ban_pubkey(call: Call) -> Outcome:
    """Ban a key, remove all its events, and take its reports out of the queue."""
    outcome = putting(ListName.BANNED_PUBKEYS)(call)
    return with_consequences(call, outcome)


def ban_event(call: Call) -> Outcome:
    """Ban an event, remove it, and take it out of the queue."""
    return with_consequences(call, putting(ListName.BANNED_EVENTS)(call))


def allow_event(call: Call) -> Outcome:
    """Let an event be, and take it out of the queue: no report brings it back."""
    return with_consequences(call, putting(ListName.ALLOWED_EVENTS)(call))


def block_address(call: Call) -> Outcome:
    """Block an address or network, unless the caller is there."""
    return with_consequences(call, putting(ListName.BLOCKED_ADDRESSES)(call))


def deny_word(call: Call) -> Outcome:
    """Let no content have this text, in upper or lower case; what is stored stays."""
    return with_consequences(call, putting(ListName.DENIED_WORDS)(call))


def with_consequences(call: Call, outcome: Outcome) -> Outcome:
    """The same outcome with all that follows from what it puts on lists: what is removed, and what leaves the queue.

    Raises:
        Rejected: it may not be put there.
    """
    changes, removed = list(outcome.changes), list(outcome.removed)
    for change in outcome.changes:
        if change.entry is None:
            continue
        check_put(call, change)
        if change.name is ListName.BANNED_PUBKEYS:
            changes += without_reporter(change.item, call.rules.lists, call.now)
            removed.append(Filter(authors=frozenset({change.item})))
        elif change.name in (ListName.BANNED_EVENTS, ListName.ALLOWED_EVENTS):
            changes += call.off(ListName.REPORTED_EVENTS, change.item)
            if change.name is ListName.BANNED_EVENTS:
                removed.append(Filter(ids=frozenset({change.item})))
    return replace(outcome, changes=changes, removed=removed)


def check_put(call: Call, change: Change) -> None:
    """Refuse to put on a list what nobody may ban, what bars the caller, and members beyond their number.

    Raises:
        Rejected: it is that.
    """
    if change.name is ListName.BANNED_PUBKEYS:
        if change.item == call.rules.signer:
            raise Rejected(Prefix.RESTRICTED, "this key is the relay's own")
        if change.item in call.rules.admins:
            raise Rejected(Prefix.RESTRICTED, "this key is an admin's (policy.admins, relay.pubkey)")
        if change.item == call.caller:
            raise Rejected(Prefix.RESTRICTED, "this key is your own")
    elif change.name is ListName.MEMBERS:
        if call.rules.is_banned(change.item, call.now):
            raise Rejected(Prefix.RESTRICTED, "this key is banned here")
        if call.rules.lists.size(ListName.MEMBERS) >= call.rules.members.max_members:
            raise Rejected(Prefix.RESTRICTED, "there is no room for more members (members.max_members)")
    elif change.name is ListName.DENIED_WORDS:
        is_new = call.rules.lists.get(change.name, change.item, 0) is None
        if is_new and call.rules.lists.size(change.name) >= MOST_WORDS:
            words = f"this list has {MOST_WORDS:,} words, and every content is searched for each"
            raise Rejected(Prefix.RESTRICTED, words)
    elif change.name is ListName.BLOCKED_ADDRESSES:
        blocked = AddressList()
        blocked.add(change.item)
        if blocked.covers(call.client, call.now):
            raise Rejected(Prefix.RESTRICTED, f"you call from there yourself, {call.client}")


def excluding(name: ListName) -> ListName | None:
    """The list that no item of this one may be on; None if there is none."""
    return _BY_NAME[name].other if name in _BY_NAME else None


def _line(field: str, item: str, entry: ListEntry) -> dict[str, object]:
    line: dict[str, object] = {field: item, "reason": entry.reason}
    return line | whence(entry)


def whence(entry: ListEntry) -> dict[str, object]:
    """Who has put an item on a list, when, and until when, as far as that is known."""
    known = {"by": entry.by, "since": entry.since, "until": entry.until}
    return {field: value for field, value in known.items() if value}


def _configured(rules: Rules, side: _ListPair) -> Iterable[str]:
    """What the configuration has of this sort, as a list would."""
    found: Iterable[object] = getattr(rules.options, side.key) if side.key else ()
    texts = map(str, found)
    return map(_SPELLINGS.get(side.name, str), texts)


_SPELLINGS: Final[dict[ListName, Callable[[str], str]]] = {
    ListName.BLOCKED_ADDRESSES: as_listed,
    ListName.DENIED_WORDS: str.casefold,
}
"""How lists write what the configuration may write otherwise."""


def _refuse_configured(call: Call, side: _ListPair, item: str) -> None:
    if item in _configured(call.rules, side):
        raise Rejected(Prefix.RESTRICTED, f"the configuration says otherwise (policy.{side.key})")
