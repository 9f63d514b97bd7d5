"""The account that each connection draws on, for what it brings and for the work that its requests make (pure, no I/O).

An account is that of a connection, of the address that it counts under, and of the keys that it has authenticated: what
is charged to it is charged to all of them, so that neither many connections nor many keys gain anything. What was
refused is not charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import WRAPS
from trio_relay.policy.bars import BarredAddresses, Tolerance
from trio_relay.policy.rate_limits import Excess, Limit, RateLimited, ScopeLimits
from trio_relay.policy.rate_options import RateOptions
from trio_relay.policy.rates import WIDTH, BucketTable, TokenBuckets, Word, most, wait

SECONDS_A_BYTE: Final = 5e-9
"""What a byte that is sent counts as, beside the time in which it was looked up: a live delivery of 600 bytes 3 µs, a
hundred megabytes half a second. Looking up, framing and sending long answers takes 2 ns a byte."""
_SETTLED_SECONDS: Final = 0.001
"""Work that is noted before the buckets are told: a live delivery takes microseconds."""
_ANSWERED: Final = 100
"""Refusals that a connection is answered before it is not read for a while; one more comes with each second."""
_PAUSES: Final = 4
"""Times that it is not read before it is disconnected; one more comes with each `_PAUSE_SECONDS`."""
_PAUSE_SECONDS: Final = 300.0
_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0

Drawn: TypeAlias = tuple[tuple[TokenBuckets, Limit], ...]
"""TokenBuckets that are drawn on together, each with its limit."""


class Account:
    """What one connection draws on.

    Args:
        rates: of the relay; None: it is held to no limit.
        origin: whom the connection counts under; None: no address.
        may_be_barred: False: its faults count for nothing.
    """

    __slots__ = (
        "_drawn",
        "_kinds",
        "_leased",
        "_may_be_barred",
        "_owed",
        "_pauses",
        "_rates",
        "_refusals",
        "_strain",
        "origin",
        "refused",
        "too_much",
        "worked",
    )

    def __init__(self, rates: Rates | None = None, origin: str | None = None, *, may_be_barred: bool = True) -> None:
        self.refused: RateLimited | None = None
        """Why the last that was too much was refused."""
        self.too_much: RateLimited | None = None
        """The same of messages."""
        self.origin = origin
        self._may_be_barred = may_be_barred
        self._owed = 0.0
        self.worked = 0.0
        """Seconds of work of this connection, whether it is held to any limit or not."""
        self._refusals = self._pauses = 0.0
        self._strain = 0.0
        """Seconds until the limit that was exceeded last has recovered; 0.0: all refusals were answered well enough."""
        self.renew(rates, ())

    def renew(self, rates: Rates | None, keys: Iterable[str]) -> None:
        """Draw on other limits from now on, those of the connection full again.

        Args:
            rates: of the relay, which have changed; None: it is held to no limit.
            keys: that the connection has authenticated.
        """
        self._rates = rates
        self._drawn: list[Drawn] = [()] * WIDTH
        self._leased = [0] * WIDTH
        """What was taken ahead and is still to be used, by column."""
        self._kinds: list[tuple[frozenset[int], Drawn]] = []
        if rates is not None:
            self._draw_on(rates.of_connection, TokenBuckets(), TokenBuckets)
            if (origin := self.origin) is not None:
                table = rates.table
                kinds = iter(range(len(rates.of_address.by_kind)))
                self._draw_on(
                    rates.of_address,
                    TokenBuckets(table, origin),
                    lambda: TokenBuckets(table, f"{origin} {next(kinds)}"),
                )
        for key in keys:
            self.add_key(key)

    def _draw_on(self, limits: ScopeLimits, buckets: TokenBuckets, more: Callable[[], TokenBuckets]) -> None:
        for column, limit in limits.columns:
            self._drawn[column] += ((buckets, limit),)
        for kinds, limit in limits.by_kind:
            self._kinds.append((kinds, ((more(), limit),)))

    @property
    def is_exempt(self) -> bool:
        """True if no limit holds for it."""
        return self._rates is None

    def add_key(self, pubkey: str) -> None:
        """The connection has authenticated this key; an admin's frees it of all limits."""
        rates = self._rates
        if rates is None:
            return
        if rates.is_admin(pubkey):
            self._rates = None
            self._drawn = [()] * WIDTH
            self._kinds = []
            return
        buckets: TokenBuckets | None = None
        for column in (Word.MESSAGES, Word.BYTES, Word.WORK):
            if (limit := rates.of_key.by_column[column]) is not None:
                buckets = buckets or TokenBuckets(rates.table, pubkey)
                self._drawn[column] += ((buckets, limit),)
                self._leased[column] = 0  # the key has not been asked about what was taken ahead

    def charge(self, seconds: float, now: float) -> None:
        """A request of this client's has taken so much work; whether it may go on, its next `refusal` says.

        Args:
            seconds: of database and loop, with something for the bytes that were sent.
            now: Trio's time.
        """
        self._owed += seconds
        self.worked += seconds
        if self._owed > _SETTLED_SECONDS:
            self._settle(now)

    def refusal(self, verb: str, now: float) -> RateLimited | None:
        """Why a request that makes work is not taken now; None if it is.

        Args:
            verb: of the message: REQ, COUNT, NEG-OPEN, NEG-MSG.
            now: Trio's time.
        """
        if self._owed:
            self._settle(now)
        if (rates := self._rates) is None:
            return None
        at = now + rates.ahead
        for buckets, limit in self._drawn[Word.WORK]:
            seconds = wait(buckets.full_at(Word.WORK), at, 0.0, limit.tolerance)
            if seconds:
                return self._refuse(rates, limit, seconds, buckets.full_at(Word.WORK) - at, 1, now)
        return None

    def _settle(self, now: float) -> None:
        """Tell the buckets what has been noted."""
        if self._rates is not None:
            now += self._rates.ahead
            for buckets, limit in self._drawn[Word.WORK]:
                buckets.take(Word.WORK, self._owed * limit.each, now)
        self._owed = 0.0

    def take(self, column: int, wanted: int, now: float, *, all_or_none: bool = False) -> int:
        """Take so many, or as many as no limit forbids; gives how many. `refused` says why it was not more."""
        left = self._leased[column] - wanted
        if left >= 0:
            self._leased[column] = left
            return wanted
        drawn = self._drawn[column]
        return self._take_more(column, drawn, wanted, now, all_or_none) if drawn else wanted

    def _take_more(self, column: int, drawn: Drawn, wanted: int, now: float, all_or_none: bool) -> int:
        """Take what is missing, and a lot to go on with where there is plenty: most reads cost one look at a number."""
        leased = self._leased[column]
        missing, lot = wanted - leased, min([limit.lot for _, limit in drawn])
        if lot and self._rates is not None:
            at, all_of_it = now + self._rates.ahead, missing + lot
            for buckets, limit in drawn:
                if wait(buckets.full_at(column), at, all_of_it * limit.each, limit.tolerance):
                    break
            else:
                for buckets, limit in drawn:
                    buckets.take(column, all_of_it * limit.each, at)
                self._leased[column] = lot
                return wanted
        granted = self._take(column, drawn, missing, now, all_or_none)
        if all_or_none and granted < missing:
            return 0
        self._leased[column] = 0
        return leased + granted

    def _take(self, column: int, drawn: Drawn, wanted: int, now: float, all_or_none: bool = False) -> int:
        rates = self._rates
        assert rates is not None, "who is exempt draws on nothing"
        at = now + rates.ahead
        granted, short = wanted, None
        for buckets, limit in drawn:
            fits = most(buckets.full_at(column), at, limit.each, limit.tolerance, granted)
            if fits < granted:
                granted, short = 0 if all_or_none else fits, (buckets, limit)
        if granted:
            for buckets, limit in drawn:
                buckets.take(column, granted * limit.each, at)
        if short is not None:
            buckets, limit = short
            full_at = buckets.full_at(column)
            seconds = wait(full_at, at, limit.each * (wanted if all_or_none else 1), limit.tolerance)
            self._refuse(rates, limit, seconds, full_at - at, 1 if all_or_none else wanted - granted, now)
        return granted

    def take_read(self, size: int, messages: int, now: float) -> int:
        """Take what one read brought; gives how many of its messages are not too many, `too_much` why.

        Args:
            size: bytes, as they came.
            messages: whole ones.
            now: Trio's time.
        """
        if size and not self.take(Word.BYTES, size, now, all_or_none=True):
            allowed = 0
        else:
            allowed = self.take(Word.MESSAGES, messages, now)
        if allowed < messages:
            self.too_much = self.refused
        return allowed

    def take_events(self, kinds: Sequence[int], now: float) -> list[RateLimited | None] | None:
        """Take events of these kinds, in order; None if none of them is too much, else why each is, or None."""
        granted = self.take(Word.EVENTS, len(kinds), now)
        if granted == len(kinds) and not self._kinds:
            return None
        verdicts = [None if place < granted else self.refused for place in range(len(kinds))]
        for place, kind in enumerate(kinds[:granted] if self._kinds else ()):
            for limited, drawn in self._kinds:
                if kind in limited and not self._take(Word.EVENTS, drawn, 1, now):
                    verdicts[place] = self.refused
                    break
        return verdicts if any(verdicts) else None

    def take_failed_auth(self, now: float) -> None:
        """An AUTH proved nothing."""
        self.take(Word.AUTHS, 1, now)

    def auth_refusal(self, now: float) -> RateLimited | None:
        """Why an AUTH is not looked at now; None if it is."""
        for buckets, limit in self._drawn[Word.AUTHS]:
            rates = self._rates
            assert rates is not None, "who is exempt draws on nothing"
            at, full_at = now + rates.ahead, buckets.full_at(Word.AUTHS)
            if seconds := wait(full_at, at, limit.each, limit.tolerance):
                return self._refuse(rates, limit, seconds, full_at - at, 1, now)
        return None

    def fault(self, now: float) -> bool:
        """The client broke a rule; True if its address is barred by that."""
        return self._may_be_barred and self._rates is not None and self._rates.fault(self.origin, now)

    def _refuse(
        self, rates: Rates, limit: Limit, seconds: float, recovered: float, number: int, now: float
    ) -> RateLimited:
        """Note that so many were too much."""
        rates.excess.note(limit.name, self.origin, number)
        self._refusals = max(self._refusals, now) + number
        if self._refusals - now > _ANSWERED:
            self._strain = max(recovered, _SHORTEST_PAUSE)
        self.refused = refused = RateLimited(limit.text, seconds)
        return refused

    @property
    def is_strained(self) -> bool:
        """True if the client goes on whatever it is answered: it has to `pause`."""
        return self._strain > 0.0

    def pause(self, now: float) -> float | None:
        """For how long the client is not to be read, in seconds; None: it was not often enough, and has to go."""
        strain, self._strain, self._refusals = self._strain, 0.0, 0.0
        self._pauses = max(self._pauses, now) + _PAUSE_SECONDS
        if self._pauses - now > _PAUSES * _PAUSE_SECONDS:
            return None
        return min(strain, _LONGEST_PAUSE)


