"""When a connection is pinged and given up, as a table of times."""

from __future__ import annotations

import pytest

from trio_relay import NetOptions
from trio_relay.net.keepalive import Keepalive, KeepaliveVerdict

OPTIONS = NetOptions(ping_seconds=30, pong_seconds=20, send_seconds=7)
FINE, PING, SILENT, STUCK = (
    KeepaliveVerdict.FINE,
    KeepaliveVerdict.PING,
    KeepaliveVerdict.SILENT,
    KeepaliveVerdict.STUCK,
)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param([(0, FINE), (29.9, FINE), (30, PING), (30.1, FINE), (49.9, FINE), (50, SILENT)], id="silence"),
        pytest.param([(100, PING), (119, FINE), (120, SILENT), (121, SILENT)], id="a watch that comes late"),
        pytest.param([(20, "listening"), (49.9, FINE), (50, PING)], id="words put the ping off"),
        pytest.param([(30, PING), (35, "listening"), (64.9, FINE), (65, PING), (85, SILENT)], id="a pong"),
        pytest.param([(30, PING), (49.9, "listening"), (50, FINE), (79.9, PING)], id="a pong in the last moment"),
        pytest.param([(10, "busy"), (1000, FINE), (2000, FINE)], id="not reading is no silence of the client's"),
        pytest.param([(30, PING), (31, "busy"), (51, FINE), (1000, FINE)], id="not reading forgets the ping"),
        pytest.param([(10, "busy"), (100, "listening"), (129, FINE), (130, PING)], id="reading again"),
        pytest.param([(1, "sending"), (7.9, FINE), (8, STUCK), (9, STUCK)], id="a send that hangs"),
        pytest.param([(1, "sending"), (7, "sending"), (13.9, FINE), (14, STUCK)], id="a send in pieces"),
        pytest.param([(1, "sending"), (2, "sent"), (29, FINE), (30, PING)], id="a send that ended"),
        pytest.param([(28, "sending"), (30, FINE), (35, STUCK)], id="no ping behind a hanging send"),
        pytest.param([(29, "sending"), (34, FINE), (35, "sent"), (35, PING)], id="a ping put off until all has left"),
        pytest.param(
            [(30, PING), (45, "sending"), (51, FINE), (52, "sent"), (70, FINE), (71, SILENT)],
            id="the pong's time begins when all before it has left",
        ),
        pytest.param([(10, "busy"), (10, "sending"), (16, FINE), (17, STUCK)], id="a hanging send while not reading"),
        pytest.param([(10, "sending"), (20, "listening"), (21, STUCK)], id="words do not excuse a hanging send"),
        pytest.param([(40, "sending"), (47, STUCK)], id="a hanging send comes before a ping"),
    ],
)
def test_the_verdicts_of_a_story(story: list[tuple[float, str | KeepaliveVerdict]]) -> None:
    liveness = Keepalive(0)
    for now, happens in story:
        match happens:
            case "listening":
                liveness.listening(now)
            case "sending":
                liveness.sending(now)
            case "busy":
                liveness.busy()
            case "sent":
                liveness.sent()
            case verdict:
                assert liveness.judge(now, OPTIONS) == verdict, now
