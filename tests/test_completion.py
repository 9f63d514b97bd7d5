"""What a shell is told at Tab, by the protocol of click's scripts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from trio_relay import cli

pytestmark = pytest.mark.usefixtures("own_logging")


def completed(typed: str) -> list[str]:
    """What bash is told where somebody has typed this, each a kind and a word."""
    words = typed.split(" ")
    asked = {"_TRIO_RELAY_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    return CliRunner().invoke(cli.main, env=asked, prog_name="trio-relay").stdout.splitlines()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("trio-relay che", ["plain,check", "plain,check-config"]),
        ("trio-relay check --sig", ["plain,--signatures"]),
        ("trio-relay sync --direction u", ["plain,up"]),
        ("trio-relay init --writers l", ["plain,listed"]),
        ("trio-relay init --tls ", ["plain,proxy", "plain,relay"]),
        ("trio-relay completion f", ["plain,fish"]),
        ("trio-relay call banp", ["plain,banpubkey"]),
        ("trio-relay call supp", ["plain,supportedmethods"]),
        *((f"trio-relay {before} rel", ["file,rel"]) for before in [
            "--config", "serve --config", "import", "import --state", "export", "export --state", "backup", "restore",
            "check --repair", "sync --key-file", "init --config", "init --certificate", "init --certificate-key",
            "init --store",
        ]),
    ],
)  # fmt: skip
def test_what_is_typed_is_completed(typed: str, words: list[str]) -> None:
    assert completed(typed) == words


def test_methods_of_every_sort_are_told() -> None:
    told = completed("trio-relay call ")
    assert {"supportedmethods", "banpubkey", "listmembers", "listsettings", "listclients", "stats", "explainevent"} <= {
        line.removeprefix("plain,") for line in told
    }
    assert all(line.startswith("plain,") for line in told)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_says_how_a_shell_gets_it(shell: str) -> None:
    told = CliRunner().invoke(cli.main, ["completion", "--help"], prog_name="trio-relay").stdout
    assert f"trio-relay completion {shell}" in told
