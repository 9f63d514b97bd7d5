"""Splits a text into the words by which it is found, in the same way for every store and for live delivery (NIP-50).

Texts that people type in the same way have the same words (`folding`). In scripts that are written without spaces, and
in Hangul, whose particles stick to their nouns, each two neighbouring characters make a word, and the last one of a run
is a word once more: so every character begins a word, and any part of a text is found, a single character by the words
that begin with it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add
from typing import Final
from unicodedata import category, decimal, unidata_version

from trio_relay.nostr.folding import FEWEST, LONGEST_WHOLE, MOST, fold, slices

RULES: Final = f"3, Unicode {unidata_version}"
"""What the words depend on: our own rules, counted, and the data of this Python. Raise the number with any change of
words or of `search.text_of`: a store whose words were made by other rules makes them again."""
LONGEST: Final = 64
"""Most characters of a word; an id or a key in hex is a word of this length."""
APART: Final = "·"
"""Stands between two texts whose words are kept together, so that no phrase reaches across; it is no word itself."""
ANY_END: Final = "*"
"""Stands at the end of the last word that is asked for if that is only the beginning of a word; no word has it."""
WIDEST: Final = 2
"""The words of a text have together at most so many times the letters that the text has characters: as many as scripts
without spaces have, whose every character stands in two words. It is only exceeded by what Unicode spreads to many
letters, such as U+FDFA to fifteen, where a text is made of little else; then the rest of the text has no words."""
SPARE: Final = 256
"""Letters that the words of any text may have above that: a greeting in one character may be all of a note."""
_LONGEST_KNOWN: Final = 32
"""Most characters of a text whose words are remembered."""
_MOST_KNOWN: Final = 4_096
_MOST_LEARNT: Final = 256
"""Chunks of one text that are remembered; of a text with more of them none is, so that it does not push out others."""


def words(text: str) -> list[str]:
    """Return the words of a text in their order: folded, no punctuation, never empty, at most 64 characters each.

    They are bounded by `WIDEST` and `SPARE`, and made in a time that grows with the text alone.
    """
    if text.isascii():
        return _plain_words(text)
    return _plain_words((_known([text]) or _folded([text]))[0])


def words_of_each(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each of several texts; all together are bounded as those of one text are."""
    if not all(map(str.isascii, texts)):
        texts = _known(texts) or _folded(texts)
    return list(map(_plain_words, texts))


def _known(texts: Sequence[str]) -> list[str] | None:
    """Return what `_folded` does; None if chunks are not known, or their words could be too many."""
    known = known_chunks
    try:
        folded = [
            text if text.isascii() else " ".join([chunk if chunk.isascii() else known[chunk] for chunk in text.split()])
            for text in texts
        ]
    except KeyError:
        return None
    return folded if sum(map(len, folded)) <= WIDEST * sum(map(len, texts)) else None


def _plain_words(text: str) -> list[str]:
    # A table of bytes translates all ASCII at once; everything else is folded already and stays as it is.
    raw = text.encode()
    found = split(raw.translate(_LOWER).decode())
    # Asking each word for its length would double the cost.
    if _TOO_LONG in raw.translate(_OUTLINE):
        return [word[:LONGEST] for word in found]
    return found


def split(text: str) -> list[str]:
    """Split a text at its spaces as `str.split` does; a long one in steps between which other threads may run."""
    if len(text) <= _SPLIT_AT_ONCE:
        return text.split()
    found: list[str] = []
    start = 0
    while start < len(text):
        end = text.find(" ", start + _SPLIT_AT_ONCE)
        end = len(text) if end < 0 else end
        found += text[start:end].split()
        start = end
    return found


_SPLIT_AT_ONCE: Final = 65_536


def asked(text: str, prefix: int = 0) -> tuple[str, ...]:
    """Return the words of a text that is searched for, which follow one another; the last may end in `ANY_END`.

    A single character of a script without spaces is the beginning of a word; other words may be.

    Args:
        text: what somebody has typed.
        prefix: of how many characters or more the last word may be the beginning of a word; 0: it is whole.
    """
    return asked_of(words(text), prefix)


