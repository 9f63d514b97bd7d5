"""What the keeper decides holds on every worker: before it is answered, from a worker's beginning on, and only once."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.nips.members_relay import ADDED, join
from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import AuthClient, open_client
from tests.support.operators import operator
from tests.workers.crew import open_crew
from trio_relay import Event, MemberOptions, PolicyOptions
from trio_relay.policy import lists

NOTE = ALICE.event("note")
BAN = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry(since=NOW))
VANISH = BOB.event(kind=62, tags=[["relay", "ALL_RELAYS"]])


async def test_a_ban_by_way_of_one_worker_holds_on_both(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch) as (crew, _):
        async with open_client(crew.door(2)) as author, operator(crew.door(1)) as admin:
            assert await author.publish(NOTE) == [True, ""]
            assert await admin.call("banpubkey", ALICE.pubkey, "spam") is True
            for number in (1, 2):
                assert crew.rules(number).lists.get(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, NOW) is not None
        for number in (1, 2):
            async with open_client(crew.door(number)) as client:
                assert await client.ask({"authors": [ALICE.pubkey]}) == []
                accepted, reason = await client.publish(ALICE.event("again"))
                assert not accepted
                assert reason.startswith("blocked:")
        assert crew.killed == []


async def test_a_worker_that_begins_meanwhile_goes_by_what_is_not_stored_yet(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the lists from the file, where the last change is still to come."""
    async with open_crew(monkeypatch, employed=1) as (crew, _), trio.open_nursery() as nursery:
        storing = trio.Event()
        put_metadata = crew.household.file.put_metadata

        async def late(changes: dict[str, bytes | None]) -> None:
            await storing.wait()
            await put_metadata(changes)

        monkeypatch.setattr(crew.household.file, "put_metadata", late)
        nursery.start_soon(crew.relay.moderation.state.amend, [BAN])
        await wait_all_tasks_blocked()
        async with crew.employed(2):
            assert crew.rules(2).lists.get(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, NOW) is not None
            storing.set()


async def test_a_worker_that_begins_while_lists_change_ends_up_with_the_last(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch, employed=1) as (crew, _), crew.employed(2, is_ready=False) as newcomer:
        amend = crew.relay.moderation.state.amend
        while not newcomer.ready.is_set():
            await amend([BAN])
            await trio.lowlevel.checkpoint()
            await amend([lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, None)])
            await amend([lists.Change(lists.ListName.BANNED_PUBKEYS, BOB.pubkey, lists.ListEntry(since=NOW))])
        await crew.talks.obeyed()
        newest = crew.rules(2).lists
        assert newest.get(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, NOW) is None
        assert newest.get(lists.ListName.BANNED_PUBKEYS, BOB.pubkey, NOW) is not None


async def test_a_configuration_that_changes_while_a_worker_begins_holds_on_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PolicyOptions(denied_pubkeys=(ALICE.pubkey,))

    async def run_slowly(work: Callable[[], object], **_options: object) -> object:
        await trio.sleep(1)
        return work()

    async with open_crew(monkeypatch, employed=0) as (crew, _), crew.employed(1, is_ready=False) as newcomer:
        monkeypatch.setattr(trio.to_thread, "run_sync", run_slowly)
        await trio.sleep(0.5)  # its store is open, and the lists are being read
        crew.talks.take_config(structs.replace(crew.config, policy=options))
        await newcomer.ready.wait()
        assert crew.rules(1).options.denied_pubkeys == options.denied_pubkeys


async def test_a_worker_that_does_not_answer_is_killed_after_ten_seconds(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch) as (crew, (_, silent)):
        silent.down.shut()
        began = trio.current_time()
        await crew.talks.obeyed()
        assert trio.current_time() == began + 10
        assert crew.killed == [2]


async def test_a_worker_that_is_gone_is_not_waited_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(monkeypatch) as (crew, (_, silent)), trio.open_nursery() as nursery:
        silent.down.shut()
        began = trio.current_time()
        nursery.start_soon(crew.talks.settled)
        await wait_all_tasks_blocked()
        silent.end()
    assert trio.current_time() == began
    assert crew.killed == []


async def test_nobody_is_killed_because_the_store_takes_long(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may for a request to vanish, or on a slow disk: what is decided holds, what is to go waits."""
    async with (
        open_crew(monkeypatch) as (crew, _),
        trio.open_nursery() as nursery,
        open_client(crew.door(1)) as author,
        operator(crew.door(2)) as admin,
    ):
        crew.held.hold()
        await author.send("EVENT", VANISH)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await admin.call("allowkind", 1) is True
        assert trio.current_time() == began
        nursery.start_soon(crew.talks.settled)
        await trio.sleep(60)
        assert crew.killed == []
        crew.held.go_on()
        assert await author.receive() == ["OK", VANISH.id, True, ""]


async def test_who_joins_by_way_of_one_worker_writes_on_all_and_it_is_said_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())  # workers go by the time of day
    async with open_crew(
        monkeypatch, members=MemberOptions(enabled=True, claims=("sesame, open", "pretty please")), clock=lambda: now
    ) as (crew, _):
        async with (
            open_client(crew.door(1), ALICE) as one,
            open_client(crew.door(2), ALICE) as other,
            open_client(crew.door(2)) as ear,
        ):
            listening = {"kinds": [ADDED], "limit": 0}
            assert await ear.talker.ask("live", listening) == []
            answers: list[list[object]] = []

            async def ask(client: AuthClient, request: Event) -> None:
                answers.append(await client.publish(request))

            async with trio.open_nursery() as nursery:
                for client, claim in ((one, "sesame, open"), (other, "pretty please")):
                    nursery.start_soon(ask, client, join(ALICE, claim, at=now))
            assert [accepted for accepted, _ in answers] == [True, True]
            assert sum(str(reason).startswith("info: ") for _, reason in answers) == 1
            for client in (one, other):
                note = ALICE.event(f"note {client is one}", created_at=now)
                assert await client.publish(note) == [True, ""]
            assert (await ear.receive())[2]["kind"] == ADDED
            await ear.talker.expect_silence()
        assert crew.relay.rules.is_member(ALICE.pubkey, now)


async def test_codes_that_are_tried_count_over_all_workers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = MemberOptions(enabled=True, claims=("sesame, open",))
    async with (
        open_crew(monkeypatch, members=members) as (crew, _),
        open_client(crew.door(1), ALICE) as one,
        open_client(crew.door(2), ALICE) as other,
    ):
        reasons = []
        for number in range(6):
            accepted, reason = await (one, other)[number % 2].publish(join(ALICE, f"wrong {number}", at=NOW))
            reasons.append(str(reason).partition(":")[0])
            assert not accepted
        assert reasons == ["restricted"] * 5 + ["rate-limited"]
        accepted, reason = await one.publish(join(ALICE, "sesame, open", at=NOW + 1))
        assert (accepted, str(reason).partition(":")[0]) == (False, "rate-limited")


@pytest.mark.parametrize("number", [1, 2])
async def test_what_is_reported_to_any_worker_awaits_moderation(
    number: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = BOB.event("look", kind=1_984, tags=[["p", ALICE.pubkey], ["e", NOTE.id, "spam"]])
    async with (
        open_crew(monkeypatch) as (crew, _),
        open_client(crew.door(number)) as client,
        operator(crew.door(1)) as admin,
    ):
        assert await client.publish(report) == [True, ""]
        await crew.talks.settled()
        assert await admin.call("listeventsneedingmoderation") == [{"id": NOTE.id, "reason": "spam: look"}]
