"""NIP-67: EOSE says `finish` or `more` where that is sure, and nothing where it is not."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import URL, open_client, open_named, rules_for
from tests.support.receiving import answered, told_until
from trio_relay import Event, Limits, MemoryStore, RelayInfo, Rules, Store

FINISH: Final = [["finish"]]
MORE: Final = [["more"]]
NO_HINT: Final[list[Any]] = []

NOTES: Final = [ALICE.event(f"tea {age}", created_at=NOW - age) for age in range(6)]
IDS: Final = [note.id for note in NOTES]
VOTE: Final = BOB.event("tea", kind=7, created_at=NOW - 9)


def hinting(limits: Limits | None = None) -> Rules:
    return rules_for(limits=limits, info=RelayInfo(url=URL, eose_hints=True))


ANSWERS: Final[dict[str, tuple[list[dict[str, Any]], list[str], list[Any]]]] = {
    "all there is": ([{"kinds": [1]}], IDS, FINISH),
    "nothing": ([{"kinds": [9]}], [], FINISH),
    "what can match nothing": ([{"kinds": []}], [], FINISH),
    "the limit": ([{"kinds": [1], "limit": 6}], IDS, FINISH),
    "the limit and one": ([{"kinds": [1], "limit": 5}], IDS[:5], MORE),
    "a limit of one": ([{"limit": 1}], IDS[:1], MORE),
    "less than the limit": ([{"kinds": [1], "limit": 7}], IDS, FINISH),
    "no stored events": ([{"limit": 0}], [], NO_HINT),
    "ids": ([{"ids": IDS[:2]}], IDS[:2], FINISH),
    "ids of which one is not stored": ([{"ids": [IDS[0], "f" * 64]}], IDS[:1], NO_HINT),
    "ids of which one is not stored, of a kind": ([{"ids": [IDS[0], "f" * 64], "kinds": [1]}], IDS[:1], FINISH),
    "fewer ids than asked for": ([{"ids": IDS[:3], "limit": 2}], IDS[:2], MORE),
    "a time": ([{"kinds": [1], "since": NOW - 3, "until": NOW - 1}], IDS[1:4], FINISH),
    "a part of a time": ([{"since": NOW - 3, "until": NOW - 1, "limit": 2}], IDS[1:3], MORE),
    "filters": ([{"kinds": [1]}, {"kinds": [7]}], [*IDS, VOTE.id], FINISH),
    "filters with one limit of all": ([{"kinds": [1], "limit": 6}, {"kinds": [7]}], [*IDS, VOTE.id], FINISH),
    "filters of which one is cut": ([{"kinds": [1], "limit": 5}, {"kinds": [7]}], [*IDS[:5], VOTE.id], MORE),
    "filters that are both cut": ([{"kinds": [1], "limit": 2}, {"kinds": [1], "limit": 4}], IDS[:4], MORE),
    "filters with one answer": ([{"kinds": [1], "limit": 6}, {"ids": IDS, "kinds": [1], "limit": 6}], IDS, FINISH),
    "a limit, and no stored events": ([{"kinds": [1]}, {"limit": 0}], IDS, NO_HINT),
    "a cut answer, and no stored events": ([{"kinds": [1], "limit": 2}, {"limit": 0}], IDS[:2], MORE),
    "a limit, and nothing": ([{"kinds": [1], "limit": 6}, {"ids": []}], IDS, FINISH),
    "a cut answer, and nothing": ([{"kinds": [1], "limit": 5}, {"ids": []}], IDS[:5], MORE),
}


@pytest.mark.parametrize(("filters", "found", "end"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_says_whether_it_is_whole(
    store: Store, filters: list[dict[str, Any]], found: list[str], end: list[Any]
) -> None:
    await store.save_many([*NOTES, VOTE])
    async with open_named(store, hinting()) as door, open_client(door) as identity:
        assert await answered(identity, *filters) == (found, end)


SEARCHES: Final[dict[str, tuple[list[dict[str, Any]], int, list[Any]]]] = {
    "all": ([{"search": "tea", "kinds": [1]}], 6, FINISH),
    "the limit": ([{"search": "tea", "kinds": [1], "limit": 6}], 6, FINISH),
    "the limit and one": ([{"search": "tea", "kinds": [1], "limit": 5}], 5, MORE),
    "nothing": ([{"search": "coffee"}], 0, FINISH),
    "what matches nothing": ([{"search": "🤙"}], 0, FINISH),
    "a choice": ([{"search": "tea sort:top"}], 1, NO_HINT),
    "a choice beside others": ([{"search": "tea sort:top"}, {"kinds": [7]}], 2, NO_HINT),
    "several": ([{"search": "tea", "kinds": [1]}, {"kinds": [7]}], 7, FINISH),
    "several with a limit of all": ([{"search": "tea", "kinds": [1], "limit": 6}, {"kinds": [7]}], 7, FINISH),
    "several of which the search is cut": ([{"search": "tea", "kinds": [1], "limit": 5}, {"kinds": [7]}], 6, MORE),
    "several of which another is cut": ([{"search": "tea", "kinds": [1]}, {"kinds": [1, 7], "limit": 6}], 6, MORE),
}


@pytest.mark.parametrize(("filters", "number", "end"), SEARCHES.values(), ids=SEARCHES)
async def test_a_search_says_so_too(store: Store, filters: list[dict[str, Any]], number: int, end: list[Any]) -> None:
    spoken_of = BOB.event("tea", kind=7, created_at=NOW - 9, tags=[["e", IDS[3]]])
    await store.save_many([*NOTES, spoken_of])
    async with open_named(store, hinting()) as door, open_client(door) as identity:
        found, hint = await answered(identity, *filters)
        assert (len(found), hint) == (number, end)


async def test_while_words_are_being_made_a_search_says_nothing() -> None:
    """It may not find all that it should; other filters do."""
    store = MemoryStore()
    await store.save_many(NOTES)
    store.has_all_words = False
    async with open_named(store, hinting()) as door, open_client(door) as identity:
        assert await answered(identity, {"search": "tea"}) == (IDS, NO_HINT)
        assert await answered(identity, {"kinds": [1]}) == (IDS, FINISH)
        store.has_all_words = True
        assert await answered(identity, {"search": "tea"}) == (IDS, FINISH)


def tied(number: int, at: int = 0) -> list[Event]:
    """Events of one second, in the order of an answer."""
    events = [ALICE.event(f"{at} {each}", created_at=NOW + at) for each in range(number)]
    return sorted(events, key=lambda event: event.id)


LIMITS: Final = Limits(default_limit=3, max_limit=5)


async def told(store: Store, *filters: dict[str, Any], limits: Limits = LIMITS) -> tuple[list[str], list[Any]]:
    async with open_named(store, hinting(limits)) as door, open_client(door) as identity:
        return await answered(identity, *filters)


@pytest.mark.parametrize(
    "one", [{"kinds": [1]}, {"kinds": [1], "limit": 6}], ids=["no limit", "a limit above the relay's"]
)
@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
async def test_the_relays_own_limit_is_told_at_the_limit_and_one_above(
    store: Store, one: dict[str, Any], number: int
) -> None:
    most = 5 if "limit" in one else 3
    await store.save_many(NOTES[:number])
    assert await told(store, one) == (IDS[: min(number, most)], FINISH if number <= most else MORE)


TIES: Final[dict[str, tuple[list[Event], dict[str, Any], int, list[Any]]]] = {
    "cut in a second, older ones left": ([NOTES[0], *tied(3, -1), NOTES[5]], {}, 4, MORE),
    "cut in a second, nothing older": ([NOTES[0], *tied(3, -1)], {}, 4, FINISH),
    "cut in a second, nothing else": (tied(4), {}, 4, FINISH),
    "cut behind a second": ([NOTES[0], *tied(2, -1), NOTES[5]], {}, 3, MORE),
    "at the limit": ([NOTES[0], *tied(2, -1)], {}, 3, FINISH),
    "a limit that was too high": ([*NOTES[0:1], *NOTES[2:4], *tied(4, -4), NOTES[5]], {"limit": 100}, 7, MORE),
    "the client's limit": ([NOTES[0], *tied(3, -1)], {"limit": 3}, 3, MORE),
    "the client's limit, one event": (tied(4), {"limit": 1}, 1, MORE),
    "the client's limit, which is the relay's too": ([NOTES[0], *tied(5, -1)], {"limit": 5}, 5, MORE),
    "a filter of its own": (
        [NOTES[0], *tied(3, -1), BOB.event(created_at=NOW - 1)],
        {"authors": [ALICE.pubkey]},
        4,
        FINISH,
    ),
    "a time of its own": ([NOTES[0], *tied(3, -1), NOTES[5]], {"since": NOW - 2}, 4, FINISH),
}


@pytest.mark.parametrize(("stored", "one", "number", "end"), TIES.values(), ids=TIES)
async def test_the_relays_own_limit_never_cuts_a_second_and_the_clients_is_never_exceeded(
    store: Store, stored: list[Event], one: dict[str, Any], number: int, end: list[Any]
) -> None:
    """ "Semantics around created_at ties"."""
    await store.save_many(stored)
    assert await told(store, {"kinds": [1], **one}) == ([event.id for event in stored][:number], end)


async def test_more_events_in_a_second_than_the_relay_ever_sends_leave_it_unsaid() -> None:
    """As many as it sends at most are sent; whether these are all is not known."""
    store = MemoryStore()
    ids = [event.id for event in tied(7)]
    await store.save_many(tied(7))
    assert await told(store, {}) == (ids[:5], NO_HINT)
    await store.save_many(NOTES[5:])
    assert await told(store, {}) == (ids[:5], MORE)


async def test_the_first_of_all_seconds_has_nothing_older(store: Store) -> None:
    notes = sorted((ALICE.event(str(number), created_at=0) for number in range(4)), key=lambda note: note.id)
    await store.save_many(notes)
    assert await told(store, {"kinds": [1]}) == ([note.id for note in notes], FINISH)


async def test_who_goes_on_with_until_finds_every_event_once(store: Store) -> None:
    """Of each second all events come in one answer, whatever the relay's limit is."""
    stored = [event for at in range(0, -6, -1) for event in tied(3, at)]
    await store.save_many(stored)
    found: list[str] = []
    one: dict[str, Any] = {"kinds": [1]}
    async with open_named(store, hinting(LIMITS)) as door, open_client(door) as identity:
        while True:
            ids, end = await answered(identity, one)
            found += ids
            if end == FINISH:
                break
            assert end == MORE
            one["until"] = next(event.created_at for event in stored if event.id == ids[-1]) - 1
    assert found == [event.id for event in stored]


