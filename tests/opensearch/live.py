"""Relays that share an index, and clients that count what they hear."""

from __future__ import annotations

import json

import trio

from tests.support.pipeline import LocalClient, Replies
from trio_relay import Event, Filter, Relay, Subscription


class Hearer(LocalClient):
    """A client that always reads at once, with the ids of what has come, in order, and when it came."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.times: list[float] = []
        self.verbs: list[str] = []
        """What else has come."""
        self._stored = 0
        self._came = trio.Event()

    @property
    def live(self) -> list[str]:
        """What came after EOSE."""
        return self.heard[self._stored :]

    def send_framed_nowait(self, framed: bytes) -> None:
        text, position = framed.decode(), 0
        while position < len(text):
            message, position = json.JSONDecoder().raw_decode(text, position)
            if message[0] == "EVENT":
                self.heard.append(message[2]["id"])
                self.times.append(trio.current_time())
            else:
                self.verbs.append(message[0])
                self._stored = len(self.heard)
        self._came.set()

    async def until(self, number: int) -> None:
        """Wait until so many events have come."""
        while len(self.heard) < number:
            self._came = trio.Event()
            await self._came.wait()


async def subscribe(relay: Relay, *filters: Filter) -> Hearer:
    """A client with one subscription, which has had its EOSE."""
    subscription = Subscription("sub", filters or (Filter(limit=5_000),), client := Hearer())
    assert relay.subscribe(subscription) is None
    answer = relay.answer(subscription)
    if not answer.send_nowait():
        assert await answer.send()
    assert client.verbs == ["EOSE"], client.verbs
    return client


class _Answers(Replies):
    """Knows when so many have come."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.are_all = trio.Event()
        self._number = number

    def __call__(self, event: Event, accepted: bool, reason: str) -> None:
        super().__call__(event, accepted, reason)
        if len(self.heard) == self._number:
            self.are_all.set()


async def publish(relay: Relay, *events: Event) -> list[tuple[str, bool, str]]:
    """Publish at once, and return what was answered once all has been."""
    answers = _Answers(len(events))
    await relay.publish(answers.batch(*events))
    await answers.are_all.wait()
    return answers.heard
