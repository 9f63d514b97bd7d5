"""Refuse what says nearly the same as what was said several times lately, whoever says it.

    [plugins]
    hooks = "hooks/near_duplicates.py"
    hooks_options = { most_copies = 3, seconds = 3600 }

Each text becomes a simhash of 64 bits: every five characters in a row vote for or against each bit, so that texts that
have nearly all of these in common have nearly all bits in common. Numbers, links and the names of people do not count,
since copies differ in those. A long text is compared by its first thousand characters. Short ones are let pass:
people greet each other in the same words. Who writes each copy anew gets through.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import blake2b
from typing import Annotated
from unicodedata import normalize

import msgspec
from msgspec import Meta

from trio_relay import Event, HookedRelay, Reject, Source

_SHINGLE = 5
_MOST_CHARACTERS = 1_000
_DISTANCE = 12
"""Bits in which copies may differ: one word in twenty changes nine of them at the median, another text thirty."""
_VARIES = re.compile(r"(?:https?|wss?|nostr):\S+|\bn(?:pub|profile|ote|event|addr)1\w+|\d+")
_LANES = [sum(1 << (16 * bit) for bit in range(8) if byte >> bit & 1) for byte in range(256)]
"""For each byte, a number with its bits 16 bits apart, so that eight votes are counted by one addition."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says.

    Attributes:
        most_copies: of one text that are taken; the next is refused.
        seconds: after which a text that nobody has repeated is forgotten.
        most_texts: that are remembered, and compared with each that comes, a quarter of a millisecond for 2,000; the
            one that was repeated longest ago is forgotten.
        least_characters: shorter texts are let pass.
        kinds: of the events that are looked at.
    """

    most_copies: Annotated[int, Meta(ge=1)] = 3
    seconds: Annotated[float, Meta(gt=0)] = 3_600.0
    most_texts: Annotated[int, Meta(ge=1, le=20_000)] = 2_000
    least_characters: int = 40
    kinds: frozenset[int] = frozenset({1, 11, 42, 1111})


class NearDuplicates:
    """Remembers what was said lately.

    Args:
        relay: has the time of day.
        options: what counts, and for how long.
    """

    def __init__(self, relay: HookedRelay, options: Options) -> None:
        self._relay = relay
        self._options = options
        self._texts: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """By simhash, how often, and when last; that which was repeated longest ago comes first."""

    def on_event(self, event: Event, source: Source) -> Reject | None:
        """Refuse one copy too many."""
        if source.way != "client" or event.kind not in self._options.kinds:
            return None
        text = plain(event.content)
        if len(text) < self._options.least_characters:
            return None
        copies = self.note(simhash(text), self._relay.now())
        return Reject("blocked: this was said several times already") if copies > self._options.most_copies else None

    def note(self, fingerprint: int, now: int) -> int:
        """Remember a text, and give how often it, or nearly the same, was said lately, this time included."""
        while self._texts and next(iter(self._texts.values()))[1] < now - self._options.seconds:
            self._texts.popitem(last=False)
        known = next((one for one in self._texts if (one ^ fingerprint).bit_count() <= _DISTANCE), fingerprint)
        copies = self._texts[known][0] + 1 if known in self._texts else 1
        self._texts[known] = copies, now
        self._texts.move_to_end(known)
        if len(self._texts) > self._options.most_texts:
            self._texts.popitem(last=False)
        return copies


def plain(text: str) -> str:
    """Return what of a text is compared."""
    text = _VARIES.sub("#", normalize("NFKC", text[:_MOST_CHARACTERS]).casefold())
    return " ".join(text.split())


def simhash(text: str) -> int:
    """Return the 64 bits of a text: of each, what most of its shingles say."""
    shingles = {text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1))}
    hashes = b"".join(blake2b(one.encode(), digest_size=8).digest() for one in shingles)
    found = 0
    for place in range(8):
        votes = sum(map(_LANES.__getitem__, hashes[place::8]))
        for bit in range(8):
            if 2 * (votes >> (16 * bit) & 0xFFFF) > len(shingles):
                found |= 1 << (8 * place + bit)
    return found


def start(relay: HookedRelay, options: Options) -> NearDuplicates:
    """Make the hooks."""
    return NearDuplicates(relay, options)
