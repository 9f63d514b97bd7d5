#!/usr/bin/env bash
# Packages: cython 3.3.1, trio 0.35.0 (PyPI); Python 3.11 and a C compiler.
#
# Guess: Trio runs compiled coroutines as tasks (it wraps those that are no Python coroutines), and Cython's are made to
# look like Python's own, so tasks whose function is compiled can share a lock like any others.
#
# Behaviour: one of them can take the lock and give it back. When another one waits for it meanwhile, giving it back
# fails with an AttributeError, and what comes out of the nursery is a RuntimeError about "a lot it is not registered
# for". Trio asks inspect for the state of the task that is next; that reads `cr_suspended`, new in Python 3.11, which
# Cython's coroutines lack, though they have `cr_frame` and `cr_running`: the former is why Trio does not wrap them.
# Awaited by a task that is not compiled, the same function works: only a task's outermost coroutine is asked.
# Seen:
#   one compiled task       held 1 times
#   two compiled tasks      '_cython_3_3_1.coroutine' object has no attribute 'cr_suspended'
#   two plain tasks         held 2 times
#
# Why it matters: a module that was compiled for speed works in every test in which nobody waits for the lock.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv env
env/bin/pip install --quiet --disable-pip-version-check cython==3.3.1 trio==0.35.0 setuptools==82.0.0

cat > compiled.py <<'PY'
import trio


async def hold(lock, held):
    async with lock:
        await trio.lowlevel.checkpoint()
        held.append(True)
PY
env/bin/cythonize --quiet --inplace -3 compiled.py > build.log 2>&1 || { cat build.log; exit 1; }
rm compiled.py

cat > look.py <<'PY'
import compiled
import trio


async def plain(lock, held):
    await compiled.hold(lock, held)


def causes(error):
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from causes(one)
        else:
            yield str(error)
        error = error.__context__


async def look(name, task, tasks):
    held = []
    lock = trio.Lock()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(task, lock, held)
    except BaseExceptionGroup as group:
        print(f"{name:24}", next(text for text in causes(group) if "cr_suspended" in text))
    else:
        print(f"{name:24}held {len(held)} times")


async def main():
    await look("one compiled task", compiled.hold, 1)
    await look("two compiled tasks", compiled.hold, 2)
    await look("two plain tasks", plain, 2)


trio.run(main)
PY
env/bin/python look.py | tee said.txt
grep -qx "one compiled task       held 1 times" said.txt
grep -q "^two compiled tasks .*has no attribute 'cr_suspended'$" said.txt
grep -qx "two plain tasks         held 2 times" said.txt
