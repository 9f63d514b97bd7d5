"""The metrics page says what has really happened, in a form that Prometheus reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.support.authority import certified
from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door, Talker, open_door
from tests.support.wire import Reply, Wire, closing, message, open_stream, open_wire, request, upgrade
from trio_relay import NetOptions, RelayOptions
from trio_relay.metrics import MetricsPage
from trio_relay.net.endpoints import MetricsEndpoint
from trio_relay.net.http import converse
from trio_relay.net.listeners import Preamble
from trio_relay.net.tls import Tls
from trio_relay.version import CODE, __version__

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTE, OTHER, LATE = ALICE.event("note"), BOB.event("other"), BOB.event("late")
PROFILE, OLD_PROFILE = ALICE.event("new", kind=0), ALICE.event("old", kind=0, created_at=NOW - 1)
EPHEMERAL = ALICE.event("now", kind=20_001)
FORGED = replace(BOB.event("forged"), sig="0" * 128)
ALTERED = replace(NOTE, content="altered")
LONG = [ALICE.event(str(number) + "x" * 30_000, kind=20_001) for number in range(4)]

Samples = dict[tuple[str, str], float]


def page_of(door: Door) -> MetricsPage:
    return MetricsPage(lambda: (door.relay.statistics(), door.server.statistics()))


def samples(page: MetricsPage) -> Samples:
    """Every sample by its name and its labels' values, as Prometheus reads them."""
    text, content_type = page.render()
    assert content_type.startswith("text/plain; version=")
    return {
        (
            sample.name.removeprefix("trio_relay_"),
            " ".join(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def beginning(seen: Samples, *names: str) -> Samples:
    return {key: value for key, value in seen.items() if key[0] in names}


async def test_the_page_has_every_family(autojump_clock: MockClock) -> None:
    async with open_door() as door:
        families = {family.name: family.type for family in page_of(door).families()}
    assert families == {
        "trio_relay": "info",
        "trio_relay_connections": "gauge",
        "trio_relay_connections_accepted": "counter",
        "trio_relay_connections_refused": "counter",
        "trio_relay_connections_closed": "counter",
        "trio_relay_held_bytes": "gauge",
        "trio_relay_mirror_connected": "gauge",
        "trio_relay_mirror_waiting": "gauge",
        "trio_relay_mirror_catch_ups": "counter",
        "trio_relay_mirror_retries": "counter",
        "trio_relay_mirror_events": "counter",
        "trio_relay_rate_limited": "counter",
        "trio_relay_barred_addresses": "gauge",
        "trio_relay_accepts_failed": "counter",
        "trio_relay_requests_refused": "counter",
        "trio_relay_tls_handshakes_failed": "counter",
        "trio_relay_tls_certificate_expiry_seconds": "gauge",
        "trio_relay_tls_certificate_start_seconds": "gauge",
        "trio_relay_refusals": "counter",
        "trio_relay_events_refused": "counter",
        "trio_relay_events_received": "counter",
        "trio_relay_verifiers": "gauge",
        "trio_relay_process_cpu_seconds": "counter",
        "trio_relay_process_resident_bytes": "gauge",
        "trio_relay_process_open_files": "gauge",
        "trio_relay_process_open_files_limit": "gauge",
        "trio_relay_process_start_seconds": "gauge",
        "trio_relay_clock_seconds": "gauge",
        "trio_relay_query_at_once_seconds": "histogram",
        "trio_relay_events": "counter",
        "trio_relay_messages_refused": "counter",
        "trio_relay_channel_depth": "gauge",
        "trio_relay_channel_peak": "gauge",
        "trio_relay_channel_capacity": "gauge",
        "trio_relay_verify_batch_events": "histogram",
        "trio_relay_verify_seconds": "histogram",
        "trio_relay_write_batch_events": "histogram",
        "trio_relay_write_seconds": "histogram",
        "trio_relay_store_latency_seconds": "histogram",
        "trio_relay_delivery_latency_seconds": "histogram",
        "trio_relay_subscriptions": "gauge",
        "trio_relay_filter_values": "gauge",
        "trio_relay_index_keys": "gauge",
        "trio_relay_events_broadcast": "counter",
        "trio_relay_deliveries": "counter",
        "trio_relay_queries_running": "gauge",
        "trio_relay_queries": "counter",
        "trio_relay_query_steps_running": "gauge",
        "trio_relay_query_steps_waiting": "gauge",
        "trio_relay_query_wait_seconds": "histogram",
        "trio_relay_query_steps_yielded": "counter",
        "trio_relay_queries_at_once": "counter",
        "trio_relay_counts": "counter",
        "trio_relay_syncs": "gauge",
        "trio_relay_sync_sets_read": "counter",
        "trio_relay_sync_events": "gauge",
        "trio_relay_sync_kept_events": "gauge",
        "trio_relay_query_seconds": "histogram",
        "trio_relay_verdicts": "counter",
        "trio_relay_event_verdict_seconds": "histogram",
        "trio_relay_request_verdict_seconds": "histogram",
        "trio_relay_plugin_processes": "gauge",
        "trio_relay_plugin_in_flight": "gauge",
        "trio_relay_plugin_questions": "counter",
        "trio_relay_plugin_timeouts": "counter",
        "trio_relay_plugin_unasked": "counter",
        "trio_relay_plugin_restarts": "counter",
        "trio_relay_hook_answers": "counter",
        "trio_relay_plugin_faults": "counter",
        "trio_relay_healthy": "gauge",
        "trio_relay_store_bytes": "gauge",
        "trio_relay_store_wal_bytes": "gauge",
        "trio_relay_store_free_bytes": "gauge",
        "trio_relay_retention_forgotten": "counter",
        "trio_relay_retention_last_seconds": "gauge",
        "trio_relay_retention_round_seconds": "gauge",
        "trio_relay_retention_failed": "counter",
        "trio_relay_memory_bytes": "gauge",
    }


async def test_the_page_names_what_runs(autojump_clock: MockClock) -> None:
    async with open_door(options=RelayOptions(signatures="coincurve", verifiers=3)) as door:
        seen = samples(page_of(door))
    assert seen["info", f"{CODE} coincurve memory {__version__}"] == 1
    assert seen["verifiers", ""] == 3
    assert seen["healthy", ""] == 1


async def test_events_are_counted_by_their_outcome(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store) as door, door.client() as client:
        for event in (NOTE, OTHER, NOTE, PROFILE, OLD_PROFILE, EPHEMERAL, FORGED, ALTERED):
            await client.publish(event)
        await client.publish(ALICE.event(kind=5, tags=[["e", NOTE.id]]))
        await client.publish(NOTE)
        await client.send_text("garbage")
        await client.receive()
        store.failing["save_many"] = "no space left"
        await client.publish(LATE)
        seen = samples(page_of(door))
    assert beginning(seen, "events_total", "healthy") == {
        ("events_total", "stored"): 4,
        ("events_total", "duplicate"): 1,
        ("events_total", "superseded"): 1,
        ("events_total", "deleted"): 1,
        ("events_total", "ephemeral"): 1,
        ("events_total", "bad_signature"): 1,
        ("events_total", "failed"): 1,
        ("events_total", "refused_invalid"): 1,
        ("healthy", ""): 0,
    }


async def test_duplicates_found_early_and_late_are_counted_together(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(message("EVENT", NOTE), message("EVENT", NOTE))  # one batch: found by the writer
        await wire.send(message("EVENT", NOTE))  # found by the verifier
        for _ in range(3):
            await wire.receive()
        seen = samples(page_of(door))
    assert beginning(seen, "events_total") == {("events_total", "stored"): 1, ("events_total", "duplicate"): 2}


async def test_connections_are_counted_by_how_they_ended(autojump_clock: MockClock) -> None:
    net = NetOptions(outbox_bytes=65_536, max_connections=3)
    async with open_door(net=net) as door, door.client() as speaker, open_wire(door) as leaving:
        async with open_wire(door, lockstep_stream_pair) as slow:
            async with open_stream(door) as one_too_many:
                await one_too_many.send(upgrade())
                await one_too_many.reply()
            await slow.send(message("REQ", "live", {"limit": 0}))
            await slow.receive()
            await overflow(speaker)
        await leaving.send(closing(1000))
        await leaving.receive_end()
        await trio.aclose_forcefully(leaving.stream)
        await wait_all_tasks_blocked()
        seen = samples(page_of(door))
    assert beginning(
        seen, "connections", "connections_accepted_total", "connections_refused_total", "connections_closed_total"
    ) == {
        ("connections", ""): 1,
        ("connections_accepted_total", ""): 3,
        ("connections_refused_total", ""): 1,
        ("connections_closed_total", "closed by client"): 1,
        ("connections_closed_total", "too slow"): 1,
    }


async def overflow(speaker: Talker) -> None:
    for event in LONG:
        await speaker.publish(event)
    await trio.sleep(1.01)


async def test_subscriptions_deliveries_and_queries_are_counted(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store, options=RelayOptions(query_seconds=1)) as door, door.client() as client:
        await client.ask("notes", {"kinds": [1]})
        await client.ask("all", {})
        for event in (NOTE, PROFILE):
            await client.send("EVENT", event)
        for _ in range(5):
            await client.receive()
        store.block("query")
        await client.send("REQ", "slow", {})
        await wait_all_tasks_blocked()
        seen = samples(page_of(door))
        assert seen["queries_running", ""] == 1
        assert (await client.receive())[0] == "CLOSED"
        seen = samples(page_of(door))
    assert beginning(seen, "subscriptions", "events_broadcast_total", "deliveries_total", "queries_total") == {
        ("subscriptions", ""): 2,
        ("events_broadcast_total", ""): 2,
        ("deliveries_total", ""): 3,
        ("queries_total", "answered"): 2,
        ("queries_total", "timed_out"): 1,
    }


async def test_queries_that_are_answered_at_once_are_counted_apart(autojump_clock: MockClock) -> None:
    store = ObedientStore(is_quick=True)
    async with open_door(store) as door, door.client() as client:
        await client.ask("a", {"kinds": [1]})
        await client.ask("b", {"limit": 0})
        store.is_quick = False
        await client.ask("c", {})
        seen = samples(page_of(door))
    assert beginning(seen, "queries_at_once_total", "queries_total", "query_seconds_count") == {
        ("queries_at_once_total", ""): 2,
        ("queries_total", "answered"): 3,
        ("query_seconds_count", ""): 1,
    }


async def test_channels_show_what_waits_and_the_most_that_waited(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("save_many")
    narrow = RelayOptions(verifiers=1, verify_batch=1, write_batch=1, channel_parcels=2)
    async with open_door(store, options=narrow) as door, door.client() as client:
        for event in (NOTE, OTHER, LATE, PROFILE, OLD_PROFILE):
            await client.send("EVENT", event)
            await wait_all_tasks_blocked()
        full = samples(page_of(door))
        store.release("save_many")
        for _ in range(5):
            await client.receive()
        empty = samples(page_of(door))
    # One is with the writer, one with the verifier.
    assert [full["channel_depth", name] for name in ("intake", "verified", "live")] == [1, 2, 0]
    assert [empty["channel_depth", name] for name in ("intake", "verified", "live")] == [0, 0, 0]
    assert [empty["channel_peak", name] for name in ("intake", "verified")] == [1, 2]
    assert [empty["channel_capacity", name] for name in ("intake", "verified", "live")] == [2, 2, 1]


async def test_histograms_add_up_to_infinity(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    async with open_door(store) as door, open_wire(door) as wire:
        store.block("save_many")
        await wire.send(*(message("EVENT", event) for event in (NOTE, OTHER, PROFILE)))
        await trio.sleep(3)
        store.release("save_many")
        for _ in range(3):
            await wire.receive()
        await wait_all_tasks_blocked()
        seen = samples(page_of(door))
    assert beginning(seen, "write_batch_events_bucket") == {
        ("write_batch_events_bucket", bound): float(bound not in ("1", "2"))
        for bound in ("1", "2", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "+Inf")
    }
    assert (seen["write_batch_events_count", ""], seen["write_batch_events_sum", ""]) == (1, 3)
    assert (seen["verify_batch_events_count", ""], seen["verify_batch_events_sum", ""]) == (1, 3)
    assert (seen["write_seconds_bucket", "2.5"], seen["write_seconds_bucket", "5.0"]) == (0, 1)
    for latency in ("store_latency_seconds", "delivery_latency_seconds"):
        assert seen[f"{latency}_count", ""] == 3
        assert seen[f"{latency}_sum", ""] == pytest.approx(9)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/health", 404),
        ("POST", "/metrics", 405),
    ],
)
async def test_the_metrics_have_a_door_of_their_own(
    method: str, target: str, status: int, autojump_clock: MockClock
) -> None:
    async with open_door() as door:
        text, content_type = page_of(door).render()
        reply = await visit(MetricsEndpoint(lambda: (text, content_type)), method, target)
        assert reply.status == status
        if status == 200:
            assert (reply.headers["content-type"], reply.headers["content-length"]) == (content_type, str(len(text)))
            assert reply.body == (b"" if method == "HEAD" else text)


async def visit(door: MetricsEndpoint, method: str, target: str) -> Reply:
    near, far = memory_stream_pair()
    await near.send_all(request(method, target, {"Connection": "close"}))
    with trio.fail_after(5):
        await converse(far, door.answer, 10)
        return await Wire(near).reply(method)


async def test_pages_are_made_ten_times_a_second_at_most(autojump_clock: MockClock) -> None:
    """However many ask: each page holds up the loop for milliseconds."""
    made: list[float] = []

    def render() -> tuple[bytes, str]:
        made.append(trio.current_time())
        return b"page\n", "text/plain"

    endpoint = MetricsEndpoint(render)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(visit, endpoint, "GET", "/metrics")
    assert made == pytest.approx([number / 10 for number in range(20)])


async def test_others_are_asked_before_each_page(autojump_clock: MockClock) -> None:
    steps: list[str] = []

    async def gather() -> None:
        await trio.sleep(0.05)
        steps.append("asked")

    def render() -> tuple[bytes, str]:
        steps.append("made")
        return b"page\n", "text/plain"

    endpoint = MetricsEndpoint(render, gather)
    for path in ("/metrics", "/other", "/metrics"):
        await visit(endpoint, "GET", path)
    assert steps == ["asked", "made", "asked", "made"]


async def test_bytes_that_clients_make_the_relay_hold_are_told(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_wire(door) as wire:
        await wire.send(message("EVENT", NOTE)[:-1])
        await wait_all_tasks_blocked()
        seen = samples(page_of(door))
    assert seen["held_bytes", "in"] > 300
    assert seen["held_bytes", "out"] == 0


async def test_tls_tells_when_its_certificate_ends_and_who_failed(autojump_clock: MockClock) -> None:
    pair = certified(ends=datetime(2030, 1, 1, tzinfo=UTC))
    tls = Tls(pair)
    async with open_door(preamble=Preamble(tls=True), tls=tls) as door:
        async with open_stream(door) as wire:
            assert (await wire.ask()).status == 400
        seen = samples(page_of(door))
        assert seen["tls_certificate_expiry_seconds", ""] == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
        assert seen["tls_certificate_start_seconds", ""] == pair.term.starts
        assert seen["tls_handshakes_failed_total", "http request"] == 1
    async with open_door() as door:
        assert not beginning(samples(page_of(door)), "tls_certificate", "tls_handshakes_failed_total")


async def test_memory_is_told_by_the_setting_that_bounds_it(autojump_clock: MockClock) -> None:
    """Five values of a filter, and one for each of its kinds; a connection; the beginning of a message."""
    async with open_door() as door, door.client() as client, open_wire(door) as wire:
        await client.ask("notes", {"kinds": [1, 7]})
        await wire.send(message("EVENT", NOTE)[:-1])
        await wait_all_tasks_blocked()
        seen = samples(page_of(door))
    told = {name.partition(" ")[0]: value for (family, name), value in seen.items() if family == "memory_bytes"}
    assert told == {
        "store.event_cache_bytes": 0,
        "net.inbound_bytes": seen["held_bytes", "in"],
        "net.outbound_bytes": 0,
        "net.max_connections": 2 * 14_500,
        "sync.max_events_of_all": 0,
        "limits.max_filter_values_of_all": 7 * 350,
    }
