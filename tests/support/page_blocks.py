"""The blocks of code of the pages by the heading above them, and a shell into which they are typed.

A test that runs what a page says takes it from here by the literal names of page and heading: from these
tests/test_page_blocks.py tells which block nobody runs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from tests.support.program import PATIENCE, environment

ROOT: Final = Path(__file__).resolve().parents[2]
SHELLS: Final = ("sh", "console")
"""Languages of blocks for a shell: commands alone, and a session, in which `$ ` is before each command."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        section: the heading that it stands under, of whatever level.
        language: what the page says it is in; empty if nothing.
        text: its lines.
    """

    section: str
    language: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """All blocks of a page, which is named by its path in the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks, section = [], ""
    for heading, language, block in re.findall(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        section = heading or section
        if not heading:
            blocks.append(Block(section, language, block))
    return blocks


def shell_blocks(page: str, section: str) -> list[str]:
    """What a page has people type under this heading, a text for each block."""
    return [_typed(block) for block in blocks_of(page) if block.section == section and block.language in SHELLS]


def _typed(block: Block) -> str:
    if block.language == "sh":
        return block.text
    return "".join(line[2:] for line in block.text.splitlines(keepends=True) if line.startswith("$ "))


def give(folder: Path, name: str, script: str) -> None:
    """Put a program in the place of one that is not here, for what is typed in this folder."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(script, encoding="utf-8")
    (folder / "bin" / name).chmod(0o755)


def shell(text: str) -> list[str]:
    """The command that types lines into a shell, in which `trio-relay` is the program under test."""
    program = f'trio-relay() {{ {shlex.quote(sys.executable)} -m trio_relay "$@"; }}'
    return ["bash", "-euo", "pipefail", "-c", f"{program}\n{text}"]


async def typed(
    folder: Path, text: str, settings: Mapping[str, str] | None = None, *, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Lines as they are typed into a shell where the relay is installed, up to the first that fails.

    Args:
        folder: where they are typed; the programs of its `bin` come before others.
        text: the lines.
        settings: of the relay, `section.key` to its value.
        variables: further ones of the environment.
    """
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            shell(text),
            capture_stdout=True,
            capture_stderr=True,
            cwd=folder,
            env=environment(settings) | {"PATH": path} | dict(variables or {}),
            check=False,
        )
