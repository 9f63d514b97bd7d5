"""What clients do to a relay: each load connects and prepares first, and is then a function that works and counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice, zip_longest
from random import Random
from typing import Final, TypeAlias

import msgspec

from perf.asking import LIVE, Asker, Clock, Log, Question, counting, publishing, requesting
from perf.bulk import bulk
from perf.corpus import START, newest_filled, signed_events
from perf.plan import Counted, Plan, quantiles
from perf.syncing import sync, sync_again
from perf.wire import Loop, Wire, connect, frame
from trio_relay.nostr.event import Event

Work: TypeAlias = Callable[[], Counted]

_FOLLOWED: Final = 20
"""Authors that each subscriber of the mixed load follows."""
_SUB_IDS: Final = 32
"""Of a connection that asks other things at the same time; half as many requests may be without an answer."""
_OPEN_AT_A_TIME: Final = 50
_json: Final = msgspec.json.Encoder().encode


def publish(plan: Plan) -> Work:
    """Events over some connections, a window of unanswered ones on each, or at a rate."""
    return _ask(plan, _deal(plan, publishing(_sent(plan)[: plan.count]) * plan.laps))


def read(plan: Plan) -> Work:
    """Requests over some connections, until EOSE each; at a rate, several may be open on one of them."""
    sub_ids = _SUB_IDS if plan.rate else 1
    return _ask(plan, _deal(plan, requesting(plan.shape, _stored(plan), plan.count, plan.connections, sub_ids)))


def count(plan: Plan) -> Work:
    """COUNTs over some connections."""
    return _ask(plan, _deal(plan, counting(plan.shape, _stored(plan), plan.count, plan.connections)))


def follow(plan: Plan) -> Work:
    """One publisher, a window of unanswered events, and many subscribers that each get all of them."""
    questions = publishing(islice((event for event in _sent(plan) if event.kind == 1), plan.count))
    listeners = connect(plan.port, plan.subscribers)
    subscribe(listeners, [{"kinds": [1], "limit": 1, "since": START}] * plan.subscribers)
    return _ask(plan, _deal(plan, questions), listeners, len(questions) * plan.subscribers)


def mix(plan: Plan) -> Work:
    """Seven requests to three events over some connections, while subscribers follow some authors each."""
    random = Random(5)
    stored = _stored(plan)
    pubkeys = sorted({event.pubkey for event in stored})
    followed = [random.sample(pubkeys, min(_FOLLOWED, len(pubkeys))) for _ in range(plan.subscribers)]
    listeners = connect(plan.port, plan.subscribers)
    subscribe(listeners, [{"authors": authors, "limit": 1} for authors in followed])
    events = publishing(_sent(plan)[: plan.count * 3 // 10])
    asked = requesting("mixed", stored, plan.count - len(events), plan.connections, _SUB_IDS)
    shares = [
        _shuffle(some, others, random) for some, others in zip(_deal(plan, events), _deal(plan, asked), strict=True)
    ]
    return _ask(plan, shares, listeners)


def honest(plan: Plan) -> Work:
    """An event and a request in turn, over some connections, at a rate; some listen to the notes among the events."""
    events = publishing(_sent(plan)[: plan.count // 2])
    asked = requesting(plan.shape, _stored(plan), len(events), plan.connections, _SUB_IDS)
    listeners = connect(plan.port, plan.subscribers, network=plan.network)
    subscribe(listeners, [{"kinds": [1], "limit": 1, "since": START}] * plan.subscribers)
    shares = [
        [question for pair in zip(some, others, strict=True) for question in pair]
        for some, others in zip(_deal(plan, events), _deal(plan, asked), strict=True)
    ]
    return _ask(plan, shares, listeners)


def idle(plan: Plan) -> Work:
    """Connections with a subscription each, and nothing else."""
    pubkeys = [event.pubkey for event in _sent(plan)]
    held: list[Wire] = []

    def work() -> Counted:
        start = time.perf_counter()
        while len(held) < plan.count:
            some = connect(plan.port, min(_OPEN_AT_A_TIME, plan.count - len(held)))
            authors = [pubkeys[(len(held) + number) % len(pubkeys)] for number in range(len(some))]
            subscribe(some, [{"authors": [pubkey], "kinds": [1, 6], "limit": 10} for pubkey in authors])
            held.extend(some)
        seconds = time.perf_counter() - start
        return Counted(operations=len(held), messages=2 * len(held), seconds=seconds, latencies={})

    return work


def _deal(plan: Plan, questions: Sequence[Question]) -> list[Sequence[Question]]:
    """A share for each connection, in turn."""
    return [questions[number :: plan.connections] for number in range(plan.connections)]


def _shuffle(some: Sequence[Question], others: Sequence[Question], random: Random) -> list[Question]:
    """Both together, each in its own order."""
    sources = [some] * len(some) + [others] * len(others)
    random.shuffle(sources)
    turns = {id(some): iter(some), id(others): iter(others)}
    return [next(turns[id(source)]) for source in sources]


def _ask(plan: Plan, shares: Sequence[Sequence[Question]], listeners: Sequence[Wire] = (), deliveries: int = 0) -> Work:
    """Put each connection's share of questions, until all are answered and so many events delivered."""
    log = Log()
    wires = connect(plan.port, plan.connections, network=plan.network)
    askers = [
        Asker(wire, share, log, refill=not plan.rate, most_open=_SUB_IDS // 2)
        for wire, share in zip(wires, shares, strict=True)
    ]
    for listener in listeners:
        listener.on_data = log.hear
    count = sum(map(len, shares))
    turns = [
        asker
        for row in zip_longest(*([asker] * len(share) for asker, share in zip(askers, shares, strict=True)))
        for asker in row
        if asker is not None
    ]
    clock = Clock(plan.rate, count, lambda number, due: turns[number].ask(1, due))

    def work() -> Counted:
        with closing(Loop()) as loop:
            for wire in (*listeners, *wires):
                wire.join(loop)
            start = time.perf_counter()
            if not plan.rate:
                for asker in askers:
                    asker.ask(plan.window)
            live = log.latencies[LIVE]
            end = start + plan.patience if plan.patience else math.inf
            loop.run(
                lambda: (log.answered == count and len(live) >= deliveries) or time.perf_counter() > end,
                clock.pace if plan.rate else None,
            )
            seconds = time.perf_counter() - start
            unanswered = sum(asker.give_up() for asker in askers)
        return Counted(
            operations=deliveries or count,
            messages=log.messages,
            matches=log.matches,
            seconds=seconds,
            latencies={kind: quantiles(values) for kind, values in log.latencies.items() if values},
            unanswered=unanswered,
        )

    return work


def subscribe(wires: Sequence[Wire], filters: Sequence[object]) -> None:
    """Open a subscription on each connection, before it joins a loop, and wait for each EOSE."""
    for wire, one in zip(wires, filters, strict=True):
        wire.socket.sendall(frame(_json(["REQ", "live", one])))
    for wire in wires:
        answer = b""
        while b'["EOSE"' not in answer:
            answer += wire.read()


def _sent(plan: Plan) -> Sequence[Event]:
    return signed_events(plan.corpus, plan.seed)[plan.first :]


def _stored(plan: Plan) -> Sequence[Event]:
    return newest_filled(plan.filled) if plan.filled else signed_events(plan.corpus, plan.seed)[: plan.stored]


LOADS: Final[dict[str, Callable[[Plan], Work]]] = {
    "publish": publish,
    "read": read,
    "count": count,
    "sync": sync,
    "sync-again": sync_again,
    "follow": follow,
    "mix": mix,
    "honest": honest,
    "idle": idle,
    "bulk": bulk,
}
