"""How long to wait before another relay that says `rate-limited:` is asked again, and when that is given up."""

from __future__ import annotations

from typing import Final

import trio

from trio_relay.nostr.errors import Prefix

_FIRST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 60.0
_MOST_TRIES: Final = 8
"""In a row, over some three minutes."""
_NEAR: Final = 24


def is_rate_limited(reason: str) -> bool:
    """True if this refusal may be none a while later."""
    return f"{Prefix.RATE_LIMITED}:" in reason[:_NEAR]


class Pause:
    """What is held back for everybody who asks the same relay, each time twice as long."""

    def __init__(self) -> None:
        self._tries = 0
        self._until = 0.0

    async def over(self) -> None:
        """Wait until it may be asked again."""
        await trio.sleep_until(self._until) if trio.current_time() < self._until else await trio.lowlevel.checkpoint()

    def begin(self) -> bool:
        """It has had enough; False if that has been so too often to be asked again. Several at once count as one."""
        if trio.current_time() >= self._until:
            self._tries += 1
            self._until = trio.current_time() + min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** (self._tries - 1))
        return self._tries <= _MOST_TRIES

    def end(self) -> None:
        """It has taken something."""
        self._tries = 0
