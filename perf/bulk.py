"""The store's own ceiling: the documents that the relay would write, made beforehand and sent with nothing around.

A load as those of `perf.loads`, but its server is a node of OpenSearch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import httpx
import trio

from perf.corpus import signed_events
from perf.plan import Counted, Failed, Plan, quantiles
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.documents import Record, document, slot_of

BULK: Final = "bulk"
"""The kind of its answers."""
_SECONDS: Final = 60.0
_PATH: Final = "/_bulk?require_alias=true&filter_path=errors,items.*.error.type"


def bulk(plan: Plan) -> Callable[[], Counted]:
    """`count` documents in requests of `window`, as many under way as there are `connections`."""
    bodies = list(_bodies(plan))

    def work() -> Counted:
        start = time.perf_counter()
        durations = trio.run(_send, plan, bodies)
        return Counted(
            operations=plan.count,
            messages=len(durations),
            seconds=time.perf_counter() - start,
            latencies={BULK: quantiles(durations)},
        )

    return work


def _bodies(plan: Plan) -> Iterator[bytes]:
    events = signed_events(plan.corpus, plan.seed)[plan.first :][: plan.count]
    lines = [
        Write(slot_of(event), Record(), document(event, number)).lines()
        for number, event in enumerate(events, time.time_ns())
    ]
    for start in range(0, len(lines), plan.window):
        yield b"\n".join([*lines[start : start + plan.window], b""])


async def _send(plan: Plan, bodies: Sequence[bytes]) -> list[float]:
    durations: list[float] = []
    waiting = iter(bodies)

    async def send_some(http: httpx.AsyncClient) -> None:
        for body in waiting:
            start = time.perf_counter()
            answer = await http.post(plan.url + _PATH, content=body, headers={"content-type": "application/x-ndjson"})
            if answer.status_code != 200 or b'"errors":false' not in answer.content:
                raise Failed(f"{answer.status_code} {answer.text[:300]}")
            durations.append(time.perf_counter() - start)

    async def refresh(http: httpx.AsyncClient) -> None:
        # What is never refreshed is never made into segments either, which is the greater part of the work.
        while plan.refresh:
            await trio.sleep(plan.refresh)
            await http.post(f"{plan.url}/_refresh")

    async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as http:
        try:
            async with trio.open_nursery() as beside:
                beside.start_soon(refresh, http)
                async with trio.open_nursery() as nursery:
                    for _ in range(plan.connections):
                        nursery.start_soon(send_some, http)
                beside.cancel_scope.cancel()
        except* Failed as refused:
            raise Failed(f"a bulk was refused: {_first(refused)}") from None
    return durations


def _first(failures: BaseExceptionGroup[Failed]) -> BaseException:
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
