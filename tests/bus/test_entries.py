"""What stands on the stream, and how much of it may."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.bus import Entry, Outgoing, Reach, Unreadable, decode, encode

ENTRIES = st.builds(
    Entry,
    sender=st.text(max_size=20),
    first=st.integers(0, 2**62 - 1),
    notes=st.lists(st.binary(max_size=50), max_size=20),
    leaves=st.booleans(),
)


@given(ENTRIES)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@given(st.binary(max_size=200) | st.builds(lambda entry, cut: encode(entry)[:-cut], ENTRIES, st.integers(1, 20)))
def test_what_is_no_entry_is_unreadable_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


@given(ENTRIES, st.integers(0, 30), st.binary(min_size=1, max_size=3))
def test_a_damaged_entry_is_an_entry_or_unreadable(entry: Entry, place: int, damage: bytes) -> None:
    data = encode(entry)
    with suppress(Unreadable):
        assert isinstance(decode(data[:place] + damage + data[place + len(damage) :]), Entry)


def test_an_entry_of_endless_lists_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        decode(b"\x92\x01" + b"\x91" * 100_000)


def test_an_entry_of_another_format_is_unreadable() -> None:
    data = encode(Entry("a", 0))
    assert data[1] == 1
    with pytest.raises(Unreadable, match=r"^of the format 2$"):
        decode(data[:1] + b"\x02" + data[2:])


@given(st.lists(st.lists(st.integers(0, 100), max_size=5), max_size=40), st.integers(1, 20), st.integers(1, 500))
def test_what_is_kept_is_as_much_as_there_may_be(pages: list[list[int]], entries: int, size: int) -> None:
    """Against a stream that is trimmed with each entry, as Redis does it when it trims exactly."""
    reach = Reach(entries, size)
    stream: list[int] = []
    for page in pages:
        for length in page:
            stream = [*stream, length][-reach.keep :]
            reach.add([length])
        stream = stream[-reach.keep :]
        assert len(stream) <= entries
        assert sum(stream) <= size or len(stream) == 1
    everything = [length for page in pages for length in page]
    if sum(everything) <= size and len(everything) <= entries:
        assert stream == everything


@given(st.lists(st.binary(max_size=400), max_size=60), st.integers(0, 3_000), st.data())
def test_what_waits_is_the_newest_in_a_row_within_bounds(notes: list[bytes], room: int, data: st.DataObject) -> None:
    outgoing = Outgoing("me", room)
    heard: dict[int, bytes] = {}
    for number, note in enumerate(notes):
        outgoing.add(note)
        assert outgoing.waiting_bytes <= room
        assert outgoing.head().following <= number + 1
        if data.draw(st.booleans()):
            entry = outgoing.head()
            heard.update(enumerate(entry.notes, entry.first))
            outgoing.took(entry)
    while (entry := outgoing.head()).notes:
        heard.update(enumerate(entry.notes, entry.first))
        outgoing.took(entry)
    assert all(notes[number] == note for number, note in heard.items())
    assert (outgoing.sent, outgoing.dropped) == (len(heard), len(notes) - len(heard))
    assert outgoing.waiting_bytes == 0
    assert outgoing.pulse() == Entry("me", len(notes))


def test_notes_go_out_together_up_to_a_bound_and_long_ones_alone() -> None:
    outgoing = Outgoing("me", 2**24)
    for note in (b"a", b"b", b"c" * 262_143, b"d" * 1_000_000, b"e"):
        outgoing.add(note)
    sizes = []
    while (entry := outgoing.head()).notes:
        sizes.append([len(note) for note in entry.notes])
        outgoing.took(entry)
    assert sizes == [[1, 1], [262_143], [1_000_000], [1]]


def test_what_is_dropped_while_it_is_on_its_way_is_forgotten_once() -> None:
    outgoing = Outgoing("me", 500)
    for note in (b"a" * 100, b"b" * 100):
        outgoing.add(note)
    on_its_way = outgoing.head()
    outgoing.add(b"c" * 300)
    outgoing.took(on_its_way)
    assert (outgoing.head().first, outgoing.head().notes) == (2, [b"c" * 300])
    assert (outgoing.sent, outgoing.dropped) == (2, 2), "they stand on the bus, and found no room here any more"
