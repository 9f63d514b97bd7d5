"""The store in memory: the reference for the others, used by tests and by relays that keep nothing.

A search gives the events first that have the words most often, then the newest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice
from typing import TypeVar

import trio
from msgspec.structs import replace

from trio_relay.nostr.access import may_read
from trio_relay.nostr.event import Event, address_of, claimants, encode, expiry_of, has_expired, id_matches
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch, registers_of
from trio_relay.nostr.ranking import candidates, mute_kinds, ranked, reference_window, references_of
from trio_relay.nostr.search import Search, marks_of, text_of
from trio_relay.nostr.tokenizer import ANY_END
from trio_relay.store.archive import NOTHING_KEPT, Archived, Archiving, Departure, DepartureCause
from trio_relay.store.base import Audience, Listener, Page, Saved, StoreStatistics
from trio_relay.store.insight import (
    DAY_SECONDS,
    MOST_AUTHORS,
    MOST_DAYS,
    MOST_KINDS,
    Expiring,
    Explanation,
    Holdings,
    OfAuthor,
    OfDay,
    OfKind,
    PlanStep,
    day_of,
)
from trio_relay.store.inspection import Aspect, Compacted, Fault, Inspected, Space, Verify
from trio_relay.store.judge import Facts, Ruling, judge, version_of
from trio_relay.store.surveyed import NO_KINDS, Surveyed

_PAGE = 500


class MemoryStore:
    """Keeps everything in memory and nothing on disk; queries look at every event.

    Args:
        clock: seconds since 1970, for searches that look at ages.
        archiving: what is kept of what goes.
    """

    description = "memory (forgets everything when it stops)"
    writers = 1
    readers = 4
    is_shared = False
    has_all_words = True

    def __init__(self, clock: Callable[[], float] = time.time, archiving: Archiving = NOTHING_KEPT) -> None:
        self._clock = clock
        self._archive = _MemoryArchive(archiving)
        self._events: dict[str, Event] = {}
        self._facts = Facts()
        self._kept: dict[str, bytes] = {}
        self._listener: Listener | None = None

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        await trio.lowlevel.checkpoint()
        # The facts are always complete here: judging keeps them true.
        ruling = judge(events, self._facts)
        gone = {event_id: self._events.pop(event_id) for event_id in ruling.remove}
        self._archive.carry_out(ruling, gone, self._clock())
        self._events.update(ruling.insert)
        self._tell(list(ruling.insert.values()), list(gone.values()))
        return ruling.outcomes

    async def known(self, ids: Sequence[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return self._events.keys() & set(ids)

    def known_nowait(self, ids: Sequence[str]) -> set[str] | None:
        return self._events.keys() & set(ids)

    def query_nowait(self, filters: Sequence[Filter]) -> Page | None:
        return None if any(filter_.wants_stored for filter_ in filters) else []  # every query looks at everything

    async def query(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        await trio.lowlevel.checkpoint()
        for page in _pages(
            self._search(filters) if any(filter_.search for filter_ in filters) else self._select(filters)
        ):
            yield page
            await trio.lowlevel.checkpoint()

    async def count(self, filters: Sequence[Filter]) -> int:
        await trio.lowlevel.checkpoint()
        resolved = list(map(self._with_authors, filters))
        return sum(any(filter_.matches(event) for filter_ in resolved) for event in self._living())

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        await trio.lowlevel.checkpoint()
        authors = [event.pubkey for event in self._living() if filter_.matches(event)]
        return Sketch(len(authors), registers_of(authors, offset))

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        found = [event for event in self._newest_first() if filter_.matches(event)][: filter_.limit]
        for start in range(0, len(found), _PAGE):
            page = found[start : start + _PAGE]
            yield b"".join(event.created_at.to_bytes(8, "big") + bytes.fromhex(event.id) for event in page)
            await trio.lowlevel.checkpoint()

    async def remove(self, filters: Sequence[Filter]) -> int:
        await trio.lowlevel.checkpoint()
        for filter_ in filters:
            self._archive.forget(replace(filter_, reader=None).matches)
        return self._drop(self._meant_by(filters))

    def _meant_by(self, filters: Sequence[Filter]) -> list[Event]:
        """Return what a removal of these filters removes."""
        resolved = [replace(self._with_authors(filter_), reader=None) for filter_ in filters]
        return [event for event in self._events.values() if any(filter_.matches(event) for filter_ in resolved)]

    def hear(self, audience: Audience | None) -> None:
        """There are no others."""

    def spread(self, events: Sequence[Event]) -> None:
        """There are no others."""

    async def sweep(self) -> int:
        await trio.lowlevel.checkpoint()
        now = int(self._clock())
        expired = [event for event in self._events.values() if has_expired(event, now)]
        for event in expired:
            if (address := address_of(event)) is not None:
                self._facts.bar(address, event.created_at)
        self._archive.sweep(now)
        self._archive.keep([(event, DepartureCause(Departure.EXPIRED)) for event in expired], now)
        return self._drop(expired)

    async def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        await trio.lowlevel.checkpoint()
        found = self._archive.matching(replace(filter_, reader=None), self._events)
        for start in range(0, len(found), _PAGE):
            yield found[start : start + _PAGE]
            await trio.lowlevel.checkpoint()

    def _drop(self, gone: list[Event]) -> int:
        facts = self._facts
        for event in gone:
            del self._events[event.id]
            version = facts.stored.pop(event.id)
            if version.address is not None:
                del facts.heads[version.address]
        self._tell([], gone)
        return len(gone)

    def follow(self, listener: Listener | None) -> bool:
        self._listener = listener
        return True

    def _tell(self, added: list[Event], removed: list[Event]) -> None:
        if self._listener is not None:
            self._listener(added, [(event.created_at, event.id) for event in removed])

    async def get_metadata(self) -> dict[str, bytes]:
        await trio.lowlevel.checkpoint()
        return dict(self._kept)

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await trio.lowlevel.checkpoint()
        for name, value in changes.items():
            if value is None:
                self._kept.pop(name, None)
            else:
                self._kept[name] = value

    def _living(self) -> Iterable[Event]:
        now = int(self._clock())
        return [event for event in self._events.values() if not has_expired(event, now)]

    def _select(self, filters: Sequence[Filter]) -> list[Event]:
        newest_first = self._newest_first()
        wanted: set[str] = set()
        for filter_ in filters:
            wanted.update(event.id for event in islice(filter(filter_.matches, newest_first), filter_.limit))
        return [event for event in newest_first if event.id in wanted]

    def _search(self, filters: Sequence[Filter]) -> list[Event]:
        """Answer filters of which one searches: filter after filter, each in its own order."""
        found: dict[str, None] = {}
        for filter_ in filters:
            found |= dict.fromkeys(self._find(filter_))
        return [self._events[event_id] for event_id in found]

    def _find(self, filter_: Filter) -> list[str]:
        now = int(self._clock())
        search = filter_.search
        if search is not None and search.sort is not None and filter_.limit:
            wider = candidates(filter_, now)
            notes = islice(filter(self._with_authors(wider).matches, self._newest_first()), wider.limit)
            since, until = reference_window(filter_)
            window, mute = Filter(since=since, until=until), mute_kinds(filter_.reader)
            said = [each for event in self._living() if window.matches(event) for each in references_of(event, mute)]
            return ranked(search.sort, [(note.id, note.created_at) for note in notes], said, now, filter_.limit)
        matching = list(filter(self._with_authors(filter_).matches, self._newest_first()))
        if search is not None:
            matching.sort(key=lambda event: -_occurrences(search, event))
        return [event.id for event in matching[: filter_.limit]]

    def _with_authors(self, filter_: Filter) -> Filter:
        """Return the same filter with its `domain:` replaced by the authors of that domain, as its reader may know."""
        if filter_.search is None or (mark := filter_.search.author_mark) is None:
            return filter_
        reader = filter_.reader
        authors = {
            event.pubkey
            for event in self._living()
            if mark in marks_of(event) and (reader is None or may_read(event, reader))
        }
        return replace(
            filter_,
            authors=frozenset(authors if filter_.authors is None else authors & filter_.authors),
            search=replace(filter_.search, domain=None),
        )

    def _newest_first(self) -> list[Event]:
        return sorted(self._living(), key=_newest)

    async def scan(self) -> AsyncGenerator[Page, None]:
        await trio.lowlevel.checkpoint()
        for page in _pages(list(self._events.values())):
            yield page
            await trio.lowlevel.checkpoint()

    async def survey(
        self, until: int | None = None, *, tagged: AbstractSet[int] | None = NO_KINDS, weighs: bool = True
    ) -> AsyncGenerator[list[Surveyed], None]:
        await trio.lowlevel.checkpoint()
        wanted = [event for event in self._events.values() if until is None or event.created_at <= until]
        wanted.sort(key=_newest)
        for start in range(0, len(wanted), _PAGE):
            yield [_surveyed(event, tagged) for event in wanted[start : start + _PAGE]]
            await trio.lowlevel.checkpoint()

    async def forget(self, ids: Sequence[str]) -> int:
        await trio.lowlevel.checkpoint()
        return self._drop([self._events[event_id] for event_id in dict.fromkeys(ids) if event_id in self._events])

    async def explain(self, filter_: Filter, seconds: float) -> Explanation:
        began, found = time.perf_counter(), 0
        if not filter_.wants_stored:
            return Explanation((), 0, 0.0, 0)
        async with aclosing(self.query([filter_])) as pages:
            async for page in pages:
                found += len(page)
        took = time.perf_counter() - began
        return Explanation((PlanStep(None, "looks at every event"),), len(self._events), took, found)

    async def tally(self) -> Holdings:
        kinds, days, authors = Counter[int](), Counter[int](), Counter[str]()
        for number, event in enumerate(list(self._events.values())):
            if number % _PAGE == 0:
                await trio.lowlevel.checkpoint()
            kinds[event.kind] += 1
            days[event.created_at // DAY_SECONDS] += 1
            authors[event.pubkey] += 1
        expiries = [at for event in self._events.values() if (at := expiry_of(event)) is not None]
        return Holdings(
            sum(kinds.values()),
            tuple(OfKind(*one) for one in sorted(kinds.items(), key=_most_first)[:MOST_KINDS]),
            tuple(OfDay(day_of(day), number) for day, number in sorted(days.items(), reverse=True)[:MOST_DAYS]),
            tuple(OfAuthor(*one) for one in sorted(authors.items(), key=_most_first)[:MOST_AUTHORS]),
            Expiring(len(expiries), min(expiries, default=None)),
        )

    async def space(self) -> Space:
        await trio.lowlevel.checkpoint()
        facts = self._facts
        tombstones = len(facts.id_tombstones) + len(facts.address_tombstones) + len(facts.vanished)
        metadata_bytes = sum(len(name) + len(value) for name, value in self._kept.items())
        worded = sum(bool(text_of(event)) for event in self._events.values())
        return Space(0, 0, 0, None, worded, tombstones, len(self._kept), metadata_bytes)

    async def inspect(self, verify: Verify | None = None) -> AsyncGenerator[Inspected, None]:
        await trio.lowlevel.checkpoint()
        events = list(self._events.values())
        wrong = [event for event in events if not id_matches(event)]
        faults = [Fault(Aspect.EVENT, event.id, "its id is not that of its JSON") for event in wrong]
        if verify is not None:
            verified = zip(events, verify(events), strict=True)
            faults += [
                Fault(Aspect.EVENT, event.id, "its signature is wrong") for event, is_right in verified if not is_right
            ]
        yield Inspected(len(events), tuple(faults))

    async def compact(self) -> Compacted:
        await trio.lowlevel.checkpoint()
        return Compacted(0, 0)

    async def kinds_of(self, filters: Sequence[Filter]) -> dict[int, int]:
        await trio.lowlevel.checkpoint()
        return dict(sorted(Counter(event.kind for event in self._meant_by(filters)).items()))

    async def foresee(self, event: Event) -> Saved:
        await trio.lowlevel.checkpoint()
        known = self._facts
        owners = version_of(event).belongs_to
        facts = Facts(  # of its own: judging changes them
            {event.id: known.stored[event.id]} if event.id in known.stored else {},
            id_tombstones={(event.id, owner) for owner in owners} & known.id_tombstones,
            vanished={owner: known.vanished[owner] for owner in owners if owner in known.vanished},
        )
        if (address := address_of(event)) is not None:
            if address in known.heads:
                facts.heads[address] = known.heads[address]
            facts.bar(address, known.address_tombstones.get(address, -1))
        return judge([event], facts).outcomes[0]

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()

    def statistics(self) -> StoreStatistics:
        return StoreStatistics("memory")


def _newest(event: Event) -> tuple[int, str]:
    return -event.created_at, event.id


def _surveyed(event: Event, tagged: AbstractSet[int] | None) -> Surveyed:
    tags = event.tags if tagged is None or event.kind in tagged else []
    return Surveyed(event.created_at, event.id, event.pubkey, event.kind, len(encode(event)), tags)


class _MemoryArchive:
    """What has gone, by id and in the order in which it went."""

    def __init__(self, archiving: Archiving) -> None:
        self._archiving = archiving
        self._kept: dict[str, tuple[Event, Archived]] = {}

    def keep(self, gone: Iterable[tuple[Event, DepartureCause]], now: float) -> None:
        for event, cause in gone if self._archiving.is_on else ():
            self._kept.pop(event.id, None)  # its last departure counts
            self._kept[event.id] = (event, Archived(encode(event), cause.reason, int(now), cause.by))

    def carry_out(self, ruling: Ruling, gone: dict[str, Event], now: float) -> None:
        left = gone | ruling.passed
        self.keep([(left[event_id], cause) for event_id, cause in ruling.departed.items()], now)
        if untils := ruling.vanish:
            self.forget(lambda event: any(event.created_at <= untils.get(owner, -1) for owner in claimants(event)))

    def forget(self, is_meant: Callable[[Event], bool]) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if not is_meant(kept[0])}

    def sweep(self, now: int) -> None:
        if seconds := self._archiving.seconds:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[1].at >= now - seconds}

    def matching(self, filter_: Filter, standing: Container[str]) -> list[Archived]:
        last_first = reversed(self._kept.values())
        found = (one for event, one in last_first if filter_.matches(event) and event.id not in standing)
        return list(islice(found, filter_.limit))


def _pages(events: list[Event]) -> list[Page]:
    return [[encode(event) for event in events[i : i + _PAGE]] for i in range(0, len(events), _PAGE)]


T = TypeVar("T", int, str)


def _most_first(counted: tuple[T, int]) -> tuple[int, T]:
    name, number = counted
    return -number, name


def _occurrences(search: Search, event: Event) -> int:
    text = f" {text_of(event)} ".replace(" ", "  ")  # so that one word may end where the next begins
    count = 0
    for phrase in search.phrases:
        joined = f" {'  '.join(phrase)} "
        if joined.endswith(f"{ANY_END} "):  # a whole word counts twice
            joined = joined.replace(f"{ANY_END} ", " ")
            count += text.count(joined[:-1])
        count += text.count(joined)
    return count
