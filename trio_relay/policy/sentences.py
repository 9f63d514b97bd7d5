"""Who may write and read, in sentences for people, made from the rules as they are now (pure).

A sentence is there because a check is: each of those in `event_checks` and `filter_checks` that can refuse what an
honest client sends has one here, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from trio_relay.nostr.kinds import NOTE
from trio_relay.policy.lists import ListName
from trio_relay.policy.options import KindRule
from trio_relay.policy.retention import Retention, RetentionRule
from trio_relay.policy.rules import Rules

_MOST_KINDS: Final = 40
"""Kinds that a sentence names; an operator may list thousands."""
_MOST_RULES: Final = 20
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Sentences(NamedTuple):
    """What may be done, a sentence each.

    Attributes:
        writing: who may publish, and what.
        reading: who may ask for what is stored and what comes.
        keeping: what is kept for how long; nothing where all is kept for good.
    """

    writing: list[str]
    reading: list[str]
    keeping: list[str]


def sentences_of(rules: Rules, now: float, *, judges_events: bool = False, judges_filters: bool = False) -> Sentences:
    """Put the rules in words.

    Args:
        rules: as they are now.
        now: seconds since 1970.
        judges_events: True if plugins or hooks of the operator's judge events, too.
        judges_filters: the same of what is asked.
    """
    writing = [*_who_writes(rules), *_what_is_taken(rules, now), *_rules_of_kinds(rules), *_limits_of_age(rules)]
    if judges_events:
        writing.append("Programs of the operator judge events, too.")
    reading = list(_who_reads(rules))
    if judges_filters:
        reading.append("Programs of the operator judge requests, too.")
    return Sentences(writing, reading, list(_what_is_kept(rules.retention)))


def _who_writes(rules: Rules) -> Iterator[str]:
    options, members = rules.options, rules.members
    if rules.is_closed:
        yield f"Only {_joined(_writers(rules), 'and')} may publish."
        if members.enabled and members.receive_kinds:
            kinds = _kinds(members.receive_kinds)
            yield f"Anybody else may publish {kinds} where it names a member in a p tag, such as a reply."
    else:
        yield "Anybody may publish."
    if rules.has_membership:
        yield "A key becomes a member by a code that it is given (NIP-43)."
    if options.auth_to_write:
        yield "Clients have to authenticate before they publish (NIP-42)."
        if not rules.has_auth:
            yield "They cannot do that here yet, so nobody can publish: the relay's address is not set."
    if rules.has_bans:
        yield "Keys that the operator has banned may not publish."
    if options.min_pow_difficulty:
        yield f"Events must show work of {options.min_pow_difficulty} leading zero bits (NIP-13)."
    if rules.words:
        yield "Some words are refused."


def _writers(rules: Rules) -> Iterator[str]:
    options = rules.options
    if options.allowed_pubkeys or rules.lists.holds_any(ListName.ALLOWED_PUBKEYS):
        yield "keys that the operator has listed"
    if options.trust_depth:
        follows = "a follow" if options.trust_depth == 1 else f"{options.trust_depth} follows"
        yield f"keys within {follows} of the operator's own"
    if rules.members.enabled and rules.members.members_write:
        yield "members"
    yield "those who manage the relay"


def _what_is_taken(rules: Rules, now: float) -> Iterator[str]:
    options, lists = rules.options, rules.lists
    if options.allowed_kinds or lists.holds_any(ListName.ALLOWED_KINDS):
        allowed = {*options.allowed_kinds, *map(int, lists.entries(ListName.ALLOWED_KINDS, now))}
        yield f"Only {_kinds(allowed)} {_is(allowed)} accepted." if allowed else "No kind is accepted at present."
    if denied := {*options.denied_kinds, *map(int, lists.entries(ListName.DISALLOWED_KINDS, now))}:
        yield f"Events of {_kinds(denied)} are not accepted."
    if rules.private_kinds and not rules.has_auth:
        yield f"Private events, {_kinds(rules.private_kinds)}, are not accepted: clients cannot authenticate here."


def _rules_of_kinds(rules: Rules) -> Iterator[str]:
    given = rules.options.rules
    for rule in given[:_MOST_RULES]:
        if asked := list(_asked_by(rule)):
            yield f"Events of {_kinds(rule.kinds)} must {_joined(asked, 'and')}."
    if len(given) > _MOST_RULES:
        yield f"There are {len(given) - _MOST_RULES} more rules for single kinds."


def _asked_by(rule: KindRule) -> Iterator[str]:
    if rule.max_content_length is not None:
        yield f"have a content of {rule.max_content_length:,} characters at most"
    if rule.max_age is not None:
        yield f"be no older than {span(rule.max_age)}"
    if rule.required_tags:
        tags = "the tag" if len(rule.required_tags) == 1 else "the tags"
        yield f"carry {tags} {_joined(list(map(repr, rule.required_tags)), 'and')}"


def _limits_of_age(rules: Rules) -> Iterator[str]:
    ahead, behind = rules.limits.created_at_ahead, rules.limits.created_at_behind
    yield f"The time of an event may lie {span(ahead)} ahead of the relay's clock at most."
    if behind:
        yield f"It may lie {span(behind)} back at most; that of gift wraps at least two days and an hour."


def _who_reads(rules: Rules) -> Iterator[str]:
    members = rules.members
    keeps_to_members = members.enabled and members.members_read
    if keeps_to_members:
        yield "Only members and those who manage the relay may read; they have to authenticate (NIP-42)."
    elif rules.options.auth_to_read:
        yield "Only clients that have authenticated may read (NIP-42)."
    else:
        yield "Anybody may read."
    if (keeps_to_members or rules.options.auth_to_read) and not rules.has_auth:
        yield "Nobody can authenticate here yet, so nobody can read: the relay's address is not set."
    if rules.private_kinds:
        yield (
            f"Private events, {_kinds(rules.private_kinds)}, are served to those alone whom they concern, and who have"
            " authenticated."
        )


def _what_is_kept(retention: Retention) -> Iterator[str]:
    if not retention.forgets:
        return
    for place in range(len(retention.rules[:_MOST_RULES])):
        yield rule_in_words(retention, place)
    if len(retention.rules) > _MOST_RULES:
        yield f"There are {len(retention.rules) - _MOST_RULES} more rules of what is kept."
    if retention.bounds_all:
        yield WHOLE_STORE_IN_WORDS


WHOLE_STORE_IN_WORDS: Final = (
    "Where the whole relay has no more room, the oldest events of keys that it does not know go first."
)


def rule_in_words(retention: Retention, place: int) -> str:
    """Put a rule of retention, by its place, in words."""
    rule = retention.rules[place]
    return f"{_governed(rule, is_first=place == 0)} are kept{_bounds(rule)}."


def _governed(rule: RetentionRule, *, is_first: bool) -> str:
    if rule.kinds == (NOTE,):
        what = "Notes"
    elif rule.kinds:
        what = f"Events of {_spans(rule.kinds)}"
    else:
        what = "All events" if is_first else "All other events"
    whose = f" of {_AUTHORS[rule.authors]}" if rule.authors != "all" else ""
    marked = " with some tags" if rule.tags else ""
    left_out = f", but of {_spans(rule.except_kinds)}," if rule.except_kinds else ""
    return f"{what}{whose}{marked}{left_out}"


_AUTHORS: Final = {
    "members": "members",
    "trusted": "trusted keys",
    "listed": "listed keys",
    "others": "keys that the relay does not know",
}


def _bounds(rule: RetentionRule) -> str:
    if rule.keeps_for_ever:
        return " for good"
    age = f" for {span(rule.max_age_seconds)}" if rule.max_age_seconds else ""
    most = []
    if rule.max_per_key:
        most.append(f"the newest {rule.max_per_key:,} of each author")
    if rule.max_events:
        most.append(f"the newest {rule.max_events:,} of all")
    if rule.max_bytes:
        most.append(f"the newest that fit into {rule.max_bytes:,} bytes")
    return f"{age}{', ' if age else ': '}{_joined(most, 'and')}" if most else age


def _spans(kinds: Sequence[int | tuple[int, ...]]) -> str:
    named = [str(one) if isinstance(one, int) else f"{one[0]} to {one[-1]}" for one in kinds[:_MOST_KINDS]]
    if len(kinds) > _MOST_KINDS:
        named.append(f"{len(kinds) - _MOST_KINDS:,} more")
    is_one = len(kinds) == 1 and isinstance(kinds[0], int)
    return f"kind{'' if is_one else 's'} {_joined(named, 'and')}"


def span(seconds: int) -> str:
    """Put a length of time in words: the largest unit that it is a whole number of."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds % size == 0), _UNITS[-1])
    if not seconds:
        return "0 seconds"
    number = seconds // size
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _kinds(kinds: Iterable[int]) -> str:
    known = sorted(set(kinds))
    named = [str(kind) for kind in known[:_MOST_KINDS]]
    if len(known) > _MOST_KINDS:
        named.append(f"{len(known) - _MOST_KINDS:,} more")
    return f"kind{'' if len(known) == 1 else 's'} {_joined(named, 'and')}"


def _is(kinds: Iterable[int]) -> str:
    return "is" if len(set(kinds)) == 1 else "are"


def _joined(parts: Iterable[str], word: str) -> str:
    *others, last = parts
    return f"{', '.join(others)} {word} {last}" if others else last
