"""Faults of a relay that runs, and of what stands in front of it, really made: doctor names each, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

from perf.servers import free_port
from tests.doctor.clinic import Told, examined, over_tls, sound, trusting, written
from tests.doctor.front import PLACE, Change, also, as_it_is, proxy, without
from tests.support.authority import authority
from tests.support.program import launcher, running

pytestmark = pytest.mark.slow


def only(told: Told, *codes: str, words: str = "") -> None:
    """Nothing but this was found, of which the first says so in these words."""
    assert told.codes == set(codes), told.findings
    assert words in told.findings[codes[0]]["what"]
    assert not told.healthy


def port_of(settings: dict[str, str]) -> int:
    """The one port that these settings listen on."""
    return int(settings["relay.url"].rpartition(":")[2].strip("/"))


# By relay.url.


async def test_a_name_where_nobody_answers(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    async with running(tmp_path, settings):
        told = await examined(settings | {"relay.url": f"ws://127.0.0.1:{free_port()}/"})
    only(told, "url-unreachable", words="Connection refused")


async def test_another_relay_behind_the_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    settings, other = sound(tmp_path), sound(tmp_path / "other") | {"relay.name": "another"}
    async with running(tmp_path, settings), running(tmp_path / "other", other):
        told = await examined(settings | {"relay.url": other["relay.url"]})
    only(told, "other-relay", words="'another'")


async def test_a_certificate_that_clients_do_not_trust(tmp_path: Path) -> None:
    settings = over_tls(tmp_path, authority().issue_cert("localhost"))
    async with running(tmp_path, settings):
        told = await examined(settings)
    only(told, "url-untrusted", "certificate-chain", words="unable to get local issuer certificate")


async def test_a_certificate_at_the_name_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting(tmp_path, monkeypatch)
    settings = over_tls(tmp_path, authority().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=3)))
    async with running(tmp_path, settings):
        told = await examined(settings)
    only(told, "url-certificate-ends", "certificate-ends", words="It ends on")


async def test_a_relay_that_does_not_know_its_name(tmp_path: Path) -> None:
    settings = sound(tmp_path) | {"net.hosts": '["relay.example"]'}
    async with running(tmp_path, settings):
        told = await examined(settings)
    only(told, "host-refused", words="421")


async def test_something_else_behind_the_name(tmp_path: Path) -> None:
    settings = sound(tmp_path)

    async def talk_otherwise(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"SSH-2.0-OpenSSH\r\n")

    async with running(tmp_path, settings), trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, talk_otherwise, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        told = await examined(settings | {"relay.url": f"ws://127.0.0.1:{port}/"})
        only(told, "url-unreachable", words="does not speak HTTP")
        told = await examined(settings | {"relay.url": f"wss://127.0.0.1:{port}/"})
        only(told, "url-unreachable", words="no TLS: WRONG_VERSION_NUMBER")
        nursery.cancel_scope.cancel()


class TwoAddresses(trio.abc.HostnameResolver):
    """Knows one name, of two addresses, of which a relay has one."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002  # as Trio calls it
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        number = int(port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, number)) for place in ("127.0.0.1", "127.0.0.3")]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_a_name_one_of_whose_addresses_is_dead(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with running(tmp_path, settings) as program:
        told = await examined(settings | {"relay.url": f"wss://relay.example:{program.address[1]}/"})
    assert told.codes == {"name-partly-dead", "url-unreachable"}  # the latter since there is no TLS
    assert "relay.example is 127.0.0.3, too" in told.findings["name-partly-dead"]["what"]


@pytest.mark.parametrize(
    ("request_head", "response_head", "trusted", "codes"),
    [
        (
            lambda lines: also(b"X-Forwarded-For: 127.0.0.1")(without(b"Accept")(lines)),
            as_it_is,
            PLACE,
            {"no-document"},
        ),
        (lambda lines: also(b"X-Forwarded-For: _hidden")(lines), as_it_is, PLACE, {"proxy-silent"}),
        (as_it_is, as_it_is, "127.0.0.9", {"proxy-untrusted"}),
        (also(b"X-Forwarded-For: 127.0.0.1"), as_it_is, PLACE, set()),
        (
            also(b"X-Forwarded-For: 127.0.0.1"),
            also(b"Date: " + format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True).encode()),
            PLACE,
            {"clock-off"},
        ),
    ],
    ids=["no accept", "a hidden address", "not trusted", "well", "an hour off"],
)
async def test_a_proxy_in_front(
    tmp_path: Path, request_head: Change, response_head: Change, trusted: str, codes: set[str]
) -> None:
    settings = sound(tmp_path) | {"net.trusted_proxies": f'["{trusted}"]'}
    async with running(tmp_path, settings), proxy(port_of(settings), request_head, response_head) as port:
        told = await examined(settings | {"relay.url": f"ws://127.0.0.1:{port}/"})
    assert told.codes - {"url-local"} == codes, told.findings  # others may come by a proxy, for all that is known