async def test_the_answer_to_several_filters_is_cut_at_each_ones_limit() -> None:
    """No one second is the last of them all."""
    store = MemoryStore()
    await store.save_many([*NOTES, VOTE])
    assert await told(store, {"kinds": [1]}, {"kinds": [7]}) == ([*IDS[:3], VOTE.id], MORE)
    assert await told(store, {"kinds": [1]}, {"authors": [ALICE.pubkey], "limit": 100}) == (IDS[:5], MORE)


RANDOM: Final = Author("a random key")
WRAP: Final = RANDOM.event(kind=1_059, created_at=NOW - 7, tags=[["p", BOB.pubkey]])
MESSAGE: Final = ALICE.event(kind=4, created_at=NOW - 8, tags=[["p", BOB.pubkey]])
GATED: Final[dict[str, tuple[list[dict[str, Any]], dict[str, list[Any]]]]] = {
    "everything": ([{}], {"nobody": NO_HINT, "alice": NO_HINT, "bob": NO_HINT, "carol": NO_HINT}),
    "what is cut anyway": ([{"limit": 2}], {"nobody": MORE, "alice": MORE, "bob": MORE, "carol": MORE}),
    "public kinds": ([{"kinds": [1]}], {"nobody": FINISH, "alice": FINISH, "bob": FINISH, "carol": FINISH}),
    "another time": ([{"since": NOW - 6}], {"nobody": NO_HINT, "alice": NO_HINT, "bob": NO_HINT, "carol": NO_HINT}),
    "an author of messages": ([{"authors": [ALICE.pubkey]}], {"nobody": NO_HINT, "alice": NO_HINT, "bob": NO_HINT}),
    "an author of none": ([{"authors": [CAROL.pubkey]}], {"nobody": NO_HINT, "alice": NO_HINT, "carol": NO_HINT}),
    "ids of nothing": ([{"ids": ["0" * 64]}], {"nobody": NO_HINT, "alice": NO_HINT, "bob": NO_HINT}),
    "an author of wraps": ([{"authors": [RANDOM.pubkey]}], {"nobody": NO_HINT, "alice": NO_HINT, "random": NO_HINT}),
    "own kinds": ([{"kinds": [4, 1], "authors": [ALICE.pubkey]}], {"nobody": NO_HINT, "alice": FINISH}),
    "own names": ([{"kinds": [4, 1_059], "#p": [BOB.pubkey]}], {"bob": FINISH, "alice": NO_HINT}),
    "ids": ([{"ids": [WRAP.id, MESSAGE.id]}], {"nobody": NO_HINT, "alice": NO_HINT, "bob": FINISH, "carol": NO_HINT}),
    "several": ([{"kinds": [1]}, {"ids": [WRAP.id]}], {"nobody": NO_HINT, "alice": NO_HINT}),
    "several, own names": (
        [{"kinds": [1]}, {"#p": [BOB.pubkey]}],
        {"nobody": NO_HINT, "alice": NO_HINT, "bob": FINISH},
    ),
}
READERS: Final = {"nobody": [], "alice": [ALICE], "bob": [BOB], "carol": [CAROL], "random": [RANDOM]}


