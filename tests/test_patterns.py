"""No pattern takes the square of what it is asked about: no two open repeats of the same characters stand side by side.

Where such a pattern does not match, every way to share the characters between the two is tried.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

import trio_relay

PARSER: Final[Any] = importlib.import_module("re._parser")  # the standard library's own reading of patterns
OPEN: Final = 100
"""A repeat of more than so many is open."""
SAMPLES: Final = [chr(code) for code in (*range(128), 0xA0, 0xE9, 0x301, 0x416, 0x627, 0x915, 0x4E00, 0xAC00, 0x1F600)]
CATEGORIES: Final = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w", "NOT_DIGIT": r"\D", "NOT_SPACE": r"\S"}


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every pattern of the relay, by where it stands."""
    found = {}
    for module in pkgutil.walk_packages(trio_relay.__path__, "trio_relay."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    found[f"{module.name}.{name}"] = value
    return found


def holds(op: str, value: Any, one: str) -> bool:
    """Whether one piece of a pattern, which stands for one character, may be this one."""
    match op:
        case "LITERAL":
            return bool(value == ord(one))
        case "NOT_LITERAL":
            return bool(value != ord(one))
        case "RANGE":
            return bool(value[0] <= ord(one) <= value[1])
        case "CATEGORY":
            return re.match(CATEGORIES[str(value).removeprefix("CATEGORY_")], one) is not None
        case "IN" if str(value[0][0]) == "NEGATE":
            return not any(holds(str(part), item, one) for part, item in value[1:])
        case "IN":
            return any(holds(str(part), item, one) for part, item in value)
    return True  # any character, or a group once more


def begins(pieces: list[Any]) -> tuple[set[str], set[str], bool]:
    """What pieces can begin with, what an open repeat at their beginning takes, and whether they can be empty."""
    first: set[str] = set()
    taken: set[str] = set()
    for op, value in pieces:
        match str(op):
            case "AT" | "ASSERT" | "ASSERT_NOT":
                continue
            case "SUBPATTERN":
                parts = [begins(list(value[3]))]
            case "ATOMIC_GROUP":
                parts = [begins(list(value))]
            case "BRANCH":
                parts = [begins(list(branch)) for branch in value[1]]
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                inner, deeper, is_empty = begins(list(value[2]))
                is_open = value[1] > OPEN
                parts = [(inner, deeper | (inner if is_open else set()), is_empty or value[0] == 0)]
            case name:
                parts = [({one for one in SAMPLES if holds(name, value, one)}, set(), False)]
        for inner, deeper, _ in parts:
            first |= inner
            taken |= deeper
        if not any(is_empty for *_, is_empty in parts):
            return first, taken, False
    return first, taken, True


def flat(pieces: list[Any]) -> list[Any]:
    """The pieces of one sequence, those of its groups among them."""
    found: list[Any] = []
    for op, value in pieces:
        found += flat(list(value[3])) if str(op) == "SUBPATTERN" else [(op, value)]
    return found


def sequences(pieces: list[Any]) -> Iterator[list[Any]]:
    """All sequences in a pattern."""
    pieces = flat(pieces)
    yield pieces
    for op, value in pieces:
        if str(op) == "BRANCH":
            for branch in value[1]:
                yield from sequences(list(branch))
        elif str(op).endswith("REPEAT"):
            yield from sequences(list(value[2]))
        elif str(op).startswith("ASSERT"):
            yield from sequences(list(value[1]))


def is_square(pattern: str | bytes, flags: int = 0) -> bool:
    """Whether two open repeats that share characters meet, side by side or one within the other."""
    for pieces in sequences(list(PARSER.parse(pattern, flags & ~re.UNICODE))):
        for place, (op, value) in enumerate(pieces):
            if str(op) in ("MAX_REPEAT", "MIN_REPEAT") and value[1] > OPEN:
                taken, inner, _ = begins(list(value[2]))
                if taken & inner or taken & begins(pieces[place + 1 :])[1]:
                    return True
    return False


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (rb"\r\n(length):[ \t]*([^\r]*?)[ \t]*(?=\r)", True),
        (rb"\r\n(length):([^\r]*)", False),
        (r"(a+)+b", True),
        (r"a*(?:b|a*)c", True),
        (r"a+b?\w+", True),
        (r"\s*\[\s*x", False),
        (r"(?:a*|b*)={0,2}", False),
        (r"[a-z]+:.+", False),
        (r"(a{30})a+", False),
    ],
)
def test_the_rule_finds_what_it_is_about(pattern: str | bytes, expected: bool) -> None:
    assert is_square(pattern) == expected


def test_every_pattern_takes_its_text_once() -> None:
    found = patterns()
    assert len(found) > 20
    assert {name for name, pattern in found.items() if is_square(pattern.pattern, pattern.flags)} == set()
