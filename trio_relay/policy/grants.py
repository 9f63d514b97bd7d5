"""What operators gave to keys: roles (NIP-43) and methods that they may call (NIP-86), to each key a list of them."""

from __future__ import annotations

from typing import Final

from trio_relay.policy.lists import Change, Entry, Lists, Name

_FIELDS: Final = {Name.ROLE_HOLDERS: "roles", Name.METHODS: "methods"}


def granted(lists: Lists, name: Name, pubkey: str, now: float) -> list[str]:
    """The roles or methods that a key has, in the order in which it got them."""
    entry = lists.get(name, pubkey, now)
    return [] if entry is None else _held(name, entry)


def all_granted(lists: Lists, name: Name, now: float) -> dict[str, list[str]]:
    """The same of all keys that have any."""
    return {pubkey: _held(name, entry) for pubkey, entry in lists.entries(name, now).items()}


def granting(lists: Lists, name: Name, pubkey: str, one: str, now: int) -> list[Change]:
    """What gives a key one more; nothing if it has it."""
    held = granted(lists, name, pubkey, now)
    return [] if one in held else [_change(lists, name, pubkey, [*held, one], now)]


def revoking(lists: Lists, name: Name, pubkey: str, one: str, now: int) -> list[Change]:
    """What takes one from a key; nothing if it has it not."""
    held = granted(lists, name, pubkey, now)
    return [_change(lists, name, pubkey, [other for other in held if other != one], now)] if one in held else []


def _held(name: Name, entry: Entry) -> list[str]:
    held = entry.data.get(_FIELDS[name])
    return held if isinstance(held, list) else []


def _change(lists: Lists, name: Name, pubkey: str, held: list[str], now: int) -> Change:
    entry = lists.get(name, pubkey, now)
    since = now if entry is None else entry.since
    return Change(name, pubkey, Entry(since=since, data={_FIELDS[name]: held}) if held else None)
