"""The overlay: what this relay has written and searches do not see yet, so that clients find what they wrote.

A layer holds the newest states of the records written between two refreshes. A refresh that begins after a layer was
sealed covers it, and the layer is dropped. A query keeps the layers that were there when it began, in case its search
does not see yet what they hold.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.filter import Filter
from trio_relay.store.opensearch.documents import Document, expires_of, tag_term, tag_terms

MOST_KNOWN: Final = 50_000
_KEY_BYTES: Final = 450
"""Bytes, roughly, that one more key of an event takes: its text and its places in two dicts."""
_SECONDS_KNOWN: Final = 60.0
"""How long an id is remembered as stored: a client of another relay may have deleted it."""
_Key: TypeAlias = str
"""An id, a pubkey or a `tag_term`, which cannot be mistaken for each other."""
_Place: TypeAlias = tuple[int, str, str]
"""The position of a state in NIP-01's order, and its slot."""


class State(NamedTuple):
    """The state of a record after this relay wrote it."""

    version: int
    event: Event | None
    json: bytes
    expires: int = -1
    """See `Document`."""

    @property
    def key(self) -> tuple[int, str]:
        """The position of its event in NIP-01's order."""
        assert self.event is not None
        return -self.event.created_at, self.event.id

    def has_expired(self, now: int | None) -> bool:
        """Return True if its event has expired at this time, in seconds since 1970."""
        return now is not None and 0 <= self.expires <= now


@dataclass(slots=True, eq=False)
class Layer:
    """A layer: states by slot, and slots by the keys under which their events can be found.

    Under a kind, and for filters without any key, slots are kept in NIP-01's order, so that a filter with a small limit
    looks at few of them.
    """

    states: dict[str, State] = field(default_factory=dict)
    slots: dict[_Key, dict[str, None]] = field(default_factory=dict)
    ordered: dict[int | None, list[_Place]] = field(default_factory=lambda: {None: []})
    bytes: int = 0

    def put(self, slot: str, state: State, terms: Iterable[str] | None = None) -> None:
        """Set the state of a record; `terms` are its event's `tag_terms`, if they are known already."""
        if (old := self.states.get(slot)) is not None and old.event is not None:
            self._remove(slot, old, old.event)
        self.states[slot] = state
        if state.event is not None:
            self._add(slot, state, state.event, tag_terms(state.event) if terms is None else terms)

    def _add(self, slot: str, state: State, event: Event, terms: Iterable[str]) -> None:
        keys = (event.id, event.pubkey, *terms)
        self.bytes += len(state.json) + _KEY_BYTES * len(keys)
        for key in keys:
            self.slots.setdefault(key, {})[slot] = None
        for kind in (event.kind, None):
            insort(self.ordered.setdefault(kind, []), (*state.key, slot))

    def _remove(self, slot: str, state: State, event: Event) -> None:
        keys = (event.id, event.pubkey, *tag_terms(event))
        self.bytes -= len(state.json) + _KEY_BYTES * len(keys)
        for key in keys:
            del self.slots[key][slot]
        for kind in (event.kind, None):
            places = self.ordered[kind]
            del places[bisect_left(places, (*state.key, slot))]

    def candidates(self, filter_: Filter) -> Iterator[str]:
        """Return the slots of events that a filter may match, in NIP-01's order; not all of them do match."""
        if filter_.ids is not None:
            return self._under(filter_.ids)
        if filter_.tags:
            letter, values = min(filter_.tags, key=lambda tag: len(tag[1]))
            return self._under([tag_term(letter, value) for value in values])
        if filter_.authors is not None:
            return self._under(filter_.authors)
        kinds = [None] if filter_.kinds is None else filter_.kinds
        return (slot for *_, slot in merge(*(_within(self.ordered.get(kind, []), filter_) for kind in kinds)))

    def _under(self, keys: Iterable[_Key]) -> Iterator[str]:
        found: dict[str, None] = {}
        for key in keys:
            found.update(self.slots.get(key, {}))
        return iter(sorted(found, key=lambda slot: self.states[slot].key))


