"""The relay's own signature: right by every backend, from either library."""

from __future__ import annotations

import sys
from hashlib import sha256

import pytest

from tests.support.keys import ALICE, NOW
from trio_relay.nostr import schnorr
from trio_relay.nostr.event import check_shape, id_matches
from trio_relay.nostr.signer import Signer

SECRET = sha256(b"alice").digest()


LIBRARIES = ["coincurve", pytest.param("python", marks=pytest.mark.slow)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_it_signs_is_a_valid_event_of_its_key(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        if library == "python":
            without.setitem(sys.modules, "coincurve", None)
        signer = Signer(SECRET)
    event = signer.sign(13_534, NOW, [["-"]], "\x01 content")
    assert (event.pubkey, event.kind, event.created_at, event.tags) == (ALICE.pubkey, 13_534, NOW, [["-"]])
    assert check_shape(event) is None
    assert id_matches(event)
    assert list(schnorr.open_backend("coincurve").verify([event])) == [True]


@pytest.mark.parametrize("library", ["coincurve", "python"])
@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(31), bytes(33), b""])
def test_what_is_no_secret_key_is_refused(library: str, secret: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "python":
        monkeypatch.setitem(sys.modules, "coincurve", None)
    with pytest.raises(ValueError, match=r"(?i)secret"):
        Signer(secret)