@pytest.mark.parametrize(("filters", "ends"), GATED.values(), ids=GATED)
async def test_finish_is_not_said_where_private_events_of_others_could_match(
    store: Store, filters: list[dict[str, Any]], ends: dict[str, list[Any]]
) -> None:
    """Whether any do plays no part: a filter that was made narrower and narrower would tell when somebody wrote."""
    await store.save_many([*NOTES, WRAP, MESSAGE])
    async with open_named(store, hinting()) as door:
        for name, end in ends.items():
            async with open_client(door, *READERS[name]) as identity:
                assert (await answered(identity, *filters))[1] == end, name


OTHERS: Final = RANDOM.event(kind=1_059, created_at=NOW - 9, tags=[["p", ALICE.pubkey]])


@pytest.mark.parametrize(
    "stored", [[OTHERS], [OTHERS, NOTES[0]], [WRAP], [MESSAGE]], ids=["", "note", "wrap", "message"]
)
async def test_who_names_others_is_not_told_by_a_hint_whether_they_have_messages(
    store: Store, stored: list[Event]
) -> None:
    """The answer is the same with messages and without; finish is said to those named alone."""
    await store.save_many(stored)
    async with (
        open_named(store, hinting()) as door,
        open_client(door) as nobody,
        open_client(door, CAROL) as carol,
        open_client(door, BOB) as bob,
    ):
        for identity, own, both in ((nobody, NO_HINT, NO_HINT), (carol, NO_HINT, NO_HINT), (bob, FINISH, NO_HINT)):
            assert (await answered(identity, {"#p": [BOB.pubkey]}))[1] == own
            assert (await answered(identity, {"#p": [BOB.pubkey, CAROL.pubkey]}))[1] == both
            assert (await answered(identity, {"#p": [BOB.pubkey], "kinds": [1, 1_059]}))[1] == own
            assert (await answered(identity, {"#p": [BOB.pubkey], "kinds": [1]}))[1] == FINISH


