"""Methods about how the relay does over time, about copies of what it keeps, and about its store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from trio_relay.net.admin.params import Call, Outcome
from trio_relay.net.admin.sight import Sight
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.written_filters import is_everything, read_filters
from trio_relay.pipeline.store_upkeep import StoreUpkeep


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


def reload_configuration(call: Call) -> Outcome:
    """Read the configuration again, and go by what can change while the relay runs."""
    call.at_most(0)
    return Outcome(later=partial(_reload, call.sight), is_act=True, telling=_told_changed)


async def _reload(sight: Sight) -> object:
    if sight.reload is None:
        raise Rejected(Prefix.UNSUPPORTED, "this relay was started without a configuration that could be read again")
    return await sight.reload()


def _told_changed(result: object) -> str:
    changed = result["changed"] if isinstance(result, dict) else []
    return f"{len(changed):,} settings changed" if changed else "no setting changed"


def export_events(call: Call) -> Outcome:
    """Have it recorded that somebody takes all events along: who may call this may download them from the console."""
    call.at_most(0)
    return Outcome(is_act=True)


def count_events(call: Call) -> Outcome:
    """Count what matches any of the filters, whoever may read it."""
    call.at_most(1)
    filters = read_filters(call.params[0] if call.params else None, call.rules.search_prefix)
    return Outcome(later=partial(call.upkeep.count, filters))


def remove_events(call: Call) -> Outcome:
    """Remove what matches any of the filters, or tell what that would be; no tombstone stays, and no way back."""
    call.at_most(3)
    filters = read_filters(call.params[0] if call.params else None, call.rules.search_prefix)
    is_dry_run, is_all = call.flag(1, "whether to remove nothing"), call.flag(2, "whether everything is meant")
    if any(filter_.limit is not None for filter_ in filters):
        raise invalid("a removal has no limit: which of the events it would take is not said")
    if not is_all and any(map(is_everything, filters)):
        raise invalid("a filter matches everything; parameter 3 must be true for that")
    remove = partial(_remove, call.upkeep, filters, is_dry_run=is_dry_run)
    return Outcome(later=remove, is_act=not is_dry_run, telling=_told)


async def _remove(upkeep: StoreUpkeep, filters: Sequence[Filter], *, is_dry_run: bool) -> object:
    return msgspec.to_builtins(await upkeep.remove(filters, is_dry_run=is_dry_run), str_keys=True)


def check_store(call: Call) -> Outcome:
    """Look for what is wrong with the store, and change nothing."""
    call.at_most(1)
    return Outcome(later=partial(_check, call.upkeep, signatures=call.flag(0, "whether to verify signatures")))


async def _check(upkeep: StoreUpkeep, *, signatures: bool) -> object:
    return msgspec.to_builtins(await upkeep.check(signatures=signatures))


def compact_store(call: Call) -> Outcome:
    """Give back the room of what was removed."""
    call.at_most(0)
    return Outcome(later=partial(_compact, call.upkeep), is_act=True)


async def _compact(upkeep: StoreUpkeep) -> object:
    return msgspec.to_builtins(await upkeep.compact())


def _told(result: object) -> str:
    return f"{result['events']:,} events removed" if isinstance(result, dict) else ""


def run_retention(call: Call) -> Outcome:
    """Make a round of retention now, and tell what was forgotten, rule by rule; there is no way back."""
    call.at_most(0)
    return Outcome(later=partial(_forget, call.upkeep), is_act=True, telling=_told_forgotten)


async def _forget(upkeep: StoreUpkeep) -> object:
    return msgspec.to_builtins(await upkeep.forget())


def _told_forgotten(result: object) -> str:
    number = sum(one["events"] for one in result) if isinstance(result, list) else 0
    return f"{number:,} events forgotten"


UPKEEP = {
    "listvitals": list_vitals,
    "backupnow": back_up,
    "reloadconfig": reload_configuration,
    "exportevents": export_events,
    "countevents": count_events,
    "removeevents": remove_events,
    "checkstore": check_store,
    "compactstore": compact_store,
    "runretention": run_retention,
}
