"""Stories: events in the order in which they are told to a store, what it must say to each, and what it must keep."""

from __future__ import annotations

from typing import NamedTuple

from tests.support.backends import ask, ask_at_once, everything
from trio_relay import Event, Filter, Saved, Store


class Story(NamedTuple):
    """What is told, with the answer to each, and what stands at the end, in the order in which it came."""

    told: list[tuple[Event, Saved]]
    standing: list[Event]


async def tell(store: Store, story: Story, *, at_once: bool) -> None:
    """Save a story's events in one batch or in a batch each, and see that the store says and keeps what it must."""
    batches = [story.told] if at_once else [[line] for line in story.told]
    for batch in batches:
        assert await store.save_many([event for event, _ in batch]) == [outcome for _, outcome in batch]
    assert await everything(store) == story.standing
    ids = frozenset(event.id for event, _ in story.told)
    standing = {event.id for event in story.standing}
    assert await store.known(sorted(ids)) == standing
    found = await ask(store, Filter(ids=ids))
    assert {event.id for event in found} == standing
    assert store.known_nowait(sorted(ids)) == standing
    assert ask_at_once(store, Filter(ids=ids)) in (found, None)
