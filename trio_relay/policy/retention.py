"""Rules of what is kept for how long: tables `[[retention]]`, and bounds of the whole store. Pure.

The first rule whose selectors match an event governs it, and no other does. A rule without bounds keeps for ever what
it governs; what no rule governs is kept, too, unless a bound of the whole store is reached. What comes of that is
decided by `forgetting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.kinds import MAX_KIND, WRAPS
from trio_relay.policy.options import Kind, TagName

KindSpan: TypeAlias = Annotated[tuple[Kind, ...], Meta(min_length=2, max_length=2)]
"""All kinds from the first to the last. No `tuple[Kind, Kind]`: beside a number with bounds, msgspec 0.22 makes of that
a type that crashes the garbage collector."""
LEAST_BYTES: Final = 2**20
"""Of a bound in bytes: no event that is taken is nearly as long, so that none pushes all others out."""
MOST_KEYS: Final = 100_000
"""Authors who are remembered as having all that one of the rules lets them have, of all rules together."""
_ALL_KINDS: Final = 2 ** (MAX_KIND + 1) - 1


class RetentionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule: which events it governs, and how much of them is kept. A table [[retention]] of the configuration."""

    kinds: Annotated[
        tuple[Kind | KindSpan, ...],
        Meta(description="Kinds that it governs, and [from, to] for all between; empty: all kinds."),
    ] = ()
    except_kinds: Annotated[
        tuple[Kind | KindSpan, ...],
        Meta(description="Kinds that it leaves to the rules after it."),
    ] = ()
    authors: Annotated[
        Literal["all", "members", "trusted", "listed", "others"],
        Meta(
            description=(
                "Whose events it governs. members: those of members and admins; trusted: of keys that the web of trust"
                " reaches (policy.trust_depth); listed: of policy.allowed_pubkeys and NIP-86's list; others: of keys"
                " that are none of these. A gift wrap is judged by its p tags."
            )
        ),
    ] = "all"
    tags: Annotated[
        dict[TagName, Annotated[tuple[str, ...], Meta(min_length=1)]],
        Meta(
            description="It governs events that have one of the values for each of these tags, such as { t = ['x'] }."
        ),
    ] = {}
    max_age_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_TIME,
            description="Events that are older, by their created_at, go, and are refused when they come; 0: no bound.",
            extra={"unit": "seconds"},
        ),
    ] = 0
    max_per_key: Annotated[
        int,
        Meta(ge=0, description="Of each author so many stay, the newest; 0: no bound.", extra={"unit": "events"}),
    ] = 0
    max_events: Annotated[
        int,
        Meta(
            ge=0,
            description="Of all that it governs so many stay, the newest; 0: no bound.",
            extra={"unit": "events"},
        ),
    ] = 0
    max_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Of all that it governs so much stays, the newest, counted as JSON; 0: no bound, else 1 MiB at least."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 0

    @property
    def keeps_for_ever(self) -> bool:
        """True if it has no bound: what it governs is exempt from all that comes after it."""
        return not (self.max_age_seconds or self.counts)

    @property
    def counts(self) -> bool:
        """True if what becomes of an event depends on those that are newer."""
        return bool(self.max_per_key or self.max_events or self.max_bytes)


@dataclass(frozen=True, slots=True)
class Floors:
    """What had no more room when the store was last gone through: anything older would go again at once.

    Attributes:
        by_rule: by the place of a rule, from when on something is kept of what it governs; seconds since 1970.
        by_standing: the same of what the bounds of the whole store cut, by `forgetting.Standing`.
        bound: of these the one that was reached, such as `store.max_events`.
        by_key: by the place of a rule with `max_per_key`, then by the author's key of 32 bytes, the same for those who
            have as many as that; of `MOST_KEYS` of them, those whose last so many events are the newest.
    """

    by_rule: dict[int, int] = field(default_factory=dict)
    by_standing: dict[int, int] = field(default_factory=dict)
    bound: str = ""
    by_key: dict[int, dict[bytes, int]] = field(default_factory=dict)


NO_FLOORS: Final = Floors()


