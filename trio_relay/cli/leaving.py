"""How a command ends: a line for the operator and an exit code, a traceback only for our own faults."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, NoReturn

import click
import structlog

from trio_relay.backup.base import BackupRefused
from trio_relay.logs import open_closed_streams
from trio_relay.main_process import StoppedNow
from trio_relay.net.listeners import AddressRefused
from trio_relay.net.tls import TlsRefused
from trio_relay.net.web.rendering import PagesRefused
from trio_relay.plugins.hooks import HooksRefused
from trio_relay.process import keep_its_end
from trio_relay.resuming import ResumeRefused
from trio_relay.state_file import StateRefused
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.workers import WorkersFailed

log = structlog.get_logger("trio_relay.cli")

CRASHED: Final = 1
CONFIG_ERROR: Final = 2
STORE_REFUSED: Final = 3
ADDRESS_REFUSED: Final = 4
STOPPED_NOW: Final = 130
MEANINGS: Final = {
    0: "done, or stopped as asked",
    CRASHED: "it failed, or found what it looks for to be wrong",
    CONFIG_ERROR: "the configuration or an argument is wrong",
    STORE_REFUSED: "the store cannot be opened",
    ADDRESS_REFUSED: "an address cannot be listened on",
    STOPPED_NOW: "interrupted, or stopped at once by a second signal",
}
"""What every exit code means, whichever command ends with it."""


class Exits(NamedTuple):
    """With which codes a command may end, beside 0, 2 and 130, which all may.

    Attributes:
        failed: what 1 means; beside that, of all: nobody can take the output, as on a full disk.
        opens_store: it may be 3.
        listens: it may be 4.
    """

    failed: str = "the output cannot be written"
    opens_store: bool = True
    listens: bool = False

    @property
    def codes(self) -> dict[int, str]:
        """Each code and its meaning, in order."""
        left_out = {
            *(() if self.opens_store else (STORE_REFUSED,)),
            *(() if self.listens else (ADDRESS_REFUSED,)),
        }
        own = {**MEANINGS, CRASHED: self.failed}
        return {code: meaning for code, meaning in own.items() if code not in left_out}

    def __str__(self) -> str:
        return "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in self.codes.items()) + "."


_SERVING: Final = Exits("a part of the relay failed", listens=True)
_READING: Final = Exits("the store cannot be read")
EXITS: Final = {
    "": _SERVING,
    "admin-link": Exits("the relay has not run with its console open"),
    "backup": Exits("the store cannot be read, or there is no room"),
    "call": Exits("no relay answers, or it refuses", opens_store=False),
    "check": Exits("something is wrong with the store"),
    "check-config": Exits(opens_store=False),
    "compact": Exits("the store cannot be made smaller"),
    "completion": Exits(opens_store=False),
    "count": _READING,
    "delete": Exits("not all was removed: the store failed, or whoever was asked did not want it"),
    "doctor": Exits("there are warnings or faults", opens_store=False),
    "export": Exits("the store cannot be read, or the file not be written"),
    "import": Exits("lines were refused, unless --lenient; the store failed, or FILE could not be read to its end"),
    "init": Exits("the file cannot be written", opens_store=False),
    "migrate": Exits("the store cannot be brought to this version"),
    "query": _READING,
    "reload": Exits(
        "no relay answers, or it could not take the changes; with 2, too, nothing has changed", opens_store=False
    ),
    "restore": Exits("the store cannot be written"),
    "retention": Exits("the store failed, or the running relay refuses"),
    "serve": _SERVING,
    "stats": _READING,
    "sync": Exits("the other relay was lost, or could not give all that it has"),
    "top": Exits("no relay answers", opens_store=False),
    "trends": _READING,
    "why": _READING,
}
"""By the names of the commands; the empty one is the program without any."""
_SAYING: Final = ("click.utils", "rich.console")
"""Modules by which commands say whatever they say."""


class CommandGroup(click.Group):
    """All commands, each of which ends with a line and a code where nobody can take what it says: a disk is full."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        open_closed_streams()
        keep_its_end()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if not _is_of_output(error):
                raise
            _drop_output()
            leave(CRASHED, f"cannot write the output: {error.strerror}")


@contextmanager
def exit_codes(*, writes: bool = False, interrupted: Callable[[], str] = lambda: "interrupted") -> Iterator[None]:
    """Turn the end of a run into a line for the operator and an exit code; a traceback only for our own faults.

    Args:
        writes: True if the system's errors are those of the files that are written.
        interrupted: called at Ctrl-C; gives the line for that.
    """
    try:
        yield
    except BaseException as error:
        match _sole(error):
            case SystemExit() | click.ClickException() | click.Abort() | click.exceptions.Exit() as leaving:
                raise leaving from None  # click's own say what is wrong with the arguments, and end by themselves
            case KeyboardInterrupt():
                leave(STOPPED_NOW, interrupted())
            case BrokenPipeError():
                sys.exit(CRASHED)  # the reader of our output has gone, so nobody would see a message
            case OSError() as lost if _is_of_output(lost):
                raise lost from None  # `CommandGroup` tells it, wherever in a command it comes from
            case OSError() as unwritten if writes:
                what = f" {unwritten.filename}" if unwritten.filename else ""
                leave(CRASHED, f"cannot write{what}: {unwritten.strerror}")
            case StoreRefused() as refused:
                leave(STORE_REFUSED, str(refused))
            case (
                BackupRefused() | StateRefused() | ResumeRefused() | TlsRefused() | HooksRefused() | PagesRefused()
            ) as refused:
                leave(CONFIG_ERROR, str(refused))
            case StoreError() | WorkersFailed() as failed:
                leave(CRASHED, str(failed))
            case AddressRefused() as refused:
                leave(ADDRESS_REFUSED, str(refused))
            case StoppedNow():
                leave(STOPPED_NOW, "stopped at once")
            case ImportError() as missing:
                leave(CONFIG_ERROR, f"pipeline.signatures: {missing}")
            case _:
                log.critical("a part of the relay failed", exc_info=error)
                leave(CRASHED, "a part of the relay failed, so it has stopped")


def _is_of_output(error: OSError) -> bool:
    """Return True if it was raised where all is said: these call the system themselves, by no further frame."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals["__name__"] in _SAYING  # one in a group may never have been raised


def _drop_output() -> None:
    """Let what is still to be written lead nowhere: Python tries once more at its end, and would end with 120."""
    with suppress(OSError):  # a test's output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())


def _sole(error: BaseException) -> BaseException:
    """Return the only exception in nested groups, or the group that has several.

    One signal more while the second one stops everything is a KeyboardInterrupt beside that, and no fault of ours.
    """
    if isinstance(error, BaseExceptionGroup) and error.subgroup(StoppedNow) is not None:
        _, others = error.split((StoppedNow, KeyboardInterrupt))
        return others or StoppedNow()
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def leave(code: int, reason: str) -> NoReturn:
    """Say why, and end with this exit code."""
    with suppress(OSError):  # where that cannot be said either, the code still tells it
        click.echo(f"trio-relay: {reason}", err=True)
    sys.exit(code)
