"""Answers to "why": what the rules say of a request or an event, how the store answers, what the gate hides.

An explanation changes nothing and counts nothing: it asks the pure checks, and reads. It takes no turn among clients'
queries, since who may ask for it runs the relay; each look into the store is bounded in time instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import trio
from msgspec.structs import replace

from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event, address_of, claimants, decode, has_expired
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import DELETION, VANISH, is_ephemeral
from trio_relay.nostr.message import ClientMessage, Publish, RefusedMessage, Subscribe, encode
from trio_relay.pipeline.admission import Admission
from trio_relay.pipeline.submission import ANSWERS
from trio_relay.policy.explained import (
    ACCEPTED,
    CheckVerdict,
    RuleVerdict,
    explain_event,
    explain_filters,
    refused,
)
from trio_relay.policy.identity import Identity
from trio_relay.policy.membership import REQUESTS
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Insight, Queryable, Saved, StoreError
from trio_relay.store.insight import Holdings, PlanStep

MOST_SECONDS: Final = 60.0
"""Of one explanation, whatever it holds."""
MOST_FOUND: Final = 100
"""Events that are looked for at a time."""
MOST_BYTES: Final = 4 * 2**20
"""Of the events that are found, but for the first."""
_KEPT_SECONDS: Final = 60.0
"""Until what the store holds is counted again."""
_MOST_VERSIONS: Final = 100
"""Addresses of an author's kind that are looked through for the one without an identifier."""

Wanting = Callable[[Event], Awaitable[int | None]]
"""Tells how many open subscriptions would get an event; None: nobody knows."""


class ReadableStore(Queryable, Insight, Protocol):
    """The part of a store that explanations need; one that is opened for reading beside a relay has it too."""


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


@dataclass(frozen=True, slots=True)
class EventExplained:
    """What would come of an event."""

    verdict: RuleVerdict
    """What its sender would be told."""
    checks: tuple[CheckVerdict, ...]
    """All of them, in the order in which the first that refuses is told; none where the event cannot be read."""
    store: str
    """What the store would make of it: a `Saved` in lower case, but `new` for STORED; `expired`; `ephemeral` or
    `request`, which are not stored; empty where the event cannot be read."""
    by: str | None
    """The id of the event that makes it so: a newer version, a deletion, a request to vanish; None if there is none."""
    subscriptions: int | None
    """How many that are open now would get it, if it were accepted; None if nobody knows."""


