"""When a connection is pinged and given up, as a table of times."""

from __future__ import annotations

import pytest

from trio_relay import NetOptions
from trio_relay.net.keepalive import Keepalive, KeepaliveVerdict

OPTIONS = NetOptions(ping_seconds=30, pong_seconds=20, send_seconds=7, message_seconds=25)
FINE, PING, SILENT, STUCK, UNFINISHED = (
    KeepaliveVerdict.FINE,
    KeepaliveVerdict.PING,
    KeepaliveVerdict.SILENT,
    KeepaliveVerdict.STUCK,
    KeepaliveVerdict.UNFINISHED,
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
        pytest.param([(10, "1 byte of 1"), (34.9, FINE), (35, UNFINISHED)], id="a message that does not end"),
        pytest.param([(10, "1 byte of 1"), (30, "9 bytes of 1"), (35, UNFINISHED)], id="one that is dripped"),
        pytest.param([(10, "65535 bytes of 1"), (35, UNFINISHED)], id="a piece that is not whole"),
        pytest.param(
            [(10, "65536 bytes of 1"), (34, "70000 bytes of 1"), (59.9, FINE), (60, UNFINISHED)],
            id="each 64 KiB have their time",
        ),
        pytest.param([(10, "1 byte of 1"), (30, "1 byte of 2"), (54.9, FINE), (55, UNFINISHED)], id="another message"),
        pytest.param([(10, "1 byte of 1"), (30, "listening"), (55, FINE)], id="one that has ended"),
        pytest.param(
            [(10, "1 byte of 1"), (20, "busy"), (900, FINE), (900, "2 bytes of 1"), (914, FINE), (915, UNFINISHED)],
            id="time in which nobody reads does not count",
        ),
        pytest.param([(10, "1 byte of 1"), (30, "sending"), (35, UNFINISHED)], id="whatever we send"),
    ],
)
def test_the_verdicts_of_a_story(story: list[tuple[float, str | KeepaliveVerdict]]) -> None:
    liveness = Keepalive(0)
    for now, happens in story:
        match happens:
            case "listening":
                liveness.finished()
                liveness.listening(now)
            case "sending":
                liveness.sending(now)
            case "busy":
                liveness.heard_of_unfinished(now)
                liveness.busy()
            case "sent":
                liveness.sent()
            case str(part):
                size, _, _, message = part.split()
                liveness.heard_of_unfinished(now)
                liveness.busy()
                liveness.unfinished(int(message), int(size))
                liveness.listening(now)
            case verdict:
                assert liveness.judge(now, OPTIONS) == verdict, now
