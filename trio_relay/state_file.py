"""What operators have decided, as one readable JSON file that goes with an export of events.

It holds every list of `ListName` but the removals, which only say what is still to be done, and by request the key that
the relay signs with. Not in it are what a configuration says, what the store derives from its events (tombstones, the
words of searches), and what lasts minutes: used signatures (NIP-98), challenges, the web of trust.
The audit log is the past, which no file changes: what one has of it is added, and nothing is taken away.

A file is taken whole or not at all: what this version does not know or cannot use is refused by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from trio_relay.moderation.removals import pending_after
from trio_relay.moderation.state import CONSOLE_SECRET, SECRET_NAME
from trio_relay.net.addresses import as_listed
from trio_relay.net.admin.params import MOST_ITEM, OPERATOR
from trio_relay.nostr.event import MAX_TIME, is_hex64
from trio_relay.nostr.kinds import MAX_KIND
from trio_relay.nostr.signer import Signer
from trio_relay.policy.audit import as_act, is_number
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists
from trio_relay.private_files import written_whole

FORMAT: Final = "trio-relay state"
VERSION: Final = 1
CARRIED: Final = tuple(name for name in ListName if name is not ListName.REMOVALS)
"""The lists that a file holds; a restored ban has its removals made anew."""


class StateRefused(Exception):
    """A state that is not written, read or restored; the message says why, for the operator."""


class StrictEntry(ListEntry, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An entry as a file has it: with nothing that this version does not know."""


class StateFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file as JSON.

    Attributes:
        format: `FORMAT`.
        version: `VERSION`.
        lists: by name, each item with its entry.
        secret_key: of the relay itself, 64 hex characters; empty if it has none; left out if nobody has asked for it.
    """

    format: str
    version: int
    lists: dict[str, dict[str, StrictEntry]]
    secret_key: str | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a file or a store holds.

    Attributes:
        entries: by list and item.
        secret: the relay's own key, 32 bytes; empty if it has none; None if that is not told.
    """

    entries: Mapping[tuple[ListName, str], ListEntry]
    secret: bytes | None = None

    def __str__(self) -> str:
        """How much there is, for the operator."""
        sizes = Counter(name for name, _ in self.entries)
        told = ", ".join(f"{size} in {name}" for name, size in sizes.items()) or "no entries"
        if self.secret == b"":
            return f"{told}; the relay has no key"
        return f"{told}; {'with' if self.secret else 'without'} the relay's key"


def kept_in(metadata: Mapping[str, bytes]) -> Decisions:
    """Return what a store keeps.

    Raises:
        StateRefused: it keeps something that this version does not know, so that a file would not be whole.
    """
    known = {SECRET_NAME, CONSOLE_SECRET, *ListName}  # each store has a console of its own
    if unknown := sorted({name.partition("/")[0] for name in metadata} - known):
        raise StateRefused(f"the store keeps {', '.join(unknown)}, which this version does not know")
    kept = Lists()
    kept.load(metadata)
    entries: dict[tuple[ListName, str], ListEntry] = {
        (name, item): entry for name in CARRIED for item, entry in kept.entries(name, 0).items()
    }
    return Decisions(entries, metadata.get(SECRET_NAME, b""))


def to_json(state: Decisions) -> bytes:
    """Return the file: the same for the same state, one entry a line or two."""
    lists: dict[str, dict[str, StrictEntry]] = {name.value: {} for name in CARRIED}
    for (name, item), entry in state.entries.items():
        lists[name][item] = StrictEntry(entry.reason, entry.until, entry.since, entry.data, entry.by)
    secret = None if state.secret is None else state.secret.hex()
    return msgspec.json.format(msgspec.json.encode(StateFile(FORMAT, VERSION, lists, secret)), indent=2) + b"\n"


def from_json(data: bytes) -> Decisions:
    """Read a file.

    Raises:
        StateRefused: it is no such file, of another version, or holds something unknown or impossible.
    """
    try:
        found = msgspec.json.decode(data)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise StateRefused(f'this is no state of a relay, which has "format": "{FORMAT}"')
        if found.get("version") != VERSION:
            raise StateRefused(f"this is version {found.get('version')!r}; this program reads version {VERSION}")
        file = msgspec.convert(found, StateFile)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise StateRefused(f"it cannot be read: {error}") from error
    entries = {}
    for name, items in file.lists.items():
        if name not in CARRIED:
            raise StateRefused(f"it holds a list {name!r}, which this version does not know")
        for item, entry in items.items():
            _check(ListName(name), item, entry)
            entries[ListName(name), item] = ListEntry(entry.reason, entry.until, entry.since, entry.data, entry.by)
    return Decisions(entries, None if file.secret_key is None else _secret(file.secret_key))


def changes_between(store: Decisions, file: Decisions, now: int) -> list[Change]:
    """Return what makes the lists of a store those of a file, and has what the file bans removed."""
    off = [Change(*key) for key in store.entries if key not in file.entries and not _is_past(key)]
    put = [
        Change(*key, entry)
        for key, entry in file.entries.items()
        if (key not in store.entries if _is_past(key) else store.entries.get(key) != entry)
    ]
    return [*off, *put, *pending_after(put, now)]


