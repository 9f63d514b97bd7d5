"""A Dockerfile taken apart: its stages, and what each of them does in which order (pure, no I/O)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Instruction:
    """One step: its word in capitals, its flags (`--from=built`), and the rest as it stands."""

    word: str
    flags: dict[str, str]
    rest: str

    @property
    def items(self) -> list[str]:
        """The rest as a list: JSON where it is one, else words."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    name: str
    base: str
    steps: list[Instruction] = field(default_factory=list)

    def last(self, word: str) -> Instruction:
        """The last step with this word."""
        return [step for step in self.steps if step.word == word][-1]

    @property
    def environment(self) -> dict[str, str]:
        """What its ENV instructions set."""
        found = [item.partition("=") for step in self.steps if step.word == "ENV" for item in step.items]
        return {name: value for name, _, value in found}


def stages_of(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    stages: list[Stage] = []
    for step in _instructions(text):
        if step.word == "FROM":
            base, *name = step.items
            stages.append(Stage(name[-1] if name else "", base))
        else:
            stages[-1].steps.append(step)
    return stages


def _instructions(text: str) -> Iterator[Instruction]:
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", without_comments).splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            flags: dict[str, str] = {}
            while (found := re.match(r"--([\w-]+)=(\S+)\s+", rest)) is not None:
                flags[found[1]] = found[2]
                rest = rest[found.end() :]
            yield Instruction(word, flags, rest)