class Explaining:
    """Explains to operators.

    Args:
        rules: as they stand.
        store: that is read.
        clock: seconds since 1970.
        seconds: that a client's query may take; an answer that takes longer is explained as far as it went.
        verify: tells whether a signature is right.
        next_sweep: tells when what has expired is removed next, in seconds since 1970; None: nobody here does that.
        next_retention: the same of what the rules of retention let go.
    """

    def __init__(
        self,
        rules: Rules,
        store: ReadableStore,
        clock: Callable[[], float],
        seconds: float,
        verify: Callable[[Event], Awaitable[bool]],
        next_sweep: Callable[[], int | None] = lambda: None,
        next_retention: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.next_sweep = next_sweep
        self.next_retention = next_retention
        self._rules = rules
        self._store = store
        self._clock = clock
        self.seconds = seconds
        """What each look into the store may take."""
        self._verify = verify
        self._admission = Admission(rules, clock)
        self._tallying = trio.Lock()
        self._tallied: tuple[float, Holdings] | None = None

    async def request(self, sources: Sequence[object], key: str | None = None) -> RequestExplained:
        """Explain a REQ of these filters.

        Args:
            sources: decoded JSON of any kind.
            key: the pubkey that has authenticated; None: nobody has.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        identity = self._identity(key)
        message = self._receive("REQ", "why", *sources)
        if not isinstance(message, Subscribe):
            return RequestExplained(_refused(message), ())
        verdict = explain_filters(message.filters, identity, self._rules, int(self._clock()))
        with _bounded():
            explained = [
                await self._explain(filter_, source, identity)
                for filter_, source in zip(message.filters, sources, strict=True)
            ]
        return RequestExplained(verdict, tuple(explained))

    def _identity(self, key: str | None) -> Identity:
        return Identity(private_kinds=self._rules.private_kinds, keys=set() if key is None else {key})

    def _receive(self, *parts: object) -> ClientMessage:
        """Read a message as that of a client which has nothing else open."""
        return self._admission.open_session().receive(encode(parts))

    async def _explain(self, filter_: Filter, source: object, identity: Identity) -> FilterExplained:
        found = await self._store.explain(filter_.read_by(identity.reader), self.seconds)
        hidden: int | None = None
        with trio.move_on_after(self.seconds):
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

    async def event(
        self,
        source: object,
        wanting: Wanting,
        key: str | None = None,
        before: Sequence[CheckVerdict] = (),
    ) -> EventExplained:
        """Explain an event.

        Args:
            source: decoded JSON of any kind.
            wanting: counts who would get it.
            key: the pubkey that has authenticated; None: nobody has.
            before: checks that come before all others, as of its sender's address.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        message = self._receive("EVENT", source)
        if not isinstance(message, Publish):
            return EventExplained(_refused(message), (), "", None, None)
        event, now, size = message.event, int(self._clock()), len(encode(("EVENT", source)))
        with _bounded():
            checks = (
                *before,
                *explain_event(event, self._identity(key), self._rules, now, size),
                await self._signature(event),
            )
            outcome = await self._outcome(event, now)
            by = await self._cause(event, outcome) if isinstance(outcome, Saved) else None
            subscriptions = await wanting(event)
        verdict = next((_verdict_of(check) for check in checks if not check.accepted), _told(outcome))
        return EventExplained(verdict, checks, _name(outcome), by, subscriptions)

    async def _signature(self, event: Event) -> CheckVerdict:
        is_right = await self._verify(event)
        return CheckVerdict("signature", is_right, "" if is_right else str(bad_signature()), "")

    async def _outcome(self, event: Event, now: int) -> Saved | str:
        if has_expired(event, now):
            return "expired"
        if is_ephemeral(event.kind):
            return "request" if event.kind in REQUESTS and self._rules.has_membership else "ephemeral"
        return await self._store.foresee(event)

    async def _cause(self, event: Event, outcome: Saved) -> str | None:
        """Find the event that makes the store say so."""
        owners = frozenset(claimants(event))
        address, since = address_of(event), event.created_at
        if outcome is Saved.DUPLICATE:
            return event.id
        if outcome is Saved.SUPERSEDED and address is not None:
            d = address.split(":", 2)[2]
            named = (("d", frozenset([d])),) if d else ()
            versions = Filter(authors=owners, kinds=frozenset([event.kind]), tags=named, limit=_MOST_VERSIONS)
            return next((one.id for one in await self._all([versions]) if address_of(one) == address), None)
        if outcome is Saved.VANISHED:
            causes = [Filter(authors=owners, kinds=frozenset([VANISH]), since=since, limit=1)]
        elif outcome is Saved.DELETED:
            asking = Filter(authors=owners, kinds=frozenset([DELETION]), limit=1)
            causes = [replace(asking, tags=(("e", frozenset([event.id])),))]
            if address is not None:
                causes.append(replace(asking, tags=(("a", frozenset([address])),), since=since))
        else:
            return None
        return next((one.id for one in await self._all(causes)), None)

    async def _all(self, filters: Sequence[Filter]) -> list[Event]:
        async with aclosing(self._store.query(filters)) as pages:
            return [decode(json) async for page in pages for json in page]

    async def find(self, sources: Sequence[object]) -> list[dict[str, Any]]:
        """Find the newest events that match any of these filters, private ones too, as decoded JSON.

        They are `MOST_FOUND` at most, and so many that they have `MOST_BYTES` at most; of a search, the best.

        Raises:
            Rejected: a filter cannot be read, it took too long, or the store could not tell.
        """
        message = self._receive("REQ", "why", *sources)
        if not isinstance(message, Subscribe):
            prefix, _, reason = _refused(message).reason.partition(": ")
            raise Rejected(Prefix(prefix), reason)
        limited = [filter_.with_limit(default=MOST_FOUND, most=MOST_FOUND) for filter_ in message.filters]
        found: list[bytes] = []
        size = 0
        with _bounded():
            async with aclosing(self._store.query(limited)) as pages:
                async for page in pages:
                    for json in page:
                        size += len(json)
                        if len(found) == MOST_FOUND or (found and size > MOST_BYTES):
                            return list(map(msgspec.json.decode, found))
                        found.append(json)
        return list(map(msgspec.json.decode, found))

    async def holdings(self) -> Holdings:
        """Tell what the store holds; counted once a minute at most.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        with _bounded():
            async with self._tallying:
                now = trio.current_time()
                if self._tallied is None or now - self._tallied[0] > _KEPT_SECONDS:
                    self._tallied = now, await self._store.tally()
                return self._tallied[1]


def _refused(message: ClientMessage) -> RuleVerdict:
    """Why a message is refused that cannot be read, as its sender is told."""
    assert isinstance(message, RefusedMessage)
    reason = str(msgspec.json.decode(message.message)[-1])
    return refused(reason, ("store.search",) if "search is off" in reason else ())


def _verdict_of(check: CheckVerdict) -> RuleVerdict:
    return RuleVerdict(check.accepted, check.reason, check.setting)


def _told(outcome: Saved | str) -> RuleVerdict:
    return RuleVerdict(*ANSWERS[outcome], "") if isinstance(outcome, Saved) else ACCEPTED


def _name(outcome: Saved | str) -> str:
    if isinstance(outcome, Saved):
        return "new" if outcome is Saved.STORED else outcome.name.lower()
    return outcome


@contextmanager
def _bounded() -> Iterator[None]:
    """Bound what is looked up for an answer.

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