def lost(store: Decisions, file: Decisions) -> str:
    """Return, in words, what a store has that a file would take from it; empty if nothing."""
    entries = Counter(
        key[0] for key, entry in store.entries.items() if file.entries.get(key) != entry and not _is_past(key)
    )
    words = [f"{number} in {name}" for name, number in entries.items()]
    if file.secret and store.secret and store.secret != file.secret:
        words.append("its own key")
    return ", ".join(words)


def _is_past(key: tuple[ListName, str]) -> bool:
    return key[0] is ListName.ACTS


def write_file(path: Path, data: bytes) -> None:
    """Write a file; raises as `written_whole` does."""
    with written_whole(path) as file:
        file.write(data)


def _check(name: ListName, item: str, entry: ListEntry) -> None:
    is_item, what = _ITEMS[name]
    if not is_item(item):
        raise StateRefused(f"{name}: {item[:MOST_ITEM]!r} is not {what}")
    for field, seconds in (("since", entry.since), ("until", entry.until)):
        if seconds is not None and not 0 <= seconds <= MAX_TIME:
            raise StateRefused(f"{name}: {item!r}: {field} must be between 0 and {MAX_TIME}")
    if entry.by and entry.by != OPERATOR and not is_hex64(entry.by):
        raise StateRefused(f"{name}: {item!r}: by must be {_PUBKEY[1]}, or {OPERATOR!r}")
    fields = _FIELDS.get(name, {})
    for field, value in entry.data.items():
        if field not in fields:
            raise StateRefused(f"{name}: {item!r}: data has {field!r}, which this version does not know")
        if value is not None and not isinstance(value, fields[field]):
            raise StateRefused(f"{name}: {item!r}: {field} is of the wrong type")
    if name is ListName.ACTS and not as_act(item, entry).is_readable:
        raise StateRefused(f"{name}: {item!r}: steps cannot be read")


def _secret(text: str) -> bytes:
    if not text:
        return b""
    try:
        secret = bytes.fromhex(text)
        Signer(secret)
    except ValueError as error:
        raise StateRefused("secret_key is not the secret key of anybody, 64 hex characters") from error
    return secret


def _is_kind(item: str) -> bool:
    return item.isascii() and item.isdigit() and len(item) <= 5 and int(item) <= MAX_KIND and str(int(item)) == item


def _is_address(item: str) -> bool:
    try:
        return as_listed(item) == item
    except ValueError:
        return False


def _is_text(item: str) -> bool:
    return 0 < len(item) <= MOST_ITEM


def _is_word(item: str) -> bool:
    return _is_text(item) and item == item.casefold() and bool(item.strip())


_Item = tuple[Callable[[str], bool], str]
_PUBKEY: Final[_Item] = (is_hex64, "a pubkey, 64 lowercase hex characters")
_EVENT: Final[_Item] = (is_hex64, "an event's id, 64 lowercase hex characters")
_KIND: Final[_Item] = (_is_kind, f"a kind, 0 to {MAX_KIND}")
_TEXT: Final[_Item] = (_is_text, f"a text of 1 to {MOST_ITEM} characters")
_IDENTITY: Final[_Item] = (frozenset({"name", "description", "icon"}).__contains__, "name, description or icon")
_ADDRESS: Final[_Item] = (_is_address, "an IP address or network as the relay writes it")
_WORD: Final[_Item] = (_is_word, f"a text of 1 to {MOST_ITEM} characters, in lower case")
_ITEMS: Final[Mapping[ListName, _Item]] = {
    ListName.BANNED_PUBKEYS: _PUBKEY,
    ListName.ALLOWED_PUBKEYS: _PUBKEY,
    ListName.BANNED_EVENTS: _EVENT,
    ListName.ALLOWED_EVENTS: _EVENT,
    ListName.REPORTED_EVENTS: _EVENT,
    ListName.BLOCKED_ADDRESSES: _ADDRESS,
    ListName.ALLOWED_KINDS: _KIND,
    ListName.DISALLOWED_KINDS: _KIND,
    ListName.ROLES: _TEXT,
    ListName.ROLE_HOLDERS: _PUBKEY,
    ListName.METHODS: _PUBKEY,
    ListName.MEMBERS: _PUBKEY,
    ListName.CLAIMS: _TEXT,
    ListName.DENIED_WORDS: _WORD,
    ListName.IDENTITY: _IDENTITY,
    ListName.ACTS: (is_number, "the number of an act"),
}
_FIELDS: Final[Mapping[ListName, Mapping[str, type]]] = {
    ListName.REPORTED_EVENTS: {"reporters": list},
    ListName.ROLES: {"label": str, "description": str, "color": int, "order": int},
    ListName.ROLE_HOLDERS: {"roles": list},
    ListName.METHODS: {"methods": list},
    ListName.CLAIMS: {"by": str},
    ListName.ACTS: dict.fromkeys(("method", "params", "told", "steps", "undoes", "right"), str),
}
"""What the entries of a list may have as data, and of which type."""
