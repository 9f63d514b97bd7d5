"""Searching for words (NIP-50): what is found is the same in every store; of its order, what must hold in any."""

from __future__ import annotations

import threading
from typing import Final

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Event, Filter, Saved, Store
from trio_relay.nostr import event_text
from trio_relay.nostr.filter import parse_filter

DAY: Final = 86_400
TEA = ALICE.event("Green tea, black TEA!", created_at=NOW + 1, tags=[["t", "drinks"]])
MORNING = BOB.event("Good morning. Don't forget the tea", created_at=NOW + 2, tags=[["l", "en", "ISO-639-1"]])
CAT = CAROL.event("猫が好きです and tea", created_at=NOW + 3, tags=[["content-warning", "cats"]])
EVENING = ALICE.event("Good evening, see https://example.com/a-b", created_at=NOW + 4, tags=[["t", "tea"]])
ARTICLE = BOB.event(
    "A morning for coffee: ＣＡＦÉ", kind=30_023, created_at=NOW + 5, tags=[["d", "x"], ["title", "For guests"]]
)
PEOPLE = CAROL.event("tea", kind=30_000, created_at=NOW - 1, tags=[["title", "Friends of tea"], ["t", "greenery"]])
PROFILE = BOB.event('{"name":"Bob","about":"tea","nip05":"bob@Example.com"}', kind=0, created_at=NOW)
SECRET = ALICE.event("tea", kind=4, created_at=NOW + 6)
LIST = ALICE.event("tea", kind=10_002, created_at=NOW + 7)
ALL: Final = [TEA, MORNING, CAT, EVENING, ARTICLE, PROFILE, SECRET, LIST, PEOPLE]


def looking_for(text: str, **keys: object) -> Filter:
    """As a client would ask."""
    return parse_filter({"search": text, **keys})


FOUND: Final[dict[str, tuple[Filter, list[Event]]]] = {
    "a word": (looking_for("tea"), [TEA, MORNING, CAT, EVENING, PROFILE, PEOPLE]),
    "a word in another case": (looking_for("CAFé"), [ARTICLE]),
    "two words in any order": (looking_for("morning good"), [MORNING]),
    "a phrase": (looking_for('"good morning"'), [MORNING]),
    "a phrase whose words are there in another order": (looking_for('"morning good"'), []),
    "words joined by an apostrophe": (looking_for("don’t"), [MORNING]),  # noqa: RUF001  # as telephones write it
    "a link": (looking_for("https://example.com/a-b"), [EVENING]),
    "part of a link, or of an address": (looking_for("example.com"), [EVENING, PROFILE]),
    "part of a word": (looking_for("morn"), []),
    "what only a hashtag says": (looking_for("drinks"), [TEA]),
    "what only a title says": (looking_for("guests"), [ARTICLE]),
    "the name of a list": (looking_for("friends of tea"), [PEOPLE]),
    "what a list holds": (looking_for("greenery"), []),
    "a phrase that reaches from the content into a tag": (looking_for('"café for"'), []),
    "a single character": (looking_for("好"), [CAT]),
    "a single character that is the last": (looking_for("す"), [CAT]),
    "without a single character": (looking_for("tea -好", kinds=[1]), [TEA, MORNING, EVENING]),
    "part of a text without spaces": (looking_for("好き"), [CAT]),
    "without a word": (looking_for("tea -black -猫が"), [MORNING, EVENING, PROFILE, PEOPLE]),
    "without a phrase": (looking_for('good -"good evening"'), [MORNING]),
    "without a word alone": (looking_for("-tea", kinds=[1, 30_023]), [ARTICLE]),
    "a language": (looking_for("tea language:en"), [MORNING]),
    "a language alone": (looking_for("language:EN"), [MORNING]),
    "another language": (looking_for("tea language:de"), []),
    "safe for work": (looking_for("tea nsfw:false", kinds=[1]), [TEA, MORNING, EVENING]),
    "safe for work alone": (looking_for("nsfw:false", kinds=[1]), [TEA, MORNING, EVENING]),
    "a domain": (looking_for("morning domain:example.com"), [MORNING, ARTICLE]),
    "a domain alone": (looking_for("domain:example.com"), [MORNING, ARTICLE, PROFILE]),
    "a domain of nobody": (looking_for("morning domain:example.org"), []),
    "an extension that is not known": (looking_for("good autocomplete:true"), [MORNING, EVENING]),
    "a kind": (looking_for("morning", kinds=[30_023]), [ARTICLE]),
    "an author": (looking_for("tea", authors=[ALICE.pubkey]), [TEA, EVENING]),
    "authors of a language": (looking_for("language:en", authors=[ALICE.pubkey, BOB.pubkey]), [MORNING]),
    "a tag": (looking_for("good", **{"#t": ["tea"]}), [EVENING]),
    "a tag without a word": (looking_for("-good domain:example.com", **{"#d": ["x"]}), [ARTICLE]),
    "a tag of what is safe for work": (looking_for("nsfw:false", **{"#t": ["tea", "drinks"]}), [EVENING, TEA]),
    "times": (looking_for("tea", since=NOW + 1, until=NOW + 2), [TEA, MORNING]),
    "ids": (looking_for("tea", ids=[TEA.id, ARTICLE.id]), [TEA]),
    "ids without a word": (looking_for("-tea", ids=[TEA.id, ARTICLE.id]), [ARTICLE]),
    "no word at all": (looking_for("🤙"), []),
    "an empty list": (looking_for("tea", kinds=[]), []),
    "limit 0": (looking_for("tea", limit=0), []),
}


