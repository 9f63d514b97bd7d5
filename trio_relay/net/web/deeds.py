"""What operators have done, in words (pure): each method of NIP-86 that changes something has its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trio_relay.net.web.readable import npub, short
from trio_relay.nostr.event import is_hex64

_DEEDS: Final = {
    "banpubkey": "Banned the key {0}",
    "unbanpubkey": "Took the ban off the key {0}",
    "allowpubkey": "Allowed the key {0}",
    "unallowpubkey": "Took the key {0} off the allowed ones",
    "banevent": "Removed and banned the event {0}",
    "unbanevent": "Took the ban off the event {0}",
    "allowevent": "Let the event {0} be",
    "unallowevent": "Took the event {0} off the allowed ones",
    "allowkind": "Allowed kind {0}",
    "unallowkind": "Took kind {0} off the allowed ones",
    "disallowkind": "Refused kind {0} from now on",
    "undisallowkind": "Took kind {0} off the refused ones",
    "denyword": "Refused the word “{0}” from now on",
    "undenyword": "Took the word “{0}” off the refused ones",
    "blockip": "Barred the address {0}",
    "unblockip": "Let the address {0} in again",
    "changerelayname": "Changed the relay's name to “{0}”",
    "changerelaydescription": "Changed the relay's description to “{0}”",
    "changerelayicon": "Changed the relay's icon to {0}",
    "createrole": "Made the role {0}",
    "editrole": "Changed the role {0}",
    "deleterole": "Deleted the role {0}",
    "assignrole": "Gave the role {1} to the key {0}",
    "unassignrole": "Took the role {1} from the key {0}",
    "assignmethod": "Let the key {0} call {1}",
    "unassignmethod": "Let the key {0} call {1} no more",
    "addmember": "Made the key {0} a member",
    "removemember": "Took the key {0} off the members",
    "createinvite": "Made an invite",
    "deleteinvite": "Deleted the invite {0}",
    "disconnectclient": "Hung up on the client {0}",
    "undoact": "Undid an act",
    "backupnow": "Made a backup",
    "reloadconfig": "Had the configuration read again",
    "exportevents": "Downloaded all events",
}
_DEFAULTS: Final = {
    "changerelayname": "Brought back the relay's configured name",
    "changerelaydescription": "Brought back the relay's configured description",
    "changerelayicon": "Brought back the relay's configured icon",
}
"""Where the first parameter is empty."""
_OF_EVENTS: Final = frozenset({"banevent", "unbanevent", "allowevent", "unallowevent"})
_MOST: Final = 60
_MOST_PARAMS: Final = 4


def deed(method: str, params: Sequence[object]) -> str:
    """What a call did, in a sentence without its full stop; of a method without words, its name.

    Args:
        method: its name.
        params: as they were.
    """
    is_default = method in _DEFAULTS and not (params and params[0])
    words = (_DEFAULTS if is_default else _DEEDS).get(method)
    if words is None:
        return f"Called {method}"
    texts = [_item(method, param) for param in params[:_MOST_PARAMS]]
    return words.format(*texts, *[""] * _MOST_PARAMS).strip()


def _item(method: str, param: object) -> str:
    text = str(param)
    if is_hex64(text) and method not in _OF_EVENTS:
        text = npub(text)
    return short(text, 20) if text.startswith("npub1") or is_hex64(text) else short(text, _MOST)
