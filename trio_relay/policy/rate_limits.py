"""The limits of the table `rates` as they hold: by what they count, for whom, and in which words (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.policy.rate_options import RateOptions
from trio_relay.policy.rates import WIDTH, Word, parse_rate

_NAMED_KINDS: Final = 5

_LOTS: Final = 30_000
"""Of a burst; what a connection has taken and does not use is lost when it ends, so a lot is small."""

_WHERE: Final = {"connection": "on this connection", "address": "from this address", "key": "from this key"}
_COUNTED: Final = {
    "messages": (Word.MESSAGES, "message", "messages"),
    "bytes": (Word.BYTES, "byte", "bytes"),
    "events": (Word.EVENTS, "event", "events"),
    "work": (Word.WORK, "s of work", "s of work"),
    "connections": (Word.CONNECTIONS, "connection", "connections"),
    "failed_auths": (Word.AUTHS, "failed AUTH", "failed AUTHs"),
    "calls": (Word.CALLS, "management call", "management calls"),
    "faults": (Word.FAULTS, "broken rule", "broken rules"),
}


_MOST_TOLD: Final = 1_000
"""Addresses that are told apart in the lines of a minute."""


class RateLimited(Rejected):
    """Too much in a time.

    Args:
        text: what is allowed, in words.
        seconds: until it is again.
    """

    def __init__(self, text: str, seconds: float) -> None:
        self.seconds = ceil(seconds)
        super().__init__(Prefix.RATE_LIMITED, f"{text}; again in {self.seconds} s")


class Limit(NamedTuple):
    """One limit as it is configured.

    Attributes:
        name: of the setting, as metrics have it.
        text: what it allows, in words.
        each: seconds in which one comes back.
        tolerance: seconds in which an empty bucket fills.
        lot: how many a connection takes at a time, to use them one after the other; 0: as many as it needs.
    """

    name: str
    text: str
    each: float
    tolerance: float
    lot: int


def _limit(name: str, scope: str, rate: str, one: str, many: str) -> Limit | None:
    parsed = parse_rate(rate)
    if parsed is None:
        return None
    what = one if parsed.number == 1 else many
    text = f"{parsed.number:.15g} {what} {parsed.unit} {_WHERE[scope]}"
    return Limit(name, text, parsed.each, parsed.tolerance, int(parsed.burst / _LOTS))


class ScopeLimits:
    """All limits of one scope: of a connection, an address or a key.

    Args:
        options: as they are configured.
        scope: `connection`, `address` or `key`.

    Raises:
        ValueError: a rate is none; the message has the name of its setting in front.
    """

    def __init__(self, options: RateOptions, scope: str) -> None:
        self.by_column: list[Limit | None] = [None] * WIDTH
        self.by_kind: list[tuple[frozenset[int], Limit]] = []
        for counted, (column, one, many) in _COUNTED.items():
            name = f"{counted}_per_{scope}"
            try:
                self.by_column[column] = _limit(name, scope, getattr(options, name, ""), one, many)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        for rule in options.kinds:
            kinds = sorted(set(rule.kinds))
            named = ", ".join(map(str, kinds[:_NAMED_KINDS])) + (", …" if len(kinds) > _NAMED_KINDS else "")
            suffix = f"of kind{'s' if len(kinds) > 1 else ''} {named}"
            try:
                limit = _limit(
                    f"kinds_per_{scope}", scope, getattr(rule, f"per_{scope}"), f"event {suffix}", f"events {suffix}"
                )
            except ValueError as error:
                raise ValueError(f"kinds: per_{scope}: {error}") from None
            if limit is not None:
                self.by_kind.append((frozenset(kinds), limit))
        if not options.enabled:
            self.by_column, self.by_kind = [None] * WIDTH, []
        self.columns = [(column, limit) for column, limit in enumerate(self.by_column) if limit is not None]


class Excess:
    """Counts what was too much, and keeps it to be told in one line a minute."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        """How much was too much, by the name of the limit."""
        self._told: Counter[tuple[str, str]] = Counter()

    def note(self, name: str, origin: str | None, number: int) -> None:
        """So many were too much for a limit."""
        self.refused[name] += number
        told = (name, origin or "")
        if told in self._told or len(self._told) < _MOST_TOLD:
            self._told[told] += number
        else:
            self._told[name, ""] += number

    def untold(self) -> Iterable[tuple[str, str, int]]:
        """What was too much since this was asked last: limit, address (or none), and how many."""
        told, self._told = self._told, Counter()
        return [(name, origin, number) for (name, origin), number in told.most_common()]


def check_rates(options: RateOptions) -> None:
    """Read all rates.

    Raises:
        ValueError: one is none; the message has the name of its setting in front.
    """
    for scope in _WHERE:
        ScopeLimits(options, scope)


def published(options: RateOptions) -> dict[str, str]:
    """All limits that clients can meet while they keep to the protocol, by name, as they are configured."""
    if not options.enabled:
        return {}
    rates = {name: getattr(options, name) for name in options.__struct_fields__ if "_per_" in name}
    for rule in options.kinds:
        for scope in _WHERE:
            for kind in rule.kinds:
                rates[f"events_of_kind_{kind}_per_{scope}"] = getattr(rule, f"per_{scope}")
    return {name: rate for name, rate in rates.items() if rate and not name.startswith("faults")}
