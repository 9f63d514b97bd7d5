"""The verifier: known ids cost nothing, bad signatures go no further, ephemeral events pass the store by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import structlog
import trio
from msgspec.structs import replace

from tests.support.keys import ALICE, BOB
from tests.support.obedient_store import ObedientStore
from tests.support.pipeline import Replies
from trio_relay import Event, Submission
from trio_relay.nostr.schnorr import Backend, open_backend
from trio_relay.pipeline.statistics import VerifierStatistics
from trio_relay.pipeline.verifier import Verifier

DUPLICATE = "duplicate: already have this event"
BAD = "invalid: sig is not a valid signature of the id by the pubkey"

NOTE, REPLY = ALICE.event("note"), BOB.event("reply")
EPHEMERAL = ALICE.event("now", kind=20_001)
FORGED = replace(BOB.event("forged"), sig="0" * 128)
FORGED_EPHEMERAL = replace(BOB.event("forged", kind=29_999), sig="0" * 128)


@dataclass
class Outcome:
    """What came out of the stage."""

    replies: Replies
    statistics: VerifierStatistics
    verified: list[list[Event]] = field(default_factory=list)
    live: list[list[Event]] = field(default_factory=list)
    calls: list[list[Event]] = field(default_factory=list)


async def verify(store: ObedientStore, *batches: Sequence[Event], most: int = 100) -> Outcome:
    """Send batches, all waiting at once, through one verifier."""
    calls: list[list[Event]] = []
    real = open_backend()

    def spied(events: Sequence[Event]) -> Sequence[bool]:
        calls.append(list(events))
        return real.verify(events)

    verifier = Verifier(store, Backend(real.name, spied), trio.CapacityLimiter(1), most)
    replies = Replies()
    intake_in, intake = trio.open_memory_channel[list[Submission]](10)
    verified_in, verified = trio.open_memory_channel[list[Submission]](10)
    live_in, live = trio.open_memory_channel[list[Submission]](10)
    for batch in batches:
        intake_in.send_nowait(replies.batch(*batch))
    intake_in.close()
    with trio.fail_after(10):
        await verifier.run(intake, verified_in, live_in)
        outcome = Outcome(replies, verifier.statistics(), calls=calls)
        outcome.verified = [[submission.event for submission in batch] async for batch in verified]
        outcome.live = [[submission.event for submission in batch] async for batch in live]
    return outcome


async def test_good_events_go_on_as_one_batch_and_are_not_answered_yet() -> None:
    outcome = await verify(ObedientStore(), [NOTE], [REPLY])
    assert outcome.verified == [[NOTE, REPLY]]
    assert outcome.live == []
    assert outcome.replies.heard == []
    assert outcome.calls == [[NOTE, REPLY]]


@pytest.mark.parametrize("is_quick", [False, True])
@pytest.mark.parametrize("kind", [4, 1_059])
async def test_what_is_private_is_verified_whether_it_is_stored_or_not(is_quick: bool, kind: int) -> None:
    """Who has no signature, and so need not have the event, learns nothing; the rest is for the writer to find."""
    stored, new = (ALICE.event(text, kind=kind, tags=[["p", BOB.pubkey]]) for text in ("stored", "new"))
    forged = [replace(event, sig="0" * 128) for event in (stored, new)]
    store = ObedientStore(is_quick=is_quick)
    await store.save_many([stored, NOTE])
    outcome = await verify(store, [*forged, stored, new, NOTE])
    assert outcome.replies.heard == [(NOTE.id, True, DUPLICATE), *((event.id, False, BAD) for event in forged)]
    assert outcome.verified == [[stored, new]]
    assert outcome.calls == [[*forged, stored, new]]


async def test_the_store_is_not_asked_for_what_is_private_alone() -> None:
    store = ObedientStore()
    await verify(store, [ALICE.event(kind=4, tags=[["p", BOB.pubkey]])])
    assert store.calls["known"] == 0


async def test_a_bad_signature_is_answered_and_goes_no_further() -> None:
    outcome = await verify(ObedientStore(), [NOTE, FORGED, REPLY, FORGED_EPHEMERAL])
    assert outcome.verified == [[NOTE, REPLY]]
    assert outcome.live == []
    assert outcome.replies.heard == [(FORGED.id, False, BAD), (FORGED_EPHEMERAL.id, False, BAD)]
    assert outcome.statistics.outcomes == {"bad_signature": 2}


async def test_a_batch_of_bad_signatures_leaves_nothing_to_pass_on() -> None:
    outcome = await verify(ObedientStore(), [FORGED])
    assert (outcome.verified, outcome.live) == ([], [])


async def test_a_known_id_is_answered_without_a_verification() -> None:
    store = ObedientStore()
    await store.save_many([NOTE])
    outcome = await verify(store, [NOTE, REPLY])
    assert outcome.calls == [[REPLY]]
    assert outcome.replies.heard == [(NOTE.id, True, DUPLICATE)]
    assert outcome.verified == [[REPLY]]
    assert outcome.statistics.outcomes == {"duplicate": 1}


async def test_a_known_id_with_a_forged_signature_is_a_duplicate_too() -> None:
    store = ObedientStore()
    await store.save_many([NOTE])
    outcome = await verify(store, [replace(NOTE, sig="0" * 128)])
    assert outcome.calls == []
    assert outcome.replies.heard == [(NOTE.id, True, DUPLICATE)]


async def test_a_batch_of_known_ids_calls_no_backend_and_sends_nothing_on() -> None:
    store = ObedientStore()
    await store.save_many([NOTE, REPLY])
    outcome = await verify(store, [NOTE], [REPLY])
    assert outcome.calls == []
    assert (outcome.verified, outcome.live) == ([], [])
    assert outcome.statistics.batches.count == 0


async def test_an_ephemeral_event_is_answered_and_goes_straight_to_delivery() -> None:
    """NIP-01, "Kinds": not expected to be stored."""
    outcome = await verify(ObedientStore(), [EPHEMERAL])
    assert outcome.live == [[EPHEMERAL]]
    assert outcome.verified == []
    assert outcome.replies.heard == [(EPHEMERAL.id, True, "")]
    assert outcome.statistics.outcomes == {"ephemeral": 1}


async def test_a_mixed_batch_parts_into_both_ways() -> None:
    outcome = await verify(ObedientStore(), [NOTE, EPHEMERAL, FORGED, REPLY])
    assert outcome.live == [[EPHEMERAL]]
    assert outcome.verified == [[NOTE, REPLY]]


@pytest.mark.parametrize("kind", [19_999, 20_000, 29_999, 30_000])
async def test_the_ephemeral_kinds_are_those_from_20000_to_29999(kind: int) -> None:
    event = ALICE.event(kind=kind, tags=[["d", "x"]])
    outcome = await verify(ObedientStore(), [event])
    assert (outcome.live == [[event]]) == (20_000 <= kind <= 29_999)
    assert (outcome.verified == [[event]]) == (not 20_000 <= kind <= 29_999)


async def test_when_the_store_cannot_tell_known_ids_all_are_verified(
    logged: list[structlog.typing.EventDict],
) -> None:
    store = ObedientStore()
    await store.save_many([NOTE])
    store.failing["known"] = "disk is gone"
    outcome = await verify(store, [NOTE, FORGED])
    assert outcome.verified == [[NOTE]]
    assert outcome.calls == [[NOTE, FORGED]]
    assert [(entry["log_level"], entry["error"]) for entry in logged] == [("warning", "disk is gone")]


async def test_a_batch_is_no_larger_than_configured() -> None:
    outcome = await verify(ObedientStore(), [NOTE], [REPLY], [EPHEMERAL], most=2)
    assert outcome.calls == [[NOTE, REPLY], [EPHEMERAL]]


async def test_statistics_count_native_calls_by_their_size() -> None:
    outcome = await verify(ObedientStore(), [NOTE, REPLY], [EPHEMERAL], most=2)
    assert (outcome.statistics.batches.count, outcome.statistics.batches.total) == (2, 3)
    assert outcome.statistics.seconds.count == 2
