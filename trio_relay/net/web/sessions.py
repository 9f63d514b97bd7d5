"""Who has logged in to the console: a cookie for each, bound to a key, with an end; and links that are good for once.

A session is no right: what its key may do is asked of the lists each time. All of it is in memory, and ends with the
process.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final

import msgspec

COOKIE: Final = "trio-relay-console"
LINK_SECONDS: Final = 300
"""How long a link lets somebody in."""
_MOST: Final = 1_000
_MOST_OF_ONE: Final = 10
_BYTES: Final = 32
_MOST_NOTICES: Final = 8


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is told on the next page.

    Attributes:
        text: in words.
        is_failure: True if what they wanted was not done.
    """

    text: str
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """Somebody who has logged in.

    Attributes:
        caller: their pubkey, or `OPERATOR`.
        ends: seconds since 1970.
        form_token: what each form of theirs carries, which no other page knows.
        token: what the cookie says, behind the caller.
        notices: what they are to be told, the newest ones.
    """

    caller: str
    ends: float
    form_token: str
    token: str
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=_MOST_NOTICES))

    @property
    def cookie(self) -> str:
        """The value of the cookie."""
        return f"{self.caller}.{self.token}"

    def knows(self, form_token: str) -> bool:
        """True if a form carries what those of this session do."""
        return compare_digest(form_token.encode(), self.form_token.encode())

    def take_notices(self) -> list[Notice]:
        """What is to be told, once."""
        taken = list(self.notices)
        self.notices.clear()
        return taken


class Sessions:
    """All sessions of now.

    Args:
        seconds: how long one lasts.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """Of those that begin from now on; may change at any time."""
        self._sessions: dict[str, ConsoleSession] = {}

    def open(self, caller: str, now: float) -> ConsoleSession:
        """Begin a session; where there are too many of this caller, or of all, the oldest of them ends."""
        self._forget(now)
        token = secrets.token_urlsafe(_BYTES)
        form_token = digest(token.encode(), b"form", "sha256").hex()
        session = ConsoleSession(caller, now + self.seconds, form_token, token)
        own = [key for key, one in self._sessions.items() if one.caller == caller]
        for key in own[: max(0, len(own) - _MOST_OF_ONE + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_hidden(token)] = session
        return session

    def find(self, cookie: str, now: float) -> ConsoleSession | None:
        """The session that a cookie stands for; None if it has ended, or never was this caller's."""
        caller, _, token = cookie.partition(".")
        session = self._sessions.get(_hidden(token))
        return session if session is not None and session.ends > now and session.caller == caller else None

    def end(self, session: ConsoleSession) -> None:
        """End a session."""
        self._sessions.pop(_hidden(session.token), None)

    def _forget(self, now: float) -> None:
        for key in [key for key, session in self._sessions.items() if session.ends <= now]:
            del self._sessions[key]


def _hidden(token: str) -> str:
    """Under what a session is looked up: how long that takes tells nothing of the tokens that there are."""
    return sha256(token.encode()).hexdigest()


class _Pass(msgspec.Struct, frozen=True):
    """What a link says: who comes in by it, until when, and which one it is."""

    caller: str
    until: int
    once: str


_read: Final = msgspec.json.Decoder(_Pass).decode


def link_token(secret: bytes, caller: str, now: int) -> str:
    """What a link carries that lets its bearer in as this caller, once, for five minutes.

    Args:
        secret: that the relay alone knows, and who may read its store.
        caller: a pubkey, or `OPERATOR`.
        now: seconds since 1970.
    """
    said = msgspec.json.encode(_Pass(caller, now + LINK_SECONDS, secrets.token_hex(16)))
    return f"{_text(said)}.{_text(digest(secret, said, 'sha256'))}"


class Links:
    """Looks at tokens of links, and lets each in once.

    Args:
        secret: gives what `link_token` was called with.
        since: seconds since 1970, when this process has begun; what was made before, the last one may have seen used.
    """

    def __init__(self, secret: Callable[[], bytes], since: int = 0) -> None:
        self._secret = secret
        self._since = since
        self._used: dict[str, int] = {}

    def caller_of(self, token: str, now: int) -> str | None:
        """Who comes in by a token, which is used up by that; None if nobody does."""
        try:
            said, signed = map(_bytes, token.split("."))
            found = _read(said)
        except ValueError:  # msgspec's errors are such, too
            return None
        # Where nobody has made a secret yet, anybody could sign by what stands for it.
        if not (secret := self._secret()) or not compare_digest(digest(secret, said, "sha256"), signed):
            return None
        self._used = {once: until for once, until in self._used.items() if until > now}
        made = found.until - LINK_SECONDS
        if not max(self._since, now - LINK_SECONDS + 1) <= made <= now or found.once in self._used:
            return None
        self._used[found.once] = found.until
        return found.caller


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
