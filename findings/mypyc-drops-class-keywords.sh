#!/usr/bin/env bash
# Packages: mypy 2.4.1 (its compiler mypyc), msgspec 0.22.0, on Python 3.11 with a C compiler.
#
# Guess: a class that can be compiled behaves as it did, or the compiler refuses it.
#
# Behaviour: keywords of a class statement are dropped without a message. `class Point(msgspec.Struct, frozen=True)` is
# compiled into a struct that can be changed and cannot be hashed; with `kw_only=True` it takes arguments by position.
# Options that stand in a base that is not compiled are inherited, so a base with them keeps a struct frozen.
# Seen:
#   plain     frozen, hashable; by a base: frozen, hashable; kw_only: refuses positions
#   compiled  changed, unhashable; by a base: frozen, hashable; kw_only: takes positions
#
# Why it matters: values that tasks share can then be changed, and one that is a key of a dict raises TypeError only
# where it is used as one. No test that does not run on compiled code sees it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv env
env/bin/pip install --quiet --disable-pip-version-check mypy==2.4.1 msgspec==0.22.0 setuptools==82.0.0

cat > bases.py <<'PY'
import msgspec


class Frozen(msgspec.Struct, frozen=True):
    pass
PY
cat > structs.py <<'PY'
import msgspec

from bases import Frozen


class Point(msgspec.Struct, frozen=True):
    x: int


class Inherited(Frozen, frozen=True):
    x: int


class Named(msgspec.Struct, kw_only=True):
    x: int
PY
cat > look.py <<'PY'
import structs


def of(point):
    try:
        point.x = 2
    except AttributeError:
        changed = "frozen"
    else:
        changed = "changed"
    try:
        hash(point)
    except TypeError:
        return f"{changed}, unhashable"
    return f"{changed}, hashable"


def named():
    try:
        structs.Named(1)
    except TypeError:
        return "refuses positions"
    return "takes positions"


name = "plain" if structs.__file__.endswith(".py") else "compiled"
print(f"{name:9} {of(structs.Point(1))}; by a base: {of(structs.Inherited(1))}; kw_only: {named()}")
PY
env/bin/python look.py > said.txt
env/bin/mypyc structs.py > build.log 2>&1 || { cat build.log; exit 1; }
grep "^structs.py" build.log && { echo "It says something now." >&2; exit 1; }
env/bin/python look.py >> said.txt
cat said.txt
expected='plain     frozen, hashable; by a base: frozen, hashable; kw_only: refuses positions
compiled  changed, unhashable; by a base: frozen, hashable; kw_only: takes positions'
[ "$(cat said.txt)" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
