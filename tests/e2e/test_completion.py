"""Completion at Tab, in the shells that people have."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.program import PATIENCE, SCRIPT, environment
from tests.support.terminal import CTRL_U, Terminal, on_terminal

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

NAMED = {"PATH": f"{Path(SCRIPT[0]).parent}:{os.environ['PATH']}"}
STARTED = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'PS1="read""y> "; eval "$(trio-relay completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'PS1="read""y> "; autoload -U compinit; compinit -u; eval "$(trio-relay completion zsh)"',
    ),
}
each_shell = pytest.mark.parametrize("shell", STARTED)
COMPLETED = [
    ("trio-relay check-c", "onfig"),
    ("trio-relay sync --direction u", "p"),
    ("trio-relay --config rel", "ay.toml"),
    ("trio-relay import rel", "ay.toml"),
    ("trio-relay call banp", "ubkey"),
]


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on PATH")


@asynccontextmanager
async def at_prompt(folder: Path, shell: str) -> AsyncIterator[Terminal]:
    """A person's shell that completes our command."""
    needs(shell)
    command, setting_up = STARTED[shell]
    (folder / "relay.toml").write_text("")
    async with on_terminal(folder, command=command, variables={**NAMED, "HOME": str(folder)}) as window:
        await window.type(f"{setting_up}\n")
        await window.shows("ready> ")
        yield window


@each_shell
async def test_tab_completes_commands_options_files_and_methods(tmp_path: Path, shell: str) -> None:
    async with at_prompt(tmp_path, shell) as window:
        for typed, rest in COMPLETED:
            await window.type(f"{typed}\t")
            await window.shows(typed + rest)
            await window.type(CTRL_U)


async def test_fish_completes_the_same(tmp_path: Path) -> None:
    needs("fish")
    (tmp_path / "relay.toml").write_text("")
    asked = "; ".join(f"complete -C '{typed}'; echo" for typed, _ in COMPLETED)
    with trio.fail_after(PATIENCE):
        ended = await trio.run_process(
            ["fish", "--no-config", "-c", f"trio-relay completion fish | source; {asked}"],
            capture_stdout=True,
            cwd=tmp_path,
            env={**environment(), **NAMED, "HOME": str(tmp_path)},
        )
    found = [[line.split("\t")[0] for line in part.splitlines()] for part in ended.stdout.decode().split("\n\n")]
    assert found[:-1] == [[f"{typed}{rest}".split()[-1]] for typed, rest in COMPLETED]
