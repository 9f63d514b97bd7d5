"""The Dockerfile's steps on Debian 13, and the relay that comes of them, as closed as compose.yaml has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.deploy.dockerfile import stages_of
from tests.machines.debian import contained, end, finish, first_process, inside
from tests.machines.images import Image, build
from tests.support.hot_path import ROOT
from tests.support.keys import ALICE

USER = 10001
SPEAK = """
import json, sys
from websockets.sync.client import connect
with connect("ws://127.0.0.1:7777") as relay:
    for said in sys.argv[1:]:
        relay.send(said)
        print(relay.recv(timeout=20))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(stages_of((ROOT / "Dockerfile").read_text()), tmp_path_factory.mktemp("image"))


@dataclass
class Container:
    """A relay that runs in one."""

    image: Image
    process: subprocess.Popen[str]
    data: Path

    def do(self, *command: str) -> str:
        """What a command in it says, as the relay's user and with its variables."""
        first = first_process(self.process.pid)
        return finish(inside(first, *command, environment=self.image.environment, user=USER), minutes=1)

    def speak(self, *messages: list[Any]) -> list[Any]:
        """The next message of the relay after each of these, to a client in the same container."""
        texts = [msgspec.json.encode(message).decode() for message in messages]
        return [json.loads(line) for line in self.do("python", "-c", SPEAK, *texts).splitlines()]

    def says(self, start: str) -> str:
        """Read its output up to a line that starts like this."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if line.startswith(start))


@contextmanager
def running(image: Image, folder: Path) -> Iterator[Container]:
    """The image as `docker run --read-only --cap-drop ALL --security-opt no-new-privileges` has it, volume and all."""
    data = folder / "data"
    with image.opened(folder / "root"):
        # A new volume is as the folder that it stands for.
        is_there = (folder / "root" / image.stage.last("VOLUME").items[0][1:]).stat()
        data.mkdir(mode=is_there.st_mode & 0o777, exist_ok=True)
        os.chown(data, is_there.st_uid, is_there.st_gid)
        flags = [
            "--read-only", "--private-network", f"--user={image.stage.last('USER').rest.partition(':')[0]}",
            f"--chdir={image.stage.last('WORKDIR').rest}", f"--bind={data}:/data", "--tmpfs=/tmp:mode=1777",
            "--drop-capability=all", "--no-new-privileges=yes", "--kill-signal=SIGTERM", "--pipe",
        ]  # fmt: skip
        program, *arguments = image.stage.last("ENTRYPOINT").items
        command = [*contained(folder / "root", *flags, environment=image.environment), program, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Container(image, process, data)
            finally:
                end(process)


def test_the_image_has_the_relay_compiled_and_no_compiler(image: Image, tmp_path: Path) -> None:
    with image.opened(tmp_path / "root"):
        command = contained(tmp_path / "root", "--pipe", environment=image.environment)
        assert " (compiled)" in finish([*command, "trio-relay", "--version"])
        assert not (tmp_path / "root/usr/bin/gcc").exists()
        assert "check-config" in finish([*command, "trio-relay", "--help"])
        assert "/etc/trio-relay/relay.toml is good" in finish([*command, "trio-relay", "check-config"])
    size = sum(path.lstat().st_size for path in image.layer.rglob("*"))
    print(f"\nthe image adds {size / 1e6:.1f} MB to its base")
    assert size < 150e6


def test_a_relay_serves_from_a_root_that_it_cannot_write(image: Image, tmp_path: Path) -> None:
    event = ALICE.event("from a container")
    with running(image, tmp_path) as container:
        container.says("listening on ")
        accepted, found = container.speak(["EVENT", event], ["REQ", "all", {}])
        assert accepted == ["OK", event.id, True, ""]
        assert found[2]["id"] == event.id
        status = container.do("cat", "/proc/1/status")
        assert f"Uid:\t{USER}\t{USER}" in status
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        with pytest.raises(AssertionError, match="Read-only file system"):
            container.do("touch", "/opt/trio-relay/here")
        assert "events" in container.do("trio-relay", "stats")
        container.do("trio-relay", "backup", "/data/relay.backup")
        assert {path.name for path in container.data.iterdir()} >= {"relay.db", "relay.backup"}


def test_the_check_of_its_health_tells_a_relay_that_is_well_from_one_that_is_not(image: Image, tmp_path: Path) -> None:
    health = image.stage.last("HEALTHCHECK").rest.partition("CMD ")[2]
    with running(image, tmp_path) as container:
        container.says("listening on ")
        container.do(*json.loads(health))
        container.process.send_signal(signal.SIGTERM)
        assert container.says("stopped")
        assert container.process.wait(30) == 0
    with image.opened(tmp_path / "again"):
        command = contained(tmp_path / "again", "--pipe", "--private-network", environment=image.environment)
        with pytest.raises(AssertionError, match="Connection refused"):
            finish([*command, *json.loads(health)])


def test_what_was_stored_is_there_after_a_stop_and_a_start(image: Image, tmp_path: Path) -> None:
    event = ALICE.event("kept in a volume")
    with running(image, tmp_path) as container:
        container.says("listening on ")
        container.speak(["EVENT", event])
        container.process.send_signal(signal.SIGTERM)
        assert container.process.wait(30) == 0
    with running(image, tmp_path) as container:
        container.says("listening on ")
        [found] = container.speak(["REQ", "all", {}])
        assert found[2]["id"] == event.id
