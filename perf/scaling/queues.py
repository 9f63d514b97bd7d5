"""Closed forms of queueing, which the simulation is held to: work comes as a Poisson stream, servers never pause."""

from __future__ import annotations

import math


def mm1_time(rate: float, service: float) -> float:
    """The mean seconds from arrival to departure, one server, exponential service.

    Args:
        rate: arrivals a second.
        service: mean seconds of one; `rate * service` is below 1.
    """
    return service / (1 - rate * service)


def mm1_quantile(rate: float, service: float, share: float) -> float:
    """The seconds within which this share of all departs, one server, exponential service."""
    return -math.log(1 - share) * mm1_time(rate, service)


def md1_time(rate: float, service: float) -> float:
    """The mean seconds from arrival to departure, one server, service always the same (Pollaczek and Khinchine)."""
    load = rate * service
    return service + load * service / (2 * (1 - load))


def mmc_time(rate: float, service: float, servers: int) -> float:
    """The mean seconds from arrival to departure, several servers before one queue, exponential service (Erlang C)."""
    load = rate * service
    waiting = load**servers / math.factorial(servers) * servers / (servers - load)
    none_waits = sum(load**busy / math.factorial(busy) for busy in range(servers))
    return service + waiting / (none_waits + waiting) * service / (servers - load)


def slowest(mean: float, count: int) -> float:
    """The mean of the longest of so many exponential times: what a request waits for that asks them all at once."""
    return mean * sum(1 / one for one in range(1, count + 1))
