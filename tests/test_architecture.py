"""The rooms of docs/architecture.md, kept apart: who may import whom, and what stays free of Trio."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import trio_relay

# Each room or file of the package, and of which others it may import. One way: only of those that stand above it.
ALLOWED = {
    "version": [],
    "frozen": [],
    "turns": [],
    "shares": [],
    "memory_budget": [],
    "heap": [],
    "process": ["heap"],
    "systemd": [],
    "scoreboard": [],
    "places": ["shares"],
    "link": [],
    "intervals": [],
    "private_files": [],
    "compressed": [],
    "nostr": ["version", "frozen"],
    "policy": ["frozen", "nostr"],
    "bus": [],
    "store": ["frozen", "turns", "scoreboard", "link", "private_files", "nostr", "bus"],
    "moderation": ["turns", "shares", "intervals", "nostr", "policy", "store.base"],
    "backup": ["version", "private_files", "compressed", "nostr", "store", "moderation"],
    "plugins": ["turns", "nostr", "policy", "store.base"],
    "pipeline": [
        "frozen",
        "turns",
        "shares",
        "intervals",
        "scoreboard",
        "places",
        "nostr",
        "policy",
        "store.archive",
        "store.base",
        "store.insight",
        "store.surveyed",
        "store.inspection",
        "moderation",
        "plugins",
    ],
    "peers": ["frozen", "turns", "version", "nostr", "policy", "store.base", "moderation", "pipeline"],
    "net": [
        "systemd",
        "frozen",
        "turns",
        "shares",
        "scoreboard",
        "places",
        "private_files",
        "version",
        "nostr",
        "policy",
        "moderation",
        "plugins",
        "pipeline",
    ],
    "metrics": [
        "version",
        "process",
        "memory_budget",
        "plugins",
        "pipeline",
        "net",
    ],
    "loop_lag": ["pipeline"],
    "logs": [],
    "environment": [],
    "list_files": ["intervals", "nostr", "policy", "net"],
    "tls_files": ["net", "list_files"],
    "config_checks": ["nostr", "backup", "bus", "store", "peers", "net"],
    "config_tables": [
        "backup",
        "memory_budget",
        "nostr",
        "policy",
        "bus",
        "store",
        "plugins",
        "pipeline",
        "peers",
        "net",
        "metrics",
        "logs",
        "environment",
    ],
    "config": [
        "config_tables",
        "config_checks",
        "memory_budget",
        "nostr",
        "policy",
        "plugins",
        "pipeline",
        "net",
        "list_files",
        "environment",
    ],
    "first_config": ["config_checks", "nostr", "net"],
    "banner": ["version", "nostr", "store", "pipeline", "net", "config"],
    "live_settings": ["memory_budget", "config_tables", "config_checks"],
    "shown_settings": ["config", "live_settings", "net"],
    "reloading": [
        "nostr",
        "policy",
        "store",
        "plugins",
        "net",
        "list_files",
        "tls_files",
        "config_checks",
        "config",
        "live_settings",
        "shown_settings",
    ],
    "service": ["systemd", "net", "store.base", "config", "banner"],
    "configured": ["memory_budget", "policy", "bus", "store", "pipeline", "net", "config", "service"],
    "served": ["process", "policy", "pipeline", "net", "config", "configured"],
    "main_process": [
        "heap",
        "process",
        "backup",
        "net",
        "metrics",
        "loop_lag",
        "tls_files",
        "config",
        "reloading",
        "service",
        "configured",
    ],
    "attending": ["backup", "metrics", "net", "config", "configured", "main_process"],
    "app": [
        "process",
        "store.base",
        "plugins",
        "pipeline",
        "peers",
        "net",
        "metrics",
        "logs",
        "config",
        "banner",
        "configured",
        "served",
        "main_process",
        "attending",
    ],
    "workers": [
        "version",
        "heap",
        "loop_lag",
        "process",
        "scoreboard",
        "link",
        "nostr",
        "policy",
        "bus",
        "store",
        "moderation",
        "plugins",
        "pipeline",
        "net",
        "metrics",
        "logs",
        "config",
        "peers",
        "banner",
        "configured",
        "served",
        "main_process",
        "attending",
    ],
    "sources": ["compressed", "nostr"],
    "resuming": ["private_files", "nostr", "store.base"],
    "transfer": ["nostr", "policy", "store", "pipeline", "sources", "resuming"],
    "state_file": ["private_files", "nostr", "policy", "moderation", "net"],
    "importing": [
        "moderation",
        "store",
        "plugins",
        "pipeline",
        "config",
        "configured",
        "sources",
        "resuming",
        "transfer",
        "state_file",
    ],
    "exporting": ["compressed", "store", "config", "transfer", "state_file"],
    "syncing": ["nostr", "policy", "plugins", "pipeline", "peers", "config", "configured"],
    "trends": ["nostr", "store"],
    "doctor": [
        "frozen",
        "version",
        "process",
        "private_files",
        "nostr",
        "bus",
        "store",
        "backup",
        "plugins",
        "peers",
        "net",
        "logs",
        "tls_files",
        "config_tables",
        "config",
    ],
    "cli": [
        "process",
        "systemd",
        "service",
        "backup",
        "moderation",
        "workers",
        "version",
        "private_files",
        "nostr",
        "policy",
        "store",
        "plugins",
        "pipeline",
        "net",
        "logs",
        "tls_files",
        "config_checks",
        "config",
        "configured",
        "main_process",
        "app",
        "sources",
        "resuming",
        "transfer",
        "state_file",
        "first_config",
        "reloading",
        "importing",
        "exporting",
        "peers",
        "syncing",
        "trends",
        "doctor",
    ],
    "__main__": ["cli"],
    "__init__": ["version", "nostr", "policy", "store", "plugins", "pipeline", "net"],
}
STORES = ["memory", "sqlite", "opensearch"]
# Where nothing waits: no `async`, no `await`, no Trio.
PURE = [
    "nostr/", "policy/", "plugins/options.py", "plugins/strfry.py", "bus/entries.py", "bus/ledger.py", "bus/options.py",
    "store/judge.py", "store/sqlite/options.py", "store/sqlite/planner.py", "store/sqlite/rows.py",
    "store/sqlite/sql.py",
    "store/opensearch/responses.py", "store/opensearch/documents.py", "store/opensearch/mapping.py",
    "store/opensearch/options.py", "store/opensearch/recent.py", "store/opensearch/query.py",
    "store/opensearch/decide.py",
    "pipeline/completeness.py", "pipeline/conditions.py", "pipeline/subscription_index.py", "pipeline/statistics.py",
    "pipeline/filter_room.py", "pipeline/fair_queue.py", "pipeline/uses.py", "pipeline/histogram.py",
    "peers/messages.py", "peers/options.py", "peers/echoes.py", "peers/mirrored.py", "peers/mirror_options.py",
    "net/addresses.py", "net/frames.py", "net/keepalive.py",
    "net/admin/calls.py", "net/admin/params.py", "net/admin/methods.py", "net/admin/roles.py", "net/admin/members.py",
    "net/admin/settings.py", "net/admin/acts.py", "net/admin/lists.py", "net/connection_limits.py", "net/statistics.py",
    "net/request_head.py",
    "net/websocket.py",
    "net/forwarded.py", "net/proxy_header.py", "net/welcome.py",
    "net/web/place.py", "net/web/plots.py", "net/web/sessions.py",
    "net/web/shown_events.py",
    "first_config.py",
    "doctor/amounts.py", "doctor/findings.py", "doctor/telling.py",
]  # fmt: skip
# Libraries that one place alone may know.
CONFINED = {
    "coincurve": "nostr/",
    "pySecp256k1": "nostr/",
    "apsw": "store/sqlite/",
    "coredis": "bus/redis_stream.py",
    "httpx": "store/opensearch/client.py",
    "zstandard": "compressed.py",
    "trio_websocket": "peers/dialing.py",
    "sqlite3": "sources/nostr_rs_relay.py",
    "psycopg": "sources/nostream.py",
}
# Shields without a deadline, and why.
UNBOUNDED_SHIELDS = {
    "store/sqlite/threads.py": (
        "A thread cannot be left: what it uses, a connection or the worker's pipe, would be used by two at once. A read"
        " is interrupted until it ends; a commit is as short as the disk is quick, and none is left half done."
    ),
}
BOUNDED = {"move_on_after", "move_on_at", "fail_after", "fail_at"}
MOST_LINES = 400
PRIVATE = re.compile("_[A-Za-z].*")
EMPTY_NAMES = re.compile("manager|handler|util|helper", re.IGNORECASE)

# What tests take of the inside, at most, each kind counted over all of them; the numbers only go down.
MOST_LOOKS = {"private names": 97, "private names replaced": 34, "imports from within a room": 515}

ROOT = Path(trio_relay.__file__).parent
TESTS = Path(__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.rglob("*.py"))}
TREES = {file: ast.parse(text) for file, text in FILES.items()}
each_file = pytest.mark.parametrize("file", FILES)
each_pure_file = pytest.mark.parametrize("file", [file for file in FILES if file.startswith(tuple(PURE))])


def imports(file: str) -> Iterator[str]:
    """The dotted name of all that a file imports, imports inside functions included."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(file: str) -> list[str]:
    return [name.removeprefix("trio_relay.") for name in imports(file) if within(name, "trio_relay")]