def _within(places: list[_Place], filter_: Filter) -> list[_Place]:
    """Return the places within a filter's `since` and `until`."""
    first = 0 if filter_.until is None else bisect_left(places, (-filter_.until, "", ""))
    end = len(places) if filter_.since is None else bisect_left(places, (1 - filter_.since, "", ""))
    return places[first:end] if first or end < len(places) else places


class Recent:
    """The layers as they were at one moment, newest first; a newer state of a record hides an older one."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def state(self, slot: str) -> State | None:
        """Return the newest state of a record, or None."""
        return next((state for layer in self._layers if (state := layer.states.get(slot)) is not None), None)

    def matching(self, filter_: Filter, now: int | None = None) -> list[State]:
        """Return the states whose event matches, in NIP-01's order, up to the filter's limit.

        Args:
            filter_: the filter.
            now: seconds since 1970: events that have expired by then do not match; None: expired ones match, too.
        """
        found: list[State] = []
        for place, layer in enumerate(self._layers):
            found += islice(self._matching_in(layer, self._layers[:place], filter_, now), filter_.limit)
        found.sort(key=lambda state: state.key)
        return found[: filter_.limit]

    @staticmethod
    def _matching_in(layer: Layer, newer: Sequence[Layer], filter_: Filter, now: int | None) -> Iterator[State]:
        for slot in layer.candidates(filter_):
            state = layer.states[slot]
            assert state.event is not None
            is_meant = filter_.matches(state.event) and not state.has_expired(now)
            if is_meant and not any(slot in other.states for other in newer):
                yield state

    def hides(self, slot: str, version: int) -> bool:
        """Return True if this relay has written a newer state than the one that a search found."""
        state = self.state(slot)
        return state is not None and state.version >= version


class Overlay:
    """All layers, and the ids that were lately written or found to be stored."""

    def __init__(self) -> None:
        self._layers = [Layer()]
        self._known: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(len(layer.states) for layer in self._layers)

    @property
    def bytes(self) -> int:
        """The memory that its events and their keys take, roughly."""
        return sum(layer.bytes for layer in self._layers)

    def put(
        self, slot: str, version: int, event: Event | None, made: Document | None = None, *, json: str = ""
    ) -> bool:
        """Note that a record has been written; returns False if a newer state is known already.

        Args:
            slot: the record's.
            version: the version of its new state.
            event: the event in it now, or None.
            made: the event's document if it was just made, to save making its parts again.
            json: the event's JSON, if that is at hand alone.
        """
        if self.recent().hides(slot, version + 1):
            return False
        if event is None:
            self._layers[0].put(slot, State(version, None, b""))
        elif made is None:
            encoded = json.encode() if json else encode(event)
            self._layers[0].put(slot, State(version, event, encoded, expires_of(event)))
        else:
            self._layers[0].put(slot, State(version, event, made.event.encode(), made.expires), made.tags)
        return True

    def recent(self) -> Recent:
        """Return what a query that begins now has to merge with what it finds."""
        return Recent([layer for layer in self._layers if layer.states])

    def seal(self) -> Layer:
        """Begin a new layer; a refresh that begins now covers the returned layer and all older ones."""
        if not self._layers[0].states and len(self._layers) > 1:
            return self._layers[1]  # nothing was written since the last refresh, which failed
        sealed = self._layers[0]
        self._layers.insert(0, Layer())
        return sealed

    def drop(self, sealed: Layer) -> None:
        """Drop a sealed layer and all older ones, once a refresh has covered them."""
        if sealed in self._layers:
            del self._layers[self._layers.index(sealed) :]

    def know(self, event_id: str, now: float) -> None:
        """Remember that this id is stored."""
        self._known.pop(event_id, None)
        self._known[event_id] = now
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def forget(self, event_id: str) -> None:
        """Forget that this id is stored."""
        self._known.pop(event_id, None)

    def known(self, ids: Iterable[str], now: float) -> set[str]:
        """Return those of the ids that were lately known to be stored."""
        return {event_id for event_id in ids if self._known.get(event_id, -_SECONDS_KNOWN) > now - _SECONDS_KNOWN}
