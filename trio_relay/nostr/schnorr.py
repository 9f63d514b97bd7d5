"""BIP-340 signatures, verified in the fastest way that works on this machine.

Three backends give the same answers: one native call a batch, coincurve one by one, and pure Python. `open_backend`
takes the first that works, or the one that the configuration forces. All of them may run in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from trio_relay.nostr.event import Event

BackendName = Literal["batch", "coincurve", "python"]
_Check = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to verify signatures.

    `verify` takes events whose fields have the right shape and returns one verdict an event, in their order; a key that
    is no point on the curve is a False, not an error (BIP-340, "Verification").
    """

    name: BackendName
    verify: Callable[[Sequence[Event]], Sequence[bool]]


def open_backend(name: BackendName | Literal["auto"] = "auto") -> Backend:
    """Open the named backend, or the fastest that works here.

    Raises:
        ImportError: the named backend is not installed, or with "auto" none is.
    """
    if name != "auto":
        return _BACKENDS[name]()
    missing: list[ImportError] = []
    for open_one in _BACKENDS.values():
        try:
            return open_one()
        except ImportError as error:
            missing.append(error)
    raise ImportError(f"no signature backend works: {'; '.join(map(str, missing))}")


def _open_batch() -> Backend:
    from coincurve._libsecp256k1 import ffi, lib
    from coincurve.context import GLOBAL_CONTEXT

    from trio_relay.nostr._batch import ffi as own_ffi
    from trio_relay.nostr._batch import lib as own_lib

    def address(pointer: object) -> int:
        return int(ffi.cast("uintptr_t", pointer))

    context = address(GLOBAL_CONTEXT.ctx)
    parse = address(ffi.addressof(lib, "secp256k1_xonly_pubkey_parse"))
    check = address(ffi.addressof(lib, "secp256k1_schnorrsig_verify"))

    def verify(events: Sequence[Event]) -> Sequence[bool]:
        count = len(events)
        # Verification only reads the context, so every thread may share it.
        valid = own_ffi.new("unsigned char[]", count)
        ids = bytes.fromhex("".join([event.id for event in events]))
        pubkeys = bytes.fromhex("".join([event.pubkey for event in events]))
        sigs = bytes.fromhex("".join([event.sig for event in events]))
        if not (len(ids) == len(pubkeys) == 32 * count and len(sigs) == 64 * count):
            raise ValueError("events of the wrong shape")  # C would read past their ends
        buffers = map(own_ffi.from_buffer, (ids, pubkeys, sigs))
        own_lib.verify_batch(context, parse, check, count, *buffers, valid)
        return list(map(bool, bytes(own_ffi.buffer(valid))))

    return Backend("batch", verify)


def _open_coincurve() -> Backend:
    from coincurve import PublicKeyXOnly

    def check(event_id: bytes, pubkey: bytes, sig: bytes) -> bool:
        return PublicKeyXOnly(pubkey).verify(sig, event_id)

    return Backend("coincurve", _one_by_one(check))


def _open_python() -> Backend:
    from pySecp256k1 import schnorr

    def check(event_id: bytes, pubkey: bytes, sig: bytes) -> bool:
        return bool(schnorr.verify(event_id, pubkey, sig))

    return Backend("python", _one_by_one(check))


def _one_by_one(check: _Check) -> Callable[[Sequence[Event]], Sequence[bool]]:
    def verdict(event: Event) -> bool:
        try:
            return check(bytes.fromhex(event.id), bytes.fromhex(event.pubkey), bytes.fromhex(event.sig))
        except ValueError:  # both libraries say so of a key that is no point
            return False

    return lambda events: [verdict(event) for event in events]


_BACKENDS: Final[dict[BackendName, Callable[[], Backend]]] = {
    "batch": _open_batch,
    "coincurve": _open_coincurve,
    "python": _open_python,
}
