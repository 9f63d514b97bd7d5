"""The language of searches: words, phrases, what is excluded, and extensions (NIP-50)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay import Filter
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.filter import parse_filter
from trio_relay.nostr.search import Search, parse_search


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello World", Search((("hello",), ("world",)))),
        ("hello  HELLO", Search((("hello",),))),
        ("don't foo-bar", Search((("don", "t"), ("foo", "bar")))),
        ('"good morning" all', Search((("good", "morning"), ("all",)))),
        ("“good morning”", Search((("good", "morning"),))),
        ('all "good morn', Search((("all",), ("good", "morn")))),
        ('a"b c"d', Search((("a",), ("b", "c"), ("d",)))),
        ("猫が好き", Search((("猫が", "が好", "好き"),))),
        ("tea -coffee", Search((("tea",),), (("coffee",),))),
        ('tea -"iced coffee" --milk', Search((("tea",),), (("iced", "coffee"), ("milk",)))),
        ("-coffee", Search((), (("coffee",),))),
        ("tea -", Search((("tea",),))),
        ("tea 🤙", Search((("tea",),))),
    ],
)
def test_words_and_phrases_are_looked_for_and_those_with_a_minus_excluded(text: str, expected: Search) -> None:
    assert parse_search(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sort:hot", Search(sort="hot")),
        ("SORT:Top", Search(sort="top")),
        ("sort:hot sort:rising", Search(sort="rising")),
        ("sort:hot sort:new", Search(sort="hot")),
        ("tea sort:controversial", Search((("tea",),), sort="controversial")),
        ("language:EN", Search(language="en")),
        ("domain:Example.com", Search(domain="example.com")),
        ("nsfw:false", Search(nsfw=False)),
        ("nsfw:false nsfw:true include:spam", Search(include_spam=True)),
        ("tea foo:bar autocomplete:true", Search((("tea",),))),
        ("tea sort:new language:english domain:a@b nsfw:maybe include:all sentiment:good", Search((("tea",),))),
        ("tea -sort:hot", Search((("tea",),), (("sort", "hot"),))),
    ],
)
def test_extensions_are_taken_and_what_is_not_known_is_ignored(text: str, expected: Search) -> None:
    assert parse_search(text) == expected


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("https://example.com/x", ("https", "example", "com", "x")),
        ("HTTP:x", ("http", "x")),
        ("wss://relay", ("wss", "relay")),
        ("nostr:npub1x", ("nostr", "npub1x")),
        ("mailto:a@b", ("mailto", "a", "b")),
        ("gopher://x", ("gopher", "x")),
        ("12:30", ("12", "30")),
        ("note:", ("note",)),
    ],
)
def test_links_mentions_and_times_are_text(text: str, phrase: tuple[str, ...]) -> None:
    assert parse_search(text) == Search((phrase,))


@pytest.mark.parametrize("text", ["", " \n", "foo:bar", "sort:new", "nsfw:true", "-🤙", "-!"])
def test_what_asks_for_nothing_is_no_search(text: str) -> None:
    assert parse_search(text) is None


@pytest.mark.parametrize("text", ["🤙", "!?", "-", '""', "🤙 -tea", "sort:hot ☕"])
def test_text_without_a_word_can_not_be_found(text: str) -> None:
    search = parse_search(text)
    assert search is not None
    assert search.is_void
    one = parse_filter({"search": text})
    assert one.is_hopeless
    assert not one.wants_stored


def test_a_filter_has_a_search_and_its_words_count() -> None:
    one = parse_filter({"search": 'a "b c" -d', "kinds": [1]})
    assert one == Filter(kinds=frozenset([1]), search=Search((("a",), ("b", "c")), (("d",),)))
    assert one.size == 105  # a phrase counts a hundred, since a long text is looked through for it
    assert parse_filter({"search": ""}) == Filter()


@pytest.mark.parametrize("value", [1, None, ["x"], {}, True])
def test_a_search_is_a_string(value: object) -> None:
    with pytest.raises(Rejected, match=r"^invalid: search must be a string$"):
        parse_filter({"search": value})


def test_a_search_has_at_most_a_thousand_characters() -> None:
    assert parse_filter({"search": "é" * 1_000}).search == Search((("e" * 64,),))
    with pytest.raises(Rejected, match=r"^invalid: search must have at most 1000 characters$"):
        parse_filter({"search": "é" * 1_001})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sato", Search((("sato*",),))),
        ("hello sato", Search((("hello",), ("sato*",)))),
        ("hello sato ", Search((("hello",), ("sato",)))),
        ("sato\u3000", Search((("sato",),))),
        ("s", Search((("s",),))),
        ("example.co", Search((("example", "co*"),))),
        ('"good morn', Search((("good", "morn*"),))),
        ('"good morn"', Search((("good", "morn"),))),
        ('all "good morn" ', Search((("all",), ("good", "morn")))),
        ("“good morn”", Search((("good", "morn"),))),
        ("tea -cof", Search((("tea",),), (("cof",),))),
        ("tea -", Search((("tea",),))),
        ("sato sort:hot", Search((("sato*",),), sort="hot")),
        ("sato sort:hot ", Search((("sato*",),), sort="hot")),
        ('"sato" sort:hot', Search((("sato",),), sort="hot")),
        ("sort:hot", Search(sort="hot")),
        ("sato 🤙", Search((("sato",),))),
        ("tea 猫", Search((("tea",), ("猫*",)))),
        ("sato*", Search((("sato*",),))),
    ],
)
def test_the_last_word_may_be_the_beginning_of_one_while_it_is_being_typed(text: str, expected: Search) -> None:
    assert parse_search(text, 2) == expected
    assert parse_filter({"search": text}, prefix=2).search == expected
    assert parse_search(text) == Search(
        tuple(
            (*phrase[:-1], phrase[-1] if "猫" in phrase[-1] else phrase[-1].rstrip("*")) for phrase in expected.phrases
        ),
        expected.excluded,
        sort=expected.sort,
    )


@given(st.text(max_size=60) | st.text(st.sampled_from('ab -":“猫🤙sort:hotlanguage:en'), max_size=60))
def test_any_text_is_parsed_and_says_what_it_found(text: str) -> None:
    search = parse_search(text, 2)
    if search is not None:
        assert search.is_void or search != Search()
        assert not (search.is_void and search.phrases)
        assert search.words == sum(len(phrase) for phrase in search.phrases + search.excluded)
