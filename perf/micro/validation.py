"""What it costs to find one event valid: parsed, of the right shape, allowed, its id and its signature checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from perf.micro.rows import CPU, Row, each, timed
from trio_relay import Limits
from trio_relay.nostr.event import Event, check_shape, encode
from trio_relay.nostr.message import Publish, parse
from trio_relay.nostr.schnorr import Backend, open_backend
from trio_relay.policy.event_checks import check_event
from trio_relay.policy.identity import Identity
from trio_relay.policy.rules import Rules

_LIMITS: Final = Limits()
_RULES: Final = Rules(_LIMITS)
_ANYBODY: Final = Identity()
_NOW: Final = 2_000_000_000
_BATCH: Final = 256
_MOST_MICROSECONDS: Final = 100.0


def validation(events: Sequence[Event], count: int = 2_048) -> list[Row]:
    """Each part, and all of it as one loop: with a native call an event, and with one a batch.

    Args:
        events: at least `count`.
        count: events of a round.
    """
    events = events[:count]
    messages = [b'["EVENT",' + encode(event) + b"]" for event in events]
    backend = open_backend("batch")

    def row(what: str, work: Callable[[], object], bar: float | None = None) -> Row:
        return Row(what, each(timed(work, time.thread_time), count), CPU, bar)

    return [
        row("parse, shape included", lambda: _parse(messages)),
        row("shape alone", lambda: _check(check_shape, events)),
        row("policy, id included", lambda: _check(_policy, events)),
        row("signature, one a call", lambda: _verify(backend, events, 1)),
        row(f"signature, {_BATCH} a call", lambda: _verify(backend, events, _BATCH)),
        row("all of it, one a call", lambda: _all(backend, messages, 1), _MOST_MICROSECONDS),
        row(f"all of it, {_BATCH} a call", lambda: _all(backend, messages, _BATCH), _MOST_MICROSECONDS),
    ]


def _parse(messages: Sequence[bytes]) -> list[Event]:
    events = []
    for message in messages:
        action = parse(message, max_filters=_LIMITS.max_filters)
        if not isinstance(action, Publish):
            raise RuntimeError(f"not read as an event: {message!r:.300}")
        events.append(action.event)
    return events


def _policy(event: Event) -> object:
    return check_event(event, _ANYBODY, _RULES, _NOW)


def _check(refusal: Callable[[Event], object], events: Sequence[Event]) -> None:
    for event in events:
        if (reason := refusal(event)) is not None:
            raise RuntimeError(f"{event.id} refused: {reason}")


def _verify(backend: Backend, events: Sequence[Event], batch: int) -> None:
    for start in range(0, len(events), batch):
        if not all(backend.verify(events[start : start + batch])):
            raise RuntimeError("a valid signature was found wrong")


def _all(backend: Backend, messages: Sequence[bytes], batch: int) -> None:
    for start in range(0, len(messages), batch):
        events = _parse(messages[start : start + batch])
        _check(_policy, events)
        _verify(backend, events, batch)