class Rates:
    """The limits of a relay, and the buckets of all addresses and keys.

    Args:
        options: as they are configured.
        is_admin: tells whose keys are held to no limit.
        table: of the buckets, which other processes may share; None: one of its own.

    Raises:
        ValueError: a rate is none; the message has the name of its setting in front.
    """

    def __init__(self, options: RateOptions, is_admin: Callable[[str], bool], table: BucketTable | None = None) -> None:
        self.is_admin = is_admin
        self.table = table or BucketTable()
        self.ahead = 0.0
        """What the clock that all processes share is ahead of this one's, in seconds."""
        self.excess = Excess()
        """What was too much."""
        self.take_options(options)

    def take_options(self, options: RateOptions) -> None:
        """Have other limits hold from now on; accounts that are open are to be `renew`ed.

        Raises:
            ValueError: as above; then all stays as it is.
        """
        scopes = [ScopeLimits(options, scope) for scope in ("connection", "address", "key")]
        self.is_on = options.enabled
        self.of_connection, self.of_address, self.of_key = scopes
        faults = self.of_address.by_column[Word.FAULTS]
        borne = None if faults is None else Tolerance(faults.each, faults.tolerance)
        self.bars = BarredAddresses(self.table, borne, options.bar_seconds)
        self.limits_authors = bool(self.of_key.by_column[Word.EVENTS] or self.of_key.by_kind)
        """True if `author_refusal` ever gives any."""

    def account(self, origin: str | None, *, may_be_barred: bool = True) -> Account:
        """The account of a new connection.

        Args:
            origin: whom it counts under; None: no address.
            may_be_barred: False for an address that many may share.
        """
        return Account(self if self.is_on else None, origin, may_be_barred=may_be_barred)

    def refusal(self, column: int, origin: str | None, now: float, number: int = 1) -> RateLimited | None:
        """Why an address may not have one more of this; None if it may: then it has taken it, or so many."""
        limit = self.of_address.by_column[column]
        return (
            None
            if limit is None or origin is None
            else self._take(TokenBuckets(self.table, origin), column, limit, origin, now, number)
        )

    def auth_refusal(self, origin: str | None, now: float) -> RateLimited | None:
        """Why an address may not try to prove a key now; None if it may."""
        limit = self.of_address.by_column[Word.AUTHS]
        if limit is None or origin is None:
            return None
        full_at = TokenBuckets(self.table, origin).full_at(Word.AUTHS)
        if not (seconds := wait(full_at, now + self.ahead, limit.each, limit.tolerance)):
            return None
        self.excess.note(limit.name, origin, 1)
        return RateLimited(limit.text, seconds)

    def refusal_of_key(self, column: int, pubkey: str, now: float) -> RateLimited | None:
        """Why a key may not have one more of this; None if it may: then it has taken it."""
        limit = self.of_key.by_column[column]
        if limit is None or self.is_admin(pubkey):
            return None
        return self._take(TokenBuckets(self.table, pubkey), column, limit, None, now, 1)

    def author_refusal(self, event: Event, now: float) -> RateLimited | None:
        """Why an event with a good signature is too much of its author's; None if it is not: then it is charged."""
        if event.kind in WRAPS or self.is_admin(event.pubkey):
            return None
        refusal = self.refusal_of_key(Word.EVENTS, event.pubkey, now)
        for place, (kinds, limit) in enumerate(self.of_key.by_kind if refusal is None else ()):
            if event.kind in kinds:
                buckets = TokenBuckets(self.table, f"{event.pubkey} {place}")
                if (refusal := self._take(buckets, Word.EVENTS, limit, None, now, 1)) is not None:
                    return refusal
        return refusal

    def _take(
        self, buckets: TokenBuckets, column: int, limit: Limit, origin: str | None, now: float, number: int
    ) -> RateLimited | None:
        at = now + self.ahead
        if seconds := wait(buckets.full_at(column), at, number * limit.each, limit.tolerance):
            self.excess.note(limit.name, origin, 1)
            return RateLimited(limit.text, seconds)
        buckets.take(column, number * limit.each, at)
        return None

    def fault(self, origin: str | None, now: float) -> bool:
        """An address broke a rule; True if it is barred by that. Who has no address never is."""
        return origin is not None and self.bars.fault(origin, now + self.ahead)

    def barred_seconds(self, origin: str | None, now: float) -> float:
        """For how long an address is barred yet; 0.0: it is not."""
        return 0.0 if origin is None else self.bars.seconds(origin, now + self.ahead)

    def barred(self, now: float) -> int:
        """How many addresses are barred."""
        return self.table.barred(now + self.ahead)


NO_ACCOUNT: Final = Account()
"""Of who is held to no limit."""
