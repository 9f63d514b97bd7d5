"""The manual page says what `--help` says, in a form that `man` shows without a complaint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from inspect import cleandoc

import click
import pytest

from docs.generate import ROOT
from tests.support.terminal import COLUMNS
from trio_relay import cli
from trio_relay.cli import leaving

PAGE = ROOT / "docs" / "trio-relay.1"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program that reads the page."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on PATH")
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": str(COLUMNS), "MANPAGER": "cat"}
    return subprocess.run([*command, str(PAGE)], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def shown() -> str:
    """The page as mandoc shows it on a terminal, without what makes letters bold."""
    return re.sub(".\b", "", run("mandoc", "-T", "utf8").stdout)


def test_mandoc_finds_nothing_to_complain_of() -> None:
    ended = run("mandoc", "-T", "lint", "-W", "style")
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_groff_finds_nothing_to_complain_of() -> None:
    ended = run("man", "--warnings=w", "-E", "UTF-8", "-l")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in ended.stdout.splitlines() if len(re.sub(".\b", "", line)) > COLUMNS] == []


def test_every_command_option_and_exit_code_is_there(shown: str) -> None:
    words = " ".join(shown.split())
    for name, command in cli.main.commands.items():
        assert f"\n   {name} " in shown
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in words
                assert " ".join(str(option.help).split()).replace("`", "") in words
        first = " ".join(cleandoc(str(command.help)).split("\n\n")[0].split())
        assert first.replace("`", "") in words
        assert leaving.EXITS[name].failed in words
    for code, meaning in leaving.MEANINGS.items():
        assert re.search(rf"\n +{code} +{re.escape(meaning.split()[0])}", shown)


def test_what_one_types_can_be_copied_from_it() -> None:
    """Hyphens and quotes are those of ASCII, also by groff, which would rather have those of books."""
    shown = re.sub(".\b|\x1b\\[[\\d;]*m", "", run("man", "-E", "UTF-8", "-l").stdout)
    assert """eval "$(trio-relay completion bash)\"""" in shown
    assert '\'{"kinds":[1],"authors":["npub1…"]}\'' in " ".join(shown.split())
    assert "\N{HYPHEN}" not in shown
    assert "--" not in PAGE.read_text(encoding="utf-8"), "where nobody has told groff otherwise, - is a hyphen"
