"""Pages of the console about people: members, invites and roles (NIP-43), and who may call which methods (NIP-86)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from trio_relay.net.http_responses import Response
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit, stretch

SECTION: Final = "Members"
_MOST_PAGES: Final = 20
"""Calls for one page of members: each tells a thousand."""
_MOST_QR: Final = 200
"""Characters."""


async def _members(visit: ConsoleVisit) -> Response:
    wanted = visit.place.query.get("q", "").strip()
    members: list[Any] = await visit.ask("listmembers") or []
    told = members
    for _ in range(_MOST_PAGES):
        if not told or len(told) < 1_000:
            break
        told = await visit.call("listmembers", told[-1]["pubkey"])
        members += told
    if wanted:
        members = [one for one in members if wanted in one["pubkey"] or wanted in one["roles"]]
    return await visit.show("members.html", {"stretch": stretch(members, visit.place.query), "wanted": wanted})


async def _invites(visit: ConsoleVisit) -> Response:
    query = visit.place.query
    invites: list[Any] = await visit.ask("listinvites") or []
    chosen = next((one for one in invites if one["claim"] == query.get("claim")), None)
    qr = None if chosen is None else await trio.to_thread.run_sync(_qr_code, chosen["claim"][:_MOST_QR])
    return await visit.show("invites.html", {"stretch": stretch(invites, query), "chosen": chosen, "qr": qr})


def _qr_code(text: str) -> Mapping[str, object]:
    """The path of SVG that draws a QR code, and how many units its box is wide; that takes milliseconds."""
    import segno

    rows = [bytes(row) for row in segno.make(text, micro=False).matrix_iter(border=4)]
    dark = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark]
    return {"size": len(rows), "path": "".join(dark)}


async def _roles(visit: ConsoleVisit) -> Response:
    roles = await visit.ask("listroles") or []
    return await visit.show("roles.html", {"roles": sorted(roles, key=lambda role: (role["order"] or 0, role["id"]))})


async def _methods(visit: ConsoleVisit) -> Response:
    assigned = await visit.ask("listmethodassignees") or []
    return await visit.show("methods.html", {"stretch": stretch(assigned, visit.place.query)})


PAGES: Final = (
    ConsolePage("members", "Members", SECTION, ("listmembers", "addmember", "removemember"), _members),
    ConsolePage("members/invites", "Invites", SECTION, ("listinvites", "createinvite"), _invites),
    ConsolePage("members/roles", "Roles", SECTION, ("listroles", "createrole"), _roles),
    ConsolePage("members/methods", "Rights", SECTION, ("listmethodassignees", "assignmethod"), _methods),
)
