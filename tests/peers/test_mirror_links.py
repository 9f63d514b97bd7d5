"""A link over time: another relay that is away, lies, floods or says nothing is bounded, told once, and tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.peers.neighbourhood import Neighbourhood, outcomes, publish, state, stored, table, two, until
from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.named_relay import rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.other_relays import Actor, Script
from tests.support.server import Door
from trio_relay import Limits
from trio_relay.nostr import signer
from trio_relay.policy import retention

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTES = [ALICE.event(f"note {number}", created_at=NOW - number) for number in range(5)]


@asynccontextmanager
async def beside(script: Script) -> AsyncIterator[tuple[Neighbourhood, Door]]:
    """A relay of ours, called here, and one that does as a script says, called there."""
    async with Neighbourhood().open() as near, near.relay("here") as here:
        near.scripts["there"] = script
        yield near, here


def told(logged: list[EventDict]) -> list[str]:
    return [line["event"] for line in logged if line["event"].startswith("mirror")]


def fault(mirrors: Any) -> str:
    (one,) = mirrors.statistics().values()
    return str(one.fault)


async def test_one_that_is_away_is_tried_again_after_longer_and_longer_waits(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    async with two() as (near, here, there):
        near.away.add("there")
        async with near.mirroring(here, table("there", retry_seconds=10.0)) as mirrors:
            await trio.sleep(59)
            assert [when for _, when in near.tries] == [0, 1, 3, 7, 15, 25, 35, 45, 55]
            assert here.relay.degraded() is None
            await trio.sleep(2)
            assert here.relay.degraded() == "mirror ws://there/ is away for 61 seconds"
            assert told(logged) == ["mirror is away"]
            near.away.clear()
            await publish(there, *NOTES)
            await until(lambda: state(mirrors) == "live")
            assert here.relay.degraded() is None
            assert told(logged) == ["mirror is away", "mirror is live"]
            assert outcomes(mirrors) == {"taken": 5}
            (one,) = mirrors.statistics().values()
            assert (one.catch_ups, one.retries, one.fault) == (1, 9, "no connection: away")


async def test_one_with_which_nothing_comes_of_a_comparison_is_told_and_left_alone_for_longer_and_longer(
    autojump_clock: MockClock,
) -> None:
    async def lie(actor: Actor) -> None:
        while True:
            verb, name, *_ = await actor.hear()
            if verb == "REQ":
                await actor.say("EOSE", name)
            elif verb in ("NEG-OPEN", "NEG-MSG"):
                await trio.sleep(50)
                await actor.say("NEG-MSG", name, (b"\x61\0\0\1" + bytes(16)).hex())

    async with beside(lie) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await trio.sleep(3_590)
        assert (state(mirrors), here.relay.degraded()) == ("catching up", None)
        await trio.sleep(20)
        assert here.relay.degraded() == "mirror ws://there/ catches up in vain for 3610 seconds"
        await trio.sleep(40_000)
        assert fault(mirrors) == "its comparison of sets comes to no end"
        times = [when for _, when in near.tries[:5]]
        longer = [(later - earlier) - (times[1] - times[0]) for earlier, later in pairwise(times)]
        assert longer == [0, 1, 3, 7]


async def test_a_connection_that_breaks_is_replaced_and_nothing_is_missed(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    async with two() as (near, here, there), near.mirroring(here, table("there", "both")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        await near.cut("there")
        await publish(here, NOTES[0])
        await publish(there, NOTES[1])
        await until(lambda: (outcomes(mirrors).get("taken"), outcomes(mirrors).get("given")) == (1, 1))
        assert await stored(here) == await stored(there) == {NOTES[0].id, NOTES[1].id}
        assert told(logged) == ["mirror is live", "mirror is away", "mirror is live"]


async def test_one_that_closes_at_once_is_told_once_however_often(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    async def close(actor: Actor) -> None:
        await actor.connection.aclose(4_000, "go away")

    async with beside(close) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await trio.sleep(100)
        assert told(logged) == ["mirror is away"]
        assert fault(mirrors) == "it closed the connection with code 4000: go away"
        assert 6 <= len(near.tries) <= 8


async def test_its_last_notice_is_told_with_why_it_is_away(autojump_clock: MockClock) -> None:
    async def notice(actor: Actor) -> None:
        await actor.say("NOTICE", "members only")
        await actor.connection.aclose(4_000)

    async with beside(notice) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await until(lambda: state(mirrors) == "away")
        assert fault(mirrors) == "it closed the connection with code 4000 (it said: members only)"


async def test_an_event_as_long_as_a_sync_reads_ends_no_link(autojump_clock: MockClock) -> None:
    """Whatever clients may send here."""
    long = BOB.event("x" * 3_000_000)

    async def give(actor: Actor) -> None:
        sub_id = await subscribed(actor)
        await actor.say("EVENT", sub_id, long)
        await actor.listen()

    async with beside(give) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await until(lambda: outcomes(mirrors).get("refused_here") == 1)
        assert state(mirrors) == "catching up"


@pytest.mark.parametrize("said", ["[1]", "hello", '["EVENT","r1",{}]'])
async def test_garbage_ends_the_connection(said: str, autojump_clock: MockClock) -> None:
    async def babble(actor: Actor) -> None:
        for _ in range(200):
            await actor.connection.send_message(said)

    async with beside(babble) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await until(lambda: state(mirrors) == "away")
        assert fault(mirrors).startswith("it floods")


async def deaf(actor: Actor) -> None:
    """Compares nothing, counts nothing, and says nothing of any event."""
    while True:
        match await actor.hear():
            case ["NEG-OPEN", sync_id, *_]:
                await actor.say("NEG-ERR", sync_id, "error: not now")
            case ["COUNT", sub_id, _]:
                await actor.say("CLOSED", sub_id, "error: not now")


async def subscribed(actor: Actor) -> str:
    """Wait for a REQ of live events; gives its id."""
    while (message := await actor.hear())[0] != "REQ":
        pass
    sub_id: str = message[1]
    return sub_id


async def test_events_that_nobody_has_signed_are_borne_for_a_while(autojump_clock: MockClock) -> None:
    forged = [BOB.signed(f"{number:064}", NOW, 1, [], "forged") for number in range(200)]

    async def forge(actor: Actor) -> None:
        sub_id = await subscribed(actor)
        for event in forged:
            await actor.say("EVENT", sub_id, event)
        await actor.listen()

    async with beside(forge) as (near, here), near.mirroring(here, table("there")) as mirrors:
        await until(lambda: state(mirrors) == "away")
        assert fault(mirrors) == "it sends events that are not valid"
        assert outcomes(mirrors)["refused_here"] in range(100, 103)
        assert await stored(here) == set()


async def test_one_that_floods_gets_no_more_than_its_share_of_the_pipeline(autojump_clock: MockClock) -> None:
    flood = [BOB.event(str(number)) for number in range(1_500)]

    async def drown(actor: Actor) -> None:
        sub_id = await subscribed(actor)
        for event in flood:
            await actor.say("EVENT", sub_id, event)
        await actor.listen()

    store = ObedientStore()
    store.block("save_many")
    async with Neighbourhood().open() as near, near.relay("here", store) as here:
        near.scripts["there"] = drown
        async with near.mirroring(here, table("there")) as mirrors:
            await trio.sleep(5)
            assert sum(here.relay.statistics().received.values()) <= 1_001
            async with here.client() as client:
                await client.send("EVENT", ALICE.event("has its turn all the same"))
                await wait_all_tasks_blocked()
                store.release("save_many")
                assert (await client.receive())[2] is True
            await until(lambda: outcomes(mirrors) == {"taken": 1_500})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many events may wait in a link."""
    monkeypatch.setattr("trio_relay.peers.rising.MOST_WAITING", 50)
    return 50


