"""Who has said what: of each entry, what is new, what is a repeat, and what is missing before it. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from trio_relay.bus.base import Gap, Heard, Note
from trio_relay.bus.entries import Entry

PULSE_SECONDS: Final = 2.0
"""A member says something at least this often, if only that it is there."""
SILENT_PULSES: Final = 5
"""Of our own that are heard in a row, without a word of another member: then it has fallen silent.

They are counted, not seconds: while the bus is away, nobody hears anybody, itself included.
"""
MOST_ALARMS: Final = 30
"""Gaps for one member that stays silent: five minutes, in which it may still be at work, and be killed in the end."""
MOST_MEMBERS: Final = 1_000
"""Remembered at a time, those included that have left."""


@dataclass(slots=True)
class _Member:
    """What is known of another member."""

    expected: int
    """The number of its next note."""
    pulse: int = 0
    """The last of our own pulses that was heard before it spoke."""
    alarms: int = 0
    """Gaps for its silence, since it last spoke."""
    has_left: bool = False


class Ledger:
    """What one listener has heard of all members.

    A member that has left stays known: Redis may carry out a command much later that its sender has given up.

    Args:
        me: the listener's own sender id.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._members: OrderedDict[str, _Member] = OrderedDict()
        self._pulse = 0
        self.pulse_at = -math.inf
        """When a pulse of our own was heard."""
        self.repeated = 0
        """Notes that came once more."""

    @property
    def members(self) -> int:
        """Others that are there."""
        return sum(not member.has_left and not member.alarms for member in self._members.values())

    def hear(self, position: str, entry: Entry, now: float) -> list[Heard]:
        """Return what the listener is to hear of the next entry.

        Args:
            position: of the entry.
            entry: from any member, the listener itself included.
            now: seconds of a clock that only goes forward.
        """
        if entry.sender == self._me:
            return self._hear_myself(now)
        heard: list[Heard] = []
        member = self._members.get(entry.sender)
        if member is None:
            member = self._meet(entry.sender)
            if entry.first:
                heard.append(Gap("unknown"))
        elif entry.first > member.expected:
            heard.append(Gap("dropped"))
        known = max(0, member.expected - entry.first)
        self.repeated += min(known, len(entry.notes))
        heard += [Note(entry.sender, payload, position) for payload in entry.notes[known:]]
        member.expected = max(member.expected, entry.following)
        member.pulse, member.alarms = self._pulse, 0
        member.has_left |= entry.leaves
        self._members.move_to_end(entry.sender)
        return heard

    def _meet(self, sender: str) -> _Member:
        if len(self._members) == MOST_MEMBERS:
            self._members.popitem(last=False)
        member = self._members[sender] = _Member(0)
        return member

    def _hear_myself(self, now: float) -> list[Heard]:
        if now - self.pulse_at < 0.9 * PULSE_SECONDS:
            return []
        self._pulse, self.pulse_at = self._pulse + 1, now
        silent = [member for member in self._members.values() if self._is_silent(member)]
        for member in silent:
            member.pulse, member.alarms = self._pulse, member.alarms + 1
        return [Gap("silent")] if silent else []

    def _is_silent(self, member: _Member) -> bool:
        is_known = not member.has_left and member.alarms < MOST_ALARMS
        return is_known and self._pulse - member.pulse >= SILENT_PULSES
