"""Splits a text into the words by which it is found, in the same way for every store and for live delivery (NIP-50).

Two texts that differ in case, in width, or in the form of their accents have the same words. In scripts that are
written without spaces each two neighbouring characters make a word, so that any part of a text is found as a phrase. A
single character of such a script is found only where it stands alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import add
from typing import Final
from unicodedata import category, combining, normalize

LONGEST: Final = 64
"""Most characters of a word; an id or a key in hex is a word of this length."""
_LONGEST_KNOWN: Final = 32
"""Most characters of a text whose words are cached, so that nobody can fill the memory."""


def words(text: str) -> list[str]:
    """Return the words of a text in their order: lower case, no punctuation, never empty, at most 64 characters each.

    Applied to its own result, joined by spaces, it gives the same words.
    """
    if not text.isascii():
        # Folding never reaches across white space, so each chunk is taken alone: most are ASCII, others are cached.
        text = " ".join([chunk if chunk.isascii() else _folded_chunk(chunk) for chunk in text.split()])
    # A table of bytes translates all ASCII at once; everything else is folded already and stays as it is.
    raw = text.encode()
    found = raw.translate(_LOWER).decode().split()
    # Asking each word for its length would double the cost.
    if _TOO_LONG in raw.translate(_OUTLINE):
        return [word[:LONGEST] for word in found]
    return found


def _folded_chunk(chunk: str) -> str:
    return _known_chunk(chunk) if len(chunk) <= _LONGEST_KNOWN else " ".join(_folded_words(chunk))


@lru_cache(maxsize=4_096)
def _known_chunk(chunk: str) -> str:
    return " ".join(_folded_words(chunk))


def _folded_words(text: str) -> list[str]:
    """Return what `words` does for any characters, at many times the cost."""
    found: list[str] = []
    for run in _folded(text).translate(_SEPARATORS).split():
        if _SPACELESS.search(run) is None:
            _add(found, run)
            continue
        for part in _PARTS.findall(run):
            if _SPACELESS.match(part) is None:
                _add(found, part)
            elif len(part) == 1:
                found.append(part)
            else:
                found += map(add, part, part[1:])
    return found


def _add(found: list[str], run: str) -> None:
    """Add the words of a run; marks before its first letter or digit belong to something else, such as an emoji."""
    start = next((place for place, character in enumerate(run) if character.isalnum()), None)
    if start is not None:
        found.append(run[start : start + LONGEST])


def _folded(text: str) -> str:
    """Apply the part of Unicode's NFKC_Casefold that matters for words: one form for all spellings of a text."""
    text = _STACKS.sub(r"\1", _INVISIBLE.sub("", text))
    # Folding the case may give what normalises further, and that what folds further; it settles after a few rounds.
    while (again := normalize("NFKC", normalize("NFKC", text).casefold())) != text:
        text = again
    return text


class _Separators(dict[int, int | str]):
    """A table for `str.translate`: a character that can be part of a word stays, any other becomes a space."""

    def __missing__(self, code: int) -> int | str:
        kind = category(chr(code))
        result = code if kind[0] in "LN" or kind in ("Mn", "Mc") else " "
        # The million code points that are no characters are not remembered.
        if kind not in ("Cn", "Co", "Cs"):
            self[code] = result
        return result


_ASCII: Final = [chr(code) if chr(code).isalnum() else " " for code in range(128)]
_LOWER: Final = "".join(_ASCII).lower().encode() + bytes(range(128, 256))
_OUTLINE: Final = "".join(_ASCII).translate(dict.fromkeys(range(33, 128), 120)).encode().ljust(256)
"""Any letter or digit of ASCII is an x."""
_TOO_LONG: Final = b"x" * (LONGEST + 1)
_SEPARATORS: Final = _Separators()
# Joiners, direction marks, soft hyphens and variation selectors stand inside words and mean nothing to a search. The
# non-joiner (U+200C) and the space without width (U+200B) do separate words.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200d-\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
_MOST_MARKS: Final = 30
_MARKS: Final = "".join(character for character in map(chr, range(0x300, 0x1_F000)) if combining(character))
# No script puts more marks on a letter (UAX 15, "Stream-Safe Text Format"). Sorting them takes the square of their
# number: a quarter of a million, which an event may have, took minutes.
_STACKS: Final = re.compile(f"([{_MARKS}]{{{_MOST_MARKS}}})[{_MARKS}]+")
# Han, Hiragana, Katakana, Thai, Lao, Burmese, Khmer, their own marks included.
_RANGES: Final = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u17d7\u17dc-\u17dd\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_SPACELESS: Final = re.compile(f"[{_RANGES}]")
_PARTS: Final = re.compile(f"[{_RANGES}]+|[^{_RANGES}]+")
