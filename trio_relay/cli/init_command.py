"""The command `init`: asks what a new relay needs to know, and writes a configuration that is checked.

What answers mean, and what is written, is in `first_config`; here is the asking.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, get_args

import click

from trio_relay.cli.completion import complete_file
from trio_relay.cli.leaving import CONFIG_ERROR, STOPPED_NOW, exit_codes, leave
from trio_relay.config import check
from trio_relay.config_checks import ConfigError
from trio_relay.first_config import (
    LOCAL,
    NOBODY,
    FirstAnswers,
    RelayReach,
    TlsPlace,
    Writers,
    Writing,
    is_secure,
    read_address,
    read_admin,
    read_keys,
    read_name,
    read_proxies,
    read_store,
    read_tls,
    read_writers,
)
from trio_relay.net.control import ROOT
from trio_relay.net.tls import TlsRefused
from trio_relay.private_files import written_whole
from trio_relay.store.sqlite.lock import why_not_there
from trio_relay.tls_files import read_certified

Answer = TypeVar("Answer")

_FILE: Final = Path("relay.toml")
_CLAIM_BYTES: Final = 8
_INTRODUCTION: Final = "Five questions. Enter takes what is in brackets; Ctrl-C writes nothing."


@click.command("init")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The configuration to write.  [default: {_FILE}]",
)
@click.option("--name", help="What clients show.")
@click.option("--address", metavar="URL", help=f"What clients type, wss://…; or {LOCAL}: this machine only.")
@click.option("--tls", type=click.Choice(get_args(TlsPlace)), help="Who speaks TLS at a wss address.")
@click.option("--proxies", metavar="ADDRESSES", help="Of the proxy that does.")
@click.option(
    "--certificate",
    metavar="FILE",
    shell_complete=complete_file,
    help="For a relay that does: its certificate, in PEM.",
)
@click.option("--certificate-key", metavar="FILE", shell_complete=complete_file, help="And its private key.")
@click.option("--writers", type=click.Choice(get_args(Writers)), help="Who may write.")
@click.option("--keys", metavar="KEYS", help="Of those who are listed, hex or npub, with commas between.")
@click.option(
    "--store",
    metavar="FILE|URL",
    shell_complete=complete_file,
    help="Where events are kept: SQLite's file, or OpenSearch.",
)
@click.option("--admin", metavar="KEY", help=f"Who manages the relay, hex or npub; or {NOBODY}.")
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given has its default.")
@click.option("--force", is_flag=True, help="Write over a configuration that is there.")
@click.pass_obj
def init_command(
    group_path: Path | None, /, config_path: Path | None, yes: bool, force: bool, **given: str | None
) -> None:
    """Ask five questions, and write a configuration.

    Its name, its address, who may write, where events are kept, and who manages the relay: each answer is checked at
    once. An option answers its question; with all of them, or --yes, nobody is asked. The file is checked before it is
    written, for its owner only. Ctrl-C and Ctrl-D end it, and nothing is written.
    """
    path = config_path or group_path or _FILE
    with exit_codes(writes=True):
        if path.exists() and not force:
            leave(CONFIG_ERROR, f"{path} is there already; --force writes over it")
        try:
            answers = _asked(_Questions(given, takes_defaults=yes), path)
        except click.Abort:
            click.echo(err=True)
            leave(STOPPED_NOW, "interrupted: nothing is written")
        text = _checked(answers)
        with written_whole(path) as file:
            file.write(text.encode())
    _tell(path, answers)


class _Questions:
    """Has each question answered: by an option, by its default, or by whoever sits at the terminal.

    Args:
        given: the answers of options, None where it was not there.
        takes_defaults: True: nobody is asked.
    """

    def __init__(self, given: Mapping[str, str | None], *, takes_defaults: bool) -> None:
        self._given = given
        self._takes_defaults = takes_defaults
        self._has_asked = False

    def answer(self, option: str, question: str, default: str, read: Callable[[str], Answer]) -> Answer:
        """Have one question answered; ends the command where an option's answer will not do.

        Args:
            option: that answers it.
            question: for the terminal.
            default: empty: there is none.
            read: takes an answer; raises ValueError with a sentence about what is wrong with it.
        """
        text = self._given[option.replace("-", "_")]
        if text is not None or self._takes_defaults:
            try:
                return read(_decoded(default if text is None else text))
            except ValueError as error:
                leave(CONFIG_ERROR, f"--{option}: {error}")
        self._introduce()
        click.echo(question, err=True)
        again = partial(_or_again, read)
        return click.prompt("  ", default=default or None, value_proc=again, prompt_suffix="> ", err=True)

    def _introduce(self) -> None:
        if self._has_asked:
            return
        self._has_asked = True
        if not sys.stdin.isatty():
            leave(CONFIG_ERROR, "nobody can be asked here: answer by options, or take the defaults by --yes")
        click.echo(_INTRODUCTION, err=True)


def _or_again(read: Callable[[str], Answer], text: str) -> Answer:
    try:
        return read(_decoded(text))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _decoded(text: str) -> str:
    """Refuse bytes that are no text, which Python hands on all the same; in a file of TOML they have no place."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("that is no UTF-8") from None
    return text