def within(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")


def room_of(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


@each_file
def test_a_room_imports_only_what_stands_above_it(file: str) -> None:
    room = room_of(file)
    foreign = [name for name in own_imports(file) if not within(name, room)]
    assert [name for name in foreign if not any(within(name, above) for above in ALLOWED[room])] == []


def test_the_order_of_rooms_is_one_way() -> None:
    for place, (room, allowed) in enumerate(ALLOWED.items()):
        assert {name.partition(".")[0] for name in allowed} <= set(list(ALLOWED)[:place]), room


def test_the_table_of_the_architecture_has_the_same_order() -> None:
    page = (TESTS.parent / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \|.*\|.*\|$", page, re.MULTILINE)
    named = [name.rstrip("/") for row in rows for name in re.findall("`(.+?)`", row)]
    assert named == [room for room in ALLOWED if not room.startswith("__")]


@pytest.mark.parametrize("store", STORES)
def test_stores_know_nothing_of_each_other(store: str) -> None:
    files = [file for file in FILES if file.startswith((f"store/{store}.py", f"store/{store}/"))]
    others = [f"store.{other}" for other in STORES if other != store]
    assert [n for file in files for n in own_imports(file) if any(within(n, other) for other in others)] == []


@each_pure_file
def test_nothing_waits_where_nothing_may(file: str) -> None:
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert [node.lineno for node in ast.walk(TREES[file]) if isinstance(node, waiting)] == []
    assert [name for name in imports(file) if within(name, "trio")] == []


@each_file
def test_the_lists_of_operators_have_one_owner(file: str) -> None:
    """Everybody reads the rules; what changes their lists is called by `moderation/state` alone (decision 20)."""
    changing = [
        node.lineno
        for node in ast.walk(TREES[file])
        if isinstance(node, ast.Attribute)
        and (
            node.attr in ("apply", "load")
            and ast.unparse(node.value).rpartition(".")[2] in ("rules", "_rules", "lists")
        )
    ]
    allowed = {"moderation/state.py": 2, "policy/rules.py": 2}
    assert len(changing) == allowed.get(file, 0), changing
    if not file.startswith(("store/", "workers/home.py", "moderation/state.py")):  # stores themselves
        assert "put_metadata(" not in FILES[file]


@each_file
def test_a_confined_library_is_imported_in_its_place_alone(file: str) -> None:
    strangers = [lib for lib, place in CONFINED.items() if not file.startswith(place)]
    assert [name for name in imports(file) if any(within(name, lib) for lib in strangers)] == []


MAKING = {"mkdir", "makedirs", "mkdtemp", "mkstemp", "touch", "chmod", "fchmod", "write_text", "write_bytes"}


def makes_files(file: str) -> Iterator[int]:
    """The lines of a file where something may be made or cut short on disk, or get a mode."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Attribute) and (node.attr in MAKING or node.attr in ("O_CREAT", "O_TRUNC")):
            yield node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "open":
            modes = [item.value for item in node.args[:2] if isinstance(item, ast.Constant)]
            if any(re.fullmatch("[rwaxbt+]*[wax+][bt+]*", str(mode)) for mode in modes):
                yield node.lineno


@each_file
def test_files_are_made_in_one_place(file: str) -> None:
    """There they are for their owner alone, and no link is followed."""
    assert bool(list(makes_files(file))) is (file == "private_files.py")


def unbounded_shields(file: str) -> Iterator[int]:
    """The lines of a file where cancellation is kept off for a time that nothing bounds."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Call):
            arguments = {keyword.arg for keyword in node.keywords}
            is_bounded = "deadline" in arguments or "relative_deadline" in arguments
            if "shield" in arguments and not is_bounded and ast.unparse(node.func).split(".")[-1] not in BOUNDED:
                yield node.lineno
        elif isinstance(node, ast.Attribute) and node.attr == "shield" and isinstance(node.ctx, ast.Store):
            yield node.lineno


@each_file
def test_a_shield_has_a_deadline(file: str) -> None:
    """Else a stop may wait for ever."""
    assert bool(list(unbounded_shields(file))) is (file in UNBOUNDED_SHIELDS)


@pytest.mark.parametrize("package", ["trio_relay", "perf"])
def test_no_module_is_imported_by_what_it_imports(package: str) -> None:
    """Imports inside functions count: a circle is one, wherever it is closed."""
    folder = ROOT.parent / package
    modules = {
        ".".join([package, *path.relative_to(folder).with_suffix("").parts]): path for path in folder.rglob("*.py")
    }
    graph = {name: set(imported_from(path, modules)) - {name} for name, path in modules.items()}
    while free := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in free:
            del graph[name]
    assert graph == {}, "what is left imports itself in the end, or such a circle"


def imported_from(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Which of these modules a file imports; packages are left out, which do nothing but hand on."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            yield from {node.module} & modules.keys()
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & modules.keys()


LONE_AND_SMALL = {
    "cli/admin_link.py": "each command of its own has a file",
    "cli/doctor_command.py": "likewise",
    "cli/reload_command.py": "likewise",
    "cli/export_command.py": "likewise",
    "metrics/of_mirrors.py": "what is said of mirrors, whole, beside a page that is full",
    "metrics/of_operation.py": "the same of how a relay is run",
    "metrics/of_store.py": "the same of the store",
    "net/admin/settings.py": "the configuration as methods tell it",
    "nostr/event_fields.py": "stays interpreted, so that msgspec sees what its lists hold",
    "nostr/pow.py": "NIP-13, found by its name",
    "store/sqlite/migration.py": "the command needs a whole store, which itself upgrades",
}
"""Modules of less than `FEWEST_LINES` that one other module imports, and why they stand alone all the same."""
FEWEST_LINES = 60


def test_a_small_module_that_one_other_needs_has_a_reason() -> None:
    """Else it belongs to that other: a reader should find an idea whole."""
    importers: Counter[str] = Counter()
    for file in FILES:
        importers.update({name.rpartition(".")[0] for name in own_imports(file)} | set(own_imports(file)))
    small = [
        file
        for file, text in FILES.items()
        if not file.endswith(("__init__.py", "__main__.py")) and len(text.splitlines()) < FEWEST_LINES
    ]
    lone = [file for file in small if importers[file.removesuffix(".py").replace("/", ".")] == 1]
    assert lone == sorted(LONE_AND_SMALL)


SAME_NAME = {
    "archive",
    "base",
    "lifetime",
    "options",
    "store",
    "search",
    "upgrade",
    "trends",
    "lists",
    "statistics",
    "explain",
}
"""Modules that mean the same thing in each of their rooms: promises, settings, parts of a store, operators' lists, and
what a room tells of itself."""


def test_a_name_has_one_meaning() -> None:
    modules = Counter(Path(file).stem for file in FILES if not file.endswith("__init__.py"))
    assert {name for name, count in modules.items() if count > 1} == SAME_NAME
    classes = Counter(node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in classes.items() if count > 1] == []


@each_file
def test_files_are_short_and_names_say_something(file: str) -> None:
    classes = [node.name for node in ast.walk(TREES[file]) if isinstance(node, ast.ClassDef)]
    assert len(FILES[file].splitlines()) <= MOST_LINES
    assert [name for name in [file, *classes] if EMPTY_NAMES.search(name)] == []


def test_every_place_named_here_exists() -> None:
    """A rule about a file that was renamed would hold for ever."""
    places = [*PURE, *CONFINED.values(), *UNBOUNDED_SHIELDS, "store/base.py", *(f"store/{store}" for store in STORES)]
    assert [place for place in places if not any(file.startswith(place) for file in FILES)] == []
    assert {room_of(file) for file in FILES} == set(ALLOWED)


def test_tests_look_no_deeper_than_they_did() -> None:
    """Each look inside is one more place that the next renaming touches; see `tests.store.inside` for a way."""
    looks = Counter(kind for path in sorted(TESTS.rglob("*.py")) for kind in looks_inside(ast.parse(path.read_text())))
    assert looks.keys() <= MOST_LOOKS.keys()
    assert {kind: looks[kind] for kind, most in MOST_LOOKS.items() if looks[kind] > most} == {}


def looks_inside(tree: ast.AST) -> Iterator[str]:
    """The kind of each look inside."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if PRIVATE.fullmatch(name):
                yield "private names"
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr" | "patch" | "object"), args=arguments):
                names = [item.value for item in arguments[:2] if isinstance(item, ast.Constant)]
                if any(PRIVATE.fullmatch(str(name).rpartition(".")[2]) for name in names):
                    yield "private names replaced"
            case ast.ImportFrom(module=str(module)) if module.startswith("trio_relay.") and module.count(".") > 1:
                yield "imports from within a room"
