"""The audit log as operators see it: what they do is recorded, and listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import msgspec
from msgspec import structs

from trio_relay.net.admin.params import MOST_ITEM, Call, Outcome
from trio_relay.policy.audit import MOST_PARAMS, Act, act_of, acts_in, next_number, recording, steps_of
from trio_relay.policy.lists import Change, ListName, Lists

_MOST_LISTED: Final = 200
_TO_BE_REMOVED: Final = "what it bans is still to be removed"


def signed(changes: Sequence[Change], caller: str) -> list[Change]:
    """The same changes, with who has made them; what was there before and comes back keeps whose it was."""
    return [
        change
        if change.entry is None or change.entry.by or change.name is ListName.REPORTED_EVENTS
        else structs.replace(change, entry=structs.replace(change.entry, by=caller))
        for change in changes
    ]


def act_to_record(call: Call, outcome: Outcome, changes: Sequence[Change]) -> Act:
    """An act as it stands before it is carried out.

    Args:
        call: that makes it.
        outcome: what comes of that.
        changes: those of the outcome, with who has made them.
    """
    lists = call.rules.lists
    return Act(
        next_number(lists, call.now),
        call.now,
        call.caller,
        call.method,
        msgspec.json.encode(call.params).decode()[:MOST_PARAMS],
        _TO_BE_REMOVED if outcome.removed else "done",
        steps_of(changes, lists),
    )


def telling(number: str, removed: int, lists: Lists) -> list[Change]:
    """What tells in an act that so many events were removed; nothing if it is on the list no more."""
    act = act_of(number, lists)
    return [] if act is None else recording(replace(act, told=f"{removed:,} events removed"), lists)


def list_acts(call: Call) -> Outcome:
    """The newest acts: all, or those of an operator, of a method, about an item, before another act."""
    call.at_most(1)
    return Outcome([_line(act) for act in islice(_chosen(call), _MOST_LISTED)])


def _chosen(call: Call) -> Iterator[Act]:
    wanted = call.texts(0, ("who", "method", "item", "before"), MOST_ITEM)
    for act in acts_in(call.rules.lists):
        is_chosen = wanted["who"] in ("", act.who) and wanted["method"] in ("", act.method)
        if is_chosen and act.names(wanted["item"]) and not "" < wanted["before"] <= act.number:
            yield act


def _line(act: Act) -> dict[str, object]:
    return {
        "act": act.number,
        "at": act.at,
        "who": act.who,
        "method": act.method,
        "params": act.params,
        "told": act.told,
    }
