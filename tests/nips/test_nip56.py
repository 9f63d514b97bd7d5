"""NIP-56: reports put the events that they name before the operators (NIP-86)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import open_client
from tests.support.operators import ADMIN, FailingStore, managed, operator
from trio_relay import Event, MemoryStore, PolicyOptions, Rules, SqliteOptions, Store, StoreError, open_sqlite, turns
from trio_relay.moderation import report_queue
from trio_relay.moderation.reports import MOST_REPORTERS, Reports, queueing
from trio_relay.moderation.state import ModerationState
from trio_relay.policy.lists import MOST_REPORTS, Change, ListEntry, ListName, reporters


def hex_of(number: int) -> str:
    return f"{number:064x}"


ONE, TWO = hex_of(1), hex_of(2)


def report(*ids: str, by: Author = ALICE, kind: str = "spam", content: str = "") -> Event:
    tags = [["p", BOB.pubkey], *(["e", event_id, kind] for event_id in ids)]
    return by.event(content, kind=1_984, tags=tags)


def note_report(event: Event, rules: Rules, now: int, queue: report_queue.ReportQueue | None = None) -> None:
    """Put what a report names on the queue of these rules."""
    queue = queue or loaded(rules)
    for changes in queueing(event, queue, rules, now):
        rules.apply(changes)
        queue.follow(changes)


def loaded(rules: Rules) -> report_queue.ReportQueue:
    queue = report_queue.ReportQueue(rules)
    queue.load()
    return queue


class TestQueue:
    """From a report to a verdict."""

    async def test_what_a_stored_report_names_awaits_moderation(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            assert await admin.call("listeventsneedingmoderation") == []
            assert await client.publish(report(ONE, TWO, kind="illegal", content=" sells fakes ")) == [True, ""]
            queue = [{"id": event_id, "reason": "illegal: sells fakes"} for event_id in (ONE, TWO)]
            assert await admin.call("listeventsneedingmoderation") == queue

    @pytest.mark.parametrize(
        ("tags", "content", "reason"),
        [
            ([["p", BOB.pubkey, "nudity"], ["e", ONE, "spam"]], "", "spam"),
            ([["p", BOB.pubkey, "nudity"], ["e", ONE]], "look", "nudity: look"),
            ([["p", BOB.pubkey], ["e", ONE]], "look", "look"),
            ([["e", ONE]], "", ""),
            ([["e", ONE, "spam"]], "r" * 400, f"spam: {'r' * 294}"),
        ],
    )
    async def test_the_reason_is_the_reports(self, tags: list[list[str]], content: str, reason: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(ALICE.event(content, kind=1_984, tags=tags))
            assert await admin.call("listeventsneedingmoderation") == [{"id": ONE, "reason": reason}]

    async def test_what_more_keys_report_comes_first_and_each_key_counts_once(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            for event in (
                report(ONE),
                report(TWO),
                report(TWO, by=BOB),
                report(TWO, by=CAROL),
                report(ONE, content="!"),
            ):
                await client.publish(event)
            queue = [{"id": TWO, "reason": "spam (and 2 more)"}, {"id": ONE, "reason": "spam"}]
            assert await admin.call("listeventsneedingmoderation") == queue

    async def test_two_keys_cannot_flush_the_report_of_another(self, autojump_clock: MockClock) -> None:
        """Each may take a tenth of the queue, however much they report, and as many reporters as they are."""
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(report(ONE))
            for start in range(10, MOST_REPORTS + 20, 10):
                for key in (BOB, CAROL):
                    await client.publish(report(*map(hex_of, range(start, start + 10)), by=key))
            await wait_all_tasks_blocked()
            queue = [line["id"] for line in await admin.call("listeventsneedingmoderation")]
            assert ONE in queue
            assert len(queue) == 1 + 2 * MOST_REPORTS // 10

    async def test_what_known_keys_report_comes_first(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin, open_client(door) as client:
            for event in (report(TWO), report(TWO, by=BOB), report(TWO, by=CAROL), report(ONE, by=ADMIN)):
                await client.publish(event)
            queue = [{"id": ONE, "reason": "spam"}, {"id": TWO, "reason": "spam (and 2 more)"}]
            assert await admin.call("listeventsneedingmoderation") == queue

    @pytest.mark.parametrize("verdict", ["banevent", "allowevent"])
    async def test_a_verdict_takes_an_event_off_for_good(self, verdict: str, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(report(ONE))
            assert await admin.call(verdict, ONE) is True
            assert await admin.call("listeventsneedingmoderation") == []
            await client.publish(report(ONE, by=BOB))
            assert await admin.call("listeventsneedingmoderation") == []

    async def test_reports_of_a_key_that_is_banned_count_no_more(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            for event in (report(ONE, TWO), report(TWO, hex_of(3), by=CAROL)):
                await client.publish(event)
            await admin.call("banpubkey", ALICE.pubkey)
            queue = [{"id": event_id, "reason": "spam"} for event_id in (TWO, hex_of(3))]
            assert await admin.call("listeventsneedingmoderation") == queue
            assert (await client.publish(report(ONE, content="again")))[0] is False
            assert await admin.call("listeventsneedingmoderation") == queue

    async def test_a_report_that_is_not_stored_reports_nothing(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(report(ONE))
            door.relay.moderation.state.apply_unstored([Change(ListName.REPORTED_EVENTS, ONE)])
            assert (await client.publish(report(ONE)))[1].startswith("duplicate:")
            assert await admin.call("listeventsneedingmoderation") == []

    async def test_reports_are_events_like_others(self, store: Store) -> None:
        async with managed(store) as door, open_client(door) as client:
            event = report(ONE)
            await client.publish(event)
            assert await client.ask({"kinds": [1_984]}) == [event.id]


class TestBounds:
    """Anyone may report anything."""

    def test_of_one_report_ten_events_count(self) -> None:
        rules = Rules()
        note_report(report(*map(hex_of, range(12))), rules, NOW)
        assert list(rules.lists.entries(ListName.REPORTED_EVENTS, NOW)) == [hex_of(number) for number in range(10)]

    @pytest.mark.parametrize("tag", [["e"], ["e", ""], ["e", ONE.upper() + "A"], ["e", ONE[1:]], ["a", ONE], []])
    def test_what_names_no_event_is_left_out(self, tag: list[str]) -> None:
        rules = Rules()
        note_report(ALICE.event(kind=1_984, tags=[tag]), rules, NOW)
        assert rules.lists.entries(ListName.REPORTED_EVENTS, NOW) == {}

    def test_a_key_that_the_configuration_bans_reports_nothing(self) -> None:
        rules = Rules(options=PolicyOptions(denied_pubkeys=(ALICE.pubkey,)))
        note_report(report(ONE), rules, NOW)
        assert rules.lists.entries(ListName.REPORTED_EVENTS, NOW) == {}

    def test_a_hundred_keys_are_counted_and_no_more(self) -> None:
        rules = Rules()
        names = [hex_of(number) for number in range(MOST_REPORTERS - 1)]
        rules.apply([Change(ListName.REPORTED_EVENTS, ONE, ListEntry("spam", since=NOW, data={"reporters": names}))])
        for key in (ALICE, BOB):
            note_report(report(ONE, by=key), rules, NOW + 1)
        [entry] = rules.lists.entries(ListName.REPORTED_EVENTS, NOW).values()
        assert (reporters(entry), entry.since) == ([*names, ALICE.pubkey], NOW)

    @pytest.mark.parametrize(("strong", "gone"), [(1, {1, 2}), (MOST_REPORTS, {0, 1})])
    def test_in_a_full_queue_the_oldest_of_the_least_reported_makes_room(self, strong: int, gone: set[int]) -> None:
        rules = Rules()
        for number in range(MOST_REPORTS):
            keys = [ALICE.pubkey, BOB.pubkey] if number < strong else [ALICE.pubkey]
            entry = ListEntry("spam", since=NOW + number, data={"reporters": keys})
            rules.apply([Change(ListName.REPORTED_EVENTS, hex_of(number), entry)])
        note_report(report(hex_of(5_000), hex_of(5_001), by=CAROL), rules, NOW + 5_000)
        left = {*range(MOST_REPORTS), 5_000, 5_001} - gone
        assert rules.lists.entries(ListName.REPORTED_EVENTS, NOW).keys() == set(map(hex_of, left))

    def test_however_full_the_queue_is_a_report_does_not_look_through_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rules = Rules()
        keys: dict[str, str | int | list[str] | None] = {"reporters": [ALICE.pubkey, BOB.pubkey]}
        numbers = range(MOST_REPORTS)
        rules.apply([Change(ListName.REPORTED_EVENTS, hex_of(n), ListEntry(since=NOW, data=keys)) for n in numbers])
        queue = loaded(rules)
        monkeypatch.setattr(rules.lists, "entries", pytest.fail)
        note_report(report(hex_of(5_000), by=CAROL), rules, NOW, queue)
        monkeypatch.undo()
        assert list(rules.lists.entries(ListName.REPORTED_EVENTS, NOW))[-1] == hex_of(5_000)
        assert rules.lists.size(ListName.REPORTED_EVENTS) == MOST_REPORTS

    async def test_a_batch_of_reports_takes_its_turn_with_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(turns, "SECONDS", -1.0)
        rules = Rules()
        noted = Reports(ModerationState(MemoryStore(), rules, lambda: NOW))
        batch = [report(hex_of(number)) for number in range(9)]
        async with trio.open_nursery() as nursery:
            noted.start(nursery)
            noted.note(batch)
            seen = list[int]()
            while len(seen) < 30:
                await trio.lowlevel.checkpoint()
                seen.append(rules.lists.size(ListName.REPORTED_EVENTS))
            nursery.cancel_scope.cancel()
        assert len({*seen}) >= 5  # of ten; it cannot skip two of them

    @pytest.mark.usefixtures("inline_threads")
    async def test_reports_that_wait_when_the_relay_stops_are_kept(self, autojump_clock: MockClock) -> None:
        store = MemoryStore()
        async with trio.open_nursery() as nursery:
            noted = Reports(ModerationState(store, Rules(), lambda: NOW))
            noted.start(nursery)
            noted.note([report(ONE)])
            nursery.cancel_scope.cancel()
        assert list(await store.get_metadata()) == [f"reported-events/{ONE}"]

    @pytest.mark.usefixtures("inline_threads")
    async def test_where_the_store_fails_as_the_relay_stops_it_is_said(
        self, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
    ) -> None:
        class FullStore(MemoryStore):
            async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
                raise StoreError("no space left")

        async with trio.open_nursery() as nursery:
            noted = Reports(ModerationState(FullStore(), Rules(), lambda: NOW))
            noted.start(nursery)
            noted.note([report(ONE)])
            nursery.cancel_scope.cancel()
        assert [(entry["event"], entry["error"]) for entry in logged] == [
            ("the moderation queue is not kept", "no space left")
        ]


class TestKept:
    """The queue outlives the process."""

    async def test_the_queue_is_there_after_a_restart(self, tmp_path: Path) -> None:
        told = []
        for events in ([report(ONE), report(TWO), report(TWO, by=CAROL)], []):
            path = str(tmp_path / "relay.db")
            async with (
                open_sqlite(SqliteOptions(path=path)) as store,
                managed(store) as door,
                operator(door) as admin,
                open_client(door) as client,
            ):
                for event in events:
                    await client.publish(event)
                told.append(await admin.call("listeventsneedingmoderation"))
        assert told[0] == told[1] == [{"id": TWO, "reason": "spam (and 1 more)"}, {"id": ONE, "reason": "spam"}]

    async def test_what_has_left_the_queue_is_forgotten(self) -> None:
        store = MemoryStore()
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(report(ONE, TWO))
            await admin.call("allowevent", ONE)
        assert sorted(await decided(store)) == [f"allowed-events/{ONE}", f"reported-events/{TWO}"]

    @pytest.mark.usefixtures("inline_threads")
    async def test_a_store_that_fails_is_tried_again(
        self, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
    ) -> None:
        store = FailingStore()
        async with managed(store) as door, open_client(door) as client:
            store.failing = {"keep"}
            assert await client.publish(report(ONE)) == [True, ""]
            await wait_all_tasks_blocked()
            store.failing = set()
            assert await store.get_metadata() == {}
            await trio.sleep(10)
            await wait_all_tasks_blocked()
            assert list(await store.get_metadata()) == [f"reported-events/{ONE}"]
        warnings = [entry["error"] for entry in logged if entry["event"] == "the moderation queue is not kept"]
        assert warnings == ["no keep"]

    async def test_a_verdict_holds_that_comes_while_the_queue_is_being_kept(self) -> None:
        store = OvertakingStore()
        async with managed(store) as door, operator(door) as admin, open_client(door) as client:
            await client.publish(report(ONE))
            await admin.call("allowevent", ONE)
            store.release.set()
            await wait_all_tasks_blocked()
            assert await decided(store) == [f"allowed-events/{ONE}"]


async def decided(store: MemoryStore) -> list[str]:
    """What is kept, but for the record of who did what."""
    return [name for name in await store.get_metadata() if not name.startswith("acts/")]


class OvertakingStore(MemoryStore):
    """A memory store to which one thing comes last: the first that it is to keep of the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.release = trio.Event()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        if any(name.startswith("reported-events/") and value for name, value in changes.items()):
            await self.release.wait()
        await super().put_metadata(changes)
