"""Checks of filters: which requests a client may make. `nostr.access` decides which events an answer may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import WRAPS
from trio_relay.policy.identity import Identity
from trio_relay.policy.rules import Rules


def check_filters(filters: Sequence[Filter], identity: Identity, rules: Rules, now: int) -> Rejected | None:
    """Return None if the client may ask these filters, else why not.

    A filter that can match only private events of others is refused as a whole, so that the client learns what to do;
    broader filters are answered without private events.

    Args:
        filters: of one REQ, COUNT or NEG-OPEN.
        identity: who asks.
        rules: what is allowed.
        now: seconds since 1970.
    """
    for check, _ in FILTER_CHECKS:
        if (refusal := check(filters, identity, rules, now)) is not None:
            return refusal
    return None


def _check_auth(filters: Sequence[Filter], identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if rules.options.auth_to_read and not identity.keys:
        return Rejected(Prefix.AUTH_REQUIRED, "only authenticated clients may read here")
    return None


def _check_members(filters: Sequence[Filter], identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if rules.may_read(identity.keys, now):
        return None
    return Rejected(Prefix.RESTRICTED if identity.keys else Prefix.AUTH_REQUIRED, "only members may read here")


def _check_private(filters: Sequence[Filter], identity: Identity, rules: Rules, now: int) -> Rejected | None:
    if not all(_is_private(filter_, rules) for filter_ in filters):
        return None
    if not identity.keys:
        if not rules.has_auth:
            return Rejected(
                Prefix.RESTRICTED, "private events are not served here: clients cannot authenticate (relay.url)"
            )
        return Rejected(Prefix.AUTH_REQUIRED, "private events are served to their authors and recipients only")
    if not any(_could_match(filter_, identity) for filter_ in filters):
        return Rejected(Prefix.RESTRICTED, "these events are for keys other than the authenticated ones")
    return None


def _is_private(filter_: Filter, rules: Rules) -> bool:
    return filter_.kinds is not None and bool(filter_.kinds) and filter_.kinds <= rules.private_kinds


def _could_match(filter_: Filter, identity: Identity) -> bool:
    """Return True unless the filter itself asks only for what its readers may not read."""
    named = [values for letter, values in filter_.tags if letter == "p"]
    if not named or any(not values.isdisjoint(identity.keys) for values in named):
        return True  # of several sets that all count (NIP-91), one names a key of the reader's: that is enough
    # What somebody wrote to others is theirs to read, but for wraps, which have no author.
    is_author = filter_.authors is None or not filter_.authors.isdisjoint(identity.keys)
    return is_author and filter_.kinds is not None and not filter_.kinds <= WRAPS


FilterCheck: TypeAlias = Callable[[Sequence[Filter], Identity, Rules, int], Rejected | None]

FILTER_CHECKS: Final[tuple[tuple[FilterCheck, tuple[str, ...]], ...]] = (
    (_check_auth, ("policy.auth_to_read",)),
    (_check_members, ("members.members_read",)),
    (_check_private, ("policy.private_kinds",)),
)
"""Each check with the settings that decide it, for whoever asks why; the order is that of refusals."""
