"""Refuse events that use one of these words.

    [plugins]
    hooks = "hooks/word_list.py"
    hooks_options = { words = ["casino", "free money"], shadow = true }

Letters count as the same in either case and in every width; a word counts where it stands alone, and in scripts
without capitals, such as Chinese or Arabic, inside of others, too. Who writes "c@sin0" gets through.
"""

from __future__ import annotations

import re
from unicodedata import normalize

import msgspec

from trio_relay import Event, HookedRelay, Reject, Shadow, Source


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says.

    Attributes:
        words: hundreds, not millions: each of them is looked for in each event.
        kinds: of the events that are looked at.
        shadow: let the sender believe that the event was accepted.
    """

    words: tuple[str, ...]
    kinds: frozenset[int] = frozenset({1, 11, 42, 1111, 30023})
    shadow: bool = False


class WordList:
    """Looks for words.

    Args:
        options: which, and where.
    """

    def __init__(self, options: Options) -> None:
        self._kinds = options.kinds
        self._answer = Shadow() if options.shadow else Reject("blocked: a word of this event is not welcome here")
        self._words = [(word, re.compile(_alone(word))) for word in map(_plain, options.words) if word]

    def on_event(self, event: Event, _source: Source) -> Reject | Shadow | None:
        """Refuse an event with such a word."""
        if event.kind not in self._kinds:
            return None
        text = _plain(event.content)
        # Nearly no word is anywhere in a text, and to find that out takes a fraction of what its pattern takes.
        is_there = any(word in text and alone.search(text) for word, alone in self._words)
        return self._answer if is_there else None


def _plain(text: str) -> str:
    return " ".join(normalize("NFKC", text).casefold().split())


def _alone(word: str) -> str:
    """Return a pattern for a word; where letters have capitals, words have spaces between them."""
    before = r"(?<!\w)" if _has_neighbours(word[0]) else ""
    after = r"(?!\w)" if _has_neighbours(word[-1]) else ""
    return before + re.escape(word) + after


def _has_neighbours(letter: str) -> bool:
    return letter.isdigit() or letter.lower() != letter.upper()


def start(_relay: HookedRelay, options: Options) -> WordList:
    """Make the hooks."""
    return WordList(options)
