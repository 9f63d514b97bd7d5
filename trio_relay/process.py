"""This process as the system sees it: what it uses, and how it is made fit for many connections and threads."""

from __future__ import annotations

import atexit
import gc
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from trio_relay import heap

_SWITCH_SECONDS: Final = 0.0005
"""How long a thread that returns from C waits before the loop must hand it the GIL; a batch does this ten times."""
_COLLECTOR: Final = (20_000, 20, 10)
"""Thresholds of the garbage collector: fewer collections than by default (see `_quiet_collector`)."""
_OTHER_FILES: Final = 1_100
"""Files besides WebSockets: HTTP connections, the store, listeners and logs."""

STARTED: Final = time.time()
"""When this process began, in seconds since 1970."""
OPEN_FILES: str = "/proc/self/fd"  # not Final: tests set another

log = structlog.get_logger("trio_relay.app")


def tune_process(connections: int) -> None:
    """Make this process fit for so many connections, and for threads."""
    make_room(connections)
    _quiet_collector()
    heap.tune()
    sys.setswitchinterval(_SWITCH_SECONDS)


def outlive_hangups() -> None:
    """Have no SIGHUP end this process any more: neither before somebody hears them, nor after that, to its very end."""
    signal.signal(signal.SIGHUP, lambda *_: None)  # programs that it starts would inherit it if it were ignored
    _ignore_at_its_end(signal.SIGHUP)


@contextmanager
def ending_as_by_ctrl_c() -> Iterator[None]:
    """Have a request to end, and the end of a terminal, do what Ctrl-C does: so that nothing half written is left.

    Whoever has them ignored, as nohup does, or Ctrl-C, as shells do for work in the background, keeps that.
    """
    can_hear = threading.current_thread() is threading.main_thread()  # no other can be interrupted
    hears = can_hear and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    ending = [one for one in (signal.SIGTERM, signal.SIGHUP) if hears and signal.getsignal(one) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def keep_its_end() -> None:
    """Have no signal to stop change how this process has ended, once only its interpreter is left to be taken down.

    Who presses Ctrl-C once more would be told of a process that was killed, not of one that has done what it was asked
    for.
    """
    _ignore_at_its_end(signal.SIGINT, signal.SIGTERM)


def _ignore_at_its_end(*numbers: signal.Signals) -> None:
    """The interpreter takes its handlers away some time before it ends, and signals then have their default effect."""
    for number in numbers:
        atexit.register(signal.signal, number, signal.SIG_IGN)


def files_for(connections: int) -> int:
    """Return how many files a process needs open for so many connections."""
    return connections + _OTHER_FILES


def make_room(connections: int) -> None:
    """Raise the limit of open files, often 1,024, to what so many connections need, as far as the system allows."""
    wanted = files_for(connections)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed < wanted:
        log.warning("fewer open files are allowed than net.max_connections needs", allowed=allowed, wanted=wanted)


def _quiet_collector() -> None:
    """Exclude permanent objects from garbage collection, and collect less often.

    Hardly anything here makes cycles, but every connection makes about a hundred objects that the collector looks at
    again and again: a sixth of the cost of opening a connection. What is garbage by now, some 50 objects, is kept with
    the rest: to look for it would take 27 ms, for which clients of a relay that is restarted wait.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)


def own_use() -> tuple[float, int]:
    """The seconds of CPU that this process has used, and the bytes of memory that it has resident; where the system
    does not tell that, the most that it ever had.
    """
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return time.process_time(), resident


def open_files() -> int:
    """The number of files that this process has open, sockets too; 0 where the system does not tell that."""
    try:
        # Linux tells the number so from 6.2 on; before, counting ten thousand takes eight milliseconds.
        return os.stat(OPEN_FILES).st_size or len(os.listdir(OPEN_FILES))
    except OSError:
        return 0


def open_files_limit() -> float:
    """The number of files that this process may have open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit
