"""The audit log: every act of an operator, who did it and when, with what undoes it; a list like any other.

An act is recorded in the amendment that carries it out, so that both are stored or neither is.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from trio_relay.policy.lists import MOST_REPORTS, Change, ListEntry, ListName, Lists

MOST_ACTS: Final = 5_000
"""Acts that are kept; then the oldest makes room of whoever has most of them, so that nobody hides those of others."""
MOST_PARAMS: Final = 1_000
"""Characters of an act's parameters; the rest is cut off."""
MOST_UNDO_BYTES: Final = 8_192
"""Of what undoes an act; one that takes more cannot be undone."""


class Made(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What an act has done to one item of a list.

    Attributes:
        name: the list.
        item: of it.
        before: what was there; None if it was not on the list.
        after: what the act has put there; None if it has taken it off.
    """

    name: ListName
    item: str
    before: ListEntry | None = None
    after: ListEntry | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """One act as it is recorded.

    Attributes:
        number: its name: digits in the order of acts, and a random part.
        at: seconds since 1970.
        who: the operator's pubkey, or `operator` for who has shown to be on the relay's machine.
        method: that was called (NIP-86).
        params: as JSON, cut off after `MOST_PARAMS` characters.
        told: what came of it, for humans.
        steps: what it has done to lists, as JSON; empty if there is nothing to undo, or too much.
        undoes: the number of the act that it has taken back; empty if it is no such act.
        right: the method that who takes it back must be allowed to call.
    """

    number: str
    at: int
    who: str
    method: str
    params: str
    told: str = "done"
    steps: str = ""
    undoes: str = ""
    right: str = ""

    def names(self, text: str) -> bool:
        """True if this text stands in what it was called with, or in what it has changed."""
        return text in self.params or text in self.steps

    @property
    def is_readable(self) -> bool:
        """True if what it has done to lists can be read."""
        try:
            read_steps(self)
        except msgspec.DecodeError:  # and its subclass for what is no step
            return False
        return True


def is_number(text: str) -> bool:
    """True if this can be the number of an act."""
    return bool(_NUMBER.fullmatch(text))


def next_number(lists: Lists, now: int) -> str:
    """Return a number for a new act: behind those of all other acts, whatever clocks have said."""
    newest = max(lists.entries(ListName.ACTS, 0), default="")
    after = int(newest.partition("-")[0]) + 1 if newest else 0
    return f"{max(now * 1_000, after):013}-{secrets.token_hex(4)}"


def steps_of(changes: Iterable[Change], lists: Lists) -> str:
    """Return, as JSON, what these changes do to lists as they stand now; empty if that is too long to be kept."""
    before: dict[tuple[ListName, str], ListEntry | None] = {}
    after: dict[tuple[ListName, str], ListEntry | None] = {}
    for change in changes:
        key = (change.name, change.item)
        before.setdefault(key, lists.get(*key, 0))
        after[key] = change.entry
    made = [Made(*key, entry, after[key]) for key, entry in before.items() if entry != after[key]]
    text = _encode(made) if made else b""
    return text.decode() if len(text) <= MOST_UNDO_BYTES else ""


def recording(act: Act, lists: Lists) -> list[Change]:
    """Return the changes that put an act on its list, and take off those that it has no room for."""
    data: dict[str, str | int | list[str] | None] = {
        "method": act.method, "params": act.params, "told": act.told, "steps": act.steps, "undoes": act.undoes,
        "right": act.right,
    }  # fmt: skip
    entry = ListEntry(since=act.at, data={name: text for name, text in data.items() if text}, by=act.who)
    leaving = [] if lists.get(ListName.ACTS, act.number, 0) else list(_leaving(act.who, lists))
    return [*leaving, Change(ListName.ACTS, act.number, entry)]


def _leaving(who: str, lists: Lists) -> Iterator[Change]:
    """What makes room for one more act of this operator."""
    if (excess := lists.size(ListName.ACTS) + 1 - MOST_ACTS) <= 0:
        return
    held: dict[str, list[str]] = {}
    for number, entry in lists.entries(ListName.ACTS, 0).items():
        held.setdefault(entry.by, []).append(number)
    for numbers in held.values():
        numbers.sort(reverse=True)
    counts = Counter({by: len(numbers) for by, numbers in held.items()})
    counts[who] += 1
    for _ in range(excess):
        most = max(held, key=counts.__getitem__)
        counts[most] -= 1
        yield Change(ListName.ACTS, held[most].pop())
        if not held[most]:
            del held[most]


def acts_in(lists: Lists) -> Iterator[Act]:
    """Yield all acts, the newest first."""
    entries = lists.entries(ListName.ACTS, 0)
    return (as_act(number, entries[number]) for number in sorted(entries, reverse=True))


def act_of(number: str, lists: Lists) -> Act | None:
    """Return the act of this number, if it is still there."""
    entry = lists.get(ListName.ACTS, number, 0)
    return None if entry is None else as_act(number, entry)


def as_act(number: str, entry: ListEntry) -> Act:
    """Return an act as its entry tells it."""
    text = {name: str(value) for name, value in entry.data.items()}
    fields = ("method", "params", "told", "steps", "undoes", "right")
    return Act(number, entry.since, entry.by, *(text.get(field, "") for field in fields))


def read_steps(act: Act) -> Sequence[Made]:
    """Return what an act has done to lists, as far as it is kept."""
    return _decode(act.steps) if act.steps else ()


def taken_back(lists: Lists) -> set[str]:
    """Return the numbers of those acts that were undone, and not done again by undoing that."""
    found: set[str] = set()
    entries = lists.entries(ListName.ACTS, 0)
    for number in sorted(entries, reverse=True):
        undone = entries[number].data.get("undoes")
        if undone and number not in found:
            found.add(str(undone))
    return found


def changed_since(steps: Iterable[Made], lists: Lists, now: int) -> list[Made]:
    """Return what does not stand any more as an act has made it; what has ended by itself does.

    The queue of reports does not count: it is changed by whoever reports.
    """
    return [made for made in steps if made.name is not ListName.REPORTED_EVENTS and not _stands(made, lists, now)]


def undoing(steps: Iterable[Made], lists: Lists, now: int) -> list[Change]:
    """Return the changes that bring back what was there before an act, but for what would have ended by now.

    Events come back to the queue of reports if they have not changed there, nobody has judged them, and there is room.
    """
    back = {(made.name, made.item): _lasting(made.before, now) for made in steps}
    room = MOST_REPORTS - lists.size(ListName.REPORTED_EVENTS)
    for made in steps:
        if made.name is ListName.REPORTED_EVENTS:
            verdicts = [back.get((name, made.item), lists.get(name, made.item, now)) for name in _VERDICTS]
            room -= made.after is None
            if not _stands(made, lists, now) or any(verdicts) or room < 0:
                del back[made.name, made.item]
    return [Change(*key, entry) for key, entry in back.items() if entry != lists.get(*key, now)]


def _stands(made: Made, lists: Lists, now: int) -> bool:
    return lists.get(made.name, made.item, now) == _lasting(made.after, now)


def _lasting(entry: ListEntry | None, now: int) -> ListEntry | None:
    return None if entry is None or (entry.until is not None and entry.until <= now) else entry


_VERDICTS: Final = (ListName.BANNED_EVENTS, ListName.ALLOWED_EVENTS)
_NUMBER: Final = re.compile("[0-8][0-9]{12}-[0-9a-f]{8}")
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[Made]).decode
