"""The relay's own certificate (`net.tls_certificate`): what clients would say of it, before any of them comes.

A handshake in memory tells that, by the same library and the same authorities as most clients have.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from trio_relay.doctor.amounts import lasting
from trio_relay.doctor.findings import Ailment, Chart, Finding, Severity
from trio_relay.doctor.patient import Patient
from trio_relay.net.options import NetOptions
from trio_relay.net.tls import CertifiedKey, Term, TlsRefused
from trio_relay.peers.dialing import parse_url
from trio_relay.tls_files import read_certified

CERTIFICATE_UNUSABLE: Final = Ailment(
    "certificate-unusable",
    Severity.FAULT,
    "The certificate or its key cannot be read, is none, or they do not belong together: the relay does not start, or"
    " keeps the one that it has.",
    "Name both files of one pair by net.tls_certificate and net.tls_key, in PEM, without a passphrase, readable by the"
    " relay's user.",
)
CERTIFICATE_ENDED: Final = Ailment(
    "certificate-ended",
    Severity.FAULT,
    "The certificate has ended, or does not hold yet: no client connects.",
    "Renew it (certbot renew, acme.sh …), and look why that was not done by itself. The relay takes the new one within"
    " seconds.",
)
CERTIFICATE_ENDS: Final = Ailment(
    "certificate-ends",
    Severity.WARNING,
    "The certificate ends soon (14 days or a sixth of its term are left), and so should have been renewed.",
    "Renew it, and look why that was not done by itself: certbot renew --dry-run, systemctl list-timers.",
)
CERTIFICATE_NAME: Final = Ailment(
    "certificate-name",
    Severity.FAULT,
    "The certificate is not for the host of relay.url: clients refuse it.",
    "Have one made for that name, or correct relay.url.",
)
CERTIFICATE_CHAIN: Final = Ailment(
    "certificate-chain",
    Severity.FAULT,
    "No authority that this machine trusts stands behind the certificate: the certificates in between are missing in"
    " the file, or it is signed by itself. Some browsers find what is missing elsewhere; Nostr clients do not.",
    "Use the file that has the whole chain, such as certbot's fullchain.pem, not cert.pem.",
)

_FLIGHTS: Final = 6
"""Of a handshake, at most, in both directions together."""
_NOT_FOR_THIS_HOST: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH, and the same of an address."""
_OF_TIME: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
NOT_YET: Final = 9


# Verdicts.


def of_certificate(certified: CertifiedKey, host: str, now: float, *, is_for_proxy: bool = False) -> Iterator[Finding]:
    """What is wrong with a pair that fits.

    Args:
        certified: the pair.
        host: that clients connect to; empty: nobody knows.
        now: seconds since 1970.
        is_for_proxy: only proxies connect, and these may trust whom they like.

    Raises:
        TlsRefused: it cannot be used.
    """
    yield from of_end(certified.term, now)
    if is_for_proxy:
        return
    if host and (fault := _said_of(certified, _believing(certified), host)) in _NOT_FOR_THIS_HOST:
        yield CERTIFICATE_NAME.found(f"It is not for {host}.")
    fault, words = _fault_of(certified, ssl.create_default_context(), "")
    if fault == NOT_YET:
        yield CERTIFICATE_ENDED.found("It does not hold yet; or this machine's clock is behind.")
    elif fault and fault not in _OF_TIME:
        yield CERTIFICATE_CHAIN.found(f"OpenSSL says: {words}.")


def of_end(term: Term, now: float) -> Iterator[Finding]:
    """Whether a certificate ends soon, or has ended; now is in seconds since 1970."""
    day = time.strftime("%Y-%m-%d", time.gmtime(term.ends))
    if term.ends <= now:
        yield CERTIFICATE_ENDED.found(f"It has ended on {day}.")
    elif now > term.late:
        yield CERTIFICATE_ENDS.found(f"It ends on {day}, in {lasting(term.ends - now)}.")


def _believing(certified: CertifiedKey) -> ssl.SSLContext:
    """A client that takes this very certificate for right, so that only its name can be wrong, and its time."""
    context = ssl.create_default_context(cadata=certified.chain.decode("ascii", "ignore"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _said_of(certified: CertifiedKey, client: ssl.SSLContext, host: str) -> int:
    return _fault_of(certified, client, host)[0]


def _fault_of(certified: CertifiedKey, client: ssl.SSLContext, host: str) -> tuple[int, str]:
    """What a client says of a certificate, as OpenSSL counts it (X509_V_ERR…) and in its words; 0: nothing.

    Args:
        certified: the pair that it is shown.
        client: whom it trusts.
        host: that it believes to have reached; empty: any will do.
    """
    client.check_hostname = bool(host)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = certified.context().wrap_bio(up, down, server_side=True)
    ours = client.wrap_bio(down, up, server_hostname=host or None)
    for _ in range(_FLIGHTS):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_code, error.verify_message
            except ssl.SSLError as error:
                raise TlsRefused(error.reason or str(error)) from error
    return 0, ""


# Looks.


async def look_at_certificate(patient: Patient, chart: Chart) -> None:
    """Read the files, and try them."""
    net = patient.config.net
    if not net.tls_certificate:
        chart.facts.append("the relay speaks no TLS itself")
        return
    try:
        certified = await read(net)
        url = patient.config.relay.url
        host = parse_url(url).host if url else ""
        is_for_proxy = bool(net.trusted_proxies)
        chart.facts.append(f"ends in {lasting(certified.term.ends - patient.now)}")
        chart.facts += ["for proxies"] if is_for_proxy else []
        chart.add(of_certificate(certified, host, patient.now, is_for_proxy=is_for_proxy))
    except TlsRefused as refused:
        chart.add([CERTIFICATE_UNUSABLE.found(f"{refused}.")])


async def read(net: NetOptions) -> CertifiedKey:
    """Read the pair that the configuration names.

    Raises:
        TlsRefused: it cannot be used.
    """
    names = Path(net.tls_certificate), Path(net.tls_key)
    return await trio.to_thread.run_sync(read_certified, *names, abandon_on_cancel=True)