def _asked(questions: _Questions, path: Path) -> FirstAnswers:
    ask = questions.answer
    name = ask("name", "1. What is the relay called?", "trio-relay", read_name)
    reach = _asked_for_reach(questions)
    writing = _asked_for_writing(questions, reach.url)
    where = "4. Where are events kept: in a file of SQLite, or at an OpenSearch's URL?"
    store = ask("store", where, "data/relay.db", partial(_read_store, path))
    who = f"5. Who manages the relay: npub1… or hex, or {NOBODY}?"
    has_to_be = writing.writers == "trust"
    admin = ask("admin", who, "" if has_to_be else NOBODY, partial(read_admin, is_needed=has_to_be))
    return FirstAnswers(name, reach, writing, store, admin)


def _asked_for_reach(questions: _Questions) -> RelayReach:
    ask = questions.answer
    what = f"2. What do clients type: wss://…, or {LOCAL}, for this machine only?"
    url = ask("address", what, LOCAL, read_address)
    if not is_secure(url):
        return RelayReach(url)
    tls = ask("tls", "   Who speaks TLS there: a proxy in front, or the relay?", "proxy", read_tls)
    if tls == "proxy":
        whence = "   From which addresses does the proxy connect?"
        return RelayReach(url, tls, ask("proxies", whence, "127.0.0.1", read_proxies))
    certificate = ask("certificate", "   The file of its certificate, in PEM?", "", _read_file)
    key = ask("certificate-key", "   And of its private key?", "", partial(_read_key, certificate))
    return RelayReach(url, tls, (), certificate, key)


def _asked_for_writing(questions: _Questions, url: str) -> Writing:
    who = "3. Who may write: everyone, listed keys, members, or a web of trust?"
    writers = questions.answer("writers", who, "everyone", partial(read_writers, url=url))
    if writers == "listed":
        return Writing(writers, questions.answer("keys", "   Whose keys: npub1… or hex?", "", read_keys))
    return Writing(writers, claim=secrets.token_hex(_CLAIM_BYTES) if writers == "members" else "")


def _read_file(text: str) -> str:
    if not os.path.isfile(path := _at_home(text.strip())):  # False for a name that is too long, too
        raise ValueError(f"{path or 'that'} is no file")
    return path


def _at_home(path: str) -> str:
    """A path whose `~` is the home that it stands for: a shell does that for options, and nobody for answers."""
    if (whole := os.path.expanduser(path)).startswith("~"):
        raise ValueError(f"{path}: whose home is that? A name that begins with ~ is written ./~")
    return whole


def _read_key(certificate: str, text: str) -> str:
    """Read the path of a key, and see that it is the certificate's."""
    key = _read_file(text)
    try:
        read_certified(Path(certificate), Path(key))
    except TlsRefused as refused:
        raise ValueError(str(refused).partition(": ")[2]) from None
    return key


def _read_store(config: Path, text: str) -> str:
    """Read where events are kept; a file must be able to lie there, and not where the configuration will."""
    if "://" in (store := read_store(text)):
        return store
    path = Path(store := _at_home(store))
    try:
        path.exists()
    except OSError as error:
        raise ValueError(f"{store}: {error.strerror}") from None
    if store.endswith("/") or path.is_dir():
        raise ValueError(f"{store} is a folder: name a file in it")
    if (blocked := next((one for one in path.parents if one.exists() and not one.is_dir()), None)) is not None:
        raise ValueError(f"{blocked} is no folder")
    if (reason := why_not_there(path, config)) is not None:
        raise ValueError(reason)
    return store


def _checked(answers: FirstAnswers) -> str:
    text = answers.toml()
    try:
        check(tomllib.loads(text))
    except ConfigError as error:
        leave(CONFIG_ERROR, f"these answers do not go together: {error}")
    return text


def _tell(path: Path, answers: FirstAnswers) -> None:
    """Say what has been written, and which commands come next."""
    click.echo(f"{path} is written, and good. What comes next:\n")
    named = shlex.quote(str(path))
    steps = [
        *([("trio-relay migrate", "make the index")] if answers.is_clustered else []),
        ("trio-relay", "run the relay, until Ctrl-C"),
        ("trio-relay check-config", "after each change of the file"),
        *([("trio-relay admin-link", "into the console without a key, while it runs")] if answers.admin else []),
    ]
    for command, what in steps:
        click.echo(f"  {command} --config {named}\n      {what}")
    if answers.writing.claim:
        click.echo(f"\nMembers join with the code {answers.writing.claim}")
    if os.geteuid() == ROOT:
        click.echo(f"\nOnly root may read {path}: give it to the user whom the relay will run as.")
