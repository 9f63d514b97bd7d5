"""What a plugin or a hook is asked, and what it may answer: the words that all of them share.

Who writes a policy for this relay needs this module alone: a program in any language that speaks strfry's protocol
(`plugins.strfry`), or functions in Python (`plugins.hooks`), end up here as judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

import msgspec

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter


class Action(Enum):
    """What becomes of what was judged; the values are those of strfry's protocol."""

    ACCEPT = "accept"
    REJECT = "reject"
    SHADOW_REJECT = "shadowReject"
    """The sender is told that it was accepted; nobody else ever hears of it."""


class Verdict(msgspec.Struct, frozen=True):
    """What a judge thinks.

    Attributes:
        action: what becomes of it.
        message: for the sender, as NIP-01 has it: a prefix, a colon, and words for people; one without a known prefix
            gets `blocked:`. Empty where it is accepted.
        filters: only for requests that are accepted: what is asked in their stead, narrowed; None: what was asked.
    """

    action: Action = Action.ACCEPT
    message: str = ""
    filters: tuple[Filter, ...] | None = None


ACCEPTED: Final = Verdict()
NOTHING: Final = (Filter(ids=frozenset()),)
"""In the stead of what was asked, where nothing is to be found."""
_MOST_CHARACTERS: Final = 500
_UNSAID: Final = "not welcome on this relay"
_PREFIXES: Final = frozenset(map(str, Prefix))


def refusal_of(verdict: Verdict) -> Rejected:
    """Return what the sender of what was refused is told: one line; without a known prefix it gets `blocked:`."""
    message = " ".join(verdict.message[:_MOST_CHARACTERS].split())
    prefix, _, reason = message.partition(": ")
    if prefix in _PREFIXES and reason:
        return Rejected(Prefix(prefix), reason)
    return Rejected(Prefix.BLOCKED, message or _UNSAID)


class Source(msgspec.Struct, frozen=True):
    """Where an event or a request comes from.

    Attributes:
        address: of the client, as text; empty where there is none, as for an import.
        keys: pubkeys that the connection has authenticated (NIP-42), hex.
        way: how it came: "client", "import", "sync" (by a sync or a mirror that this relay runs).
    """

    address: str = ""
    keys: frozenset[str] = frozenset()
    way: str = "client"


class EventJudge(Protocol):
    """Judges events whose signature is known to be good and that are not stored yet."""

    async def judge_event(self, event: Event, source: Source) -> Verdict:
        """Say whether this event is welcome."""


class FilterJudge(Protocol):
    """Judges what clients ask, before it is answered: REQ, COUNT and syncs (NIP-77)."""

    async def judge_filters(self, filters: Sequence[Filter], source: Source) -> Verdict:
        """Say whether this may be asked, or what may be asked in its stead."""


class ConnectionJudge(Protocol):
    """Judges who wants to connect, before the handshake is answered."""

    async def judge_connection(self, source: Source) -> Verdict:
        """Say whether this client is welcome."""
