"""What is said with one process of a program: questions in, answers out, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
import trio

from trio_relay.plugins.program import Running
from trio_relay.plugins.strfry import Answer, BadAnswer, Lines, read_answer

log = structlog.get_logger("trio_relay.plugins")

_MOST_LATE: Final = 10
"""Questions that a process may leave without an answer, since its last start; then it is started anew."""
_MOST_JUNK_LINES: Final = 1_000
_MOST_JUNK_BYTES: Final = 2**24
"""Of lines that are no answers, between two that are."""
_READ_BYTES: Final = 65_536
_LOG_SECONDS: Final = 60.0
_MOST_LOGGED: Final = 60
"""Lines of standard error in that time; further ones are counted."""
_MOST_LOGGED_BYTES: Final = 1_000
_SLOWLY_SECONDS: Final = 0.01
"""Between two reads of a standard error that has said enough."""


class Question:
    """A line that waits for its answer."""

    __slots__ = ("answer", "asked_of", "key", "line", "over")

    def __init__(self, key: str, line: bytes) -> None:
        self.key = key
        self.line = line
        self.answer: Answer | None = None
        self.asked_of: Conversation | None = None
        self.over = trio.Event()
        """Set once it is answered, or will not be."""


class Conversation:
    """Asks one process, as many questions at a time as it takes, and matches answers by what they name.

    Args:
        name: of the program, for the log.
        running: the process; whoever has started it ends it.
        in_flight: most questions that wait for their answers here.
        timeout: seconds for a line to be taken.
        faults: counts what is wrong with answers.
        heard: called with each answer that came in time.
    """

    def __init__(
        self,
        name: str,
        running: Running,
        in_flight: int,
        timeout: float,
        faults: Counter[str],
        heard: Callable[[], None],
    ) -> None:
        self.reason = ""
        """Why it is over; empty while it is not."""
        self._log = log.bind(program=name, pid=running.pid)
        self._running = running
        self._timeout = timeout
        self._faults = faults
        self._heard = heard
        self._room = trio.Semaphore(in_flight)
        self._most_late = min(in_flight, _MOST_LATE)
        self._waiting: dict[str, Question] = {}
        self._late: set[str] = set()
        self._over = trio.Event()
        self._is_retiring = False
        self._fetching = trio.CancelScope()
        self._answered = trio.Event()
        self._junk_lines = self._junk_bytes = 0
        self._told: dict[str, float] = {}

    @property
    def in_flight(self) -> int:
        """Questions that it has, those that nobody waits for any more included."""
        return len(self._waiting) + len(self._late)

    async def run(self, questions: trio.MemoryReceiveChannel[Question]) -> None:
        """Ask until the process ends, is of no use any more, or this is told to `end`; `reason` says which."""
        running = self._running
        try:
            async with running.stdin, running.stdout, running.stderr, trio.open_nursery() as nursery:
                nursery.start_soon(self._feed, questions)
                nursery.start_soon(self._read)
                nursery.start_soon(self._log_complaints)
                nursery.start_soon(self._watch)
                await self._over.wait()
                nursery.cancel_scope.cancel(reason=self.reason)
        finally:
            for question in self._waiting.values():
                question.over.set()

    def end(self, reason: str) -> None:
        """Say no more; the first reason counts. Sync."""
        if not self.reason:
            self.reason = reason
            self._over.set()

    def give_up(self, question: Question) -> None:
        """Nobody waits for this answer any more; many of those, and the process is of no use."""
        if self._waiting.get(question.key) is question:
            del self._waiting[question.key]
            self._late.add(question.key)
            if len(self._late) >= self._most_late:
                self.end("it does not answer")

    async def retire(self, reason: str) -> None:
        """Ask nothing more, wait for the answers that are still to come, in bounded time, and end."""
        self._is_retiring = True
        self._fetching.cancel(reason=reason)
        with trio.move_on_after(self._timeout):
            while self._waiting:
                await self._answered.wait()
        self.end(reason)

    async def _watch(self) -> None:
        code = await self._running.wait()
        self.end(f"it has ended with exit code {code}" if code >= 0 else f"signal {-code} has ended it")

    async def _feed(self, questions: trio.MemoryReceiveChannel[Question]) -> None:
        while not self._is_retiring:
            await self._room.acquire()
            with trio.CancelScope() as self._fetching:
                question = await questions.receive()
            if self._fetching.cancelled_caught:
                return
            if question.key in self._late:  # its answer could be the one to the first
                question.over.set()
                self._room.release()
                continue
            question.asked_of = self
            self._waiting[question.key] = question
            try:
                with trio.fail_after(self._timeout):
                    await self._running.stdin.send_all(question.line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it reads no more: the end of its output, or its own, tells the rest
            except trio.TooSlowError:
                self.end("it does not read")

    async def _read(self) -> None:
        lines, left_out = Lines(), 0
        while data := await _some(self._running.stdout):
            self._junk_bytes += len(data)
            for line in lines.take(data):
                self._take(line)
            if lines.left_out > left_out:
                left_out = lines.left_out
                self._note("line too long", data)
            if self._junk_bytes > _MOST_JUNK_BYTES or self._junk_lines > _MOST_JUNK_LINES:
                self.end("it writes what are no answers")
        self.end("it has closed its output")

    def _take(self, line: bytes) -> None:
        try:
            answer = read_answer(line)
        except BadAnswer as fault:
            self._note(str(fault), line)
            return
        if (question := self._waiting.pop(answer.id, None)) is not None:
            question.answer = answer
            question.over.set()
            self._heard()
        elif answer.id in self._late:
            self._late.discard(answer.id)
            self._faults["late"] += 1
        else:
            self._note("unknown id", line)
            return
        self._junk_lines = self._junk_bytes = 0
        self._room.release()
        self._answered.set()
        self._answered = trio.Event()

    def _note(self, fault: str, line: bytes) -> None:
        """Count what is no answer, and show one a minute."""
        self._junk_lines += 1
        self._faults[fault] += 1
        now = trio.current_time()
        if now - self._told.get(fault, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._told[fault] = now
            self._log.warning("a plugin wrote what is no answer", fault=fault, line=_shown(line))

    async def _log_complaints(self) -> None:
        """Hand on what it writes to its standard error, so many lines a minute."""
        lines, since, told, left_out = Lines(_MOST_LOGGED_BYTES), trio.current_time(), 0, 0
        while data := await _some(self._running.stderr):
            if (now := trio.current_time()) - since >= _LOG_SECONDS:
                if left_out:
                    self._log.warning("a plugin wrote more to its standard error", lines=left_out)
                since, told, left_out = now, 0, 0
            for line in lines.take(data):
                if told < _MOST_LOGGED:
                    told += 1
                    self._log.info("a plugin says", line=_shown(line))
                else:
                    left_out += 1
            if told >= _MOST_LOGGED:
                await trio.sleep(_SLOWLY_SECONDS)


async def _some(stream: trio.abc.ReceiveStream) -> bytes:
    """What has come; nothing at the end, however it came."""
    try:
        return bytes(await stream.receive_some(_READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def _shown(line: bytes) -> str:
    return line[:200].decode(errors="replace")
