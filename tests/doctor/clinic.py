"""A relay that is well, what is done to it, and what `trio-relay doctor` then says; the real program, on real files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
from click.testing import CliRunner

from perf.servers import free_port
from tests.support.authority import authority
from tests.support.program import MODULE, environment, finished
from trio_relay import cli, config
from trio_relay.doctor import examination, telling
from trio_relay.nostr import schnorr

AMBIENT: Final = {"interpreted", "clock-free", "runs-as-root", "disk-slow", "answers-slow"} | (
    set() if schnorr.open_backend().name == "batch" else {"signatures-slow"}
)
"""What may be so of the machine that tests run on, and of how they run."""
IS_ROOT: Final = os.geteuid() == 0


@dataclass
class Told:
    """What doctor has said; what the machine itself is like left out of its verdict.

    Attributes:
        code: the exit code.
        healthy: its verdict.
        findings: by their codes.
        facts: of all groups.
    """

    code: int
    healthy: bool
    findings: dict[str, dict[str, str]]
    facts: str

    @property
    def codes(self) -> set[str]:
        """What was found beside what the machine itself is like."""
        return self.findings.keys() - AMBIENT


async def doctor(
    folder: Path,
    settings: Mapping[str, str],
    *arguments: str,
    command: Sequence[str] = MODULE,
) -> Told:
    """What it says in a folder, with these settings."""
    ended = await finished(folder, "doctor", "--json", *arguments, settings=settings, command=command)
    return _told(ended.returncode, ended.stdout, ended.stderr)


async def examined(settings: Mapping[str, str], path: Path | None = None) -> Told:
    """The same in this process, beside what the test itself does meanwhile."""
    charts = await examination.examine(config.load_whole(path, environment(settings)), path)
    whole = telling.as_object(charts)
    return _told(0 if whole["healthy"] else 1, json.dumps(whole).encode(), b"")


def doctor_here(settings: Mapping[str, str], *arguments: str) -> Told:
    """The command, in this process, for what needs no relay that runs."""
    variables = environment(settings)
    ended = CliRunner().invoke(cli.main, ["doctor", "--json", *arguments], env=variables, prog_name="trio-relay")
    return _told(ended.exit_code, ended.stdout_bytes, ended.stderr_bytes)


def _told(code: int, out: bytes, err: bytes) -> Told:
    assert err == b"", err.decode()
    said: dict[str, Any] = json.loads(out)
    findings = {one["code"]: one for group in said["groups"] for one in group["findings"]}
    assert (said["healthy"], code == 0) == (_is_well(findings),) * 2, findings
    is_well = _is_well({name: one for name, one in findings.items() if name not in AMBIENT})
    facts = "\n".join(str(group["facts"]) for group in said["groups"])
    return Told(0 if is_well else code, is_well, findings, facts)


def _is_well(findings: Mapping[str, Mapping[str, str]]) -> bool:
    return all(one["severity"] == "note" for one in findings.values())


def sound(folder: Path, port: int = 0) -> dict[str, str]:
    """Settings of a relay of which nothing is to be said, on a port of its own."""
    port = port or free_port()
    return {
        "net.listen": f'["127.0.0.1:{port}"]',
        "metrics.listen": f"127.0.0.1:{free_port()}",
        "relay.url": f"ws://127.0.0.1:{port}/",
        "backup.every_seconds": "3600",
        "net.max_connections": "200",
        "store.path": str(folder / "data" / "relay.db"),
    }


def written(folder: Path, made: trustme.LeafCert, *, whole: bool = True) -> dict[str, str]:
    """Settings for a certificate and its key, which are written to files.

    Args:
        folder: of the files.
        made: both.
        whole: with the certificates that lead to the authority.
    """
    chain, key = folder / "relay.pem", folder / "relay.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems[: None if whole else 1]))
    key.touch(0o600)
    key.write_bytes(made.private_key_pem.bytes())
    return {"net.tls_certificate": str(chain), "net.tls_key": str(key)}


def over_tls(folder: Path, made: trustme.LeafCert, *, whole: bool = True) -> dict[str, str]:
    """Settings of a relay that speaks TLS as localhost."""
    port = free_port()
    secure = {"net.listen": f'["tls:127.0.0.1:{port}"]', "relay.url": f"wss://localhost:{port}/"}
    return sound(folder, port) | secure | written(folder, made, whole=whole)


def trusting(folder: Path, monkeypatch: Any) -> None:
    """Have programs that are started from here trust the authority of the tests."""
    path = folder / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