TOLD_BEFORE: Final[list[dict[str, Any]]] = [
    *({}, {"authors": [ALICE.pubkey]}, {"#p": [BOB.pubkey]}, {"ids": ["0" * 64]}, {"since": NOW}),
    *({"kinds": [1]}, {"search": "coffee"}),
]


async def test_the_first_private_event_of_a_relay_changes_no_hint(store: Store) -> None:
    await store.save_many([NOTES[0]])
    async with open_named(store, hinting()) as door, open_client(door) as nobody:
        for stored in ([], [OTHERS]):
            await store.save_many(stored)
            hints = [(await answered(nobody, one))[1] for one in TOLD_BEFORE]
            assert hints == [*(5 * [NO_HINT]), FINISH, FINISH]


async def test_where_no_kind_is_private_finish_is_said_to_every_filter() -> None:
    rules = rules_for(info=RelayInfo(url=URL, eose_hints=True), private_kinds=())
    async with open_named(MemoryStore(), rules) as door, open_client(door) as nobody:
        assert (await answered(nobody, {}))[1] == FINISH


@pytest.mark.parametrize("one", [{}, {"limit": 2}, {"limit": 0}], ids=["finish", "more", "no hint"])
async def test_a_hint_is_of_stored_events_alone_and_new_ones_keep_coming(store: Store, one: dict[str, Any]) -> None:
    await store.save_many(NOTES)
    async with open_named(store, hinting()) as door, open_client(door) as identity, open_client(door) as publisher:
        await answered(identity, one)
        new = [CAROL.event(str(number), created_at=NOW - 99 + number) for number in range(3)]
        for event in new:
            assert await publisher.publish(event) == [True, ""]
        assert await told_until(identity, new[2]) == [new[0].id, new[1].id]


async def test_a_hint_is_sent_only_where_it_is_asked_for_by_the_configuration_and_nip_11_says_so() -> None:
    for rules, said, end in ((hinting(), True, FINISH), (rules_for(), False, NO_HINT)):
        async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
            assert (67 in json.loads(door.relay.document())["supported_nips"]) is said
            assert await answered(client, {"kinds": [1]}) == ([], end)
