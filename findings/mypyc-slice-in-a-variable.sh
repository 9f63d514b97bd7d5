#!/usr/bin/env bash
# Package: mypy 2.4.1 (its compiler mypyc), on Python 3.11 with a C compiler.
#
# Guess: `data[PART]` gives the same bytes compiled and not, whether PART is written there or stands in a constant.
#
# Behaviour: bytes indexed by a slice that stands in a `Final` or in a local variable are compiled as bytes indexed by a
# whole number, which a slice is not. mypy accepts the source in strict mode and mypyc says nothing; at run time it is a
# TypeError. A text, a list and a tuple indexed in the same way are right.
# Seen:
#   plain     constant b'ab', variable b'ab', written b'ab', text 'ab', list [1, 2], tuple (1, 2)
#   compiled  constant TypeError, variable TypeError, written b'ab', text 'ab', list [1, 2], tuple (1, 2)
#
# Why it matters: a constant such as `ID: Final = slice(7, 71)` is a natural way to say where the id stands in the JSON of
# an event whose fields have a known order.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv env
env/bin/pip install --quiet --disable-pip-version-check mypy==2.4.1 setuptools==82.0.0

cat > parts.py <<'PY'
from typing import Final

PART: Final = slice(0, 2)


def constant(data: bytes) -> bytes:
    return data[PART]


def variable(data: bytes) -> bytes:
    part = slice(0, 2)
    return data[part]


def written(data: bytes) -> bytes:
    return data[0:2]


def text(data: str) -> str:
    return data[PART]


def list_(data: list[int]) -> list[int]:
    return data[PART]


def tuple_(data: tuple[int, ...]) -> tuple[int, ...]:
    return data[PART]
PY
cat > look.py <<'PY'
import parts


def seen(function, data):
    try:
        return repr(function(data))
    except TypeError:
        return "TypeError"


name = "plain" if parts.__file__.endswith(".py") else "compiled"
byte = [f"{one.__name__} {seen(one, b'abc')}" for one in (parts.constant, parts.variable, parts.written)]
rest = [
    f"text {seen(parts.text, 'abc')}",
    f"list {seen(parts.list_, [1, 2, 3])}",
    f"tuple {seen(parts.tuple_, (1, 2, 3))}",
]
print(f"{name:9} {', '.join(byte + rest)}")
PY
env/bin/mypy --strict parts.py > check.log || { cat check.log; exit 1; }
env/bin/python look.py > said.txt
env/bin/mypyc parts.py > build.log 2>&1 || { cat build.log; exit 1; }
env/bin/python look.py >> said.txt
cat said.txt
expected="plain     constant b'ab', variable b'ab', written b'ab', text 'ab', list [1, 2], tuple (1, 2)
compiled  constant TypeError, variable TypeError, written b'ab', text 'ab', list [1, 2], tuple (1, 2)"
[ "$(cat said.txt)" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
