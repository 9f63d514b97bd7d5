"""The Dockerfile and the compose files: well written, and in agreement with one another and with the relay.

`make machines` carries the Dockerfile's steps out, and runs what comes of them.
"""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.dockerfile import stages_of
from tests.support.hot_path import ROOT
from trio_relay.config import Config, load

BUILT, IMAGE = stages_of((ROOT / "Dockerfile").read_text())
INSIDE = ROOT / "deploy" / "container"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def compose(*names: str) -> dict[str, Any]:
    """The services of compose files, one put over the other as docker does it."""
    services: dict[str, Any] = {}
    for name in names:
        for service, settings in yaml.safe_load((ROOT / name).read_text())["services"].items():
            services[service] = services.get(service, {}) | settings
    return services


ALONE = compose("compose.yaml")
CLUSTERED = compose("compose.yaml", "deploy/compose.opensearch.yaml")


@pytest.mark.slow
@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    checked = subprocess.run([str(HADOLINT), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def copied() -> set[str]:
    """What the image is built of: files and folders."""
    steps = [step for stage in (BUILT, IMAGE) for step in stage.steps if step.word == "COPY" and not step.flags]
    return {name for step in steps for name in step.items[:-1]}


def test_the_image_is_built_of_what_is_let_through_and_there() -> None:
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert let_through <= copied()
    assert [name for name in copied() if not any(Path(name).is_relative_to(one) for one in let_through)] == []
    left_out = [line for line in lines[1:] if not line.startswith("!")]
    assert [name for name in copied() if any(fnmatch.fnmatch(name, line) for line in left_out)] == []


def test_all_that_comes_with_the_package_is_there_when_it_is_built() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    files = [name for names in settings["data-files"].values() for name in names]
    assert files != []
    assert [name for name in files if not any(Path(name).is_relative_to(one) for one in copied())] == []
    assert [name for name in files if not any(ROOT.glob(name))] == []


def test_both_stages_have_the_same_python_of_a_version() -> None:
    assert BUILT.base == IMAGE.base
    assert IMAGE.base.startswith("python:3.")
    assert IMAGE.base in IMAGE.last("LABEL").rest


def test_the_hot_path_must_compile() -> None:
    assert BUILT.environment["TRIO_RELAY_COMPILE"] == "1"


def test_the_relay_is_the_first_process_and_nobody_special() -> None:
    assert IMAGE.last("ENTRYPOINT").items == ["trio-relay"]
    assert IMAGE.last("ENTRYPOINT").rest.startswith("[")
    assert all(int(number) > 1000 for number in IMAGE.last("USER").rest.split(":"))


def test_the_file_of_the_container_keeps_data_in_the_volume_and_listens_on_its_port() -> None:
    place = IMAGE.environment["TRIO_RELAY_CONFIG"]
    assert [step.items for step in IMAGE.steps if step.word == "COPY"][-1] == ["deploy/container/relay.toml", place]
    config = load(INSIDE / "relay.toml", {})
    [volume] = IMAGE.last("VOLUME").items
    assert Path(config.store.path).parent == Path(volume)
    assert config.net.listen == (f"*:{IMAGE.last('EXPOSE').rest}",)
    assert f"http://127.0.0.1:{IMAGE.last('EXPOSE').rest}/health" in IMAGE.last("HEALTHCHECK").rest
    assert [mount for mount in ALONE["relay"]["volumes"] if mount.startswith("./")] == [
        f"./{INSIDE.relative_to(ROOT)}:{Path(place).parent}:ro"
    ]
    assert f"data:{volume}" in ALONE["relay"]["volumes"]


@pytest.mark.parametrize("name", ["relay", "migrate", "valkey"])
def test_a_container_may_do_no_more_than_it_has_to(name: str) -> None:
    service = CLUSTERED[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_relay_alone_is_reached_from_this_machine_alone() -> None:
    assert [name for name, service in CLUSTERED.items() if service.get("ports")] == ["relay"]
    assert [port.rpartition(":")[0] for port in ALONE["relay"]["ports"]] == ["127.0.0.1:7777"]
    assert "default" not in CLUSTERED["node"]["networks"] + CLUSTERED["valkey"]["networks"]


def test_a_stop_has_time_for_all_that_the_relay_takes_for_it() -> None:
    config = Config()
    assert ALONE["relay"]["stop_grace_period"] == "60s"
    assert config.net.grace_seconds + config.pipeline.drain_seconds < 60
    assert config.net.max_connections < ALONE["relay"]["ulimits"]["nofile"]["hard"]


def test_the_relay_on_a_cluster_finds_the_services_that_stand_beside_it() -> None:
    config = load(INSIDE / "relay.toml", CLUSTERED["relay"]["environment"])
    assert config.store.backend == "opensearch"
    assert config.opensearch.urls == ("http://node:9200",)
    assert config.bus.url == "redis://valkey:6379/0"
    assert {"node", "valkey"} < CLUSTERED.keys()
    assert CLUSTERED["migrate"]["environment"] == CLUSTERED["relay"]["environment"]
    assert CLUSTERED["node"]["image"] in (ROOT / "config" / "cluster" / "compose.yaml").read_text()


def test_each_service_waits_for_one_that_can_tell_that_it_is_ready() -> None:
    for service in CLUSTERED.values():
        for other, how in service.get("depends_on", {}).items():
            ends = how["condition"] == "service_completed_successfully"
            assert ends or "healthcheck" in CLUSTERED[other], other
