"""What this relay has written and no search sees yet, against a twin that remembers every write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.oracles import naive_match
from tests.support.strategies import events, filters
from trio_relay import Filter
from trio_relay.nostr.event import Event, encode, single_letter_tags
from trio_relay.store.opensearch import recent
from trio_relay.store.opensearch.documents import document
from trio_relay.store.opensearch.recent import Layer, Overlay, State

SLOTS = ["a", "b", "c"]


@dataclass
class Twin:
    """All writes that no refresh has covered, oldest first: generation, slot, version, event."""

    writes: list[tuple[int, str, int, Event | None]] = field(default_factory=list)
    generation: int = 0

    def newest(self, slot: str) -> tuple[int, Event | None] | None:
        of_slot = [(version, event) for _, other, version, event in self.writes if other == slot]
        return max(of_slot, key=lambda write: write[0]) if of_slot else None

    def standing(self) -> list[Event]:
        newest = [self.newest(slot) for slot in SLOTS]
        return [write[1] for write in newest if write is not None and write[1] is not None]


class Play:
    """Carries the same steps out on both."""

    def __init__(self) -> None:
        self.real, self.twin = Overlay(), Twin()
        self.sealed: list[tuple[Layer, int]] = []
        self.versions = dict.fromkeys(SLOTS, 0)

    def put(self, slot: str, event: Event | None) -> None:
        self.versions[slot] += 1
        self.real.put(slot, self.versions[slot], event)
        self.twin.writes.append((self.twin.generation, slot, self.versions[slot], event))

    def seal(self) -> None:
        self.sealed.append((self.real.seal(), self.twin.generation))
        self.twin.generation += 1

    def drop(self, place: int) -> None:
        if self.sealed:
            layer, generation = self.sealed[place % len(self.sealed)]
            self.real.drop(layer)
            self.twin.writes = [write for write in self.twin.writes if write[0] > generation]


steps = st.lists(
    st.tuples(st.just("put"), st.sampled_from(SLOTS), st.none() | events())
    | st.tuples(st.just("seal"))
    | st.tuples(st.just("drop"), st.integers(0, 9)),
    max_size=25,
)


@pytest.mark.slow
@given(steps, st.data())
def test_it_knows_the_newest_state_of_each_register_that_no_refresh_has_covered(
    history: Sequence[tuple[str, ...]], data: st.DataObject
) -> None:
    play = Play()
    for name, *arguments in history:
        getattr(play, name)(*arguments)
    recent = play.real.recent()
    for slot in SLOTS:
        newest = play.twin.newest(slot)
        state = recent.state(slot)
        assert newest == (None if state is None else (state.version, state.event))
        for version in range(play.versions[slot] + 2):
            assert recent.hides(slot, version) == (newest is not None and version <= newest[0])
    one = data.draw(filters(play.twin.standing()))
    expected = sorted(
        (event for event in play.twin.standing() if naive_match(one, event)),
        key=lambda event: (-event.created_at, event.id),
    )[: one.limit]
    assert [state.event for state in recent.matching(one)] == expected
    assert [state.json for state in recent.matching(one)] == list(map(encode, expected))
    newest_a_layer = {(generation, slot): event for generation, slot, _, event in play.twin.writes}
    assert len(play.real) == len(newest_a_layer)
    assert play.real.bytes == sum(
        len(encode(event)) + 450 * (2 + len(single_letter_tags(event)))
        for event in newest_a_layer.values()
        if event is not None
    )


def test_an_answer_that_comes_late_does_not_hide_what_was_written_after_it() -> None:
    first, second = made_up("first"), made_up("second")
    real = Overlay()
    real.put("a", 2, second)
    real.put("a", 1, first)
    assert real.recent().state("a") == State(2, second, encode(second))
    assert [state.event for state in real.recent().matching(Filter())] == [second]
    assert real.recent().matching(Filter(ids=frozenset([first.id]))) == []


def test_nor_does_one_that_comes_after_a_refresh_has_begun() -> None:
    real = Overlay()
    real.put("a", 2, None)
    real.seal()
    real.put("a", 1, made_up())
    assert real.recent().state("a") == State(2, None, b"")
    assert real.recent().matching(Filter()) == []


def test_a_query_keeps_what_stood_when_it_began() -> None:
    first, second = made_up("first"), made_up("second")
    real = Overlay()
    real.put("a", 1, first)
    before = real.recent()
    layer = real.seal()
    real.put("b", 1, second)
    real.drop(layer)
    assert [state.event for state in before.matching(Filter())] == [first]
    assert [state.event for state in real.recent().matching(Filter())] == [second]


def test_a_refresh_that_failed_leaves_its_layer_to_the_next() -> None:
    real = Overlay()
    real.put("a", 1, made_up("first"))
    failed = real.seal()
    assert real.seal() is failed  # nothing has come since
    real.put("b", 1, made_up("second"))
    later = real.seal()
    real.drop(later)
    assert (len(real), real.bytes) == (0, 0)
    real.drop(failed)  # it is gone already
    assert len(real) == 0


def test_a_refresh_covers_nothing_that_was_written_after_it_began() -> None:
    real = Overlay()
    real.put("a", 1, made_up("first"))
    sealed = real.seal()
    real.put("a", 2, made_up("second"))
    real.drop(sealed)
    assert len(real) == 1
    assert real.recent().hides("a", 2)


def test_a_filter_looks_only_at_what_its_shortest_list_names() -> None:
    layer = Layer({}, {})
    both = ALICE.event(tags=[["t", "x"], ["e", "1"]])
    other, third = ALICE.event("other", tags=[["t", "x"]]), BOB.event(kind=7)
    for slot, event in zip("abc", (both, other, third), strict=True):
        layer.put(slot, State(1, event, encode(event)))

    def looked_at(filter_: Filter) -> list[str]:
        return sorted(layer.candidates(filter_))

    wide, narrow = ("t", frozenset(["x", "y"])), ("e", frozenset(["1"]))
    assert looked_at(Filter(tags=(wide, narrow))) == ["a"]
    assert looked_at(Filter(tags=(wide,), authors=frozenset([BOB.pubkey]))) == ["a", "b"]
    assert looked_at(Filter(ids=frozenset([third.id]), tags=(wide,))) == ["c"]
    assert looked_at(Filter(authors=frozenset([ALICE.pubkey]), kinds=frozenset([7]))) == ["a", "b"]
    assert looked_at(Filter(kinds=frozenset([7]))) == ["c"]
    assert looked_at(Filter(since=NOW)) == ["a", "b", "c"]


def test_what_is_known_is_forgotten_when_it_goes_and_after_a_minute() -> None:
    real = Overlay()
    real.know("a", 100.0)
    real.know("b", 130.0)
    assert real.known(["a", "b", "c"], 159.9) == {"a", "b"}
    assert real.known(["a", "b", "c"], 160.0) == {"b"}
    real.know("a", 161.0)
    real.forget("b")
    real.forget("never known")
    assert real.known(["a", "b"], 161.0) == {"a"}


def test_nothing_is_known_before_the_first_minute_of_the_clock() -> None:
    assert Overlay().known(["a"], 0.0) == set()


def test_so_many_ids_are_known_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_KNOWN", 3)
    real = Overlay()
    for name in "abca":  # met again, it counts as new
        real.know(name, 1.0)
    real.know("d", 1.0)
    assert real.known("abcd", 2.0) == {"a", "c", "d"}


@pytest.mark.parametrize("has_document", [False, True])
def test_what_has_expired_is_there_and_does_not_match(has_document: bool) -> None:
    event = ALICE.event(tags=[["expiration", f"{NOW}"]])
    real = Overlay()
    real.put("a", 1, event, document(event, 17) if has_document else None)
    recent = real.recent()
    found = {now: [state.event for state in recent.matching(Filter(), now)] for now in (NOW - 1, NOW, None)}
    assert found == {NOW - 1: [event], NOW: [], None: [event]}