@dataclass(slots=True, eq=False)
class Retention:
    """All rules, and the bounds of the whole store.

    Attributes:
        rules: the first one that matches governs.
        max_events: of the whole store; 0: no bound.
        max_bytes: of the whole store, as JSON; 0: no bound.
        seconds: between two rounds.
        floors: of the last round; none before the first one.
    """

    rules: tuple[RetentionRule, ...] = ()
    max_events: int = 0
    max_bytes: int = 0
    seconds: float = 3_600.0
    floors: Floors = NO_FLOORS
    _by_kind: dict[int, tuple[tuple[int, RetentionRule], ...]] = field(init=False, default_factory=dict)
    _kinds: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._kinds = list(map(kinds_of, self.rules))

    def is_as(self, other: Retention) -> bool:
        """True if these rules and bounds let go what the others do."""
        own = (self.rules, self.max_events, self.max_bytes)
        return own == (other.rules, other.max_events, other.max_bytes)

    @property
    def bounds_all(self) -> bool:
        """True if the whole store has a bound."""
        return bool(self.max_events or self.max_bytes)

    @property
    def forgets(self) -> bool:
        """True if anything may ever go."""
        return self.bounds_all or not all(rule.keeps_for_ever for rule in self.rules)

    @property
    def counts(self) -> bool:
        """True if newer events have to be counted before it is known which of the older ones go."""
        return self.bounds_all or any(rule.counts for rule in self.rules)

    @property
    def weighs(self) -> bool:
        """True if the sizes of events play a part."""
        return bool(self.max_bytes) or any(rule.max_bytes for rule in self.rules)

    @property
    def least_age(self) -> int:
        """The shortest age, in seconds, at which an event may go; 0 if that may be any."""
        ages = [rule.max_age_seconds for rule in self.rules if rule.max_age_seconds]
        return 0 if self.counts else min(ages, default=0)

    @property
    def tagged_kinds(self) -> frozenset[int] | None:
        """The kinds of which tags play a part; None: all kinds."""
        if any(rule.tags for rule in self.rules):
            return None
        return WRAPS if self.bounds_all or any(rule.authors != "all" for rule in self.rules) else frozenset()

    def of_kind(self, kind: int) -> tuple[tuple[int, RetentionRule], ...]:
        """The rules that may govern an event of this kind, each with its place, in their order."""
        if (found := self._by_kind.get(kind)) is None:
            numbered = enumerate(self.rules)
            found = tuple((place, rule) for place, rule in numbered if self._kinds[place] >> kind & 1)
            self._by_kind[kind] = found
        return found


def kinds_of(rule: RetentionRule) -> int:
    """Return the kinds that a rule governs, as a number of which the bit of each kind is set."""
    return (_bits(rule.kinds) if rule.kinds else _ALL_KINDS) & ~_bits(rule.except_kinds)


def _bits(kinds: Iterable[Kind | KindSpan]) -> int:
    bits = 0
    for one in kinds:
        first, last = (one, one) if isinstance(one, int) else one
        bits |= (1 << last + 1) - (1 << first)
    return bits


def fault_of(rules: Sequence[RetentionRule], *, has_members: bool, has_trust: bool, has_list: bool) -> str | None:
    """Return what is wrong with the rules, as a sentence, or None.

    Args:
        rules: in their order.
        has_members: True if there can be members.
        has_trust: True if there is a web of trust.
        has_list: True if the configuration lists keys that may write, or operators can list some.
    """
    needs = {
        "members": (has_members, "members.enabled"),
        "trusted": (has_trust, "policy.trust_depth"),
        "listed": (has_list, "policy.allowed_pubkeys, or policy.admins, who can list keys"),
    }
    for place, rule in enumerate(rules):
        for one in (*rule.kinds, *rule.except_kinds):
            if not isinstance(one, int) and one[0] > one[1]:
                return f"rule {place + 1}: [{one[0]}, {one[1]}] ends before it begins"
        if not kinds_of(rule):
            return f"rule {place + 1}: except_kinds leaves it no kind"
        is_there, setting = needs.get(rule.authors, (True, ""))
        if not is_there:
            return f'rule {place + 1}: authors = "{rule.authors}" needs {setting}'
        if 0 < rule.max_bytes < LEAST_BYTES:
            return f"rule {place + 1}: max_bytes is 0 or {LEAST_BYTES} at least"
        if (before := next((n for n in range(place) if covers(rules[n], rule)), None)) is not None:
            return f"rule {place + 1} governs nothing: rule {before + 1} governs all that it selects"
    return None


def covers(rule: RetentionRule, other: RetentionRule) -> bool:
    """Return True if a rule surely selects all that the other one does."""
    return (
        not kinds_of(other) & ~kinds_of(rule)
        and rule.authors in ("all", other.authors)
        and all(set(other.tags.get(name, ())) and set(other.tags[name]) <= set(rule.tags[name]) for name in rule.tags)
    )
