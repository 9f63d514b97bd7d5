"""The processes of one program: kept running, asked side by side, and ended with the relay.

run
├─ a slot a process   starts it, and starts it again when it has ended
│  └─ a conversation  its questions and answers (`conversation`)
└─ the watch          starts all of them anew when the program's file has changed
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.plugins.conversation import Conversation, Question
from trio_relay.plugins.program import Running
from trio_relay.plugins.strfry import Answer

log = structlog.get_logger("trio_relay.plugins")

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 10.0
"""Between the end of a process and its next start; it doubles from one to the other."""
_STEADY_SECONDS: Final = 60.0
"""Who has lived for so long starts afresh."""
_TERM_SECONDS: Final = 2.0
"""For a process to end by itself; then it is killed."""
_REAPING_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 1.0
_LAPSE_SECONDS: Final = 30.0
"""How long a program that let a question pass is given one at a time, until it answers."""

Start: TypeAlias = Callable[[], Running]


@dataclass(frozen=True, slots=True)
class ProgramStatistics:
    """How one program is: processes that run, questions they have now, all questions, those without an answer in time,
    those that were not even asked since nobody answers, what was wrong with answers, and how often one was started
    again.
    """

    running: int
    in_flight: int
    questions: int
    timed_out: int
    unasked: int
    faults: dict[str, int]
    restarts: int


class Program:
    """Keeps the processes of one program, and asks them.

    Args:
        name: `write` or `read`, for the log.
        start: starts one; raises OSError.
        processes: how many.
        in_flight: questions that each may have before it.
        timeout: seconds for an answer, from the question on.
        changes: gives another value when the program has changed; asked every second.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        processes: int,
        in_flight: int,
        timeout: float,
        changes: Callable[[], Awaitable[object]],
    ) -> None:
        self.name = name
        self.width = processes * in_flight
        """Questions that have room before processes."""
        self.faults: Counter[str] = Counter()
        """What was wrong with answers."""
        self._start = start
        self._processes = processes
        self._in_flight = in_flight
        self._timeout = timeout
        self._changes = changes
        self._to_ask, self._questions = trio.open_memory_channel[Question](0)
        self._asking: dict[str, Question] = {}
        self._talking: set[Conversation] = set()
        self._alone_since = -math.inf
        """Since when no process runs, while none does."""
        self._silent_at = self._heard_at = -math.inf
        self._asked = self._timed_out = self._unasked = self._starts = 0
        self._changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the processes running until cancelled; then none of them is left.

        Args:
            task_status: started once questions may be asked.
        """
        self._alone_since = trio.current_time()
        task_status.started()
        async with trio.open_nursery() as slots:
            for _ in range(self._processes):
                slots.start_soon(self._keep)
            slots.start_soon(self._watch)

    async def ask(self, key: str, line: bytes) -> Answer | None:
        """Ask a question; None if no answer came in time.

        Where nobody has answered of late, one question at a time is tried, and all others get none at once.

        Args:
            key: what the answer will name. Of two questions of the same key the second waits for the first.
            line: the question, with its end.
        """
        self._asked += 1
        if self._is_down() or (self._is_silent() and self._asking):
            self._unasked += 1
            return None
        began, question = trio.current_time(), Question(key, line)
        with trio.move_on_after(self._timeout) as patience:
            while (other := self._asking.get(key)) is not None:
                await other.over.wait()
            self._asking[key] = question
            try:
                await self._to_ask.send(question)
                await question.over.wait()
            finally:
                del self._asking[key]
                question.over.set()
                if question.asked_of is not None:
                    question.asked_of.give_up(question)
        if patience.cancelled_caught and question.answer is None:
            self._timed_out += 1
            self._silent_at = max(began, self._silent_at)
        return question.answer

    def _is_down(self) -> bool:
        return not self._talking and trio.current_time() - self._alone_since >= self._timeout

    def _is_silent(self) -> bool:
        return self._silent_at > self._heard_at and trio.current_time() - self._silent_at < _LAPSE_SECONDS

    @property
    def trouble(self) -> str | None:
        """What is wrong where no process runs, or None."""
        return None if self._talking else f"no process of plugins.{self.name} runs"

    def _note_heard(self) -> None:
        self._heard_at = trio.current_time()

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began, changed = trio.current_time(), self._changed
            self._starts += 1
            reason = await self._live(changed)
            if changed.is_set():
                log.info("a plugin is started anew", program=self.name, reason=reason)
                pause = _FIRST_PAUSE_SECONDS
                continue
            if trio.current_time() - began >= _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.error("a plugin is started again", program=self.name, reason=reason, seconds=pause)
            with trio.move_on_after(pause):
                await changed.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _live(self, changed: trio.Event) -> str:
        """Start a process, talk to it to its end, and see it off; says why it is over."""
        try:
            running = self._start()
        except OSError as error:
            return f"it cannot be started: {error}"
        conversation = Conversation(self.name, running, self._in_flight, self._timeout, self.faults, self._note_heard)
        self._talking.add(conversation)
        try:
            async with trio.open_nursery() as talking:
                talking.start_soon(_retire, conversation, changed)
                await conversation.run(self._questions)
                talking.cancel_scope.cancel(reason=conversation.reason)
        finally:
            self._talking.discard(conversation)
            if not self._talking:
                self._alone_since = trio.current_time()
            await _see_off(running)
        return conversation.reason

    async def _watch(self) -> None:
        known = await self._changes()
        while True:
            await trio.sleep(_WATCH_SECONDS)
            if (now := await self._changes()) != known:
                known = now
                self._changed.set()
                self._changed = trio.Event()

    def statistics(self) -> ProgramStatistics:
        """How it is."""
        return ProgramStatistics(
            len(self._talking),
            sum(conversation.in_flight for conversation in self._talking),
            self._asked,
            self._timed_out,
            self._unasked,
            dict(self.faults),
            max(0, self._starts - self._processes),
        )


async def _retire(conversation: Conversation, changed: trio.Event) -> None:
    await changed.wait()
    await conversation.retire("its file has changed")


async def _see_off(running: Running) -> None:
    """Have a process end, and wait for that; whoever does not end by itself is killed."""
    with trio.move_on_after(_TERM_SECONDS + _REAPING_SECONDS, shield=True):
        running.terminate()
        with trio.move_on_after(_TERM_SECONDS):
            await running.wait()
            return
        running.kill()
        await running.wait()
