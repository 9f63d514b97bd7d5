"""The lists that operators change at run time (NIP-86), and their form in the store.

What operators granted to keys, roles (NIP-43) and methods (NIP-86), is a list of names in the entry of each key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

MOST_REPORTS: Final = 1_000
"""Most reported events that wait for a verdict; anyone can report, so weaker ones make room (`report_queue`)."""


class ListName(StrEnum):
    """The names of the lists."""

    BANNED_PUBKEYS = "banned-pubkeys"
    ALLOWED_PUBKEYS = "allowed-pubkeys"
    BANNED_EVENTS = "banned-events"
    ALLOWED_EVENTS = "allowed-events"
    REPORTED_EVENTS = "reported-events"
    BLOCKED_ADDRESSES = "blocked-addresses"
    ALLOWED_KINDS = "allowed-kinds"
    DISALLOWED_KINDS = "disallowed-kinds"
    ROLES = "roles"
    ROLE_HOLDERS = "role-holders"
    METHODS = "methods"
    MEMBERS = "members"
    CLAIMS = "claims"
    DENIED_WORDS = "denied-words"
    IDENTITY = "identity"
    ACTS = "acts"
    REMOVALS = "removals"


class ListEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of a list: why the item is on it, until when, and the list's own data.

    Attributes:
        reason: for humans.
        until: seconds since 1970, when it ends; None if never.
        since: seconds since 1970, when it was added.
        data: what the list keeps of the item: a role's properties, the methods of a key.
        by: the pubkey of the operator who put it there, or `operator` (NIP-86); empty where none has, or nobody knows.
    """

    reason: str = ""
    until: int | None = None
    since: int = 0
    data: dict[str, str | int | list[str] | None] = {}
    by: str = ""


def reporters(entry: ListEntry) -> list[str]:
    """Return the keys that reported an event of `REPORTED_EVENTS`."""
    found = entry.data.get("reporters")
    return found if isinstance(found, list) else []


class Change(msgspec.Struct, frozen=True):
    """A change of a list: put the item on it, or without an entry take it off."""

    name: ListName
    item: str
    entry: ListEntry | None = None


_NAMES: Final = frozenset(name.value for name in ListName)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(ListEntry).decode


class Lists:
    """All lists; items are pubkeys, ids, addresses, kinds as digits, names of roles, words in their folded case."""

    def __init__(self) -> None:
        self._lists: dict[ListName, dict[str, ListEntry]] = {name: {} for name in ListName}

    def entries(self, name: ListName, now: float) -> dict[str, ListEntry]:
        """Return the entries of a list that still count, in the order in which they were added."""
        return {item: entry for item, entry in self._lists[name].items() if entry.until is None or entry.until > now}

    def get(self, name: ListName, item: str, now: float) -> ListEntry | None:
        """Return the entry of an item if it is on the list and still counts."""
        entry = self._lists[name].get(item)
        return entry if entry is not None and (entry.until is None or entry.until > now) else None

    def holds_any(self, name: ListName) -> bool:
        """Return True if anything is on a list, expired or not."""
        return bool(self._lists[name])

    def size(self, name: ListName) -> int:
        """Count the items on a list, expired ones included."""
        return len(self._lists[name])

    def apply(self, changes: Iterable[Change]) -> list[Change]:
        """Make changes in their order; returns the changes that undo them."""
        undoing: list[Change] = []
        for change in changes:
            entries = self._lists[change.name]
            undoing.append(Change(change.name, change.item, entries.pop(change.item, None)))
            if change.entry is not None:
                entries[change.item] = change.entry
        undoing.reverse()
        return undoing

    def expired(self, now: float) -> list[Change]:
        """Return the changes that take expired entries off."""
        return [
            Change(name, item)
            for name, entries in self._lists.items()
            for item, entry in entries.items()
            if entry.until is not None and entry.until <= now
        ]

    def load(self, kept: Mapping[str, bytes]) -> None:
        """Replace all lists by what the store has; other names in it are left alone."""
        self._lists = {name: {} for name in ListName}
        found: list[tuple[ListName, str, ListEntry]] = []
        for key, value in kept.items():
            name, separator, item = key.partition("/")
            if separator and name in _NAMES:
                found.append((ListName(name), item, _decode(value)))
        for which, item, entry in sorted(found, key=lambda row: (row[2].since, row[1])):
            self._lists[which][item] = entry

    def differences(self, kept: Mapping[str, bytes]) -> list[Change]:
        """Return the changes that make these lists equal to what the store has.

        Reports are left out, since they are stored with a delay, and so are removals that were carried out: each relay
        carries its own pending removals out.
        """
        other = Lists()
        other.load(kept)
        return [
            Change(name, item, entries.get(item))
            for name, entries in other._lists.items()
            if name is not ListName.REPORTED_EVENTS
            for item in dict.fromkeys([*self._lists[name], *entries])
            if entries.get(item) != self._lists[name].get(item) and (name is not ListName.REMOVALS or item in entries)
        ]


def as_metadata(changes: Iterable[Change]) -> dict[str, bytes | None]:
    """Return changes in the form that `Metadata.put_metadata` takes."""
    return {
        f"{change.name}/{change.item}": None if change.entry is None else _encode(change.entry) for change in changes
    }


_FIELDS: Final = {ListName.ROLE_HOLDERS: "roles", ListName.METHODS: "methods"}


def granted(lists: Lists, name: ListName, pubkey: str, now: float) -> list[str]:
    """Return the roles or methods that a key has, in the order in which it got them."""
    entry = lists.get(name, pubkey, now)
    return [] if entry is None else held_by(name, entry)


def all_granted(lists: Lists, name: ListName, now: float) -> dict[str, list[str]]:
    """Return the roles or methods of all keys that have any."""
    return {pubkey: held_by(name, entry) for pubkey, entry in lists.entries(name, now).items()}


def granting(lists: Lists, name: ListName, pubkey: str, value: str, now: int) -> list[Change]:
    """Return the change that grants a key one more role or method; none if it has it already."""
    held = granted(lists, name, pubkey, now)
    return [] if value in held else [_change(lists, name, pubkey, [*held, value], now)]


def revoking(lists: Lists, name: ListName, pubkey: str, value: str, now: int) -> list[Change]:
    """Return the change that takes a role or method from a key; none if it does not have it."""
    held = granted(lists, name, pubkey, now)
    return [_change(lists, name, pubkey, [other for other in held if other != value], now)] if value in held else []


def held_by(name: ListName, entry: ListEntry) -> list[str]:
    """Return the roles or methods that an entry of a key has."""
    held = entry.data.get(_FIELDS[name])
    return held if isinstance(held, list) else []


def _change(lists: Lists, name: ListName, pubkey: str, held: list[str], now: int) -> Change:
    entry = lists.get(name, pubkey, now)
    since = now if entry is None else entry.since
    return Change(name, pubkey, ListEntry(since=since, data={_FIELDS[name]: held}) if held else None)
