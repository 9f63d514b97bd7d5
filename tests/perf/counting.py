"""What a load must have counted, worked out from what it was told to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perf.corpus import newest_filled, signed_events
from perf.plan import Plan
from perf.requests import counts, requests
from perf.results import Sample
from tests.support.oracles import naive_query
from trio_relay import Event, Filter
from trio_relay.nostr.message import Count, Subscribe, parse


def check(sample: Sample, plan: Plan) -> None:
    """It has counted all of it."""
    counted = sample.counted
    assert counted is not None
    operations, least_messages, kinds = expected(plan)
    assert counted.operations == operations
    # Beside the answers, who asks also gets what is published meanwhile and fits an open subscription; syncs go on.
    is_least = plan.load in ("mix", "sync", "sync-again")
    assert counted.messages >= least_messages if is_least else counted.messages == least_messages
    assert counted.matches == matches(plan)
    assert (counted.sent > 0, counted.received > 0) == (plan.differing > 0, plan.differing > 0)
    assert set(counted.latencies) - {"live"} == kinds - {"live"}
    assert ("live" in counted.latencies) == ("live" in kinds) or plan.load == "mix"
    assert all(0 < p50 <= p99 for p50, p99 in counted.latencies.values())
    assert counted.seconds > 0
    assert counted.cpu > 0 or plan.load in ("start", "import")  # in which no generator takes part
    assert sample.cpu >= 0
    assert all(rss > 10_000_000 for rss in sample.rss)


def expected(plan: Plan) -> tuple[int, int, set[str]]:
    """Operations, messages and kinds of answers."""
    match plan.load:
        case "publish":
            return plan.count * plan.laps, plan.count * plan.laps, {"OK"}
        case "read":
            found = sum(map(len, answers(plan)))
            assert found >= plan.count / 2, "requests that find little measure little"
            return plan.count, plan.count + found, {"EOSE"}
        case "follow":
            notes = [event for event in signed_events(plan.corpus)[plan.first :] if event.kind == 1][: plan.count]
            deliveries = len(notes) * plan.subscribers
            return deliveries, deliveries + len(notes), {"OK", "live"}
        case "count":
            assert matches(plan) >= 2 * plan.count, "counts of almost nothing measure little"
            return plan.count, plan.count, {"COUNT"}
        case "sync" | "sync-again":
            # One round is not enough to find differences between sets of more than a few.
            return plan.count, 2 * plan.count, {"sync"}
        case "import":
            return plan.count, plan.count, set()
        case "start":
            return plan.count, 0, {"start"}
        case "idle":
            return plan.count, 2 * plan.count, set()
        case "mix":
            return plan.count, plan.count, {"OK", "EOSE", "live"}
    raise AssertionError(plan.load)


def answers(plan: Plan) -> Iterator[list[str]]:
    """The ids that each request of the plan is to get, worked out from all that is stored."""
    stored = _stored(plan)
    for data in requests(plan.shape, stored, plan.count, plan.connections):
        message = parse(data[data.index(b'["REQ"') :], max_filters=1)
        assert isinstance(message, Subscribe)
        yield [event.id for event in naive_query(message.filters, stored)]


def matches(plan: Plan) -> int:
    """What the answers to all COUNTs of the plan add up to."""
    stored = _stored(plan)
    return sum(len(naive_query([one], stored)) for one in counted_filters(plan, stored))


def counted_filters(plan: Plan, stored: Sequence[Event]) -> Iterator[Filter]:
    """The filter of each COUNT of the plan; none for other loads."""
    if plan.load != "count":
        return
    for data in counts(plan.shape, stored, plan.count, plan.connections):
        message = parse(data[data.index(b'["COUNT"') :], max_filters=1)
        assert isinstance(message, Count)
        yield from message.filters


def _stored(plan: Plan) -> Sequence[Event]:
    return newest_filled(plan.filled) if plan.filled else signed_events(plan.corpus)[: plan.stored]
