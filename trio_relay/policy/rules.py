"""Rules: everything that the checks depend on, as it is now: options, limits, operators' lists, trusted keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.relay_info import RelayInfo
from trio_relay.nostr.urls import entrances, same_relay
from trio_relay.policy.lists import Change, ListName, Lists, granted
from trio_relay.policy.options import KindRule, MemberOptions, PolicyOptions
from trio_relay.policy.rate_options import RateOptions
from trio_relay.policy.retention import Floors, Retention


@dataclass(slots=True, eq=False)
class Rules:
    """The rules for events and requests: read everywhere, their lists changed by `ModerationState` alone.

    Attributes:
        limits: limits of sizes and numbers.
        options: the table `policy` of the configuration.
        members: the table `members` of the configuration.
        info: how the relay describes itself.
        relay_url: the URL by which clients know this relay; empty: NIPs 42, 62, 70 and 86 are off.
        has_search: False: filters that search for words are refused.
        search_prefix: of how many characters or more the last word of a search may be the beginning of one; 0: never.
        has_sync: False: sync (NIP-77) is refused.
        signer: the relay's own pubkey (NIP-43); empty if it signs nothing.
        admins: keys that manage the relay, may always write, and read what members read.
        lists: the operators' lists.
        trusted: keys that the web of trust reaches; None: all keys are trusted.
        also_known_as: other URLs of this relay, which count where `relay_url` does.
        rates: the table `rates` of the configuration.
        retention: what is kept for how long.
        entrances: all URLs at which clients may have connected to it, or sent a request to; `relay_url` comes first.
        by_kind: the rules of `options.rules`, by kind.
        private_kinds: kinds that are served to their authors and recipients only.
        words: those of `options.denied_words` and of the operators' list, in the form that contents are searched in,
            and until when each counts, in seconds since 1970; None: for good.
    """

    limits: Limits = field(default_factory=Limits)
    options: PolicyOptions = field(default_factory=PolicyOptions)
    members: MemberOptions = field(default_factory=MemberOptions)
    info: RelayInfo = field(default_factory=RelayInfo)
    relay_url: str = ""
    has_search: bool = True
    search_prefix: int = 2
    has_sync: bool = True
    signer: str = ""
    lists: Lists = field(default_factory=Lists)
    trusted: AbstractSet[str] | None = None
    also_known_as: tuple[str, ...] = ()
    rates: RateOptions = field(default_factory=RateOptions)
    retention: Retention = field(default_factory=Retention)
    entrances: tuple[str, ...] = field(init=False)
    admins: frozenset[str] = field(init=False)
    by_kind: dict[int, list[KindRule]] = field(init=False)
    private_kinds: frozenset[int] = field(init=False)
    words: tuple[tuple[str, int | None], ...] = field(init=False)
    plans: dict[int, tuple[Callable[..., Rejected | None], ...]] = field(init=False, default_factory=dict)
    """By kind, the checks that can refuse anything (see `event_checks`); `apply` clears them."""
    _denied: frozenset[str] = field(init=False)
    _allowed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.entrances = entrances(self.names)
        self._derive()

    def _derive(self) -> None:
        self.admins = frozenset({*self.options.admins, *filter(None, [self.info.pubkey])})
        self.by_kind = {}
        for rule in self.options.rules:
            for kind in rule.kinds:
                self.by_kind.setdefault(kind, []).append(rule)
        self.private_kinds = frozenset(self.options.private_kinds)
        self._denied = frozenset(self.options.denied_pubkeys)
        self._allowed = frozenset(self.options.allowed_pubkeys)
        self._derive_words()

    def _derive_words(self) -> None:
        configured = [(word.casefold(), None) for word in self.options.denied_words]
        listed = [(word, entry.until) for word, entry in self.lists.entries(ListName.DENIED_WORDS, 0).items()]
        self.words = (*configured, *listed)

    def take_options(self, options: PolicyOptions) -> None:
        """Go by another table `policy` from now on."""
        self.options = options
        self._derive()
        self.plans.clear()

    def go_by(self, other: Rules) -> None:
        """Go by the configuration of other rules from now on; what was decided and found at run time stays.

        Args:
            other: of another configuration; nobody else goes by them.
        """
        self.limits, self.members, self.info, self.rates = other.limits, other.members, other.info, other.rates
        self.relay_url, self.also_known_as, self.entrances = other.relay_url, other.also_known_as, other.entrances
        self.has_search, self.search_prefix, self.has_sync = other.has_search, other.search_prefix, other.has_sync
        if self.retention.is_as(other.retention):
            self.retention.seconds = other.retention.seconds
        else:  # what had no more room by the rules so far may have it by these
            self.retention = other.retention
        self.take_options(other.options)

    def take_floors(self, floors: Floors) -> None:
        """Refuse from now on what had no more room when the store was last gone through."""
        self.retention.floors = floors
        self.plans.clear()

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        """Change the lists, for checks from now on; returns what undoes it. Only `ModerationState` may call this."""
        undoing = self.lists.apply(changes)
        if any(change.name is ListName.DENIED_WORDS for change in undoing):
            self._derive_words()
        self.plans.clear()
        return undoing

    def load(self, metadata: Mapping[str, bytes]) -> None:
        """Replace the lists by what the store has. Only `ModerationState` may call this."""
        self.lists.load(metadata)
        self._derive_words()
        self.plans.clear()

    @property
    def names(self) -> tuple[str, ...]:
        """The URLs by which clients know this relay, the public one first; none if it has no name."""
        return (self.relay_url, *self.also_known_as) if self.relay_url else ()

    def is_named(self, url: str) -> bool:
        """Return True if this URL names this relay."""
        return any(same_relay(url, name) for name in self.names)

    @property
    def has_bans(self) -> bool:
        """True if some keys may not write."""
        return bool(self._denied) or self.lists.holds_any(ListName.BANNED_PUBKEYS)

    @property
    def has_auth(self) -> bool:
        """True if clients can authenticate."""
        return bool(self.relay_url)

    @property
    def challenges_at_once(self) -> bool:
        """True if clients get their challenge when they connect, not when something first asks for authentication."""
        options, members = self.options, self.members
        keeps_to_members = members.enabled and members.members_read
        is_always_needed = options.auth_to_read or options.auth_to_write or keeps_to_members
        return self.has_auth and (options.challenge == "connect" or is_always_needed)

    @property
    def has_membership(self) -> bool:
        """True if clients can ask to join (NIP-43)."""
        return self.members.enabled and self.has_auth

    @property
    def is_managed(self) -> bool:
        """True if there are admins, and a URL that their requests can be signed for (NIP-86, NIP-98)."""
        return self.has_auth and bool(self.admins)

    @property
    def is_closed(self) -> bool:
        """True if only some keys may write, for whatever reason."""
        return bool(
            self._allowed
            or self.lists.holds_any(ListName.ALLOWED_PUBKEYS)
            or self.options.trust_depth
            or (self.members.enabled and self.members.members_write)
        )

    def is_member(self, pubkey: str, now: float) -> bool:
        """Return True for members and for admins, who need not join."""
        return pubkey in self.admins or self.lists.get(ListName.MEMBERS, pubkey, now) is not None

    def is_listed(self, pubkey: str, now: float) -> bool:
        """Return True for keys that the operator allows by name, in the configuration or at run time."""
        return pubkey in self._allowed or self.lists.get(ListName.ALLOWED_PUBKEYS, pubkey, now) is not None

    def is_trusted(self, pubkey: str) -> bool:
        """Return True for keys that the web of trust reaches; False for all where there is none."""
        return self.trusted is not None and pubkey in self.trusted

    def is_known(self, pubkey: str, now: float) -> bool:
        """Return True for keys that the operators, the members or the web of trust vouch for: others cost nothing."""
        return self.is_member(pubkey, now) or self.is_listed(pubkey, now) or self.is_trusted(pubkey)

    def is_banned(self, pubkey: str, now: float) -> bool:
        """Return True if this key is banned from writing."""
        return pubkey in self._denied or self.lists.get(ListName.BANNED_PUBKEYS, pubkey, now) is not None

    def may_manage(self, pubkey: str, now: float) -> bool:
        """Return True for admins, and for keys to which a method was assigned (NIP-86) and that are not banned."""
        if pubkey in self.admins:
            return True
        return not self.is_banned(pubkey, now) and bool(granted(self.lists, ListName.METHODS, pubkey, now))

    def may_write(self, pubkey: str, now: float) -> bool:
        """Return True unless only some keys may write and this is none of them."""
        if pubkey in self.admins or pubkey == self.signer or not self.is_closed:
            return True
        if self.is_listed(pubkey, now) or self.is_trusted(pubkey):
            return True
        return self.members.enabled and self.members.members_write and self.is_member(pubkey, now)

    def may_read(self, keys: Iterable[str], now: float) -> bool:
        """Return True unless only members may read and none of these keys is a member that is not banned."""
        if not (self.members.enabled and self.members.members_read):
            return True
        return any(self.is_member(key, now) and not self.is_banned(key, now) for key in keys)
