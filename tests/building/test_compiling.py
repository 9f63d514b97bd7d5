"""setup.py: the hot path is compiled as a whole or not at all, and never beside its sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from building.distributions import SETTLED
from tests.support.hot_path import ROOT

pytestmark = pytest.mark.exhaustive

PROJECT = """
[project]
name = "small"
version = "1"
dynamic = ["readme"]

[tool.setuptools]
packages = ["trio_relay", "trio_relay.nostr", "trio_relay.one", "trio_relay.two"]

[tool.trio-relay]
compiled = ["trio_relay/one/first.py", "trio_relay/two/second.py"]
"""
COUNTED = ["trio_relay/one/first", "trio_relay/two/second", "trio_relay_one__mypyc", "trio_relay_two__mypyc"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Sources of two rooms, which are built by our own setup.py."""
    for room in ("", "nostr", "one", "two"):
        (tmp_path / "trio_relay" / room).mkdir()
        (tmp_path / "trio_relay" / room / "__init__.py").touch()
    batch = Path("trio_relay", "nostr", "batch_build.py")
    for file in (Path("setup.py"), Path("README.md"), batch):
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "trio_relay/one/first.py").write_text("def one() -> int:\n    return 1\n")
    (tmp_path / "trio_relay/two/second.py").write_text(
        "from trio_relay.one.first import one\n\n\ndef two() -> int:\n    return one() + one()\n"
    )
    return tmp_path


def setup(tree: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run it; gives the exit code and what it said."""
    environment = {**os.environ, **variables}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    command = [sys.executable, "setup.py", *arguments]
    ended = subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ended.returncode, ended.stdout


def build(tree: Path, **variables: str) -> tuple[int, str]:
    return setup(tree, "build", "--build-lib", "built", **variables)


def extensions(folder: Path) -> list[str]:
    found = sorted(path.relative_to(folder).as_posix().partition(".")[0] for path in folder.rglob("*.so"))
    return [name for name in found if name != "trio_relay/nostr/_batch"]


def failing_compiler(tree: Path, part: str) -> str:
    """A C compiler that fails at files with this in their names."""
    script = tree / "cc"
    script.write_text(f'#!/bin/sh\ncase "$*" in *{part}*) exit 1;; esac\nexec cc "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_all_that_is_listed_is_compiled_and_works(tree: Path) -> None:
    code, said = build(tree)
    assert code == 0, said
    assert extensions(tree / "built") == COUNTED
    assert [*(tree / "built").rglob("__pycache__")] == []  # all that is there is installed
    look = "from trio_relay.two import second; print(second.two(), second.__file__)"
    seen = subprocess.run([sys.executable, "-c", look], cwd=tree / "built", capture_output=True, text=True, check=True)
    assert seen.stdout.startswith(f"2 {tree}/built/trio_relay/two/second.")
    assert not seen.stdout.endswith(".py\n")


def test_compiled_in_another_folder_it_is_the_same_bytes(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("a folder with a longer name") / "tree"
    shutil.copytree(tree, other)
    for folder in (tree, other):
        code, said = build(folder, **SETTLED)
        assert code == 0, said
    libraries = [
        {path.name: path.read_bytes() for path in (folder / "built").rglob("*.so")} for folder in (tree, other)
    ]
    assert len(libraries[0]) == len(COUNTED) + 1
    assert libraries[0] == libraries[1]


def test_where_one_room_cannot_be_compiled_none_is(tree: Path) -> None:
    compiler = failing_compiler(tree, "__native_trio_relay_two")
    code, said = build(tree, CC=compiler, TRIO_RELAY_COMPILE="")
    assert (code, extensions(tree / "built")) == (0, []), said
    assert "the hot path stays interpreted: " in said
    code, said = build(tree, CC=compiler, TRIO_RELAY_COMPILE="1")
    assert (code, extensions(tree / "built")) == (1, []), said


def test_what_compiles_but_cannot_be_imported_is_not_compiled(tree: Path) -> None:
    (tree / "trio_relay/one/plain.py").write_text('class Base:\n    __slots__ = ("a",)\n')
    derived = '    __slots__ = ("b",)\n\n    def __init__(self) -> None:\n        self.b = 1\n'
    (tree / "trio_relay/two/second.py").write_text(
        f"from trio_relay.one.plain import Base\n\n\nclass Derived(Base):\n{derived}"
    )
    code, said = build(tree, TRIO_RELAY_COMPILE="")
    assert (code, extensions(tree / "built")) == (0, []), said
    assert "the hot path stays interpreted: TypeError: mypyc classes can't have __slots__" in said


def test_without_a_compiler_nothing_is_translated(tree: Path) -> None:
    code, said = build(tree, CC="false", TRIO_RELAY_COMPILE="")
    assert (code, extensions(tree / "built")) == (0, []), said
    assert "the hot path stays interpreted: there is no C compiler" in said
    code, said = build(tree, CC="false", TRIO_RELAY_COMPILE="1")
    assert code == 1, said


def test_what_an_earlier_build_has_left_is_not_taken(tree: Path) -> None:
    left = tree / "built" / "trio_relay" / "one"
    left.mkdir(parents=True)
    (left / "first.cpython-311.so").touch()
    code, said = build(tree, TRIO_RELAY_COMPILE="0")
    assert (code, extensions(tree / "built")) == (0, []), said


def test_nothing_is_compiled_beside_its_source(tree: Path) -> None:
    """An editable installation builds its extensions in place."""
    code, said = setup(tree, "build_ext", "--inplace", TRIO_RELAY_COMPILE="1")
    assert code == 0, said
    assert [path.name.partition(".")[0] for path in (tree / "trio_relay").rglob("*.so")] == ["_batch"]
