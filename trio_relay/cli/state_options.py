"""The options about the file of operators' decisions, which `import` reads and `export` writes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import click

state_option: Final = partial(click.option, "--state", "state_path", metavar="STATE")
with_key_option: Final = partial(click.option, "--with-key", is_flag=True)


def check_options(has_file: bool, state_path: Path | None, **needing: bool) -> None:
    """Refuse options without what they are about.

    Args:
        has_file: whether FILE was named.
        state_path: the file of a state, if there is one.
        needing: options by their names: one about events needs FILE beside a state, the others need a state.

    Raises:
        click.UsageError: it is not there.
    """
    if needing.pop("backup", False) and not has_file and state_path is not None:
        raise click.UsageError("--backup beside --state needs FILE, or - for standard input")
    for name, is_given in needing.items():
        if is_given and state_path is None:
            raise click.UsageError(f"--{name.replace('_', '-')} needs --state")
