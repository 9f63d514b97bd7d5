"""Splits a text into the words by which it is found, in the same way for every store and for live delivery (NIP-50).

Texts that people type in the same way have the same words (`folding`). In scripts that are written without spaces, and
in Hangul, whose particles stick to their nouns, each two neighbouring characters make a word, and the last one of a run
is a word once more: so every character begins a word, and any part of a text is found, a single character by the words
that begin with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import add
from typing import Final
from unicodedata import category, decimal, unidata_version

from trio_relay.nostr.folding import fold

RULES: Final = f"2, Unicode {unidata_version}"
"""What the words depend on: our own rules, counted, and the data of this Python. Raise the number with any change of
words or of `search.text_of`: a store whose words were made by other rules makes them again."""
LONGEST: Final = 64
"""Most characters of a word; an id or a key in hex is a word of this length."""
APART: Final = "·"
"""Stands between two texts whose words are kept together, so that no phrase reaches across; it is no word itself."""
ANY_END: Final = "*"
"""Stands at the end of the last word that is asked for if that is only the beginning of a word; no word has it."""
_LONGEST_KNOWN: Final = 32
"""Most characters of a text whose words are cached, so that nobody can fill the memory."""


def words(text: str) -> list[str]:
    """Return the words of a text in their order: folded, no punctuation, never empty, at most 64 characters each."""
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


def asked(text: str, prefix: int = 0) -> tuple[str, ...]:
    """Return the words of a text that is searched for, which follow one another; the last may end in `ANY_END`.

    A single character of a script without spaces is the beginning of a word; other words may be.

    Args:
        text: what somebody has typed.
        prefix: of how many characters or more the last word may be the beginning of a word; 0: it is whole.
    """
    found = words(text)
    if not found:
        return ()
    last = found[-1]
    if _SPACELESS.match(last) is None:
        if prefix and prefix <= len(last) < LONGEST:
            found[-1] = last + ANY_END
    elif len(found) > 1 and _ends_with(found[-2], last):
        del found[-1]  # which only says that the text ends here
    else:
        found[-1] = last + ANY_END
    return tuple(found)


def _ends_with(pair: str, last: str) -> bool:
    """Return True if these are the last two words of one run of a script without spaces."""
    return len(pair) == 2 and pair[1] == last and _SPACELESS.match(pair) is not None


def _folded_chunk(chunk: str) -> str:
    return _known_chunk(chunk) if len(chunk) <= _LONGEST_KNOWN else " ".join(_folded_words(chunk))


@lru_cache(maxsize=4_096)
def _known_chunk(chunk: str) -> str:
    return " ".join(_folded_words(chunk))


def _folded_words(text: str) -> list[str]:
    """Return what `words` does for any characters, at many times the cost."""
    found: list[str] = []
    for run in fold(text).translate(_SEPARATORS).split():
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
                found.append(part[-1])
    return found


def _add(found: list[str], run: str) -> None:
    """Add the words of a run; marks before its first letter or digit belong to something else, such as an emoji."""
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
        # The million code points that are no characters are not remembered.
        if kind not in ("Cn", "Co", "Cs"):
            self[code] = result
        return result


_ASCII: Final = [chr(code) if chr(code).isalnum() else " " for code in range(128)]
_LOWER: Final = "".join(_ASCII).lower().encode() + bytes(range(128, 256))
_OUTLINE: Final = "".join(_ASCII).translate(dict.fromkeys(range(33, 128), 120)).encode().ljust(256)
"""Any letter or digit of ASCII is an x."""
_TOO_LONG: Final = b"x" * (LONGEST + 1)
_APOSTROPHES: Final = frozenset(map(ord, "\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ee"))
_SEPARATORS: Final = _Separators()
# Han, Hiragana, Katakana, Thai, Lao, Burmese, Khmer, their own marks included; Hangul, its single letters included.
_RANGES: Final = (
    "\u1100-\u11ff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb"
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u17d7\u17dc-\u17dd\u3005-\u3007\u3021-\u302f\u3031-\u3035\u3038-\u303c"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
_SPACELESS: Final = re.compile(f"[{_RANGES}]")
_PARTS: Final = re.compile(f"[{_RANGES}]+|[^{_RANGES}]+")
