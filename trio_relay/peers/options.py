"""How long the relay waits for another relay, and how much of it bears."""

from __future__ import annotations

from trio_relay.frozen import Frozen


class PeerOptions(Frozen, frozen=True, kw_only=True):
    """The bounds of one connection to another relay; times are seconds.

    Attributes:
        connect_seconds: for the name, TCP, TLS and the handshake together.
        answer_seconds: for the answer to anything that was asked, and between two stored events of one question;
            and for a message that has begun to be whole.
        idle_seconds: after so long without a byte a ping is sent; after twice as long the other side is gone.
        close_seconds: for the farewell.
        max_message_bytes: a message that is longer ends the connection.
        queue_bytes: of events that wait for whoever asked for them; with more, nothing is read from the network.
        unanswered: events that may be on their way to the other side without an answer.
        patience: messages that mean nothing, and notices, that may come at once; one more is borne each second, and one
            beside each answer. So many pings and pongs, too, and one more each second.
    """

    connect_seconds: float = 20.0
    answer_seconds: float = 60.0
    idle_seconds: float = 30.0
    close_seconds: float = 2.0
    max_message_bytes: int = 2**22
    queue_bytes: int = 2**20
    unanswered: int = 256
    patience: int = 100
