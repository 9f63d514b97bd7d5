"""Rates at the door: who may connect and call once more, who is barred, and what the log says of it.

What a connected client brings is held to its account; here is what comes before there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
import trio

from trio_relay.net.addresses import UNNAMED, AddressEntry, AddressList
from trio_relay.net.endpoints import Endpoints
from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.policy.accounts import Account, Rates
from trio_relay.policy.rate_limits import RateLimited
from trio_relay.policy.rate_options import RateOptions
from trio_relay.policy.rates import Word
from trio_relay.policy.rules import Rules

log = structlog.get_logger("trio_relay.net")

_TELL_SECONDS: Final = 60.0
_MOST_NAMED: Final = 10
"""Addresses in the line of a minute, those first that were refused most."""
_CLOSE: Final = ("Connection", "close")


class RateGate:
    """Asks the rates of a relay about addresses.

    Args:
        rates: of the relay.
        rules: say which addresses and networks are held to none.
        origin: whom an address counts as; None: as nobody.

    Raises:
        ValueError: one that is exempt is neither an address nor a network.
    """

    def __init__(self, rates: Rates, rules: Rules, origin: Callable[[str], str | None]) -> None:
        self._rates = rates
        self._rules: tuple[RateOptions, AbstractSet[str]] | None = None
        self.take_rules(rules)
        self._origin_of = origin
        self._bars = rates.bars.number
        self._told: float | None = None

    def take_rules(self, rules: Rules) -> bool:
        """Go by the rates of these from now on; True if they have changed, so that accounts are to be renewed."""
        before, self._rules = self._rules, (rules.rates, rules.admins)
        self._exempt = AddressList(map(AddressEntry, rules.rates.exempt_networks))
        return before != self._rules

    def renew(self, account: Account, address: str, keys: Collection[str]) -> None:
        """Have an account that is open go by the rates as they are now.

        Args:
            account: of a client.
            address: of that client.
            keys: that it has authenticated.
        """
        is_free = self._exempt.covers(address, 0) or not self._rates.is_on
        account.renew(None if is_free else self._rates, keys)

    def account(self, address: str) -> Account:
        """The account of a client at this address."""
        if self._exempt.covers(address, 0):
            return Account(None, self._origin_of(address))
        return self._rates.account(self._origin_of(address), may_be_barred=address != UNNAMED)

    def barred_seconds(self, address: str, now: float) -> float:
        """For how long nobody at this address is served, because it has broken too many rules; 0.0: it is not barred.

        Those of whom a proxy tells no address are not, since they share one.
        """
        if not self._rates.bars.holds_any(now + self._rates.ahead) or address == UNNAMED:
            return 0.0
        return 0.0 if self._exempt.covers(address, 0) else self._rates.barred_seconds(self._origin_of(address), now)

    async def answer(self, request: Request, front: Endpoints) -> Response | None:
        """What is answered to a request, unless it is one too many of its address; None: it becomes a WebSocket."""
        now, origin = trio.current_time(), self._origin(request.client)
        rates, is_call = self._rates, front.is_call(request)
        if is_call:
            refusal = rates.refusal(Word.CALLS, origin, now) or rates.auth_refusal(origin, now)
            if refusal is not None:
                return _too_many_calls(refusal)
        response = await front.answer(request, self.account)
        if response is None and (refusal := rates.refusal(Word.CONNECTIONS, origin, now)) is not None:
            headers = [("Retry-After", str(refusal.seconds)), _CLOSE]
            return Response(HTTPStatus.TOO_MANY_REQUESTS, f"{refusal}\n".encode(), headers=headers)
        if is_call and response is not None and response.status == HTTPStatus.UNAUTHORIZED:
            rates.refusal(Word.AUTHS, origin, now)
            rates.fault(origin, now)
        return response

    def _origin(self, address: str) -> str | None:
        return None if self._exempt.covers(address, 0) else self._origin_of(address)

    def has_new_bars(self) -> bool:
        """True if somebody was barred since this was asked last, by any process."""
        known, self._bars = self._bars, self._rates.bars.number
        return self._bars != known

    def tell(self, now: float) -> None:
        """Tell what was too much since the last line, if that is a minute ago; to be called about every second."""
        if self._told is None:
            self._told = now
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        limits: Counter[str] = Counter()
        addresses: Counter[str] = Counter()
        for name, origin, number in self._rates.excess.untold():
            limits[name] += number
            addresses[origin or "none"] += number
        if limits:
            named = dict(addresses.most_common(_MOST_NAMED))
            log.info("rate limited", limits=dict(limits), addresses=named, others=len(addresses) - len(named))


def _too_many_calls(refusal: RateLimited) -> Response:
    """The answer to a call that is one too many, which pages of other sites may read, as all answers to calls."""
    return Response(
        HTTPStatus.TOO_MANY_REQUESTS,
        msgspec.json.encode({"error": str(refusal)}),
        "application/nostr+json+rpc",
        [
            ("Retry-After", str(refusal.seconds)),
            ("Cache-Control", "no-store"),
            ("Access-Control-Allow-Origin", "*"),
            _CLOSE,
        ],
    )
