"""An image made by the steps of a Dockerfile, without Docker: a folder for each stage, and what each has added."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.dockerfile import Instruction, Stage
from tests.machines.debian import PATH, changing, debian, do
from tests.support.hot_path import ROOT

DONE_BY_WHO_RUNS_IT = {"LABEL", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


@dataclass(frozen=True)
class Image:
    """What a Dockerfile makes: its last stage, and the folder with what that adds to its base."""

    stage: Stage
    layer: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of what runs in it."""
        changes = self.stage.environment
        return {**changes, "PATH": changes.get("PATH", PATH).replace("$PATH", PATH)}

    @contextmanager
    def opened(self, root: Path) -> Iterator[None]:
        """Have it in this folder while the context lasts; nothing can be written there."""
        with changing(root, None, self.layer, debian()):
            yield


def build(stages: list[Stage], folder: Path) -> Image:
    """Carry out the steps of all stages; each begins as Debian is, in the stead of the image that it names."""
    roots: dict[str, Path] = {}
    layer = folder
    with ExitStack() as stack:
        for number, stage in enumerate(stages):
            layer, root = folder / f"layer-{number}", folder / f"root-{number}"
            stack.enter_context(changing(root, layer, debian()))
            roots[stage.name] = root
            _carry_out(stage, root, roots)
    return Image(stages[-1], layer)


def _carry_out(stage: Stage, root: Path, roots: dict[str, Path]) -> None:
    where = "/"
    environment: dict[str, str] = {}
    for step in stage.steps:
        match step.word:
            case "RUN":
                do(root, step.rest, folder=where, environment=environment)
            case "COPY":
                _copy(step, roots[step.flags["from"]] if "from" in step.flags else ROOT, root, where)
            case "WORKDIR":
                where = step.rest
                (root / where[1:]).mkdir(parents=True, exist_ok=True)
            case "ENV":
                environment |= {item.partition("=")[0]: item.partition("=")[2] for item in step.items}
            case word:
                assert word in DONE_BY_WHO_RUNS_IT, word


def _copy(step: Instruction, source: Path, root: Path, where: str) -> None:
    """As Docker does it: of a folder what is in it; modes stay as they are, and all of it is root's."""
    *names, place = step.items
    target = root / Path(where, place).as_posix()[1:]
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.so", "_batch.c") if source == ROOT else None
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True, ignore=left_out)
        else:
            is_folder = place.endswith("/")
            (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
