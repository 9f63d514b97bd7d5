"""Calls as they come over HTTP: who signed one (NIP-98), whether they may make it, and then it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import structlog
import trio

from trio_relay.net.admin.acts import act_to_record, signed, telling
from trio_relay.net.admin.methods import READING, carry_out
from trio_relay.net.admin.params import OPERATOR, Call, Outcome
from trio_relay.net.admin.replays import EventUse, Replayed, Replays, TooManyChanges
from trio_relay.net.admin.sight import OwnSight, SettingsShown, Sight, no_settings
from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.nostr.auth import HTTP_AUTH_SECONDS, check_http_auth, parse_http_auth
from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.audit import recording
from trio_relay.policy.rates import Word

log = structlog.get_logger("trio_relay.net")

CONTENT_TYPE: Final = "application/nostr+json+rpc"
_GRACE_SECONDS: Final = 1
"""What an event may be older than this process; clients count whole seconds."""


class _Body(msgspec.Struct):
    method: str
    params: list[object] = []


_decode: Final = msgspec.json.Decoder(_Body).decode


class _Unauthorized(Exception):
    """Nobody has signed this request, as far as can be told; the message says why."""

    def response(self) -> Response:
        """What they are told."""
        return _refused(401, str(self), [("WWW-Authenticate", "Nostr")])


class Gate:
    """Lets those through who may manage the relay (NIP-98), with whatever they call for.

    Args:
        relay: which one.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def refusal(self, request: Request) -> Response | None:
        """Why a request goes no further, as the response to it; None if it does."""
        found = await self.look_at(request)
        return found if isinstance(found, Response) else None

    async def look_at(self, request: Request) -> Event | Response:
        """The event that signs a request, of a key that may call something; or the response that refuses it."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            return _refused(415, f"the Content-Type must be {CONTENT_TYPE}")
        try:
            return await self._signed_by_who_may(request)
        except _Unauthorized as error:
            return error.response()
        except Rejected as refusal:
            return _refused(403, str(refusal))

    async def _signed_by_who_may(self, request: Request) -> Event:
        """The event that signs this request, of a key that may call something.

        Raises:
            _Unauthorized: nobody has.
            Rejected: they may call nothing.
        """
        event = _signed(request)
        if (fault := await fault_of(event, request, self._urls(request), self._relay)) is not None:
            raise _Unauthorized(str(fault))
        self._check_rights(event)
        return event

    def _urls(self, request: Request) -> list[str]:
        """What the request may have been sent to: the relay's URLs, whichever is named, with the query of the request.

        The public one comes first.
        """
        _, mark, query = request.target.partition("?")
        return [url + mark + query for url in self._relay.rules.entrances]

    def _check_rights(self, event: Event) -> None:
        if not self._relay.rules.may_manage(event.pubkey, self._relay.now()):
            log.debug("management refused", key=event.pubkey, reason="this key may not manage the relay")
            raise Rejected(Prefix.RESTRICTED, "this key may not manage the relay")


async def fault_of(event: Event, request: Request, urls: Sequence[str], relay: Relay) -> Rejected | None:
    """Why an event does not sign a request (NIP-98), or None; its signature is looked at last, which costs most.

    Args:
        event: from `parse_http_auth`.
        request: with its body.
        urls: what the request may have been sent to, at least one; the public one first.
        relay: verifies signatures.
    """
    url, *also = urls
    now = relay.now()
    fault = check_http_auth(event, url=url, method=request.method, body=request.body, now=now, also=also)
    if fault is None and not await relay.verify(event):
        fault = bad_signature()
    return fault


class AdminApi:
    """Lets those manage the relay who may (NIP-86).

    Args:
        relay: which one.
        sight: of it as it runs; None: as this process sees it.
        settings: tells those that its program was started with.
    """

    def __init__(self, relay: Relay, sight: Sight | None = None, settings: SettingsShown = no_settings) -> None:
        self._relay = relay
        self._gate = Gate(relay)
        self._sight = sight or OwnSight(relay)
        self._settings = settings
        self._replays = Replays()
        self._since = relay.now() - _GRACE_SECONDS

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may manage this relay."""
        return self._relay.rules.is_managed

    async def answer(self, request: Request) -> Response:
        """The response to a POST at the relay's own URL."""
        found = await self._gate.look_at(request)
        if isinstance(found, Response):
            return found
        relay = self._relay
        if (refusal := relay.rates.refusal_of_key(Word.CALLS, found.pubkey, trio.current_time())) is not None:
            return _refused(429, str(refusal), [("Retry-After", str(refusal.seconds))])
        try:
            if (earlier := self._replays.earlier(found)) is not None:
                return await earlier.answer()
            return await self._carry_out(request, found)
        except Replayed as error:
            return _Unauthorized(str(error)).response()
        except _Unauthorized as error:
            return error.response()
        except TooManyChanges as error:
            return _refused(429, str(error), [("Retry-After", str(HTTP_AUTH_SECONDS))])

    def _use(self, event: Event) -> EventUse:
        """Let an event change something once.

        Reading calls may use theirs again within its minute. The event holds the hash of the body, so it can ask
        nothing else.

        Raises:
            Replayed: it has.
            TooManyChanges: the key has used up its share.
        """
        if event.created_at < self._since:  # it may have been used; what was, the last process has forgotten
            raise _Unauthorized("this event was made before the relay started; every change needs a new one")
        return self._replays.use(event, self._relay.now(), is_admin=event.pubkey in self._relay.rules.admins)

    async def perform(
        self,
        method: str,
        params: Sequence[object],
        caller: str,
        client: str,
        check: Callable[[], None] = lambda: None,
    ) -> object:
        """Carry out a method for somebody who has proved who they are; gives what it answers.

        Args:
            method: its name.
            params: as they came.
            caller: a pubkey, or `OPERATOR`.
            client: the address that the call came from.
            check: called before a method that changes anything does so, though there may be nothing to do now: later
                there might be.

        Raises:
            Rejected: the caller may not call this, the parameters are not right, or it failed.
        """
        relay = self._relay
        seen = (relay.rules, self._sight, relay.operator_reads, relay.upkeep, self._settings)
        call = Call(method, params, caller, client, relay.now(), *seen)
        try:
            # Nothing waits between the decision and the change of the lists.
            outcome = carry_out(call)
            if method not in READING:
                check()
            await self._do(call, outcome)
            result = outcome.result if outcome.later is None else await outcome.later()
        except Rejected as refusal:
            log.debug("management refused", address=client, method=method, key=caller, reason=str(refusal))
            raise
        if outcome.is_act and not outcome.changes:
            told = outcome.told if outcome.telling is None else outcome.telling(result)
            await self._record(call, replace(outcome, told=told))
        return result

    async def _carry_out(self, request: Request, event: Event) -> Response:
        use: EventUse | None = None
        response: Response | None = None

        def check() -> None:
            nonlocal use
            use = self._use(event)

        try:
            response = await self._response(request, event.pubkey, check)
            return response
        finally:
            if use is not None:
                self._replays.end(event, use, response)

    async def answer_operator(self, request: Request) -> Response:
        """The response to a POST of somebody who has shown to be on the relay's machine, and need sign nothing."""
        return await self._response(request, OPERATOR)

    async def _response(self, request: Request, caller: str, check: Callable[[], None] = lambda: None) -> Response:
        try:
            body = _decode(request.body)
        except (ValueError, RecursionError):  # msgspec's errors are such, and so is what is no UTF-8
            return _refused(400, "the body must be a JSON object with a method, a text, and params, an array")
        try:
            result = await self.perform(body.method, body.params, caller, request.client, check)
        except Rejected as refusal:
            return _refused(503 if refusal.prefix is Prefix.ERROR else 200, str(refusal))
        return _json(200, {"result": result})

    async def _do(self, call: Call, outcome: Outcome) -> None:
        if not (outcome.changes or outcome.removed):
            return
        note = log.bind(method=call.method, by=call.caller, item=call.params[0] if call.params else "")
        lists, changes = call.rules.lists, signed(outcome, call.caller)
        act = act_to_record(call, outcome, changes)
        try:
            removed = await self._relay.moderation.removals.enforce(
                [*changes, *recording(act, lists)],
                outcome.removed,
                lambda removed: telling(act.number, removed, lists),
            )
        except Rejected as refusal:
            note.error("management call failed", error=refusal.reason)
            raise
        note.info("managed", **({"removed": removed} if outcome.removed else {}))

    async def _record(self, call: Call, outcome: Outcome) -> None:
        """Record an act that changes no list and was carried out."""
        note = log.bind(method=call.method, by=call.caller, item=call.params[0] if call.params else "")
        try:
            act = act_to_record(call, outcome, ())
            await self._relay.moderation.removals.enforce(recording(act, call.rules.lists))
        except Rejected as refusal:  # it is done, so the answer is that of success
            note.error("an act is not recorded", error=refusal.reason)
        note.info("managed")


def _signed(request: Request) -> Event:
    header = request.headers.get("authorization")
    if header is None:
        raise _Unauthorized("the Authorization header is missing (NIP-98)")
    try:
        return parse_http_auth(header)
    except Rejected as refusal:
        raise _Unauthorized(str(refusal)) from None


def _refused(status: int, reason: str, headers: list[tuple[str, str]] | None = None) -> Response:
    return _json(status, {"error": reason}, headers)


def _json(status: int, body: dict[str, object], headers: list[tuple[str, str]] | None = None) -> Response:
    return Response(status, msgspec.json.encode(body), CONTENT_TYPE, [("Cache-Control", "no-store"), *(headers or [])])