def asked_of(found: list[str], prefix: int = 0) -> tuple[str, ...]:
    """Return what `asked` does, of the words of a text."""
    if not found:
        return ()
    last = found[-1]
    if _SPACELESS.match(last) is None:
        if prefix and prefix <= len(last) < LONGEST:
            return (*found[:-1], last + ANY_END)
        return tuple(found)
    if len(found) > 1 and _ends_with(found[-2], last):
        return tuple(found[:-1])  # the last one only says that the text ends here
    return (*found[:-1], last + ANY_END)


def typed(asked_for: Sequence[str]) -> str:
    """Return a text of which `asked` gives these words, but for an end that may go on: what somebody may have typed."""
    text = before = ""
    for word in (one.removesuffix(ANY_END) for one in asked_for):
        goes_on = len(before) == 2 and before[1] == word[0] and _SPACELESS.match(before) is not None
        text += word[1:] if goes_on else f" {word}"
        before = word
    return text.strip()


def _ends_with(pair: str, last: str) -> bool:
    """Return True if these are the last two words of one run of a script without spaces."""
    return len(pair) == 2 and pair[1] == last and _SPACELESS.match(pair) is not None


def _folded(texts: Sequence[str]) -> list[str]:
    """Return texts of which `_plain_words` gives the words, while there is room for them.

    Folding never reaches across white space, so each chunk is taken alone: most are ASCII, others mostly known.
    """
    chunked = [text.split() for text in texts]
    room = _room(texts)
    known = _learnt(dict.fromkeys(chunk for chunks in chunked for chunk in chunks if not chunk.isascii()), room)
    folded = [" ".join([known.get(chunk, chunk) for chunk in chunks]) for chunks in chunked]
    return folded if sum(map(_letters, folded)) <= room else _cut(folded, room)


def _room(texts: Sequence[str]) -> int:
    """Return how many letters the words of these texts may have together."""
    return WIDEST * sum(map(len, texts)) + SPARE


def _letters(text: str) -> int:
    return len(text) - text.count(" ")


def _cut(folded: list[str], room: int) -> list[str]:
    """Leave out the words in which the room ends, and all after it."""
    kept: list[str] = []
    for text in folded:
        found = text.split(" ")
        ends = list(accumulate(map(len, found)))
        kept.append(" ".join(found[: bisect_right(ends, room)]))
        room = room - ends[-1] if ends[-1] <= room else -1
    return kept


def _learnt(chunks: Iterable[str], room: int) -> dict[str, str]:
    """Return the words of each of these chunks, up to those for which there is no room."""
    made: dict[str, str] = {}
    new: list[str] = []
    for chunk in chunks:
        if (found := known_chunks.get(chunk)) is None:
            new.append(chunk)
        else:
            made[chunk] = found
    for batch in _batches(new):
        folded = _folded_at_once(batch)
        made.update(zip(batch, folded, strict=True))
        room -= sum(map(_letters, folded))
        if room < 0:
            return made
    if len(new) <= _MOST_LEARNT:
        if len(known_chunks) > _MOST_KNOWN - _MOST_LEARNT:
            known_chunks.clear()
        known_chunks.update((chunk, made[chunk]) for chunk in new if len(chunk) <= _LONGEST_KNOWN)
    return made


def _batches(chunks: list[str]) -> Iterator[list[str]]:
    """Yield the chunks in batches of about as many characters as a slice, since most of the cost is that of a call.

    One that is cut into slices stands alone.
    """
    batch: list[str] = []
    size, most = 0, FEWEST
    for chunk in chunks:
        if len(chunk) > LONGEST_WHOLE:
            yield batch
            yield [chunk]
            batch, size = [], 0
            continue
        batch.append(chunk)
        size += len(chunk)
        if size >= most:
            yield batch
            batch, size, most = [], 0, min(2 * most, MOST)
    yield batch


def _folded_at_once(chunks: list[str]) -> list[str]:
    """Return the words of each chunk of a batch, with spaces between."""
    if len(chunks) < 2:
        return [" ".join(_words_in(_folded_in_slices(chunk))) for chunk in chunks]
    folded = fold("\n".join(chunks)).translate(_SEPARATORS)
    if _SPACELESS.search(folded) is not None:
        return [" ".join(_words_in(text)) for text in folded.split("\n")]
    # Most chunks are one word.
    return [
        text[:LONGEST] if text[:1].isalnum() and " " not in text else " ".join(_words_in(text))
        for text in folded.split("\n")
    ]