NGINX = """\
pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{relay};
            proxy_bind 127.0.0.2;
            proxy_set_header Host $http_host;
            {lines}
        }}
    }}
}}
"""
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
ADDRESS = "proxy_set_header X-Forwarded-For $remote_addr;"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (f"{UPGRADE} {ADDRESS}", set()),
        (ADDRESS, {"no-websocket"}),
        (UPGRADE, {"address-forged"}),
        (f'{UPGRADE} proxy_set_header X-Forwarded-For "";', {"proxy-silent"}),
    ],
    ids=["well", "no upgrade", "any address", "no address"],
)
async def test_a_real_nginx_in_front(tmp_path: Path, lines: str, codes: set[str]) -> None:
    settings, port, file = sound(tmp_path) | {"net.trusted_proxies": f'["{PLACE}"]'}, free_port(), tmp_path / "nginx"
    file.write_text(NGINX.format(folder=tmp_path, port=port, relay=port_of(settings), lines=lines))
    async with running(tmp_path, settings):
        await trio.run_process(["nginx", "-e", "stderr", "-c", str(file)])  # listens once this command has ended
        try:
            told = await examined(settings | {"relay.url": f"ws://127.0.0.1:{port}/"})
        finally:
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert told.codes - {"url-local"} == codes, told.findings


@pytest.mark.parametrize("bound", ["net.max_connections", "net.max_connections_per_address"])
async def test_a_relay_that_is_full_is_told_to_be_so(tmp_path: Path, bound: str) -> None:
    settings = sound(tmp_path) | {bound: "1", "relay.url": ""}
    async with running(tmp_path, settings) as program, program.client() as client:
        await client.send("REQ", "held", {"kinds": [1]})  # who has something open makes no room
        assert await client.receive() == ["EOSE", "held"]
        told = await examined(settings)
    assert told.codes == {"no-place"}, told.findings


@pytest.mark.parametrize("bound", ["net.max_connections", "net.max_connections_per_address"])
async def test_doctor_does_not_fill_a_relay_by_itself(tmp_path: Path, bound: str) -> None:
    settings = sound(tmp_path) | {bound: "1"}
    async with running(tmp_path, settings):
        told = await examined(settings)
    assert told.codes == set(), told.findings
    assert told.facts.count("EVENT and back") == 2


