"""What commands say of themselves reads well on any terminal: 80 columns, no colour, nothing cut off."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from tests.support.terminal import COLUMNS
from trio_relay import cli

each_command = pytest.mark.parametrize("name", ["", *sorted(cli.main.commands)])


def helped(name: str) -> str:
    """The help of a command."""
    return CliRunner().invoke(cli.main, [*([name] if name else []), "--help"], prog_name="trio-relay").stdout


@each_command
def test_the_help_fits_eighty_columns_and_is_plain_text(name: str) -> None:
    told = helped(name)
    assert [line for line in told.splitlines() if len(line) > COLUMNS] == []
    assert all(character.isprintable() or character == "\n" for character in told)


@each_command
def test_the_help_begins_with_a_sentence_and_explains_every_option(name: str) -> None:
    command = cli.main.commands[name] if name else cli.main
    first = str(command.help).split("\n\n")[0].split("\f")[0].strip()
    assert first[0].isupper()
    assert first.endswith((".", "…"))
    assert [one.name for one in command.params if isinstance(one, click.Option) and not one.help] == []


def test_the_list_of_commands_cuts_no_sentence() -> None:
    told = helped("")
    assert "..." not in told.replace("[ARGS]...", "")
    assert [name for name in cli.main.commands if f"\n  {name} " not in told] == []
