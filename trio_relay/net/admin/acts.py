"""The audit log as operators see it: what they do is recorded, listed, and undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import msgspec
from msgspec import structs

from trio_relay.net.admin.lists import check_put, excluding, with_consequences
from trio_relay.net.admin.params import MOST_ITEM, Call, Outcome
from trio_relay.net.admin.roles import may_call
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.policy.audit import (
    MOST_PARAMS,
    Act,
    act_of,
    acts_in,
    changed_since,
    next_number,
    read_steps,
    recording,
    steps_of,
    taken_back,
    undoing,
)
from trio_relay.policy.lists import Change, ListName, Lists, granted, held_by

_MOST_LISTED: Final = 200
_MOST_NAMED: Final = 3
_TO_BE_REMOVED: Final = "what it bans is still to be removed"


def signed(outcome: Outcome, caller: str) -> list[Change]:
    """The changes of an outcome, with who has made them; what was there before and comes back keeps whose it was."""
    if outcome.undoes is not None:
        return list(outcome.changes)
    return [
        change
        if change.entry is None or change.name is ListName.REPORTED_EVENTS
        else structs.replace(change, entry=structs.replace(change.entry, by=caller))
        for change in outcome.changes
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
        f"{outcome.told}; {_TO_BE_REMOVED}" if outcome.removed else outcome.told,
        steps_of(changes, lists),
        *(() if (undone := outcome.undoes) is None else (undone.number, right_of(undone))),
    )


def right_of(act: Act) -> str:
    """The method that who undoes an act must be allowed to call: undoing what was undone does the act again."""
    return act.right or act.method


def telling(number: str, removed: int, lists: Lists) -> list[Change]:
    """What tells in an act that so many events were removed; nothing if it is on the list no more."""
    act = act_of(number, lists)
    if act is None:
        return []
    return recording(replace(act, told=act.told.replace(_TO_BE_REMOVED, f"{removed:,} events removed")), lists)


def list_acts(call: Call) -> Outcome:
    """The newest acts: all, or those of an operator, of a method, about an item, before another act."""
    call.at_most(1)
    undone = taken_back(call.rules.lists)
    return Outcome([_line(act, call, act.number in undone) for act in islice(_chosen(call), _MOST_LISTED)])


def _chosen(call: Call) -> Iterator[Act]:
    wanted = call.texts(0, ("who", "method", "item", "before"), MOST_ITEM)
    for act in acts_in(call.rules.lists):
        is_chosen = wanted["who"] in ("", act.who) and wanted["method"] in ("", act.method)
        if is_chosen and act.names(wanted["item"]) and not "" < wanted["before"] <= act.number:
            yield act


def _line(act: Act, call: Call, is_undone: bool) -> dict[str, object]:
    try:
        _changes_back(act, call)
        can_undo = True
    except Rejected:
        can_undo = False
    return {
        "act": act.number,
        "at": act.at,
        "who": act.who,
        "method": act.method,
        "params": act.params,
        "told": act.told,
        "can_undo": can_undo,
        "undone": is_undone,
    }


def undo_act(call: Call) -> Outcome:
    """Bring back what was there before an act, if all of it still stands as it was made."""
    call.at_most(1)
    act = act_of(call.text(0, "the number of an act", MOST_ITEM), call.rules.lists)
    if act is None:
        raise invalid("there is no such act")
    changes = _changes_back(act, call)
    has_removed = any(made.name in _BANS and made.after is not None for made in read_steps(act))
    told = "undone; removed events stay removed" if has_removed else "undone"
    return with_consequences(call, Outcome(changes=changes, told=told, undoes=act))


def _changes_back(act: Act, call: Call) -> list[Change]:
    """What brings back what was there before an act.

    Raises:
        Rejected: it cannot be brought back, or not by this caller.
    """
    lists, steps = call.rules.lists, read_steps(act)
    if not may_call(call, right_of(act)):
        raise Rejected(Prefix.RESTRICTED, f"who undoes this must be allowed to call {right_of(act)}")
    if not steps:
        raise invalid("this act has changed nothing that can be brought back")
    if since := changed_since(steps, lists, call.now):
        changed = ", ".join(f"{made.item} in {made.name}" for made in since[:_MOST_NAMED])
        raise invalid(f"it does not stand any more as this act has made it: {changed}")
    changes = undoing(steps, lists, call.now)
    for change in changes:
        if change.entry is not None:
            _check_back(call, change, changes)
    return changes


def _check_back(call: Call, change: Change, changes: Sequence[Change]) -> None:
    """Refuse what the caller could not put on this list, or what others have decided otherwise since.

    Args:
        call: of who undoes.
        change: puts something back on a list.
        changes: all that do, and this one.
    """
    check_put(call, change)
    lists, other = call.rules.lists, excluding(change.name)
    if other is not None and Change(other, change.item) not in changes and lists.get(other, change.item, call.now):
        raise invalid(f"{change.item} is in {other} now")
    if change.name is ListName.METHODS and change.entry is not None:
        held = granted(lists, change.name, change.item, call.now)
        for method in held_by(change.name, change.entry):
            if method not in held and not may_call(call, method):
                raise Rejected(Prefix.RESTRICTED, f"it would let a key call {method}, which you may not call yourself")


_BANS: Final = (ListName.BANNED_PUBKEYS, ListName.BANNED_EVENTS)
