"""Ask for proof of work (NIP-13) while more comes in than usual, and for more of it the more there is.

    [plugins]
    hooks = "hooks/rising_work.py"
    hooks_options = { comfortable = 50.0, first_bits = 12 }

Up to `comfortable` events a second nothing is asked for. Beyond, events need `first_bits`, and `bits_per_doubling`
more for each time that their number doubles: whoever floods the relay makes their own flood dearer. Where
`pipeline.workers` is more than 1, each worker goes by what comes to itself.
"""

from __future__ import annotations

from math import log2

import msgspec

from trio_relay import Event, HookedRelay, Reject, Source
from trio_relay.nostr.pow import committed_difficulty, difficulty_of


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says.

    Attributes:
        comfortable: events a second for which no work is asked; those that are refused count, too.
        first_bits: of work, as soon as there are more.
        bits_per_doubling: that are added for twice, four times, eight times as many.
        most_bits: never ask for more; 28 bits take a phone minutes.
        exempt_kinds: need none, by default requests to delete and to vanish.
        exempt_keys: hex; whoever signs with one of them needs none.
    """

    comfortable: float = 50.0
    first_bits: int = 12
    bits_per_doubling: int = 2
    most_bits: int = 28
    exempt_kinds: frozenset[int] = frozenset({5, 62})
    exempt_keys: frozenset[str] = frozenset()


class RisingWork:
    """Asks for work.

    Args:
        relay: tells how much comes in.
        options: how much.
    """

    def __init__(self, relay: HookedRelay, options: Options) -> None:
        self._relay = relay
        self._options = options

    @property
    def bits(self) -> int:
        """What is asked for now."""
        options = self._options
        crowd = self._relay.events_per_second() / options.comfortable
        if crowd <= 1:
            return 0
        return min(options.first_bits + int(options.bits_per_doubling * log2(crowd)), options.most_bits)

    def on_event(self, event: Event, source: Source) -> Reject | None:
        """Refuse an event whose author has worked too little for it."""
        options = self._options
        if source.way != "client" or event.kind in options.exempt_kinds or event.pubkey in options.exempt_keys:
            return None
        bits = self.bits
        if bits == 0 or min(committed_difficulty(event) or 0, difficulty_of(event.id)) >= bits:
            return None
        return Reject(f"pow: {bits} bits are needed while so many events come in")


def start(relay: HookedRelay, options: Options) -> RisingWork:
    """Make the hooks."""
    return RisingWork(relay, options)
