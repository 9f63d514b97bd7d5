"""Methods about how the relay does over time, and about copies of what it keeps."""

from __future__ import annotations

from functools import partial

import msgspec

from trio_relay.net.admin.params import Call, Outcome
from trio_relay.net.admin.sight import Sight
from trio_relay.nostr.errors import Prefix, Rejected, invalid


def list_vitals(call: Call) -> Outcome:
    """How the relay did over the last hour or day, point by point, and how it does now, as the last point."""
    call.at_most(1)
    span = call.text(0, "hour or day", 4, is_optional=True) or "hour"
    if span not in ("hour", "day"):
        raise invalid(f"parameter 1 of {call.method} must be hour or day")
    return Outcome(later=partial(_vitals, call.sight, is_day=span == "day"))


async def _vitals(sight: Sight, *, is_day: bool) -> object:
    if (source := sight.vitals) is None:
        raise Rejected(Prefix.UNSUPPORTED, "nobody keeps how this relay did")
    points = await source.over("day" if is_day else "hour")
    return msgspec.to_builtins([*points, await source.now()])


def back_up(call: Call) -> Outcome:
    """Write a backup on the relay's machine."""
    call.at_most(0)
    return Outcome(later=partial(_back_up, call.sight), is_act=True)


async def _back_up(sight: Sight) -> object:
    if sight.back_up is None:
        raise Rejected(Prefix.UNSUPPORTED, "this relay was started without a way to make backups")
    return await sight.back_up()


def export_events(call: Call) -> Outcome:
    """Have it recorded that somebody takes all events along: who may call this may download them from the console."""
    call.at_most(0)
    return Outcome(is_act=True)


UPKEEP = {"listvitals": list_vitals, "backupnow": back_up, "exportevents": export_events}
