"""Answers to "why": what the rules say of a request or an event, how the store answers, what the gate hides.

An explanation changes nothing and counts nothing: it asks the pure checks, and reads. It takes no turn among clients'
queries, since who may ask it is the operator; each look into the store is bounded in time instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio
from msgspec.structs import replace

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message import RefusedMessage, Subscribe, encode
from trio_relay.pipeline.admission import Admission
from trio_relay.policy.filter_checks import FILTER_CHECKS
from trio_relay.policy.identity import Identity
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Insight, Queryable, StoreError
from trio_relay.store.insight import PlanStep

MOST_SECONDS: Final = 60.0
"""Of one explanation, whatever it holds."""


class ReadableStore(Queryable, Insight, Protocol):
    """The part of a store that explanations need; one that is opened for reading beside a relay has it too."""


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What the rules say."""

    accepted: bool
    reason: str
    """Empty where it is accepted; else as a client is told."""
    setting: str
    """The settings that decide it, such as `policy.denied_kinds`, with commas between; empty where none does."""


@dataclass(frozen=True, slots=True)
class FilterExplained:
    """How one filter is answered."""

    filter: object
    """As it was asked."""
    plan: tuple[PlanStep, ...]
    looked_at: int | None
    """See `Explanation`."""
    seconds: float
    found: int | None
    """What the reader gets of what is stored; None if that was not found in the time of a client's query."""
    hidden: int | None
    """How many more match that this reader may not read, whatever the limit; None if that took too long."""


@dataclass(frozen=True, slots=True)
class RequestExplained:
    """What would come of a request."""

    verdict: RuleVerdict
    filters: tuple[FilterExplained, ...]
    """Empty where they cannot be read."""


class Explaining:
    """Explains to operators.

    Args:
        rules: as they stand.
        store: that is read.
        clock: seconds since 1970.
        seconds: that a client's query may take; an answer that takes longer is explained as far as it went.
    """

    def __init__(self, rules: Rules, store: ReadableStore, clock: Callable[[], float], seconds: float) -> None:
        self._rules = rules
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._admission = Admission(rules, clock)

    async def request(self, sources: Sequence[object], key: str | None = None) -> RequestExplained:
        """Explain a REQ of these filters.

        Args:
            sources: decoded JSON of any kind.
            key: the pubkey that has authenticated; None: nobody has.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        identity = self._identity(key)
        message = self._read(sources)
        if not isinstance(message, Subscribe):
            return RequestExplained(message, ())
        verdict = self._judge(message.filters, identity)
        with _bounded():
            explained = [
                await self._explain(filter_, source, identity)
                for filter_, source in zip(message.filters, sources, strict=True)
            ]
        return RequestExplained(verdict, tuple(explained))

    def _identity(self, key: str | None) -> Identity:
        keys = set() if key is None else {key}
        return Identity(private_kinds=self._rules.private_kinds, keys=keys)

    def _read(self, sources: Sequence[object]) -> Subscribe | RuleVerdict:
        """Read filters as those of a client are read that has nothing else open; or why they are refused."""
        message = self._admission.open_session().receive(encode(["REQ", "why", *sources]))
        if isinstance(message, Subscribe):
            return message
        assert isinstance(message, RefusedMessage)
        reason: str = msgspec.json.decode(message.message)[-1]
        if not self._rules.has_search and reason.startswith(Prefix.UNSUPPORTED) and "search" in reason:
            return RuleVerdict(False, reason, "store.search")
        return RuleVerdict(False, reason, named_setting(reason))

    def _judge(self, filters: Sequence[Filter], identity: Identity) -> RuleVerdict:
        now = int(self._clock())
        for check, settings in FILTER_CHECKS:
            if (refusal := check(filters, identity, self._rules, now)) is not None:
                return RuleVerdict(False, str(refusal), named_setting(str(refusal)) or ", ".join(settings))
        return ACCEPTED

    async def _explain(self, filter_: Filter, source: object, identity: Identity) -> FilterExplained:
        found = await self._store.explain(filter_.read_by(identity.reader), self._seconds)
        hidden: int | None = None
        with trio.move_on_after(self._seconds):
            hidden = await self._hidden(filter_, identity)
        return FilterExplained(source, found.plan, found.looked_at, found.seconds, found.found, hidden)

    async def _hidden(self, filter_: Filter, identity: Identity) -> int:
        """Count what matches and this reader may not read; only what is private by its kind can be that."""
        private = self._rules.private_kinds
        of_private = replace(filter_, kinds=private if filter_.kinds is None else private & filter_.kinds)
        if not of_private.kinds:
            return 0
        readable = await self._store.count([of_private.read_by(identity.reader)])
        return max(0, await self._store.count([of_private]) - readable)


ACCEPTED: Final = RuleVerdict(True, "", "")


@contextmanager
def _bounded() -> Iterator[None]:
    """Bound an explanation.

    Raises:
        Rejected: it took too long, or the store failed.
    """
    try:
        with trio.fail_after(MOST_SECONDS):
            yield
    except trio.TooSlowError:
        raise Rejected(Prefix.ERROR, "took too long") from None
    except StoreError as error:
        raise Rejected(Prefix.ERROR, str(error)) from error


_IN_BRACKETS: Final = re.compile(r"\(([a-z_]+(?:\.[a-z_]+)?)\)")


def named_setting(reason: str) -> str:
    """Return the setting that the text of a refusal names in brackets, with its table; empty if it names none."""
    for name in _IN_BRACKETS.findall(reason):
        if name in Limits.__struct_fields__:
            return f"limits.{name}"
        if "." in name:
            return str(name)
    return ""
