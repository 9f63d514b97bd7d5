"""Words cost what their text is long: whatever Unicode spreads, however many chunks there are, wherever they stand."""

# ruff: noqa: RUF001  # texts as people write them
from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE
from tests.support.oracles import naive_words
from tests.support.strategies import unicode_texts
from trio_relay import Event
from trio_relay.nostr import event_text, folding, search, tokenizer

words, words_of_each, text_of = tokenizer.words, tokenizer.words_of_each, event_text.text_of

SPREADING = {
    "to 18": "\ufdfa",
    "to 18, in chunks of 40": "\ufdfa" * 40 + " ",
    "to 18, alone": "\ufdfa ",
    "to 8": "\ufdfb",
    "to kana": "".join(map(chr, range(0x3300, 0x3358))),
    "to units": "".join(map(chr, range(0x3358, 0x3400))),
    "to three letters": "\ufb03\ufb04",
    "to three marks": "\u1f80\u0390",
    "in three rounds": "\ufe77\ufe71",
    "marks": "a" + "\u0301\u0315" * 20,
    "rare marks": "a" + "\U0001d165\U0001d16d" * 20,
    "vowels of Hangul": "\u1161\u1162",
    "joiners": "\u200d",
}
PROSE = {
    "Han": "".join(map(chr, range(0x4E00, 0x6E00))),
    "Russian": " ".join(f"слово{number}ёжик" for number in range(2_000)),
    "Vietnamese": " ".join(f"Việt{number}Đà" for number in range(2_000)),
}
scripts = st.text(
    st.sampled_from("aBz09-'_ \n’éßİıﬁ①ΣςЖ猫がカｶﾞ゙々ーสวัดีนี้ក្មေန하세ไนमस्ते\u0301\u200b\u200c\u200d\u00ad\ufe0f❤😀ᄒㅏᆫ"),
    min_size=1,
    max_size=30,
)