@pytest.mark.parametrize(("one", "expected"), FOUND.values(), ids=FOUND)
async def test_a_search_finds_what_has_its_words_and_all_else_that_is_asked(
    store: Store, one: Filter, expected: list[Event]
) -> None:
    await store.save_many(ALL)
    found = await ask(store, one)
    assert len(found) == len(expected)
    assert {event.id for event in found} == {event.id for event in expected}
    assert store.query_nowait([one.with_limit(default=100, most=100)]) in (None, [] if not expected else None)


async def test_without_words_the_newest_come_first(store: Store) -> None:
    await store.save_many(ALL)
    assert await ask(store, looking_for("-coffee", kinds=[1], limit=3)) == [EVENING, CAT, MORNING]
    assert await ask(store, looking_for("domain:example.com", limit=2)) == [ARTICLE, MORNING]


async def test_the_best_come_first_and_the_limit_comes_after(store: Store) -> None:
    best = ALICE.event("tea tea tea tea", created_at=NOW)
    good = ALICE.event("tea tea cake cake", created_at=NOW + 1)
    others = [ALICE.event(f"tea cake milk sugar {number}", created_at=NOW + 2 + number) for number in range(8)]
    await store.save_many([others[0], best, *others[1:], good])
    assert (await ask(store, looking_for("tea")))[:2] == [best, good]
    assert await ask(store, looking_for("tea", limit=1)) == [best]


async def test_of_equally_good_ones_the_newer_come_first_then_the_lower_ids(store: Store) -> None:
    same = [author.event("a cup of tea", created_at=NOW + at) for author in (ALICE, BOB, CAROL) for at in range(2)]
    await store.save_many(same)
    assert await ask(store, looking_for("tea")) == sorted(same, key=lambda event: (-event.created_at, event.id))


async def test_filters_follow_one_another_each_event_once(store: Store) -> None:
    await store.save_many(ALL)
    searched, newest, both = looking_for('"good evening"'), Filter(kinds=frozenset([1]), limit=2), looking_for("good")
    assert await ask(store, searched, newest) == [EVENING, CAT]
    assert await ask(store, newest, searched) == [EVENING, CAT]
    found = await ask(store, looking_for("coffee"), both, Filter(limit=0), searched, looking_for("🤙"))
    assert found[0] == ARTICLE
    assert sorted(found[1:], key=lambda event: event.created_at) == [MORNING, EVENING]


async def test_what_is_replaced_or_deleted_is_not_found(store: Store) -> None:
    newer = BOB.event('{"name":"Robert","nip05":"bob@example.org"}', kind=0, created_at=NOW + 9)
    await store.save_many(ALL)
    await store.save_many([newer, ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", TEA.id]])])
    assert await ask(store, looking_for("tea", kinds=[0])) == []
    assert await ask(store, looking_for("robert")) == [newer]
    assert await ask(store, looking_for("black")) == []
    assert await ask(store, looking_for("coffee domain:example.com")) == []
    assert await ask(store, looking_for("coffee domain:example.org")) == [ARTICLE]


async def test_more_than_a_page_is_found_whole(store: Store) -> None:
    events = [ALICE.event(f"tea {number}", created_at=NOW + number) for number in range(1_100)]
    await store.save_many(events)
    assert await ask(store, looking_for("tea")) == events[::-1]
    assert len(await ask(store, looking_for("tea", limit=700))) == 700


GREETINGS: Final = ALICE.event("ﷺ " * 2_000 + "kettle", created_at=NOW + 8, tags=[["t", "teapot"]])
"""Made of a character that Unicode spreads to eighteen: more words than a text may have."""
ONE_GREETING: Final = BOB.event("ﷺ " * 10 + "kettle", created_at=NOW + 9, tags=[["t", "teapot"]])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("صلي", [ONE_GREETING, GREETINGS]),
        ('"صلي الله عليه وسلم صلي"', [ONE_GREETING, GREETINGS]),
        ("kettle", [ONE_GREETING]),
        ("teapot", [ONE_GREETING]),
        ("صلي -teapot", [GREETINGS]),
    ],
)
async def test_the_words_of_a_text_are_bounded_alike_in_every_store_and_live(
    store: Store, text: str, found: list[Event]
) -> None:
    assert set(await store.save_many([GREETINGS, ONE_GREETING])) == {Saved.STORED}
    one = looking_for(text)
    assert [event for event in (ONE_GREETING, GREETINGS) if one.matches(event)] == found
    assert {event.id for event in await ask(store, one)} == {event.id for event in found}


@pytest.mark.parametrize("kind", [1, 30_023])
async def test_the_words_of_a_long_text_are_not_made_on_the_loop(
    store: Store, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def text_of(event: Event) -> str:
        threads.append(threading.current_thread())
        return event_text.text_of(event)

    monkeypatch.setattr("trio_relay.store.sqlite.rows.text_of", text_of)
    monkeypatch.setattr("trio_relay.store.opensearch.documents.text_of", text_of)
    for number in range(2):
        long = ALICE.event(f"tea{number} " * 2_000, kind=kind, created_at=NOW + number, tags=[["d", "long"]])
        assert await store.save_many([long]) == [Saved.STORED]
        assert await ask(store, looking_for(f"tea{number}")) == [long]
    assert threading.main_thread() not in threads
