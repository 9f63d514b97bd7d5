"""Checks of events: who may write what. Pure; the time of day is an argument.

The strategy is one table, `CHECKS`, and plans made from it:

1. `check_event` compares the cheap sizes and a `created_at` in the future with the limits, alike for every event.
2. It then runs the plan of the event's kind: those rows of `CHECKS`, in the order of the table, whose second item says
   that the check can refuse anything of this kind as the rules are now. A plan is made when the first event of its kind
   comes, and is kept in `Rules.plans`. `Rules.apply` and `Rules.load` clear all plans when the operators' lists change.
3. The lengths of tag items, if the message was long enough to exceed them, and the id, which costs a hash, come last.

The first refusal wins, so the order of the table is part of the wire: it decides which reason a client is told. Nothing
here needs the signature, so all of this is decided before one is verified and before any thread is used. `check_bans`
is asked once more when the event reaches the writer, since an operator may have banned its author in the meantime.
What comes back from this relay's own export is judged by `check_restored` instead, and by none of the table.

A check returns None ("nothing against it"), or the refusal that the client gets. To add one: write `_check_…`, give it
a row in `CHECKS`, and let its condition be false for as many kinds as possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.event import (
    Event,
    expiry_of,
    has_expired,
    has_readable_expiry,
    id_matches,
    is_protected,
    recipients,
)
from trio_relay.nostr.json_fallback import lenient
from trio_relay.nostr.kinds import CHAT_MESSAGE, CLIENT_AUTH, FILE_MESSAGE, REPOSTS, SEAL, VANISH, WRAPS
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.pow import committed_difficulty, difficulty_of
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import ListName
from trio_relay.policy.membership import REQUESTS, check_request
from trio_relay.policy.retention_checks import RETENTION_SETTINGS, check_retention, is_bounded
from trio_relay.policy.rules import Rules

_UNWRAPPED: Final = {SEAL: "a seal", CHAT_MESSAGE: "a chat message", FILE_MESSAGE: "a file message"}
"""Kinds that must come inside a gift wrap (NIP-17, NIP-59)."""
_MOST_RECIPIENTS: Final = 10
"""Most recipients of one gift wrap; clients make a wrap for each recipient (NIP-17)."""
_WRAPS_LIE_BACK: Final = 172_800 + 3_600
"""Seconds; the time of a wrap lies up to two days back on purpose (NIP-59), and clocks and networks take a while."""

Check: TypeAlias = Callable[[Event, Identity, Rules, int], Rejected | None]
_decode_embedded: Final = msgspec.json.Decoder(dict[str, object]).decode


def check_event(event: Event, identity: Identity, rules: Rules, now: int, size: int = 0) -> Rejected | None:
    """Return None if the event's signature may be verified next, else why the event is refused.

    Args:
        event: of the right shape.
        identity: who sends it.
        rules: what is allowed.
        now: seconds since 1970.
        size: bytes of the message that it came in, or 0: a short message needs no look at its tags' lengths.
    """
    if (refusal := check_sizes(event, rules.limits, now)) is not None:
        return refusal
    for check in rules.plans.get(event.kind) or _plan(event.kind, rules):
        if (refusal := check(event, identity, rules, now)) is not None:
            return refusal
    return check_items(event, rules.limits, size) or check_id(event)


def check_sizes(event: Event, limits: Limits, now: int) -> Rejected | None:
    """Check what costs next to nothing to compare: how far ahead it is, its number of tags, its length."""
    if event.created_at > now + limits.created_at_ahead:
        return invalid(f"created_at is more than {limits.created_at_ahead} seconds ahead (created_at_ahead)")
    if len(event.tags) > limits.max_event_tags:
        return invalid(f"more than {limits.max_event_tags} tags (max_event_tags)")
    if len(event.content) > limits.max_content_length:
        return invalid(f"content is longer than {limits.max_content_length} characters (max_content_length)")
    return None


def check_items(event: Event, limits: Limits, size: int = 0) -> Rejected | None:
    """Check the lengths of all items of tags, if a message of so many bytes could hold one that is too long."""
    longest = limits.max_tag_value_length
    if not 0 < size <= longest and max(map(len, chain.from_iterable(event.tags)), default=0) > longest:
        return invalid(f"a tag's item is longer than {longest} characters (max_tag_value_length)")
    return None


def check_id(event: Event) -> Rejected | None:
    """Check that the id is the hash of the event (NIP-01)."""
    return None if id_matches(event) else invalid("id is not the hash of the event")


def check_bans(event: Event, rules: Rules, now: int) -> Rejected | None:
    """Check again, like `check_event`, what may have been banned while the event was on its way."""
    if rules.has_bans and (refusal := _check_key(event, _ANYBODY, rules, now)) is not None:
        return refusal
    return _check_list_of_events(event, _ANYBODY, rules, now)


_ANYBODY: Final = Identity()


def check_restored(event: Event, rules: Rules, now: int) -> Rejected | None:
    """Check an event of this relay's own export: only that it is whole, and that it was not banned since.

    It was let in once, by the rules of that day. Those of today, such as its age, its length, its work, who may write
    and which kinds are taken, are about what comes in. What operators ban is removed, so it does not come back either;
    its author is looked at alone, as a ban does not remove what was sent to that key. The signature is still to be
    verified.

    Args:
        event: of the right shape.
        rules: whose lists have the bans.
        now: seconds since 1970.
    """
    if event.kind != VANISH and rules.lists.get(ListName.BANNED_PUBKEYS, event.pubkey, now) is not None:
        return Rejected(Prefix.BLOCKED, "the author of this event is banned here")
    if (refusal := _check_list_of_events(event, _ANYBODY, rules, now)) is not None:
        return refusal
    if has_expired(event, now):
        return invalid(f"the event has expired at {expiry_of(event)} (NIP-40)")
    return check_id(event)


def oldest_taken(limits: Limits, now: int) -> int:
    """Return the least `created_at` of an event, of any kind, that may come in now; 0 without a limit."""
    return now - max(limits.created_at_behind, _WRAPS_LIE_BACK) if limits.created_at_behind else 0


def _check_age(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    behind = rules.limits.created_at_behind
    if event.kind in WRAPS:
        behind = max(behind, _WRAPS_LIE_BACK)
    if event.created_at < now - behind:
        return invalid(f"created_at is more than {behind} seconds ago (created_at_behind)")
    return None


def _check_kind(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    kind, options, lists = event.kind, rules.options, rules.lists
    if kind == CLIENT_AUTH:
        return invalid(f"kind {CLIENT_AUTH} must be sent in an AUTH message (NIP-42)")
    if kind in _UNWRAPPED:
        return invalid(f"kind {kind}, {_UNWRAPPED[kind]}, must come in a gift wrap (NIP-59)")
    if kind in rules.private_kinds and not rules.has_auth:
        return Rejected(
            Prefix.RESTRICTED, "private events cannot be served here: clients cannot authenticate (relay.url)"
        )
    if kind in options.denied_kinds or lists.get(ListName.DISALLOWED_KINDS, str(kind), now) is not None:
        return Rejected(Prefix.BLOCKED, f"kind {kind} is not accepted here")
    if kind in REQUESTS and rules.has_membership:
        return None
    # Requests to vanish are refused only where they are denied by name: a list of allowed kinds is about others
    # (NIP-62).
    if kind != VANISH and (options.allowed_kinds or lists.holds_any(ListName.ALLOWED_KINDS)):
        is_allowed = kind in options.allowed_kinds or lists.get(ListName.ALLOWED_KINDS, str(kind), now) is not None
        return (
            None
            if is_allowed
            else Rejected(Prefix.BLOCKED, f"kind {kind} is not among the kinds that are accepted here")
        )
    return None


def _check_rules_of_kind(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    for rule in rules.by_kind.get(event.kind, ()):
        if rule.max_content_length is not None and len(event.content) > rule.max_content_length:
            return invalid(f"content is longer than {rule.max_content_length} characters, for kind {event.kind}")
        if rule.max_age is not None and event.created_at < now - rule.max_age:
            return invalid(f"created_at is more than {rule.max_age} seconds ago, for kind {event.kind}")
        named = {tag[0] for tag in event.tags if len(tag) > 1} if rule.required_tags else ()
        if missing := [name for name in rule.required_tags if name not in named]:
            return invalid(f"kind {event.kind} needs a tag {missing[0]!r} here")
    return None


def _check_auth(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if rules.options.auth_to_write and not (identity.keys or identity.is_operator or identity.is_peer):
        return Rejected(Prefix.AUTH_REQUIRED, "only authenticated clients may write here")
    return None


def _check_key(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if event.kind == VANISH:
        return None  # anybody may ask to vanish, banned or not (NIP-62)
    if event.kind in WRAPS:  # the author is a random key, so the recipients are judged
        judged = recipients(event)
        if not 1 <= len(judged) <= _MOST_RECIPIENTS:
            return invalid(f"a gift wrap names 1 to {_MOST_RECIPIENTS} keys in p tags (NIP-59)")
        who = "a recipient of this event is"
    else:
        judged = [event.pubkey]
        who = "the author of this event is"
    if any(rules.is_banned(key, now) for key in judged):
        return Rejected(Prefix.BLOCKED, f"{who} banned here")
    if event.kind in REQUESTS and rules.has_membership:
        return None  # a key that asks to join is no member yet (NIP-43)
    if not all(rules.may_write(key, now) for key in judged) and not _is_for_member(event, rules, now):
        return Rejected(Prefix.RESTRICTED, f"{who} not among the keys that may write here")
    return None


def _is_for_member(event: Event, rules: Rules, now: int) -> bool:
    """Return True for kinds that members receive from anybody, such as replies and zap receipts, if it names one."""
    members = rules.members
    if not (members.enabled and event.kind in members.receive_kinds):
        return False
    return any(rules.is_member(key, now) and not rules.is_banned(key, now) for key in recipients(event))


def _check_request(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if (refusal := check_request(event, now)) is not None:
        return refusal
    return None if event.pubkey in identity.keys else _unauthenticated(identity, "a request to join or to leave")


def _unauthenticated(identity: Identity, what: str) -> Rejected:
    prefix = Prefix.RESTRICTED if identity.keys else Prefix.AUTH_REQUIRED
    return Rejected(prefix, f"{what} is accepted from its authenticated author only (NIP-70)")


def _check_list_of_events(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if rules.lists.get(ListName.BANNED_EVENTS, event.id, now) is not None:
        return Rejected(Prefix.BLOCKED, "this event is banned here")
    return None


def _check_work(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    least = rules.options.min_pow_difficulty
    if not least or event.pubkey in rules.admins:
        return None
    if (found := difficulty_of(event.id)) < least:
        return Rejected(Prefix.POW, f"the id has a difficulty of {found}, {least} is needed (NIP-13)")
    if (committed := committed_difficulty(event)) is None or committed < least:
        return Rejected(Prefix.POW, f"the nonce tag must commit to a difficulty of {least} at least (NIP-13)")
    return None


def _check_words(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    content = event.content.casefold()
    if any(word in content and (until is None or until > now) for word, until in rules.words):
        return Rejected(Prefix.BLOCKED, "the content holds a word that is not allowed here")
    return None


def _check_tags(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    """Refuse expired events (NIP-40), protected ones of others, and reposts of those (NIP-70)."""
    for tag in event.tags:
        if tag and tag[0] in _TELLING:
            break
    else:
        return _check_repost(event)
    if not has_readable_expiry(event):
        return invalid("the expiration tag must hold an integer, seconds since 1970 (NIP-40)")
    if has_expired(event, now):
        return invalid(f"the event has expired at {expiry_of(event)} (NIP-40)")
    if is_protected(event) and event.pubkey not in identity.keys:
        if not rules.has_auth:
            return Rejected(
                Prefix.BLOCKED, "protected events are not accepted here: clients cannot authenticate (relay.url)"
            )
        return _unauthenticated(identity, "a protected event")
    return _check_repost(event)


_TELLING: Final = frozenset({"-", "expiration"})


def _check_repost(event: Event) -> Rejected | None:
    """Refuse a repost of what is protected, and of what cannot be read and may be (NIP-70).

    Decoding is the exception: most events are no reposts, and few reposts hold a hyphen in quotation marks. In JSON
    only a tag can begin with one, whatever decoder reads it, the first or the last of two members of one name.
    """
    content = event.content
    if event.kind not in REPOSTS or not any(sign in content for sign in _HYPHENS):
        return None
    if _PROTECTING.search(content) is not None:
        return Rejected(Prefix.BLOCKED, "what it reposts is protected (NIP-70)")
    if _QUOTED_HYPHEN.search(content) is not None and not _is_readable(content):
        return Rejected(Prefix.BLOCKED, "what it reposts cannot be read, and may be protected (NIP-70)")
    return None


_HYPHENS: Final = ('-"', "-'", "-`", "-\\", "\\u002", "\\x2")
"""One of these is in whatever `_PROTECTING` or `_QUOTED_HYPHEN` find: to look for them costs next to nothing."""
_PROTECTING: Final = re.compile(r'\[\s*"(?:-|\\u002[dD])"')
"""The beginning of a list that begins with a hyphen, in any spelling that JSON has for one."""
_MARK: Final = r"""(?:["'`]|\\u002[27])"""
_QUOTED_HYPHEN: Final = re.compile(rf"{_MARK}(?:-|\\+u002[dD]|\\+x2[dD])\\*{_MARK}")
"""A hyphen in marks of any kind, for what is no JSON object, such as one that was encoded twice."""


def _is_readable(content: str) -> bool:
    """Return True for one JSON object whose tags, if it has any, are lists: all decoders read it alike."""
    embedded: object = None
    try:
        embedded = _decode_embedded(content)
    except RecursionError:
        return False
    except msgspec.DecodeError:
        if len(content) <= _MOST_READ_AGAIN:
            embedded = lenient(content.encode())  # some clients accept lone surrogates and huge numbers
    tags = embedded.get("tags", []) if isinstance(embedded, dict) else None
    return isinstance(tags, list) and all(isinstance(tag, list) for tag in tags)


_MOST_READ_AGAIN: Final = 65_536
"""Characters of a repost that is decoded by the standard library, which is slow."""


def _check_vanish(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if not rules.has_auth:
        return Rejected(Prefix.BLOCKED, "requests to vanish are not accepted here: this relay has no name (relay.url)")
    named = [tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "relay"]
    if not named:
        return invalid("a request to vanish names a relay, or ALL_RELAYS, in a relay tag (NIP-62)")
    if "ALL_RELAYS" not in named and not any(map(rules.is_named, _read(named))):
        return invalid("this request to vanish names other relays only (NIP-62)")
    return None


def _read(urls: list[str]) -> list[str]:
    """Return as many URLs as are compared within a turn or two: 25 µs each, up to 1 ms in letters of other scripts."""
    return [url for url in urls if url.isascii()][:_MOST_READ] + [url for url in urls if not url.isascii()][:_MOST_ODD]


_MOST_READ: Final = 200
_MOST_ODD: Final = 10


def _plan(kind: int, rules: Rules) -> tuple[Check, ...]:
    """Make the plan of a kind: the checks that can refuse it as the rules are now; kept until a list changes.

    Most kinds need few of the checks: they cost an event 0.8 µs together, where the whole table cost 4.4.
    """
    plan = rules.plans[kind] = tuple(check for check, is_needed, _, _ in CHECKS if is_needed(kind, rules))
    return plan


def _is_odd(kind: int, rules: Rules) -> bool:
    options, holds_any = rules.options, rules.lists.holds_any
    lists_kinds = options.denied_kinds or options.allowed_kinds
    return (
        kind in _UNWRAPPED
        or kind == CLIENT_AUTH
        or kind in rules.private_kinds
        or bool(lists_kinds)
        or holds_any(ListName.ALLOWED_KINDS)
        or holds_any(ListName.DISALLOWED_KINDS)
    )


def _is_choosy(kind: int, rules: Rules) -> bool:
    return kind in WRAPS or rules.is_closed or rules.has_bans


CHECKS: Final[tuple[tuple[Check, Callable[[int, Rules], bool], str, tuple[str, ...]], ...]] = (
    (_check_kind, _is_odd, "kind", (
        "policy.denied_kinds", "listdisallowedkinds", "policy.allowed_kinds", "listallowedkinds"
    )),
    (_check_age, lambda _kind, rules: rules.limits.created_at_behind > 0, "age", ("limits.created_at_behind",)),
    (_check_auth, lambda _kind, rules: rules.options.auth_to_write, "authentication", ("policy.auth_to_write",)),
    (_check_key, _is_choosy, "key", (
        "policy.denied_pubkeys", "listbannedpubkeys", "policy.allowed_pubkeys", "listallowedpubkeys",
        "policy.trust_depth", "members.members_write",
    )),
    (_check_request, lambda kind, rules: kind in REQUESTS and rules.has_membership, "request", ("members.enabled",)),
    (
        _check_list_of_events, lambda _kind, rules: rules.lists.holds_any(ListName.BANNED_EVENTS),
        "banned events", ("listbannedevents",),
    ),
    (
        _check_work, lambda _kind, rules: rules.options.min_pow_difficulty > 0,
        "work", ("policy.min_pow_difficulty",),
    ),
    (_check_rules_of_kind, lambda kind, rules: kind in rules.by_kind, "rules of the kind", ("policy.rules",)),
    (check_retention, is_bounded, "retention", RETENTION_SETTINGS),
    (_check_vanish, lambda kind, _rules: kind == VANISH, "request to vanish", ("relay.url",)),
    (_check_tags, lambda _kind, _rules: True, "expiry and protection", ()),
    (_check_words, lambda _kind, rules: bool(rules.words), "words", ("policy.denied_words",)),
)  # fmt: skip
"""The table: each check, the condition under which it can refuse a kind at all, what it is called, and what decides it:
settings, and methods of NIP-86 that list what operators decided. The order is that of refusals."""