async def test_a_proxy_that_hangs_is_told_in_time(tmp_path: Path) -> None:
    settings = sound(tmp_path)

    async def hang(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with running(tmp_path, settings), trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hang, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        told = await examined(settings | {"relay.url": f"ws://127.0.0.1:{port}/"})
        nursery.cancel_scope.cancel()
    only(told, "url-unreachable", words="no answer within 3 seconds")


# The relay itself.


async def test_an_address_that_the_relay_does_not_have_yet(tmp_path: Path) -> None:
    """After a change of the configuration, without a restart."""
    settings, port = sound(tmp_path), free_port()
    async with running(tmp_path, settings):
        told = await examined(settings | {"net.listen": f'["127.0.0.1:{port}"]'})
    only(told, "local-silent", words=f"127.0.0.1:{port}: Connection refused")


async def test_an_address_where_the_relay_does_not_speak_tls_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path, monkeypatch)
    settings = sound(tmp_path)
    secure = over_tls(tmp_path, authority().issue_cert("localhost"))
    places = {
        key: secure[key].replace(str(port_of(secure)), str(port_of(settings))) for key in ("net.listen", "relay.url")
    }
    async with running(tmp_path, settings):
        told = await examined(secure | places)
    only(told, "local-silent", "url-unreachable", words="no TLS: ")


async def test_a_process_that_holds_the_store_and_does_not_answer(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    async with running(tmp_path, settings):
        pass
    lock = os.open(f"{settings['store.path']}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    told = await examined(settings)
    os.close(lock)
    only(told, "control-silent", "local-silent", "url-unreachable", "backup-missing", words="holds the store")


async def test_a_certificate_that_the_relay_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the configuration has been changed without a restart."""
    trusting(tmp_path, monkeypatch)
    settings = over_tls(tmp_path, authority().issue_cert("localhost"))
    (tmp_path / "newer").mkdir()
    newer = written(tmp_path / "newer", authority().issue_cert("localhost"))
    async with running(tmp_path, settings):
        told = await examined(settings | newer)
    only(told, "certificate-not-taken", words="shows another one")


async def test_a_relay_behind_a_socket_of_unix(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="relay-") as folder:  # whose path is short enough
        settings = sound(tmp_path) | {"net.listen": f'["unix:{folder}/s"]', "relay.url": ""}
        async with running(tmp_path, settings):
            told = await examined(settings)
    assert told.codes == {"url-missing"}
    assert f"unix:{folder}/s: REQ " in told.facts


async def test_metrics_that_nobody_shows_are_said_to_be_so(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    async with running(tmp_path, settings):
        told = await examined(settings | {"metrics.listen": f"127.0.0.1:{free_port()}"})
    assert told.healthy
    assert "metrics: Connection refused" in told.facts


async def test_too_few_files_for_the_relay(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    few = launcher("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))")
    async with running(tmp_path, settings, command=few):
        told = await examined(settings)
    only(told, "open-files-few", words="The relay may open 512 files")


async def test_a_mirror_that_is_away(tmp_path: Path) -> None:
    settings, other = sound(tmp_path), f"ws://127.0.0.1:{free_port()}"
    path = tmp_path / "relay.toml"
    path.write_text(f'[[mirror]]\nurl = "{other}"\n')
    path.chmod(0o600)
    async with running(tmp_path, settings | {"mirror": f'[{{url = "{other}"}}]'}):
        told = await examined(settings, path)
    only(told, "mirror-away", words="Connection refused")


async def test_backups_that_fail(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = sound(tmp_path) | {"backup.folder": str(tmp_path / "file" / "backups")}
    async with running(tmp_path, settings) as program:
        await program.logs("no backup was made")
        told = await examined(settings)
    only(told, "degraded", "backup-missing", "backups-unreadable", words="no backup was made")


async def test_backups_that_are_not_made(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    async with running(tmp_path, settings | {"backup.every_seconds": "0"}):
        told = await examined(settings)
    only(told, "backup-missing", words="every 60 minutes")


async def test_strangers_that_are_refused_are_no_fault(tmp_path: Path) -> None:
    settings = sound(tmp_path) | {"policy.allowed_pubkeys": f'["{"ab" * 32}"]', "policy.auth_to_read": "true"}
    async with running(tmp_path, settings):
        told = await examined(settings)
    assert (told.codes, told.healthy) == (set(), True), told.findings
    assert "EVENT refused: " in told.facts
