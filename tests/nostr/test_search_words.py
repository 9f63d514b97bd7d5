"""Which words a text has: the same for all ways to write it, and found again in themselves."""

# ruff: noqa: RUF001  # texts as people write them
from __future__ import annotations

import sys
from hashlib import blake2b
from unicodedata import category, normalize, ucd_3_2_0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracles import naive_words
from tests.support.strategies import unicode_texts
from trio_relay.nostr import folding
from trio_relay.nostr.tokenizer import RULES, asked, words

ascii_texts = st.text(st.characters(max_codepoint=127), max_size=300)
scripts = st.text(
    st.sampled_from("aBz09-'_ \n’éßİıﬁ①ΣςЖ猫がカｶﾞ゙々ーสวัดีนี้ក្មေန하세ไนमस्ते\u0301\u200b\u200c\u200d\u00ad\ufe0f❤😀1⃣"),
    max_size=30,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t", []),
        ("!? … 🤙", []),
        ("Hello, WORLD!", ["hello", "world"]),
        ("don't don’t foo-bar_baz", ["don", "t", "don", "t", "foo", "bar", "baz"]),
        ("https://example.com/a?b=1", ["https", "example", "com", "a", "b", "1"]),
        ("a\0b", ["a", "b"]),
        ("ＦＵＬＬ ﬁne ①", ["full", "fine", "1"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ΣΊΣΥΦΟΣ σίσυφος", ["σισυφοσ", "σισυφοσ"]),
        ("caf\u00e9 cafe\u0301", ["cafe", "cafe"]),
        ("naïve déjà", ["naive", "deja"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("안녕하세요 세계", ["안녕", "녕하", "하세", "세요", "요", "세계", "계"]),
        ("co\u00adoperate a\u200db", ["cooperate", "ab"]),
        ("a\u200bb می\u200cخواهم", ["a", "b", "مي", "خواهم"]),
        ("❤\ufe0fhi 1\ufe0f\u20e3", ["hi", "1"]),
        ("\u0301a 😀\u0301", ["a"]),
        ("猫", ["猫"]),
        ("猫が好き", ["猫が", "が好", "好き", "き"]),
        ("ｶﾞﾗｽ", ["ガラ", "ラス", "ス"]),
        ("GM猫が2", ["gm", "猫が", "が", "2"]),
        ("日本 東京", ["日本", "本", "東京", "京"]),
        ("ดี", ["ดี", "\u0e35"]),
        ("แมว", ["แม", "มว", "ว"]),
        ("x" * 64, ["x" * 64]),
        ("a " + "x" * 65, ["a", "x" * 64]),
        ("é" * 65 + " b", ["e" * 64, "b"]),
    ],
)
def test_a_text_has_these_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


long_words = st.integers(60, 70).map(lambda length: "." + "x" * length + "É" + "X" * length + " Y " + "x" * length)


@given(scripts | unicode_texts | ascii_texts | long_words)
def test_words_are_those_of_the_naive_twin(text: str) -> None:
    assert words(text) == naive_words(text)


@given(scripts | unicode_texts | ascii_texts)
def test_a_folded_text_stays_as_it_is(text: str) -> None:
    folded = folding.fold(text)
    assert folding.fold(folded) == folded
    assert words(folded) == words(text)


@pytest.mark.parametrize(
    ("text", "whole", "begun"),
    [
        ("", (), ()),
        ("🤙", (), ()),
        ("Sato", ("sato",), ("sato*",)),
        ("s", ("s",), ("s",)),
        ("don't", ("don", "t"), ("don", "t")),
        ("example.co", ("example", "co"), ("example", "co*")),
        ("x" * 64, ("x" * 64,), ("x" * 64,)),
        ("猫", ("猫*",), ("猫*",)),
        ("猫が", ("猫が",), ("猫が",)),
        ("猫が好", ("猫が", "が好"), ("猫が", "が好")),
        ("猫 猫", ("猫", "猫*"), ("猫", "猫*")),
        ("日本 本", ("日本", "本", "本*"), ("日本", "本", "本*")),
        ("東京 日本", ("東京", "京", "日本"), ("東京", "京", "日本")),
        ("GM猫", ("gm", "猫*"), ("gm", "猫*")),
        ("猫GM", ("猫", "gm"), ("猫", "gm*")),
        ("비트", ("비트",), ("비트",)),
    ],
)
def test_what_is_asked_for_is_a_phrase_whose_last_word_may_go_on(
    text: str, whole: tuple[str, ...], begun: tuple[str, ...]
) -> None:
    assert asked(text) == whole
    assert asked(text, 2) == begun


def test_from_how_many_characters_a_word_may_go_on_is_a_setting() -> None:
    assert asked("sato", 4) == ("sato*",)
    assert asked("sato", 5) == asked("sato", 0) == ("sato",)
    assert asked("s", 1) == ("s*",)


@given(scripts, scripts, scripts)
def test_any_part_of_a_run_without_spaces_is_found(before: str, part: str, after: str) -> None:
    spaceless = "猫がカ々สวัดีក្မေန하세ไ"
    before, part, after = ("".join(one for one in text if one in spaceless) for text in (before, part, after))
    phrase = asked(part)
    if phrase:
        searched = f" {' '.join(words(before + part + after))} "
        assert f" {' '.join(phrase)} ".replace("* ", "") in searched


@pytest.mark.slow
def test_the_rules_have_the_number_of_what_they_do() -> None:
    """Whoever changes a word raises the number in `RULES`, or stores keep words that no search makes any more.

    The characters of Unicode 3.2, whose data do not depend on the Python.
    """
    known = [chr(code) for code in range(sys.maxunicode + 1) if ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs", "Co")]
    texts = ["".join(known[start : start + 7]) for start in range(len(known))]
    made = blake2b("\n".join(" ".join(words(text)) for text in texts).encode(), digest_size=8).hexdigest()
    assert (RULES.partition(",")[0], made) == ("3", "7c2e552cd91f04f1")


@pytest.mark.parametrize("mark", list("\u0301\u0f73\u0f75\u0f81\uff9e\uff9f"), ids=ascii)
@pytest.mark.parametrize("other", ["", "\u0301", "\u0327"], ids=ascii)
def test_no_letter_keeps_more_marks_than_any_script_has(mark: str, other: str) -> None:
    """Some are marks only once they are decomposed. Sorting a quarter of a million of them would take minutes."""
    assert len(folding.fold("x" + (mark + other) * 1_000)) <= 100


@pytest.mark.parametrize("text", ["\ufe71\u0628", "\ufe77", "\ufe7f", "\ufdfa"], ids=ascii)
def test_what_is_folded_is_folded(text: str) -> None:
    """Compatibility forms can hold a tatweel, which is left off like any."""
    assert folding.fold(folding.fold(text)) == folding.fold(text)
    assert "\u0640" not in folding.fold(text)


@given(scripts)
def test_how_accents_and_case_are_written_makes_no_difference(text: str) -> None:
    assert words(normalize("NFD", text)) == words(normalize("NFC", text)) == words(text)
    assert words(text.casefold()) == words(text)


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param(range(0x3000), id="alphabets", marks=pytest.mark.slow),
        pytest.param(range(0, sys.maxunicode + 1, 97), id="samples", marks=pytest.mark.slow),
        pytest.param(range(sys.maxunicode + 1), id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_of_every_character_the_words_are_plain(codes: range) -> None:
    """Words that a tokenizer of FTS5 or Lucene would part or change would not be found."""
    for code in codes:
        for found in words(f"a{chr(code)}b"):
            assert not any(item.isspace() or item in '"_*^(){}:' for item in found)
            assert all(item.isalnum() or category(item) in ("Mn", "Mc") for item in found), hex(code)


def test_a_letter_with_a_hundred_thousand_accents_is_a_word_like_any_other() -> None:
    """To sort them takes the square of their number; no writing has more than 30 on one letter (UAX 15)."""
    many = "\u0315" * 50_000 + "\u0300" * 50_000
    assert words(f"a{many} b") == ["a", "b"]
    assert words(f"{many}c") == ["c"]
    assert words("\u0627\u0654" + "\u0654" * 100_000) == ["\u0627"]
    assert words("e\u0301" + "\u0323" * 5) == words("e" + "\u0323" * 5 + "\u0301") == ["e"]
    assert words(f"и{many} b") == [normalize("NFC", "и\u0315"), "b"]
