"""Modules with hooks: how they are found, loaded, started with what they need, and ended.

A module has the hooks themselves, as functions, or a function `start(relay, options)` that makes what has them: an
object, or an async context manager that gives one, in which tasks may run; None stands for the module itself. It may
have a struct of msgspec that is called `Options`; then the operator's table is checked against it, and `options` is
such a struct.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import msgspec
import structlog

from trio_relay.plugins.hooks import LOADED, HookedRelay, Hooks, HooksRefused, check_call, hooks_of, name_of
from trio_relay.plugins.judges import NO_JUDGES, Judges, open_judges
from trio_relay.plugins.options import PluginOptions
from trio_relay.store.base import Queryable

log = structlog.get_logger("trio_relay.plugins")

_START: Final = ("relay", "options")


def located(hooks: str, folder: Path) -> str:
    """Return the absolute path of a module that is written as a path, or that lies in this folder; else its name.

    Args:
        hooks: `my_policy`, `policies.mine`, or a path, by its ending or its slashes, relative to the folder.
        folder: of the configuration.
    """
    if _is_path(hooks):
        return str((folder / hooks).absolute())
    *packages, name = hooks.split(".")
    inside = folder.joinpath(*packages)
    for path in (inside / f"{name}.py", inside / name / "__init__.py"):
        if path.is_file():
            return str(path.absolute())
    return hooks


def load_hooks(hooks: str) -> ModuleType:
    """Load a module with hooks, and check as much of it as can be told before it starts.

    Args:
        hooks: the name of a module on `sys.path`, or a path; the folder of the latter is put at the end of `sys.path`,
            for what the module itself imports.

    Raises:
        HooksRefused: it is not there, cannot be loaded, or has no hooks that could be asked.
    """
    try:
        module = _load_file(Path(hooks)) if _is_path(hooks) else import_module(hooks)
    except ModuleNotFoundError as error:
        if error.name and f"{hooks}.".startswith(f"{error.name}."):
            raise HooksRefused(f"{hooks}: no such module, here or beside the configuration") from None
        raise HooksRefused(f"{hooks}: {error}") from error
    except FileNotFoundError as error:
        raise HooksRefused(f"{hooks}: {error.strerror}") from error
    except (Exception, SystemExit) as error:  # the latter of a module that is a program
        raise HooksRefused(f"{hooks}: cannot be loaded: {type(error).__name__}: {error}") from error
    if (start := getattr(module, "start", None)) is None:
        hooks_of(module)
    elif not callable(start):
        raise HooksRefused(f"{name_of(module)}.start: is no function")
    else:
        check_call(f"{name_of(module)}.start", start, _START)
    return module


def check_loaded(hooks: str, table: Mapping[str, Any]) -> None:
    """Check options for a module that was loaded at the start, without loading it again.

    Args:
        hooks: as `load_hooks` took it.
        table: the operator's.

    Raises:
        HooksRefused: they are not as the module's `Options` have it.
    """
    name = _name_of_file(Path(hooks)) if _is_path(hooks) else hooks
    if (module := sys.modules.get(name)) is not None:
        options_for(module, table)


def _is_path(hooks: str) -> bool:
    return hooks.endswith(".py") or "/" in hooks


def _load_file(path: Path) -> ModuleType:
    package = path.name == "__init__.py"
    home = path.parent.parent if package else path.parent
    if str(home) not in sys.path:
        sys.path.append(str(home))
    name = _name_of_file(path)
    if not path.is_file():
        raise FileNotFoundError(2, "no such file")
    spec = spec_from_file_location(name, path)
    assert spec is not None, "a file of Python can be loaded"
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _name_of_file(path: Path) -> str:
    return LOADED + (path.parent.name if path.name == "__init__.py" else path.stem)


def options_for(module: object, table: Mapping[str, Any]) -> object:
    """Return the operator's table as the module wants it.

    Raises:
        HooksRefused: it is not as the module's `Options` have it.
    """
    if table and not hasattr(module, "start"):
        raise HooksRefused(f"hooks_options: {name_of(module)} has no start(relay, options) that could take them")
    wanted = getattr(module, "Options", None)
    if wanted is None:
        return dict(table)
    try:
        return msgspec.convert(dict(table), wanted)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at ")
        raise HooksRefused(f"hooks_options{where.strip('`').removeprefix('$')}: {reason}") from None


@asynccontextmanager
async def open_hooks(
    hooks: str | ModuleType | object,
    store: Queryable,
    *,
    options: Mapping[str, Any] | None = None,
    timeout_seconds: float = 10.0,
    fail: Literal["open", "closed"] = "closed",
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Hooks]:
    """Start hooks, and have them ready to judge for as long as the context lasts, which is to be longer than a relay's.

    Args:
        hooks: a module, its name or path, or any other object that has hooks or a `start` that gives one.
        store: what they may query; of the relay that will ask them.
        options: for `start`.
        timeout_seconds: what an async hook may take.
        fail: what is done when a hook fails: open, accept; closed, refuse.
        clock: seconds since 1970.

    Raises:
        HooksRefused: they are not there, or cannot be asked.
    """
    asked = load_hooks(hooks) if isinstance(hooks, str) else hooks
    relay = HookedRelay(store, clock)
    async with _started(asked, relay, options or {}) as judging:
        yield Hooks(judging, relay, timeout_seconds=timeout_seconds, fail=fail)


@asynccontextmanager
async def _started(asked: object, relay: HookedRelay, table: Mapping[str, Any]) -> AsyncIterator[object]:
    options = options_for(asked, table)
    start = getattr(asked, "start", None)
    if start is None:
        yield asked
        return
    check_call(f"{name_of(asked)}.start", start, _START)
    made = start(relay, options)
    if isinstance(made, AbstractAsyncContextManager):
        async with made as judging:
            yield asked if judging is None else judging
    else:
        judging = await made if isinstance(made, Awaitable) else made
        yield asked if judging is None else judging


@asynccontextmanager
async def judging(options: PluginOptions, store: Queryable) -> AsyncIterator[Judges]:
    """Start the hooks and programs that the options name; they judge for as long as the context lasts.

    Args:
        options: checked.
        store: of the relay that will ask them, which is to end before them.

    Raises:
        HooksRefused: the hooks cannot be asked.
    """
    async with AsyncExitStack() as opened:
        hooks = NO_JUDGES
        if options.hooks:
            started = open_hooks(
                options.hooks,
                store,
                options=options.hooks_options,
                timeout_seconds=options.timeout_seconds,
                fail=options.fail,
            )
            hooks = (await opened.enter_async_context(started)).judges
        yield await opened.enter_async_context(open_judges(options, hooks))
