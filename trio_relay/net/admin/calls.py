"""A call of NIP-86 as whoever makes it by the control line writes it, and reads what comes back (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class CallRefused(Exception):
    """The relay has not carried out a call; the message says why."""


def written_call(method: str, params: Sequence[object]) -> bytes:
    """Write the body of a request (NIP-86)."""
    return msgspec.json.encode({"method": method, "params": list(params)})


def result_in(body: bytes, status: int) -> Any:
    """Read what a relay answers.

    Args:
        body: of the answer.
        status: of HTTP.

    Raises:
        CallRefused: it has refused, or what answers is no relay.
    """
    try:
        answer = msgspec.json.decode(body)
        if "result" in answer:
            return answer["result"]
        raise CallRefused(str(answer["error"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise CallRefused(f"what answers is no relay of this kind ({status})") from None
