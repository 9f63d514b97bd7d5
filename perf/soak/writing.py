"""What one honest author writes: notes, new versions of what replaces itself, what nobody stores, and deletions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Final

from coincurve import PrivateKey

from trio_relay.nostr.event import Event, address_of, compute_id
from trio_relay.nostr.kinds import DELETION, is_ephemeral

NOTE: Final = 1
_KINDS: Final = {NOTE: 45, 7: 10, 0: 5, 3: 5, 10_002: 5, 30_023: 15, 20_001: 8, DELETION: 7}
"""How often each kind is written."""
_NAMES: Final = 5
"""Addressable events of one author that replace each other."""
_REMEMBERED: Final = 300
"""Acknowledged events out of which deletions choose."""
_MOST_DELETED: Final = 5
_SOON: Final = (5, 60)
_LATE: Final = 10 * 86_400
"""Seconds until an event expires: before the end of a run, or long after it, whatever the clock does meanwhile."""
_TEXT: Final = "the relay stands in wind and weather; 雨 rain, neige and 🌩 lightning do it no harm"
_WORDS: Final = _TEXT.split()


class Writer:
    """An author, whose key and choices come from a seed.

    Args:
        seed: of the run.
        number: among its authors.
        clock: tells the time of day.
    """

    def __init__(self, seed: int, number: int, clock: Callable[[], float]) -> None:
        self._key = PrivateKey(sha256(f"soak {seed} {number}".encode()).digest())
        self.pubkey = self._key.public_key.format()[1:].hex()
        self._dice = Random(f"{seed} {number}")
        self._clock = clock
        self._written = 0
        self._deletable: deque[Event] = deque(maxlen=_REMEMBERED)

    def remember(self, event: Event) -> None:
        """Note that one of its events was acknowledged: it may be deleted some day."""
        if event.kind != DELETION and not is_ephemeral(event.kind):
            self._deletable.append(event)

    def write(self) -> Event:
        """The next event."""
        [kind] = self._dice.choices(list(_KINDS), list(_KINDS.values()))
        if kind == DELETION and not self._deletable:
            kind = NOTE
        return self.sign(kind, self._tags(kind), f"{self._written} {self._text()}")

    def sign(self, kind: int, tags: list[list[str]], content: str) -> Event:
        """An event of now."""
        self._written += 1
        created_at = int(self._clock())
        event_id = compute_id(self.pubkey, created_at, kind, tags, content)
        sig = self._key.sign_schnorr(bytes.fromhex(event_id), bytes(32)).hex()
        return Event(event_id, self.pubkey, created_at, kind, tags, content, sig)

    def _tags(self, kind: int) -> list[list[str]]:
        dice = self._dice
        if kind == DELETION:
            return self._targets()
        if kind == 3:
            return [["p", dice.randbytes(32).hex()] for _ in range(dice.randint(1, 20))]
        tags = [["d", f"name {dice.randrange(_NAMES)}"]] if kind == 30_023 else []
        if kind == NOTE and dice.random() < 0.1:
            seconds = dice.randint(*_SOON) if dice.random() < 0.5 else _LATE
            tags.append(["expiration", str(int(self._clock()) + seconds)])
        return [*tags, ["t", dice.choice(_WORDS)]]

    def _targets(self) -> list[list[str]]:
        """What a deletion names, each thing once."""
        tags = []
        for _ in range(min(self._dice.randint(1, _MOST_DELETED), len(self._deletable))):
            event = self._deletable[at := self._dice.randrange(len(self._deletable))]
            del self._deletable[at]
            address = address_of(event)
            tags.append(["e", event.id] if address is None or self._dice.random() < 0.5 else ["a", address])
        return tags

    def _text(self) -> str:
        return " ".join(self._dice.choices(_WORDS, k=1 + int(self._dice.expovariate(1 / 20))))