async def test_one_that_takes_nothing_makes_nothing_grow_and_is_given_up(autojump_clock: MockClock, few: int) -> None:
    async with beside(deaf) as (near, here), near.mirroring(here, table("there", "up")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        await publish(here, *(BOB.event(str(number)) for number in range(4 * few)))
        (one,) = mirrors.statistics().values()
        assert one.waiting <= few
        await until(lambda: state(mirrors) == "away", seconds=200)
        assert fault(mirrors) == "it says nothing of the events that it is given"
        (one,) = mirrors.statistics().values()
        assert one.waiting == 0


async def test_what_was_dropped_is_found_again_by_comparing(autojump_clock: MockClock, few: int) -> None:
    """The other one's store stands still, so more comes here than the link holds."""
    store = ObedientStore()
    async with (
        Neighbourhood().open() as near,
        near.relay("here") as here,
        near.relay("there", store),
        near.mirroring(here, table("there", "up")) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        store.block("save_many")
        await publish(here, *(BOB.event(str(number)) for number in range(4 * few)))
        store.release("save_many")
        await until(lambda: len(store.contents()) == 4 * few)
        (one,) = mirrors.statistics().values()
        assert one.catch_ups >= 2


async def test_live_events_and_found_ones_wait_for_room_side_by_side(autojump_clock: MockClock) -> None:
    """The other one answers nothing until both kinds wait, then everything."""
    found, live = ([ALICE.event(f"{kind} {number}") for number in range(100)] for kind in ("found", "live"))
    answers = trio.Event()

    async def slow(actor: Actor) -> None:
        unanswered = deque[str]()
        while True:
            match await actor.hear():
                case ["NEG-OPEN", sync_id, *_]:
                    await actor.say("NEG-ERR", sync_id, "error: not now")
                case ["COUNT", sub_id, _]:
                    await actor.say("COUNT", sub_id, {"count": 0})
                case ["EVENT", event]:
                    unanswered.append(event["id"])
            if len(unanswered) == 64:
                await answers.wait()
            while unanswered and answers.is_set():
                await actor.say("OK", unanswered.popleft(), True, "")

    async with beside(slow) as (near, here):
        await publish(here, *found)
        async with near.mirroring(here, table("there", "up")) as mirrors:
            await until(lambda: state(mirrors) == "catching up")
            await publish(here, *live)
            await trio.sleep(1)
            answers.set()
            await until(lambda: outcomes(mirrors).get("given") == 200, seconds=30)


async def test_one_that_says_nothing_any_more_is_given_up(autojump_clock: MockClock) -> None:
    async def freeze(actor: Actor) -> None:
        await subscribed(actor)
        actor.freeze()
        await trio.sleep_forever()

    options = table("there", silence_seconds=20.0)
    async with beside(freeze) as (near, here), near.mirroring(here, options) as mirrors:
        await until(lambda: state(mirrors) == "away", seconds=30)
        assert fault(mirrors) == "nothing was heard of it for 20 seconds"


async def test_what_the_store_could_not_take_is_fetched_once_it_can(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with (
        Neighbourhood().open() as near,
        near.relay("here", store) as here,
        near.relay("there") as there,
        near.mirroring(here, table("there")) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        store.failing["save_many"] = "no space left"
        await publish(there, *NOTES)
        await until(lambda: outcomes(mirrors).get("refused_here", 0) >= 5)
        store.failing.clear()
        await until(lambda: store.contents() == {note.id for note in NOTES})
        assert state(mirrors) in ("live", "catching up"), "the link never fell"


async def test_what_asks_for_patience_gets_it(autojump_clock: MockClock) -> None:
    async def busy(actor: Actor) -> None:
        tries = 0
        while True:
            match await actor.hear():
                case ["NEG-OPEN", sync_id, *_]:
                    await actor.say("NEG-ERR", sync_id, "error: not now")
                case ["EVENT", event]:
                    tries += 1
                    await actor.say("OK", event["id"], tries > 3, "" if tries > 3 else "rate-limited: slowly")
                case ["COUNT", sub_id, _]:
                    await actor.say("COUNT", sub_id, {"count": 0})

    async with beside(busy) as (near, here), near.mirroring(here, table("there", "up")) as mirrors:
        await until(lambda: state(mirrors) == "live")
        began = trio.current_time()
        await publish(here, NOTES[0])
        await until(lambda: outcomes(mirrors) == {"given": 1})
        assert 7 <= trio.current_time() - began <= 8, "after a second, two, and four"


async def test_a_clock_that_is_wrong_there_changes_nothing(autojump_clock: MockClock) -> None:
    """Events of its future are refused by the gate; all others are found by comparing, whatever time it is there."""
    ahead = BOB.event("ahead", created_at=NOW + 3_600)
    store = ObedientStore()
    await store.save_many([ahead, *NOTES])
    async with (
        Neighbourhood().open() as near,
        near.relay("here") as here,
        near.relay("there", store),
        near.mirroring(here, table("there", catch_up_seconds=600)) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        assert outcomes(mirrors) == {"taken": 5, "refused_here": 2}, "the newest one comes live, too"
        assert await stored(here) == {note.id for note in NOTES}


async def test_a_key_opens_what_is_closed_to_strangers(autojump_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(sha256(b"alice").hexdigest())
    rules = rules_for(url="ws://there/", auth_to_read=True, auth_to_write=True)
    async with (
        Neighbourhood().open() as near,
        near.relay("here") as here,
        near.relay("there", rules=rules) as there,
        near.mirroring(here, table("there", "both", key_file=str(path))) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        await publish(here, BOB.event())
        await until(lambda: outcomes(mirrors).get("given") == 1)
        assert len(await stored(there)) == 1
        assert [one.pubkey for one in near.signers if isinstance(one, signer.Signer)] == [ALICE.pubkey]


@pytest.mark.parametrize(("trust", "taken"), [("client", 1), ("trusted", 4)])
async def test_who_is_trusted_is_judged_as_an_own_backup_is(trust: Any, taken: int, autojump_clock: MockClock) -> None:
    old, of_kind = BOB.event("old", created_at=NOW - 1_000), BOB.event("of a kind", kind=7)
    long, banned = BOB.event("x" * 200), ALICE.event("of who is banned")
    vanish = CAROL.event(kind=62, tags=[["relay", "wss://another.example"]])
    store = ObedientStore()
    await store.save_many([old, of_kind, long, banned, BOB.event("good"), vanish])
    limits = Limits(created_at_behind=600)
    rules = rules_for(denied_kinds=(7,), denied_pubkeys=(ALICE.pubkey,), denied_words=("xxx",), limits=limits)
    async with (
        Neighbourhood().open() as near,
        near.relay("here", rules=rules) as here,
        near.relay("there", store),
        near.mirroring(here, table("there", trust=trust)) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        assert outcomes(mirrors)["taken"] == taken
        assert banned.id not in await stored(here)
        assert vanish.id not in await stored(here)


@pytest.mark.parametrize("trust", ["client", "trusted"])
async def test_what_is_forgotten_here_is_taken_from_nobody(trust: Any, autojump_clock: MockClock) -> None:
    old, new = BOB.event("old", created_at=NOW - 1_000), BOB.event("new", created_at=NOW)
    store = ObedientStore()
    await store.save_many([old, new])
    rules = rules_for()
    rules.retention = retention.Retention((retention.RetentionRule(max_age_seconds=600),))
    async with (
        Neighbourhood().open() as near,
        near.relay("here", rules=rules) as here,
        near.relay("there", store),
        near.mirroring(here, table("there", trust=trust)) as mirrors,
    ):
        await until(lambda: state(mirrors) == "live")
        assert (outcomes(mirrors)["taken"], await stored(here)) == (1, {new.id})


async def test_links_go_on_end_and_begin_as_they_are_configured(autojump_clock: MockClock) -> None:
    async with (
        Neighbourhood().open() as near,
        near.relay("here") as here,
        near.relay("one"),
        near.relay("two"),
        near.relay("three"),
        near.mirroring(here, table("one"), table("two")) as mirrors,
    ):
        await until(lambda: all(one.state == "live" for one in mirrors.statistics().values()))
        assert {name for name, _ in near.tries} == {"one", "two"}
        mirrors.take([table("two"), table("three"), table("one", "up")])
        await until(lambda: all(one.state == "live" for one in mirrors.statistics().values()))
        assert list(mirrors.statistics()) == [("ws://two/", "down"), ("ws://three/", "down"), ("ws://one/", "up")]
        assert {name for name, _ in near.tries[2:]} == {"three", "one"}, "two's link goes on"
        await until(lambda: near.doors["one"].server.statistics().connections == 1)
        assert [near.doors[name].server.statistics().connections for name in ("two", "three")] == [1, 1]
        mirrors.take([])
        await until(lambda: near.doors["two"].server.statistics().connections == 0)
        assert mirrors.statistics() == {}


async def test_links_end_once_the_relay_is_to_stop(autojump_clock: MockClock) -> None:
    stop, is_whole = trio.Event(), False
    async with two() as (near, here, there), near.mirroring(here, table("there"), stop=stop) as mirrors:
        await until(lambda: state(mirrors) == "live")
        stop.set()
        await until(lambda: there.server.statistics().connections == 0)
        mirrors.take([table("there", "up")])
        await trio.sleep(5)
        assert len(near.tries) == 1
        is_whole = True
    assert is_whole, "who has the context is not cancelled"


async def test_a_fault_of_this_relay_s_in_one_link_disturbs_no_other(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    async with two() as (near, here, there):
        near.broken.add("broken")
        async with near.mirroring(here, table("broken"), table("there")) as mirrors:
            await publish(there, *NOTES)
            await trio.sleep(30)
            assert await stored(here) == {note.id for note in NOTES}
            states = {name: one.state for (name, _), one in mirrors.statistics().items()}
            assert states == {"ws://broken/": "away", "ws://there/": "live"}
            assert told(logged).count("mirror is away") == 1


async def test_a_key_file_that_is_gone_is_a_reason_like_any(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with (
        two() as (near, here, _),
        near.mirroring(here, table("there", key_file=str(tmp_path / "key"))) as mirrors,
    ):
        await until(lambda: state(mirrors) == "away")
        assert fault(mirrors) == f"{tmp_path}/key: No such file or directory"
        (tmp_path / "key").write_text("1" * 64)
        await until(lambda: state(mirrors) == "live")
