"""What the tests of the policy share: rules made of a few words, and verdicts as texts."""

from __future__ import annotations

from typing import Any

from tests.support.keys import NOW, Author
from trio_relay import Event, Limits, MemberOptions, PolicyOptions, RelayInfo, Rules
from trio_relay.policy.event_checks import check_event
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import Change, ListEntry, ListName
from trio_relay.policy.sentences import Sentences, sentences_of

URL = "wss://relay.example/"


def rules_of(
    limits: Limits | None = None,
    *,
    url: str = URL,
    operator: str = "",
    members: MemberOptions | None = None,
    **policy: Any,
) -> Rules:
    """Rules of a relay with this name and this operator's key; `policy` are the fields of `PolicyOptions`."""
    info = RelayInfo(pubkey=operator)
    return Rules(limits or Limits(), PolicyOptions(**policy), members or MemberOptions(), info, url)


def listed(rules: Rules, name: ListName, *items: str, until: int | None = None) -> Rules:
    """The same rules, these items put on a list."""
    rules.apply([Change(name, item, ListEntry(until=until)) for item in items])
    return rules


def identity(*keys: Author) -> Identity:
    """Who has authenticated these keys."""
    return Identity(keys={key.pubkey for key in keys})


def verdict(event: Event, rules: Rules, who: Identity | None = None, size: int = 0) -> str | None:
    """Why the event is refused, or None."""
    refusal = check_event(event, who or Identity(), rules, NOW, size)
    return None if refusal is None else str(refusal)


def said_of(rules: Rules) -> Sentences:
    """What people are told of the rules."""
    return sentences_of(rules, NOW)
