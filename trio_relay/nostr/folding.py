"""Folds a text to what people type: one form for all spellings, without what the readers of its script leave off.

`docs/search.md` has the table of scripts. Marks are left off where readers do without them (accents of Latin and Greek
letters, points and vowels of Hebrew and Arabic), and kept where they make another letter (Cyrillic й, Japanese が,
vowels of Devanagari and Thai). What Unicode cannot tell, such as ł and ø being typed l and o, is a small table here.
"""

# ruff: noqa: RUF001  # letters of many scripts
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import combining, normalize

FEWEST: Final = 64
"""Characters of the first slice of a text, which may become eighteen times as many."""
LONGEST_WHOLE: Final = 2 * FEWEST
"""Characters of a text that is one slice."""
MOST: Final = 1_024
"""Characters that are folded in one piece, up to twice as many where signs cling together: a millisecond or two, most
of it in calls during which no other thread runs."""


def fold(text: str) -> str:
    """Return the one form of a text; folding it again changes nothing."""
    # Each step may give what another folds further; it settles after two or three rounds.
    while (again := _folded_once(text)) != text:
        text = again
    return text


def slices(text: str) -> Iterator[str]:
    """Cut a long text where cutting changes nothing of how it is folded: short slices first, then longer ones.

    Of a thousand signs and more that cling to what is before them, which no script has, the rest is left out.
    """
    start, size = 0, FEWEST
    while len(text) - start > 2 * size:
        place = _BEGINS_ANEW.search(text, start + size)
        end = len(text) if place is None else place.start()
        yield text[start : min(end, start + size + MOST)]
        start, size = end, min(2 * size, MOST)
    if start < len(text):
        yield text[start:]


def _folded_once(text: str) -> str:
    """Apply, one after another, Unicode's compatibility forms, what is left off, its case folding, and our table."""
    text = _INVISIBLE.sub("", text)
    stacks = _STACKS if _COULD_BE_RARE.search(text) is None else _RARE_STACKS
    text = normalize("NFKD", stacks.sub(r"\1", text))
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
_DECOMPOSED: Final = "\u0f73\u0f75\u0f81\uff9e\uff9f"
"""Marks only once they are decomposed."""
_WITH_MARKS: Final = ((0x300, 0x3100), (0xA600, 0xAC00), (0xFB00, 0x1_2000), (0x1_6A00, 0x1_7000), (0x1_BC00, 0x1_F000))
"""Where Unicode has marks; to look at all there is would take tens of milliseconds of each start."""
_MARKS: Final = "".join(
    sorted([*_DECOMPOSED, *(mark for block in _WITH_MARKS for mark in filter(combining, map(chr, range(*block))))])
)
# No script puts more marks on a letter (UAX 15, "Stream-Safe Text Format"). Sorting them takes the square of their
# number: a quarter of a million, which an event may have, took minutes.
_RARE_STACKS: Final = re.compile(f"([{_MARKS}]{{{_MOST_MARKS}}})[{_MARKS}]+")
# A set of characters within 16 bits is a table of bits; with others it is a list, and takes forty times as long.
_COMMON_MARKS: Final = "".join(mark for mark in _MARKS if mark < "\U00010000")
_STACKS: Final = re.compile(f"([{_COMMON_MARKS}]{{{_MOST_MARKS}}})[{_COMMON_MARKS}]+")
_COULD_BE_RARE: Final = re.compile(f"[\U00010000-{_MARKS[-1]}]")
# All that may join what is before it once both are folded: marks, the letters of which Hangul is composed, joiners;
# here and there with others between them.
_BEGINS_ANEW: Final = re.compile(
    "[^"
    "\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u0670\u06d6-\u074a\u07a6-\u07b0\u07eb-\u082d"
    "\u0859-\u085b\u0897-\u089f\u08ca-\u0903\u093a-\u0983\u09bc-\u0a03\u0a3c-\u0a83\u0abc-\u0b03\u0b3c-\u0b82"
    "\u0bbe-\u0bd7\u0c00-\u0c04\u0c3c-\u0c83\u0cbc-\u0d03\u0d3b-\u0d83\u0dca-\u0df3\u0e31-\u0e4e\u0eb1-\u0ece"
    "\u0f18-\u0f3f\u0f71-\u0fc6\u102b-\u109d\u1161-\u11ff\u135d-\u135f\u1712-\u1773\u17b4-\u17dd\u180b-\u180f"
    "\u1885-\u18a9\u1920-\u193b\u1a17-\u1a1b\u1a55-\u1a7f\u1ab0-\u1ace\u1b00-\u1b04\u1b34-\u1bad\u1be6-\u1bf3"
    "\u1c24-\u1c37\u1cd0-\u1cf9\u1dc0-\u1dff\u200d-\u200f\u2060\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff"
    "\u302a-\u302f\u3099-\u309a\u3133-\u318e\ua66f-\ua69f\ua6f0-\ua6f1\ua802-\ua82c\ua880-\ua881\ua8b4-\ua953"
    "\ua980-\ua983\ua9b3-\ua9e5\uaa29-\uaa4d\uaa7b-\uaa7d\uaab0-\uaac1\uaaeb-\uaaf6\uabe3-\uabed\ufb1e"
    "\ufcf2-\ufcf4\ufe00-\ufe2f\ufe71-\ufe7f\ufeff\uff9e-\uffdc"
    "\U000101fd-\U0001037a\U00010a01-\U00011ef6\U00016af0-\U00016b36\U00016f4f-\U00016ff1\U0001bc9d-\U0001bc9e"
    "\U0001cf00-\U0001d244\U0001da00-\U0001daaf\U0001e000-\U0001e4ef\U0001e8d0-\U0001e94a\U000e0100-\U000e01ef"
    "]"
)

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
