"""config/cluster/: each file is one that its program takes, and they agree with one another."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml  # type: ignore[import-untyped]

from tests.support.units import DEPLOYED, said, verify
from trio_relay.config import Config, load

FOLDER = Path(__file__).parents[1] / "config" / "cluster"
PROXY, BUS = "10.77.0.10", "10.77.0.30"
RELAYS = [f"10.77.0.1{number}" for number in (1, 2, 3)]
NODES = [f"10.77.0.2{number}" for number in (1, 2, 3)]


@cache
def relay() -> Config:
    return load(FOLDER / "relay.toml", {})


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def haproxy() -> str:
    return (FOLDER / "haproxy.cfg").read_text()


def unit(name: str) -> dict[str, str]:
    """The settings of a unit or of what is added to one."""
    return said(FOLDER / "systemd" / name)


def test_the_relays_are_those_behind_the_proxy_and_ask_all_nodes() -> None:
    config = relay()
    assert re.findall(r"^    server \S+ (\S+)$", haproxy(), re.MULTILINE) == [f"{one}:7777" for one in RELAYS]
    assert config.net.listen == ("0.0.0.0:7777",)
    assert config.net.trusted_proxies == (PROXY,)
    assert config.opensearch.urls == tuple(f"http://{one}:9200" for one in NODES)
    assert config.opensearch.shards * (1 + config.opensearch.replicas) % len(NODES) == 0
    assert config.opensearch.replicas >= 1


def test_the_bus_is_where_the_relays_look_for_it_and_has_room() -> None:
    settings = dict(re.findall(r"^(\w[\w-]*) (.+)$", (FOLDER / "valkey.conf").read_text(), re.MULTILINE))
    assert relay().bus.url == f"redis://{BUS}:{settings['port']}/0"
    assert settings["maxmemory"] == "1gb"
    assert relay().bus.max_bytes < 2**30
    assert settings["maxmemory-policy"] == "noeviction"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_takes_the_bus_s_file(tmp_path: Path) -> None:
    """Redis 7.0, with which Valkey shares what the file says."""
    config = tmp_path / "valkey.conf"
    config.write_text(
        (FOLDER / "valkey.conf").read_text().replace("port 6379", f"port 0\nunixsocket {tmp_path}/socket")
    )
    with subprocess.Popen(
        ["redis-server", str(config), "--dir", str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = next((line for line in server.stdout if "eady to accept connections" in line), "")
        server.terminate()
        assert server.wait(30) == 0
    assert said != ""


def test_what_the_proxy_lets_through_the_relays_take() -> None:
    most = re.search(r"default-server .* maxconn (\d+)$", haproxy(), re.MULTILINE)
    whole = re.search(r"^    maxconn (\d+)$", haproxy(), re.MULTILINE)
    assert most is not None
    assert whole is not None
    assert int(most[1]) == relay().net.max_connections < int(said(DEPLOYED / "trio-relay.service")["LimitNOFILE"])
    assert int(whole[1]) == len(RELAYS) * int(most[1])
    assert int(unit("haproxy.service.d/cluster.conf")["LimitNOFILE"]) > 2 * int(whole[1])
    ports = re.search(r"ip_local_port_range = (\d+) (\d+)$", (FOLDER / "sysctl.conf").read_text(), re.MULTILINE)
    assert ports is not None
    assert int(ports[2]) - int(ports[1]) > int(most[1])  # from one address of the proxy to one of a relay


def test_workers_are_told_to_stop_by_the_process_that_started_them() -> None:
    assert relay().pipeline.workers == 0
    assert said(DEPLOYED / "trio-relay.service")["KillMode"] == "mixed"
    changed = compose()["services"]["relay-2"]["environment"]
    assert load(FOLDER / "relay.toml", changed).pipeline.workers == 2


def test_times_fit_into_one_another() -> None:
    config = relay()
    tunnel = re.search(r"timeout tunnel (\d+)m$", haproxy(), re.MULTILINE)
    assert tunnel is not None
    assert config.net.ping_seconds + config.net.pong_seconds < int(tunnel[1]) * 60
    stopping = config.net.grace_seconds + config.pipeline.drain_seconds
    assert stopping < int(said(DEPLOYED / "trio-relay.service")["TimeoutStopSec"])
    assert compose()["services"]["relay-1"]["stop_grace_period"] == "60s"
    assert stopping < 60


def test_containers_have_the_addresses_that_the_files_name() -> None:
    inside = {
        name: service["networks"]["inside"]["ipv4_address"]
        for name, service in compose()["services"].items()
        if service["networks"]["inside"]
    }
    assert inside == {
        "proxy": PROXY,
        "valkey": BUS,
        **{f"relay-{number}": address for number, address in enumerate(RELAYS, 1)},
        **{f"node-{number}": address for number, address in enumerate(NODES, 1)},
    }
    network = compose()["networks"]["inside"]
    assert network["internal"] is True
    subnet = ip_network(network["ipam"]["config"][0]["subnet"])
    assert all(ip_address(address) in subnet for address in inside.values())


def test_nodes_know_one_another_by_the_names_and_addresses_that_they_have() -> None:
    settings = yaml.safe_load((FOLDER / "opensearch.yml").read_text())
    assert settings["discovery.seed_hosts"] == NODES
    assert settings["cluster.initial_cluster_manager_nodes"] == ["node-1", "node-2", "node-3"]
    for name, address in zip(settings["cluster.initial_cluster_manager_nodes"], NODES, strict=True):
        environment = compose()["services"][name]["environment"]
        assert (environment["NODE_NAME"], environment["NODE_ADDRESS"]) == (name, address)
        assert compose()["services"][name]["ulimits"]["memlock"] == {"soft": -1, "hard": -1}
    assert settings["bootstrap.memory_lock"] is True
    assert unit("opensearch.service")["LimitMEMLOCK"] == "infinity"


def test_each_file_that_a_container_has_is_here_and_each_service_that_it_waits_for() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert source == "./certs" or (FOLDER / source).is_file(), (name, source)
            else:
                assert source in compose()["volumes"], (name, source)
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            ends = how["condition"] == "service_completed_successfully"
            tells = "healthcheck" in services[other] or services[other]["image"] == "trio-relay"  # by its Dockerfile
            assert ends or tells, (name, other)
    assert (FOLDER / services["migrate"]["build"] / "Dockerfile").is_file()


def test_the_page_names_what_is_here() -> None:
    page = (FOLDER / "README.md").read_text()
    assert [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page) if not (FOLDER / link).exists()] == []
    rows = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w./]+)`", row) if (FOLDER / name).exists()}
    assert named == {path.name for path in FOLDER.iterdir()} - {"README.md", "systemd"} | {"systemd/"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_takes_its_file(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("relay.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "relay.pem"))
    config = tmp_path / "haproxy.cfg"
    config.write_text(haproxy().replace("/etc/haproxy/certs/", str(tmp_path / "relay.pem")))
    checked = subprocess.run(
        ["haproxy", "-c", "-f", str(config)], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stderr
    complaints = [line for line in checked.stderr.splitlines() if line.startswith(("[ALERT]", "[WARNING]"))]
    assert complaints == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_knows_what_its_units_say(tmp_path: Path) -> None:
    """With those of deploy/systemd, to which some settings are added here."""
    names = [
        "trio-relay.socket",
        "trio-relay.service",
        "opensearch.service",
        "haproxy.service",
        "valkey-server.service",
    ]
    assert verify(names, DEPLOYED, FOLDER / "systemd", root=tmp_path) == ""


def test_the_relay_s_socket_is_where_the_relay_listens() -> None:
    assert tuple(unit("trio-relay.socket.d/cluster.conf")["ListenStream"].split()) == relay().net.listen
