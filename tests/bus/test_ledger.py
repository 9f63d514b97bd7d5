"""Who has said what: each note once and in order, and a gap wherever one is missing, whatever comes how often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_relay.bus import Entry, Gap, Heard, Ledger, Note


def numbered(sender: str, first: int, following: int) -> Entry:
    return Entry(sender, first, [b"%d" % number for number in range(first, following)])


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """What a member puts on the stream: always what it takes for the oldest that is missing, some of it lost."""
    entries, first, following = [], 0, 0
    for _ in range(draw(st.integers(0, 20))):
        following += draw(st.integers(0, 3))
        if draw(st.integers(0, 4)) == 0:
            first = min(following, first + draw(st.integers(0, 3)))  # dropped
        entry = numbered("them", first, draw(st.integers(first, following)))
        if draw(st.integers(0, 4)):
            entries.append(entry)  # else lost, or trimmed away
        if draw(st.booleans()):
            first = entry.following  # else the answer got lost, and it comes again
    return entries


@given(histories(), st.data())
def test_each_note_once_in_order_and_a_gap_wherever_one_is_missing(entries: list[Entry], data: st.DataObject) -> None:
    late = [data.draw(st.sampled_from(entries[: place + 1])) for place in range(len(entries))]
    ledger = Ledger("me")
    heard: list[Heard] = []
    for position, (entry, repeat) in enumerate(zip(entries, late, strict=True)):
        heard += ledger.hear(str(position), entry, 0.0)
        again = ledger.hear(str(position), repeat, 0.0)
        assert again == [], "a command that is carried out late is no news"
    expected = 0
    is_gap = False
    for item in heard:
        if isinstance(item, Gap):
            is_gap = True
            continue
        number = int(item.payload)
        assert number == expected if not is_gap else number >= expected
        expected, is_gap = number + 1, False
    following = max((entry.following for entry in entries), default=0)
    assert expected == following or is_gap
    notes = [item.payload for item in heard if isinstance(item, Note)]
    assert ledger.repeated == sum(len(entry.notes) for entry in [*entries, *late]) - len(notes)


def test_a_stranger_that_has_said_something_before_is_a_gap() -> None:
    assert Ledger("me").hear("1", Entry("new", 0, [b"a"]), 0.0) == [Note("new", b"a", "1")]
    assert Ledger("me").hear("1", Entry("old", 1, [b"b"]), 0.0) == [Gap("unknown"), Note("old", b"b", "1")]


def test_own_notes_are_not_heard() -> None:
    assert Ledger("me").hear("1", Entry("me", 7, [b"a"]), 0.0) == []


def pulses(ledger: Ledger, start: float, count: int) -> list[Heard]:
    return [heard for number in range(count) for heard in ledger.hear("1", Entry("me", 0), start + 2.0 * number)]


def test_five_own_pulses_without_a_word_of_another_are_its_silence() -> None:
    ledger = Ledger("me")
    ledger.hear("1", Entry("them", 0), 0.0)
    assert pulses(ledger, 0.0, 4) == []
    assert ledger.members == 1
    assert pulses(ledger, 8.0, 1) == [Gap("silent")]
    assert ledger.members == 0
    ledger.hear("1", Entry("them", 0), 10.0)
    assert ledger.members == 1
    assert pulses(ledger, 10.0, 4) == []


def test_many_own_entries_at_once_are_one_pulse() -> None:
    ledger = Ledger("me")
    ledger.hear("1", Entry("them", 0), 0.0)
    assert [heard for _ in range(100) for heard in ledger.hear("1", Entry("me", 0), 1.0)] == []


def test_who_has_left_is_not_missed_and_stays_known() -> None:
    ledger = Ledger("me")
    ledger.hear("1", Entry("them", 0, [b"a", b"b"]), 0.0)
    ledger.hear("2", Entry("them", 2, leaves=True), 0.0)
    assert pulses(ledger, 0.0, 100) == []
    assert ledger.hear("3", Entry("them", 1, [b"b"]), 0.0) == []
    assert ledger.members == 0


def test_the_thousand_that_spoke_last_are_known() -> None:
    ledger = Ledger("me")
    for number in range(1_500):
        ledger.hear("1", Entry(str(number), 0, [b"a"]), 0.0)
        ledger.hear("1", Entry("steady", number, [b"a"]), 0.0)
    assert ledger.members == 1_000
    assert ledger.hear("1", Entry("steady", 1_499, [b"a"]), 0.0) == []
    assert ledger.hear("1", Entry("1", 1, [b"b"]), 0.0) == [Gap("unknown"), Note("1", b"b", "1")]
