"""The key with which this relay proves to others who it is (NIP-42), out of a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from trio_relay.nostr.nip19 import secret_of
from trio_relay.nostr.signer import Signer

_MOST_BYTES: Final = 1_024


def read_signer(path: Path) -> Signer:
    """Read a secret key, hex or `nsec1…`, alone in a file.

    Raises:
        ValueError: there is none; the message says what is wrong, and never what is in the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe could wait for ever
        with open(descriptor, "rb") as file:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            text = file.read(_MOST_BYTES) if is_regular else b""
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    try:
        return Signer(secret_of(text.decode().strip()))
    except ValueError:
        raise ValueError(f"{path} does not hold a secret key, hex or nsec1…, and nothing else") from None
