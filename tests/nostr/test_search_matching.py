"""Which events a search wants, what of them is searched, and what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from msgspec.structs import replace

from tests.support.keys import ALICE
from tests.support.strategies import unicode_texts
from trio_relay import Event
from trio_relay.nostr.search import Search, marks_of, parse_search, text_of, vote_of

TEXT = "Good morning, world! Don't stop; https://example.com/cats 猫が好き"
NOTE = Event("1" * 64, "a" * 64, 1, 1, [["t", "tagged"]], TEXT, "5" * 128)


def matches(text: str, event: Event = NOTE, prefix: int = 0) -> bool:
    search = parse_search(text, prefix)
    assert search is not None
    return search.matches(event)


@pytest.mark.parametrize(
    "text",
    [
        *("good", "GOOD world", "world good", '"morning world"', "don't", "example.com", "https://example.com/cats"),
        *(
            "猫が",
            "好き",
            "猫が好",
            "猫",
            "き",
            "tagged",
            "good -evening",
            '-"world morning"',
            "-evening",
            "good sort:hot",
            "good nsfw:false",
        ),
    ],
)
def test_all_that_is_asked_for_must_be_there_and_nothing_excluded(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        *("evening", "good evening", '"world morning"', '"good world"', "goo", "orning", "🤙", "黒", "好が"),
        *("good -world", '-"good morning"', "-good", "good language:en"),
    ],
)
def test_an_event_that_lacks_something_or_has_what_is_excluded_is_not_wanted(text: str) -> None:
    assert not matches(text)


def test_no_live_event_is_known_to_be_of_a_domain() -> None:
    profile = replace(NOTE, kind=0, content='{"nip05": "a@example.com"}')
    assert not matches("domain:example.com", profile)


def test_marks_decide_language_and_nsfw() -> None:
    warned = replace(NOTE, tags=[["content-warning"], ["l", "EN", "ISO-639-1"]])
    assert matches("good language:en", warned)
    assert not matches("good language:de", warned)
    assert matches("good nsfw:true", warned)
    assert not matches("good nsfw:false", warned)


@pytest.mark.parametrize("kind", [3, 4, 6, 13, 16, 1059, 10_000, 10_002, 19_999, 21_059, 30_000, 30_007, 30_078])
def test_what_is_encrypted_or_no_text_is_not_searched(kind: int) -> None:
    assert text_of(replace(NOTE, kind=kind)) == ""


@pytest.mark.parametrize(
    ("kind", "tags", "expected"),
    [
        (1, [["subject", "Of cats"], ["t", "Cats"]], "miau · of cats"),
        (1, [["t", "miau"], ["t", "cats"]], "miau · cats"),
        (1, [["t"], [], ["summary"], ["name", "!"], ["description", "x"], ["x", "y"]], "miau"),
        (30_023, [["title", "Ὀδύσσεια"], ["summary", "s"], ["alt", "a"]], "miau · οδυσσεια · s · a"),
        (30_617, [["name", "A relay"], ["description", "Of mine"]], "miau · a relay · of mine"),
        (9_735, [["description", "{}{1}"]], "miau"),
        (30_000, [["title", "Friends"], ["description", "of cats"], ["t", "x"], ["p", "y"]], "friends · of cats"),
        (3, [["name", "x"]], ""),
        (10_002, [["alt", "x"]], ""),
        (4, [["subject", "x"]], ""),
        (30_078, [["title", "x"]], ""),
        (0, [["t", "x"]], "miau"),
    ],
)
def test_tags_that_say_in_words_what_an_event_is_are_searched(kind: int, tags: list[list[str]], expected: str) -> None:
    assert text_of(replace(NOTE, kind=kind, content="Miau", tags=tags)) == expected


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        *[("goo", True), ("go", True), ("g", False), ("good mor", True), ("orn", False), ("good-mor", True)],
        *[("mor good", False), ("world-mor", False), ("evening mor", False), ('"mor"', False), ("mor ", False)],
        ("good -morn", True),
    ],
)
def test_of_a_word_that_is_being_typed_the_beginning_is_enough(text: str, is_found: bool) -> None:
    assert matches(text, prefix=2) == is_found
    assert not matches("goo")


@pytest.mark.parametrize("kind", [1, 5, 7, 11, 1111, 9735, 30_023, 30_402, 30_818, 65_535])
def test_the_content_of_other_kinds_is_searched(kind: int) -> None:
    expected = "good morning world don t stop https example com cats 猫が が好 好き き · tagged"
    assert text_of(replace(NOTE, kind=kind)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"name":"Al","about":"Line\\nTwo","nip05":"al@x.org","picture":"https://y"}', "al line two al x org"),
        ('{"name":1,"display_name":["x"],"website":"W"}', "w"),
        ("{}", ""),
        ("[]", ""),
        ("Not JSON", "not json"),
        ("[" * 100_000, ""),
        ('{"name":"\\ud800"}', "name ud800"),
    ],
)
def test_of_a_profile_what_it_shows_is_searched(content: str, expected: str) -> None:
    assert text_of(replace(NOTE, kind=0, content=content)) == expected


@pytest.mark.parametrize(
    ("tags", "marks"),
    [
        ([], set()),
        ([[], ["t"], ["l"], ["l", "en"], ["l", "en", "other"], ["L", "ISO-639-1"]], set()),
        ([["content-warning", "why"]], {"nsfw"}),
        ([["t", "NSFW"]], {"nsfw"}),
        ([["t", "nsfw2"], ["x", "nsfw"]], set()),
        ([["l", "En", "ISO-639-1"], ["l", "de", "ISO-639-1"]], {"language:en", "language:de"}),
        ([["l", "english", "ISO-639-1"]], set()),
    ],
)
def test_an_event_says_what_it_is_by_its_tags(tags: list[list[str]], marks: set[str]) -> None:
    assert marks_of(replace(NOTE, tags=tags)) == marks


def test_a_label_event_says_nothing_of_itself() -> None:
    assert marks_of(replace(NOTE, kind=1985, tags=[["l", "en", "ISO-639-1"]])) == set()


@pytest.mark.parametrize(
    ("content", "marks"),
    [
        ('{"nip05":"a@Example.com"}', {"domain:example.com"}),
        ('{"nip05":"_@x.org "}', {"domain:x.org"}),
        ('{"nip05":"x.org"}', {"domain:x.org"}),
        ('{"nip05":"a@x y"}', set()),
        ('{"nip05":""}', set()),
        ('{"nip05":1}', set()),
        ("nonsense", set()),
        ('{"a":' * 50_000, set()),
    ],
)
def test_a_profile_claims_a_domain(content: str, marks: set[str]) -> None:
    assert marks_of(replace(NOTE, kind=0, content=content)) == marks
    assert marks_of(replace(NOTE, kind=1, content=content)) == set()


@pytest.mark.parametrize(
    ("content", "vote"),
    [
        ("", 1),
        ("+", 1),
        ("❤️", 1),
        ("❤", 1),
        ("🤙🏽", 1),
        ("👍", 1),
        ("-", -1),
        ("👎🏿", -1),
        ("🔥", 0),
        ("+1", 0),
        ("--", 0),
    ],
)
def test_a_reaction_is_a_vote_or_none(content: str, vote: int) -> None:
    assert vote_of(ALICE.event(content, kind=7)) == vote
    assert vote_of(ALICE.event(content, kind=1)) == 0


@given(unicode_texts, unicode_texts)
def test_a_text_is_found_by_itself_within_others(before: str, text: str) -> None:
    event = replace(NOTE, content=f"{before} {text} end")
    search = parse_search('"' + text.replace('"', " ").replace("“", " ").replace("”", " ") + '"')
    if search is not None and not search.is_void:
        assert search.matches(event)


def test_words_that_are_all_there_are_no_phrase_unless_they_follow_one_another() -> None:
    event = ALICE.event("one two three two one")
    phrases = ["one two", "two one", "three two one", "two two", "one one", "two three"]
    found = [phrase for phrase in phrases if Search(phrases=(tuple(phrase.split()),)).matches(event)]
    assert found == ["one two", "two one", "three two one", "two three"]
    assert not Search(excluded=(("two", "one"),)).matches(event)
    assert Search(excluded=(("one", "three"), ("four",))).matches(event)
