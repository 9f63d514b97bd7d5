"""One call: its parameters, read strictly, and what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from trio_relay.net.addresses import as_listed
from trio_relay.net.admin.sight import SettingsShown, Sight, no_settings
from trio_relay.nostr.errors import Rejected, invalid
from trio_relay.nostr.event import MAX_TIME, is_hex64
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import MAX_KIND
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.pipeline.operator_reads import OperatorReads
from trio_relay.pipeline.store_upkeep import StoreUpkeep
from trio_relay.policy.audit import Act
from trio_relay.policy.lists import Change, ListName
from trio_relay.policy.rules import Rules

MOST_REASON: Final = 1_000
"""Characters."""
OPERATOR: Final = "operator"
"""The caller who has no key and has shown to be on the relay's machine: may call everything."""
MOST_ITEM: Final = 200
"""Characters of what a list is about; a store takes a little more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of somebody who may make it.

    Attributes:
        method: its name.
        params: as they came.
        caller: the pubkey that has signed it, or `OPERATOR`.
        client: the address that it came from.
        now: seconds since 1970.
        rules: as they stand.
        sight: of the relay as it runs.
        reads: of what it has stored.
        upkeep: of its store.
        settings: tells those that its program was started with.
    """

    method: str
    params: Sequence[object]
    caller: str
    client: str
    now: int
    rules: Rules
    sight: Sight
    reads: OperatorReads
    upkeep: StoreUpkeep
    settings: SettingsShown = no_settings

    def at_most(self, count: int) -> None:
        """Refuse more parameters than that.

        Raises:
            Rejected: there are more.
        """
        if len(self.params) > count:
            raise invalid(f"{self.method} takes {count or 'no'} parameters{' at most' if count else ''}")

    def pubkey(self, place: int) -> str:
        """The parameter at this place, counted from 0, as a pubkey, in any of its spellings; likewise for what follows.

        Raises:
            Rejected: it is missing, or is something else.
        """
        value = self._at(place)
        if not isinstance(value, str):
            raise self._wrong(place, "a pubkey, a text")
        try:
            return pubkey_of(value)
        except ValueError as error:
            raise self._wrong(place, f"a pubkey: {error}") from None

    def event_id(self, place: int) -> str:
        """An event's id."""
        value = self._at(place)
        if not isinstance(value, str) or not is_hex64(value):
            raise self._wrong(place, "an event's id, 64 lowercase hex characters")
        return value

    def kind(self, place: int) -> str:
        """A kind; a list has it as digits."""
        return str(self.number(place, "a kind", 0, MAX_KIND))

    def word(self, place: int) -> str:
        """A text as contents are searched for it, whatever its case."""
        word = self.text(place, "a text", MOST_ITEM).casefold()
        if not word.strip() or len(word) > MOST_ITEM:
            raise self._wrong(place, f"a text of 1 to {MOST_ITEM} characters that is not blank")
        return word

    def address(self, place: int) -> str:
        """An address or a network, as lists of addresses write it."""
        try:
            return as_listed(self.text(place, "an IP address or network", MOST_ITEM))
        except ValueError as error:
            raise self._wrong(place, f"an IP address or network: {error}") from None

    def text(self, place: int, what: str, most: int, *, is_optional: bool = False) -> str:
        """A text of so many characters at most; missing, null or empty only where it is optional."""
        value = self._at(place)
        if is_optional and (value is None or value == ""):
            return ""
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self._wrong(place, f"{what}, a text of {0 if is_optional else 1} to {most} characters")
        return value

    def number(self, place: int, what: str, least: int, most: int) -> int:
        """An integer within bounds."""
        value = self._at(place)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(place, f"{what}, an integer from {least} to {most}")
        return value

    def optional_number(self, place: int, what: str, least: int, most: int) -> int | None:
        """An integer within bounds, or None where it is missing or null."""
        return None if self._at(place) is None else self.number(place, what, least, most)

    def flag(self, place: int, what: str) -> bool:
        """True or false; missing or null is false."""
        value = self._at(place)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(place, f"{what}, true or false")
        return bool(value)

    def until(self, place: int) -> int | None:
        """When something is to end: seconds since 1970, later than now; None where it is missing or null."""
        return self.optional_number(place, "the time of its end in seconds since 1970", self.now + 1, MAX_TIME)

    def reason(self, place: int) -> str:
        """What an operator has to say of it."""
        return self.text(place, "a reason", MOST_REASON, is_optional=True)

    def texts(self, place: int, names: Sequence[str], most: int) -> dict[str, str]:
        """An object of texts, as a listing takes what it is to show: each name, and "" where that is left out."""
        value = self._at(place)
        given = {} if value is None else value
        if not isinstance(given, dict) or not given.keys() <= set(names):
            raise self._wrong(place, f"an object of {', '.join(names)}")
        found = {name: given.get(name, "") for name in names}
        if not all(isinstance(text, str) and len(text) <= most for text in found.values()):
            raise self._wrong(place, f"an object of texts of {most} characters at most")
        return found

    def off(self, name: ListName, item: str) -> tuple[Change, ...]:
        """What takes an item off a list; nothing if it is not there."""
        return () if self.rules.lists.get(name, item, 0) is None else (Change(name, item),)

    def _at(self, place: int) -> object:
        return self.params[place] if place < len(self.params) else None

    def _wrong(self, place: int, expected: str) -> Rejected:
        return invalid(f"parameter {place + 1} of {self.method} must be {expected}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of a call.

    Attributes:
        result: the answer, as JSON has it.
        changes: of the lists.
        removed: what is to go from the store once they are made.
        later: does what has to be waited for, and gives the answer then, instead of `result`.
        is_act: True for an act that changes no list, as closing a connection does: it is recorded all the same.
        told: what the record of it says has come of it; what was removed is added.
        telling: says the same of an act once `later` has given this; None: `told` does.
        undoes: the act that it takes back.
    """

    result: object = True
    changes: Sequence[Change] = ()
    removed: Sequence[Filter] = ()
    later: Callable[[], Awaitable[object]] | None = None
    is_act: bool = False
    told: str = "done"
    telling: Callable[[object], str] | None = None
    undoes: Act | None = None


Method: TypeAlias = Callable[[Call], Outcome]
"""Decides what comes of a call and does nothing of it yet; raises `Rejected` where nothing may."""
