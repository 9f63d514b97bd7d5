"""How this relay proves to another one who it is (NIP-42), once for each challenge, by a key out of a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import CLIENT_AUTH
from trio_relay.nostr.nip19 import secret_of
from trio_relay.nostr.signer import Signer
from trio_relay.peers.messages import Receipt, says

Prove: TypeAlias = Callable[[Event], Awaitable[Receipt]]
"""Sends an AUTH event, and waits for its OK."""

_CHALLENGE_SECONDS: Final = 5.0
"""How long a challenge is waited for: it comes before the first refusal, or right behind it."""
_MOST_KEY_BYTES: Final = 1_024


def read_signer(path: Path) -> Signer:
    """Read a secret key, hex or `nsec1…`, alone in a file.

    Raises:
        ValueError: there is none; the message says what is wrong, and never what is in the file.
    """
    text = key_text(path)
    try:
        return Signer(secret_of(text))
    except ValueError:
        raise ValueError(f"{path} does not hold a secret key, hex or nsec1…, and nothing else") from None


def key_text(path: Path) -> str:
    """Read the little that a key file holds, whatever it is; nothing of what is no regular file.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe could wait for ever
        with open(descriptor, "rb") as file:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return file.read(_MOST_KEY_BYTES).decode(errors="replace").strip() if is_regular else ""
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


def wants_key(reason: str) -> bool:
    """True if this refusal says that a key could help (NIP-42)."""
    return says(reason, Prefix.AUTH_REQUIRED)


class PeerAuthentication:
    """The key of one connection, if there is one, and the challenge that it has to answer.

    Args:
        url: of the other relay, as we call it.
        signer: has the key; None: we stay a stranger.
        clock: seconds since 1970.
        prove: sends what is signed.
    """

    def __init__(self, url: str, signer: Signer | None, clock: Callable[[], float], prove: Prove) -> None:
        self.is_accepted = False
        """True once the other side has accepted our key."""
        self.refusal = ""
        """Why it has not."""
        self._url = url
        self._signer = signer
        self._clock = clock
        self._prove = prove
        self._challenge = ""
        self._answered = ""
        self._heard = trio.Event()
        self._once = trio.Lock()

    def challenge(self, text: str) -> None:
        """The other side asks; only its latest challenge counts."""
        self._challenge = text
        self._heard.set()

    async def greet(self) -> None:
        """Answer the first challenge as soon as it comes: what a stranger may not see is left out without a word."""
        await self._heard.wait()
        await self.prove()

    async def prove(self) -> bool:
        """Answer the latest challenge, unless that was done; True if our key is accepted.

        Raises:
            PeerLost: see `peer.Peer`.
        """
        if self._signer is None:
            return False
        with trio.move_on_after(_CHALLENGE_SECONDS):
            await self._heard.wait()
        async with self._once:
            if self._challenge != self._answered:
                await self._answer(self._signer, self._challenge)
        return self.is_accepted

    async def _answer(self, signer: Signer, challenge: str) -> None:
        tags = [["relay", self._url], ["challenge", challenge]]
        self._answered = challenge
        receipt = await self._prove(signer.sign(CLIENT_AUTH, int(self._clock()), tags))
        self.is_accepted = receipt.accepted
        self.refusal = "" if receipt.accepted else receipt.reason or "it gave no reason"
