"""Folds a text to what people type: one form for all spellings, without what the readers of its script leave off.

`docs/search.md` has the table of scripts. Marks are left off where readers do without them (accents of Latin and Greek
letters, points and vowels of Hebrew and Arabic), and kept where they make another letter (Cyrillic й, Japanese が,
vowels of Devanagari and Thai). What Unicode cannot tell, such as ł and ø being typed l and o, is a small table here.
"""

# ruff: noqa: RUF001  # letters of many scripts
from __future__ import annotations

import re
from typing import Final
from unicodedata import combining, normalize


def fold(text: str) -> str:
    """Return the one form of a text; folding it again changes nothing."""
    # Each step may give what another folds further; it settles after two or three rounds.
    while (again := _folded_once(text)) != text:
        text = again
    return text


def _folded_once(text: str) -> str:
    """Apply, one after another, Unicode's compatibility forms, what is left off, its case folding, and our table."""
    text = normalize("NFKD", _STACKS.sub(r"\1", _INVISIBLE.sub("", text)))
    # A look for the characters costs a fraction of looking at the places where they stand, or of a table.
    if _COULD_BE_LEFT_OFF.search(text) is not None:
        text = _LEFT_OFF.sub("", text)
    text = text.casefold()
    if _IN_TABLE.search(text) is not None:
        text = text.translate(_TYPED)
    return normalize("NFKC", text)


# Joiners, direction marks, soft hyphens, variation selectors and the Arabic tatweel stand inside words and mean nothing
# to a search. The non-joiner (U+200C) and the space without width (U+200B) do separate words.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u0640\u180b-\u180f\u200d-\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
_MOST_MARKS: Final = 30
_MARKS: Final = "".join(
    character for character in map(chr, range(0x300, 0x1_F000)) if combining(normalize("NFKD", character)[0])
)
"""Five of them are marks only once they are decomposed."""
# No script puts more marks on a letter (UAX 15, "Stream-Safe Text Format"). Sorting them takes the square of their
# number: a quarter of a million, which an event may have, took minutes.
_STACKS: Final = re.compile(f"([{_MARKS}]{{{_MOST_MARKS}}})[{_MARKS}]+")

_CYRILLIC: Final = "\u0400-\u0481\u048a-\u052f\u1c80-\u1c8a\ua640-\ua66d\ua680-\ua69b"
_ACCENTS: Final = "\u0300-\u036f\u1ab0-\u1abd\u1abf-\u1ace\u1dc0-\u1dff\u20d0-\u20dc\u20e1\u20e5-\u20f0\ufe20-\ufe2f"
_POINTS: Final = (
    # Cyrillic: what church books put above letters. Hebrew: accents and points.
    "\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\ufb1e"
    # Arabic: vowels, and what recitation adds. Syriac: vowels.
    "\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u0730-\u074a"
    # Devanagari and Gurmukhi: the dot below, and accents of the Vedas.
    "\u093c\u0951-\u0954\u0a3c"
)
_ALEF_MARKS: Final = "\u0653-\u0655"
_LEFT_OFF: Final = re.compile(
    # Latin, Greek and all else that shares their marks, but not Cyrillic, where й and ї are other letters.
    f"(?<![{_CYRILLIC}])[{_ACCENTS}]+"
    # Cyrillic: stress, and the dots of ё.
    "|[\u0300\u0301]|(?<=[Ее])\u0308"
    # Hamza and madda on an alef.
    f"|(?<=\u0627)[{_ALEF_MARKS}]+|[{_POINTS}]"
)
_COULD_BE_LEFT_OFF: Final = re.compile(f"[{_ACCENTS}{_ALEF_MARKS}{_POINTS}]")
_TYPED: Final = str.maketrans(
    # Latin letters whose stroke, hook or shape is no mark to Unicode.
    dict(zip("ıłøđɖðħŧŋəǝɓɗƙƴ", "ilodddhtneebdky", strict=True))
    | {"þ": "th", "æ": "ae", "œ": "oe"}
    # Letters that keyboards for Arabic, Persian and Urdu have in different forms, and alef wasla.
    | {"\u0649": "\u064a", "\u06cc": "\u064a", "\u06a9": "\u0643", "\u0629": "\u0647", "\u06c1": "\u0647"}
    | {"\u0671": "\u0627"}
    # Devanagari: chandrabindu, which is typed as anusvara.
    | {"\u0901": "\u0902"}
)
_IN_TABLE: Final = re.compile(f"[{''.join(map(chr, _TYPED))}]")
