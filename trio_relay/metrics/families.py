"""What the page of metrics is made of: families of Prometheus, each made of a name, a text and numbers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from trio_relay.pipeline.statistics import Distribution


def gauge(name: str, text: str, value: float | None) -> Metric:
    """Make a gauge; without a sample, if there is no value."""
    return GaugeMetricFamily(f"trio_relay_{name}", text, value)


def counter(name: str, text: str, value: float) -> Metric:
    """Make a counter."""
    return CounterMetricFamily(f"trio_relay_{name}", text, value)


def labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Make a counter with a sample for each value of a label."""
    family = CounterMetricFamily(f"trio_relay_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Make a gauge with a sample for each value of a label."""
    family = GaugeMetricFamily(f"trio_relay_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def labelled_twice(name: str, text: str, labels: tuple[str, str], values: dict[tuple[str, str], int]) -> Metric:
    """Make a counter with a sample for each pair of values of two labels."""
    family = CounterMetricFamily(f"trio_relay_{name}", text, labels=labels)
    for pair, number in sorted(values.items()):
        family.add_metric(pair, number)
    return family


def histogram(name: str, text: str, seen: Distribution) -> Metric:
    """Make a histogram of what a `Histogram` has seen."""
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, number in zip([*map(str, seen.bounds), "+Inf"], seen.counts, strict=True):
        so_far += number
        buckets.append((bound, so_far))
    return HistogramMetricFamily(f"trio_relay_{name}", text, buckets=buckets, sum_value=seen.total)
