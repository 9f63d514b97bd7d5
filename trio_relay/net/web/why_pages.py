"""Pages of the console that answer "why": what comes of a REQ or an event, what was slow, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trio_relay.net.http_responses import Response
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit, stretch
from trio_relay.nostr.errors import Rejected

SECTION: Final = "Why"
_EVENT_FIELDS: Final = frozenset({"pubkey", "content", "sig", "created_at"})
_WHAT_IT_MAY_BE: Final = (
    "It must be JSON: an event, a filter, a list of filters, or a whole message such as"
    ' ["REQ", "sub", {"kinds": [1]}] or ["EVENT", {…}].'
)


@dataclass(frozen=True, slots=True)
class Pasted:
    """What somebody wants explained.

    Attributes:
        event: this one; None: they ask for filters.
        filters: these, as JSON has them.
    """

    event: Mapping[str, Any] | None = None
    filters: tuple[object, ...] = ()


def question_of(text: str) -> Pasted:
    """Tell what was pasted.

    Raises:
        ValueError: it is nothing that can be explained; the message says what can.
    """
    try:
        found: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # msgspec's errors are such
        raise ValueError(_WHAT_IT_MAY_BE) from None
    match found:
        case ["REQ" | "COUNT", str(), *filters] if filters:
            return Pasted(filters=tuple(filters))
        case ["EVENT", dict(event)] | ["EVENT", str(), dict(event)]:
            return Pasted(event)
        case dict(fields) if not _EVENT_FIELDS.isdisjoint(fields):
            return Pasted(fields)
        case dict(fields):
            return Pasted(filters=(fields,))
        case [{}, *_] as filters:
            return Pasted(filters=tuple(filters))
    raise ValueError(_WHAT_IT_MAY_BE)


async def _why(visit: ConsoleVisit) -> Response:
    """The form, and below it what it has asked for; a form of the page, since an event is too long for an address."""
    given = dict(visit.place.form) or visit.place.query
    asked = {name: given.get(name, "").strip() for name in ("text", "key", "address")}
    facts: dict[str, object] = {"asked": asked, "event": None, "request": None, "fault": ""}
    if asked["text"]:
        try:
            facts |= await _explained(visit, question_of(asked["text"]), asked["key"], asked["address"])
        except ValueError as error:
            facts["fault"] = str(error)
        except Rejected as refusal:
            facts["fault"] = f"{refusal.reason}."
    return await visit.show("why.html", facts)


async def _explained(visit: ConsoleVisit, question: Pasted, key: str, address: str) -> Mapping[str, object]:
    who = {"key": key} if key else {}
    if question.event is None:
        return {"request": await visit.call("explainfilters", list(question.filters), who)}
    told = await visit.call("explainevent", question.event, {**who, **({"address": address} if address else {})})
    return {"event": told}


async def _slow(visit: ConsoleVisit) -> Response:
    return await visit.show("slow.html", {"slow": await visit.call("listslowrequests")})


async def _refusals(visit: ConsoleVisit) -> Response:
    query = visit.place.query
    chosen = {name: query.get(name, "").strip() for name in ("key", "address", "kind", "text")}
    wanted: dict[str, object] = {name: text for name, text in chosen.items() if text}
    refusals: list[Mapping[str, object]] = []
    fault = ""
    try:
        if "kind" in wanted:
            wanted["kind"] = int(chosen["kind"])
        refusals = await visit.call("listrefusals", *([wanted] if wanted else []))
    except ValueError:
        fault = "A kind is a number."
    except Rejected as refusal:
        fault = f"{refusal.reason}."
    facts = {"stretch": stretch(refusals, query), "chosen": chosen, "fault": fault}
    return await visit.show("refusals.html", facts, 200)


PAGES: Final = (
    ConsolePage("why", "Explain", SECTION, ("explainfilters", "explainevent"), _why, takes_form=True),
    ConsolePage("why/slow", "Slow requests", SECTION, ("listslowrequests",), _slow),
    ConsolePage("why/refusals", "Refusals", SECTION, ("listrefusals",), _refusals),
)