def long(part: str, length: int = 60_000) -> str:
    return (part * (length // len(part) + 1))[:length]


class Work:
    """Counts the characters that come out of normalizing, the dearest piece of it, and the calls of `fold`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.characters = self.longest = self.folds = 0
        fold = folding.fold
        monkeypatch.setattr(folding, "normalize", self._normalize)

        def counted(text: str) -> str:
            self.folds += 1
            return fold(text)

        monkeypatch.setattr(tokenizer, "fold", counted)

    def _normalize(self, form: str, text: str) -> str:
        made = unicodedata.normalize(form, text)  # type: ignore[arg-type]
        self.characters += len(made)
        self.longest = max(self.longest, len(made))
        return made


def letters(found: Sequence[str]) -> int:
    return sum(map(len, found))


@pytest.mark.parametrize("part", SPREADING.values(), ids=SPREADING)
def test_what_unicode_spreads_takes_at_most_twice_the_work_of_plain_text(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normalizing twice a round, two rounds: four characters of work for one of plain text."""
    text = long(part)
    work = Work(monkeypatch)
    found = words(text)
    assert letters(found) <= tokenizer.WIDEST * len(text) + tokenizer.SPARE
    assert work.characters <= 2 * 4 * (len(text) + folding.MOST * 9)
    # None of it is one long step, in which nothing else runs.
    assert work.longest <= 2 * folding.MOST * 18


@given(st.lists(st.sampled_from(["a", "bc", " ", "d" * 70_000, "e" * 65_535]), max_size=9))
def test_a_long_text_is_split_as_any_other(parts: list[str]) -> None:
    text = " ".join(parts)
    assert tokenizer.split(text) == text.split()


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_plain_text_keeps_all_of_its_words(text: str) -> None:
    assert words(text) == naive_words(text)


def test_a_greeting_in_one_character_is_read_in_any_text() -> None:
    assert words("ﷺ " * 10) == ["صلي", "الله", "عليه", "وسلم"] * 10
    text = "قال رسول الله ﷺ إنما الأعمال بالنيات " * 300
    assert words(text) == naive_words(text)


def test_where_a_text_is_nothing_but_spreading_its_rest_has_no_words() -> None:
    found = words("ﷺ " * 1_000 + "end")
    assert found[:4] == ["صلي", "الله", "عليه", "وسلم"]
    assert "end" not in found
    room = tokenizer.WIDEST * 2_003 + tokenizer.SPARE
    assert room - 8 < letters(found) <= room


@pytest.mark.parametrize("part", SPREADING.values(), ids=SPREADING)
def test_what_is_left_out_does_not_depend_on_what_was_seen_before(part: str) -> None:
    text = long(part + " Ж" + part * 3, 3_000) + " tail"
    tokenizer.known_chunks.clear()
    first = words(text)
    for chunk in text.split():
        words(chunk)
    assert words(text) == first


letters_of_all = st.sampled_from("aжç我がก한")


@given(scripts | unicode_texts, letters_of_all, st.integers(5, 60))
def test_a_long_text_is_cut_into_slices_without_a_trace(part: str, letter: str, times: int) -> None:
    text = (part + letter) * times  # a letter between, since of more than 30 marks on one letter the rest is left out
    assert words(text) == naive_words(text)
    assert words(text.replace(" ", "").replace("\n", "")) == naive_words(text.replace(" ", "").replace("\n", ""))


@given(scripts | unicode_texts, letters_of_all, st.integers(5, 60))
def test_slices_are_folded_as_the_whole_is(part: str, letter: str, times: int) -> None:
    whole = (part + letter) * times
    assert "".join(map(folding.fold, folding.slices(whole))) == folding.fold(whole)


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param(range(0, 0x20000, 53), id="samples", marks=pytest.mark.slow),
        pytest.param(range(sys.maxunicode + 1), id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_what_begins_a_slice_changes_nothing_before_it(codes: range) -> None:
    """Behind all that a character could join."""
    for one in map(chr, codes):
        for last in "aе\u0627\u1112\u1161\u0915か\u09c7\u0bc6\u1025\u0308":
            text = "x" * folding.FEWEST + last + one + "x" * folding.FEWEST * 2
            first = next(iter(folding.slices(text)))
            if text[len(first)] == one:
                assert folding.fold(first) + folding.fold(text[len(first) :]) == folding.fold(text), ascii(last + one)
            if unicodedata.category(one) in ("Cn", "Co", "Cs"):
                break


@given(st.lists(scripts | unicode_texts, max_size=5))
def test_words_of_several_texts_are_those_of_each(texts: list[str]) -> None:
    assert words_of_each(texts) == list(map(words, texts))


def test_chunks_that_nobody_has_seen_are_folded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    text = " ".join(f"é{number}" for number in range(10_000))
    assert len(words(text)) == 10_000
    assert work.folds <= 2 * len(text) / folding.MOST + 10


def test_what_is_remembered_of_chunks_is_bounded() -> None:
    for start in range(0, 20_000, 100):
        words(" ".join(f"é{number}" for number in range(start, start + 100)))
    words(" ".join(f"ñ{number}" for number in range(20_000)))
    words("é" * 5_000)
    assert len(tokenizer.known_chunks) <= 4_096
    held = sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in tokenizer.known_chunks.items())
    assert held <= 4_096 * 1_000
    assert max(map(len, tokenizer.known_chunks)) <= 32


def test_hashtags_are_folded_together_and_bounded_as_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    tags = [["t", f"é{number}"] for number in range(10_000)]
    assert text_of(tagged(tags)).replace("·", "").split() == ["note", *(f"e{number}" for number in range(10_000))]
    assert work.folds <= 100
    spreading = [["t", f"{'ﷺ' * 20}{number}"] for number in range(1_000)]
    characters = sum(len(tag[1]) for tag in spreading)
    found = text_of(tagged(spreading)).replace("·", "").split()
    assert letters(found) <= tokenizer.WIDEST * (characters + len("note")) + tokenizer.SPARE


def tagged(tags: list[list[str]]) -> Event:
    return Event("1" * 64, "a" * 64, 1, 1, tags, "note", "5" * 128)


def test_the_words_of_a_search_are_made_together(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    parsed = search.parse_search(" ".join(f"ß{number}" for number in range(100, 250)))
    assert parsed is not None
    assert len(parsed.phrases) == 150
    assert work.folds <= 10


def test_a_profile_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    decode = orjson.loads

    def loads(content: str) -> object:
        read.append(content)
        return decode(content)

    monkeypatch.setattr(orjson, "loads", loads)  # a compiled module keeps its own name for orjson
    profile = ALICE.event('{"name": "Alice of this test", "nip05": "alice@example.com"}', kind=0)
    assert text_of(profile) == "alice of this test alice example com"
    assert event_text.marks_of(profile) == {"domain:example.com"}
    assert len(read) == 1


@pytest.mark.slow
def test_all_that_unicode_calls_a_mark_is_bounded() -> None:
    marks = [
        mark
        for mark in map(chr, range(sys.maxunicode + 1))
        if unicodedata.combining(unicodedata.normalize("NFKD", mark)[0])
    ]
    assert len(marks) > 900
    assert [mark for mark in marks if folding.fold("x" + 60 * mark) != folding.fold("x" + 30 * mark)] == []
