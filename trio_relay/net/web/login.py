"""Who may come into the console, and how they show who they are: by their key (NIP-07, NIP-98), or by a link."""

from __future__ import annotations

from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import structlog

from trio_relay.net.admin.api import fault_of
from trio_relay.net.admin.params import OPERATOR
from trio_relay.net.admin.replays import Replayed, Replays, TooManyChanges
from trio_relay.net.web.place import Place
from trio_relay.net.web.sessions import Links
from trio_relay.nostr.auth import parse_http_auth
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.pipeline.relay import Relay

log = structlog.get_logger("trio_relay.net")

BODY: Final = b"login"
"""What a login sends: something has to be hashed, and a page may not hash where it is not secure."""

_GRACE_SECONDS: Final = 1
"""What an event may be older than this process; browsers count whole seconds."""


class Login:
    """Lets people in.

    Args:
        relay: whose console it is.
        has_links: True if there is somebody on the machine who may come in without a key, whoever else may.
        secret: what links are signed by; empty: by none.
    """

    def __init__(self, relay: Relay, *, has_links: bool, secret: bytes) -> None:
        self.has_links = has_links
        """See above; this and the secret may change at any time."""
        self.secret = secret
        self._relay = relay
        self._since = relay.now()
        self._links = Links(lambda: self.secret, self._since)
        self._replays = Replays()

    def now(self) -> int:
        """Seconds since 1970."""
        return self._relay.now()

    @property
    def relay_name(self) -> str:
        """What the relay is called."""
        return self._relay.rules.info.name

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may come in."""
        return self.has_links or bool(self._relay.rules.admins)

    def may_enter(self, caller: str) -> bool:
        """True for the operator, admins, and keys to which a method was assigned."""
        return caller == OPERATOR or self._relay.rules.may_manage(caller, self._relay.now())

    def facts(self, place: Place) -> dict[str, object]:
        """What the page says at which people log in."""
        return {
            "root": place.root,
            "name": self.relay_name,
            "url": self._urls(place)[0],
            "payload": sha256(BODY).hexdigest(),
            "has_keys": self._relay.rules.is_managed,
            "token": "",
        }

    def _urls(self, place: Place) -> list[str]:
        """What a login may have been signed for: the address of the page, if it is the relay's, comes first."""
        named = [f"{url.rstrip('/')}/admin/login" for url in self._relay.rules.entrances]
        here = f"{place.origin}{place.root}/admin/login"
        return sorted(named, key=lambda url: urlsplit(url).netloc.lower() != urlsplit(here).netloc)

    async def by_key(self, place: Place) -> str:
        """The key that has signed a login.

        Raises:
            Rejected: none has, or it may not come in.
        """
        relay = self._relay
        if not relay.rules.is_managed:
            raise Rejected(Prefix.UNSUPPORTED, "no key may come in: the relay has no name (relay.url), or no admins")
        event = parse_http_auth(place.request.headers.get("authorization", ""))
        if (fault := await fault_of(event, place.request, self._urls(place), relay)) is not None:
            raise fault
        if event.created_at < self._since - _GRACE_SECONDS:
            raise invalid("this event was made before the relay started, which may have used it: log in anew")
        if not self.may_enter(event.pubkey):
            raise Rejected(Prefix.RESTRICTED, "this key may not manage the relay")
        try:
            self._replays.use(event, relay.now(), is_admin=event.pubkey in relay.rules.admins)
        except (Replayed, TooManyChanges) as error:
            raise invalid(str(error)) from None
        log.info("logged in to the console", by=event.pubkey)
        return event.pubkey

    async def by_link(self, place: Place) -> str:
        """Who comes in by the link whose token a form has brought.

        Raises:
            Rejected: nobody does.
        """
        caller = self._links.caller_of(dict(place.form).get("token", ""), self._relay.now())
        if caller is None or not self.may_enter(caller):
            raise Rejected(Prefix.RESTRICTED, "this link is used up, too old, or not of this relay; make another one")
        log.info("logged in to the console", by=caller)
        return caller


def is_of_ours(place: Place) -> bool:
    """False for a form that a page of another origin has sent (RFC 6454, section 7.3).

    Who says nothing of an origin is no browser of these years, and needs what a form of ours carries all the same.
    """
    headers = place.request.headers
    origin = headers.get("origin")
    is_ours = origin is None or origin.lower() in (place.origin, place.origin.replace("http:", "https:", 1))
    return is_ours and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