def _folded_in_slices(chunk: str) -> str:
    """Return a chunk folded, with spaces for all that parts words."""
    parts: list[str] = []
    room = _room([chunk])
    for part in slices(chunk):
        parts.append(fold(part).translate(_SEPARATORS))
        room -= len(parts[-1]) + _spaceless(parts[-1])
        if room < 0:
            break
    return "".join(parts)


def _spaceless(text: str) -> int:
    """Count the characters of scripts without spaces."""
    return len(text) - len(_SPACELESS_RUN.sub("", text))


known_chunks: Final[dict[str, str]] = {}
"""The words of chunks that have been seen of late, with spaces between. Each use of it is one step, for all threads."""


def _words_in(text: str) -> list[str]:
    """Return the words of a text that is folded and has nothing else but spaces in it."""
    found: list[str] = []
    for run in text.split():
        if _SPACELESS.search(run) is None:
            _add(found, run)
            continue
        for match in _PARTS.finditer(run):  # not all at once: see `_pairs`
            part = match[0]
            if _SPACELESS.match(part) is None:
                _add(found, part)
            elif len(part) == 1:
                found.append(part)
            else:
                _pairs(found, part)
    return found


def _pairs(found: list[str], run: str) -> None:
    """Add each two neighbours of a run, and the last character; in steps between which other threads may run."""
    for start in range(0, len(run), _PAIRS_AT_ONCE):
        end = start + _PAIRS_AT_ONCE
        found += map(add, run[start:end], run[start + 1 : end + 1])
    found.append(run[-1])


_PAIRS_AT_ONCE: Final = 8_192


def _add(found: list[str], run: str) -> None:
    """Add the words of a run; marks before its first letter or digit belong to something else, such as an emoji."""
    if run[0].isalnum():
        found.append(run[:LONGEST])
        return
    start = next((place for place, character in enumerate(run) if character.isalnum()), None)
    if start is not None:
        found.append(run[start : start + LONGEST])


class _Separators(dict[int, int | str]):
    """A table for `str.translate`: a character that can be part of a word stays, any other becomes a space.

    Digits of all scripts become those of ASCII; letters that are written like an apostrophe part words as that does.
    """

    def __missing__(self, code: int) -> int | str:
        kind = category(chr(code))
        result = code if (kind[0] in "LN" or kind in ("Mn", "Mc")) and code not in _APOSTROPHES else " "
        if kind == "Nd":
            result = str(decimal(chr(code)))
        # The million code points that are no characters are not remembered; those below are too few to fill the memory.
        if code < 0x10000 or kind not in ("Cn", "Co", "Cs"):
            self[code] = result
        return result


_ASCII: Final = [chr(code) if chr(code).isalnum() else " " for code in range(128)]
_LOWER: Final = "".join(_ASCII).lower().encode() + bytes(range(128, 256))
_OUTLINE: Final = "".join(_ASCII).translate(dict.fromkeys(range(33, 128), 120)).encode().ljust(256)
"""Any letter or digit of ASCII is an x."""
_TOO_LONG: Final = b"x" * (LONGEST + 1)
_APOSTROPHES: Final = frozenset(map(ord, "\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ee"))
_SEPARATORS: Final = _Separators()
_SEPARATORS[ord("\n")] = "\n"  # stands between chunks that are folded at once
# Han, Hiragana, Katakana, Thai, Lao, Burmese, Khmer, their own marks included; Hangul, its single letters included.
_RANGES: Final = (
    "\u1100-\u11ff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb"
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u17d7\u17dc-\u17dd\u3005-\u3007\u3021-\u302f\u3031-\u3035\u3038-\u303c"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_SPACELESS: Final = re.compile(f"[{_RANGES}]")
_SPACELESS_RUN: Final = re.compile(f"[{_RANGES}]+")
_PARTS: Final = re.compile(f"[{_RANGES}]+|[^{_RANGES}]+")
