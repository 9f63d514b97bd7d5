"""What is compiled keeps to the rules of docs/compiled.md, and never lies beside its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hot_path import ROOT, compiled, listed

TREES = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in listed()}
BASES = {
    node.name
    for node in ast.walk(ast.parse((ROOT / "trio_relay" / "frozen.py").read_text()))
    if isinstance(node, ast.ClassDef)
}
each_listed_file = pytest.mark.parametrize("file", listed())


def bases(node: ast.ClassDef) -> set[str]:
    """What a class derives from, by name."""
    return {ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in node.bases}


def classes(file: str) -> list[ast.ClassDef]:
    return [node for node in ast.walk(TREES[file]) if isinstance(node, ast.ClassDef)]


HEIRS = {node.name for file in TREES for node in classes(file) if BASES & bases(node)}
"""What derives from such a base has its options; what derives from that has them, too."""


def test_the_list_names_files_once_and_the_one_that_says_whether_it_is_compiled() -> None:
    assert len(listed()) == len(set(listed()))
    assert "trio_relay/version.py" in listed()


def test_all_of_it_is_compiled_or_none() -> None:
    assert compiled() in ([], listed())


@each_listed_file
def test_annotations_are_not_evaluated(file: str) -> None:
    """Types that are only named in annotations are often not subscriptable when they are compiled."""
    if any(isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) for node in TREES[file].body):
        assert "from __future__ import annotations" in map(ast.unparse, TREES[file].body)


@each_listed_file
def test_no_generator_is_asynchronous(file: str) -> None:
    found = [
        f"{file}:{function.lineno} {function.name}"
        for function in ast.walk(TREES[file])
        if isinstance(function, ast.AsyncFunctionDef)
        and any(isinstance(node, ast.Yield) for node in own_nodes(function))
    ]
    assert found == []


@each_listed_file
def test_a_class_has_keywords_only_if_its_base_has_the_same(file: str) -> None:
    """mypyc drops them: what they say must be inherited from a class that is not compiled."""
    wrong = [node for node in classes(file) if node.keywords and not (BASES | HEIRS) & bases(node)]
    assert [f"{file}:{node.lineno} {node.name}" for node in wrong] == []


@each_listed_file
def test_a_struct_has_its_options_from_a_base(file: str) -> None:
    wrong = [node for node in classes(file) if "Struct" in bases(node)]
    assert [f"{file}:{node.lineno} {node.name}" for node in wrong] == []


@each_listed_file
def test_no_slice_stands_in_a_variable(file: str) -> None:
    """`data[SLICE]` of bytes is compiled as an index."""
    calls = [node for node in ast.walk(TREES[file]) if isinstance(node, ast.Call)]
    assert [f"{file}:{call.lineno}" for call in calls if ast.unparse(call.func) == "slice"] == []


def own_nodes(function: ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """What a function does itself: nothing of the functions within it."""
    left: list[ast.AST] = [*function.body]
    while left:
        yield (node := left.pop())
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            left += ast.iter_child_nodes(node)


def test_what_compiles_is_what_is_pinned() -> None:
    compiler = re.findall(r'^compiler = "(.+?)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert compiler == re.findall(r"^mypy==.+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


@pytest.mark.skipif(bool(compiled()), reason="a copy of the sources that is compiled is tested")
def test_nothing_lies_beside_its_source() -> None:
    """Python would take it instead of the source, also when that has been edited."""
    shadows = [path for path in Path(ROOT / "trio_relay").rglob("*.so") if path.name.partition(".")[0] != "_batch"]
    assert shadows == []
    assert list(ROOT.glob("*__mypyc*")) == []
