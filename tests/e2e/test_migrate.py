"""`trio-relay migrate`: what it makes, what it says, and how it ends."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE
from tests.support.program import finished
from trio_relay.store.opensearch.mapping import VERSION
from trio_relay.store.sqlite.schema import VERSION as SCHEMA

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "config" / "opensearch.toml"


@pytest.fixture
def settings(node: str, prefix: str) -> dict[str, str]:
    """An index of the test's own, by the configuration that comes with the relay."""
    return {"opensearch.urls": f'["{node}"]', "opensearch.prefix": prefix}


async def migrate(folder: Path, *options: str, settings: dict[str, str]) -> tuple[int, list[str], str]:
    """Exit code, lines said, and complaints."""
    config = ("--config", str(CONFIG)) if "opensearch.prefix" in settings else ()
    ended = await finished(folder, "migrate", *config, *options, settings=settings)
    return ended.returncode, ended.stdout.decode().splitlines(), ended.stderr.decode()


async def test_an_index_is_made_once_and_then_events_go_in_and_out(
    tmp_path: Path, node: str, prefix: str, settings: dict[str, str]
) -> None:
    alias, index = f"{prefix}-events", f"{prefix}-events-v{VERSION}"
    too_early = await finished(tmp_path, "export", "--config", str(CONFIG), settings=settings)
    reason = f"trio-relay: there is no alias {alias} yet: `trio-relay migrate` makes it\n"
    assert (too_early.returncode, too_early.stdout, too_early.stderr.decode()) == (3, b"", reason)
    assert await migrate(tmp_path, "--dry-run", settings=settings) == (
        0,
        [
            f"would put index template {alias} (layout {VERSION})",
            f"would make index {index}, 1 shards, 0 replicas",
            f"would let alias {alias} name {index}",
        ],
        "",
    )
    async with httpx.AsyncClient(base_url=node, timeout=30.0) as http:
        assert (await http.get(f"/{index}")).status_code == 404
    code, said, complaints = await migrate(tmp_path, settings=settings)
    assert (code, said[-1], complaints) == (0, f"let alias {alias} name {index}", "")
    code, said, complaints = await migrate(tmp_path, settings=settings)
    assert (code, said[-1], complaints) == (0, f"{alias} -> {index} has layout {VERSION}: nothing to do", "")
    events = [ALICE.event(f"{n}") for n in range(20)]
    lines = jsonl(events)
    imported = await finished(tmp_path, "import", "--config", str(CONFIG), settings=settings, stdin=lines)
    assert imported.stdout == b"20 events: 20 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n"
    exported = await finished(tmp_path, "export", "--config", str(CONFIG), settings=settings)
    assert (exported.returncode, exported.stderr) == (0, b"20 events\n")
    assert sorted(exported.stdout.splitlines()) == sorted(lines.splitlines())


async def test_a_cluster_that_is_away_is_3(tmp_path: Path) -> None:
    settings = {"opensearch.urls": '["http://127.0.0.1:1"]', "opensearch.prefix": "some"}
    assert await migrate(tmp_path, settings=settings) == (
        3,
        [],
        "trio-relay: the relay's store is away; `trio-relay migrate` can be run again\n",
    )


async def test_a_layout_of_a_newer_make_is_3(tmp_path: Path, node: str, prefix: str, settings: dict[str, str]) -> None:
    index = f"{prefix}-events-v9"
    body = {"mappings": {"_meta": {"version": 9}}, "aliases": {f"{prefix}-events": {}}}
    async with httpx.AsyncClient(base_url=node, timeout=30.0) as http:
        (await http.put(f"/{index}", json=body)).raise_for_status()
    reason = f"trio-relay: {index} has layout 9, this trio-relay knows layouts up to {VERSION}\n"
    assert await migrate(tmp_path, settings=settings) == (3, [], reason)


async def test_a_file_is_made_and_brought_to_this_version(tmp_path: Path) -> None:
    path = "data/relay.db"
    assert await migrate(tmp_path, "--dry-run", settings={}) == (0, [f"would make {path} (schema {SCHEMA})"], "")
    assert not (tmp_path / path).exists()
    code, (made, ready), complaints = await migrate(tmp_path, settings={})
    assert (code, made, complaints) == (0, f"make {path} (schema {SCHEMA})", "")
    assert ready.endswith(" is ready")
    code, said, _ = await migrate(tmp_path, "--dry-run", settings={})
    assert (code, said) == (0, [f"{path} has schema {SCHEMA}: nothing to do"])


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["in earnest", "dry"])
async def test_a_file_of_a_newer_make_is_3(tmp_path: Path, options: list[str]) -> None:
    await migrate(tmp_path, settings={})
    database = sqlite3.connect(tmp_path / "data" / "relay.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    code, said, complaints = await migrate(tmp_path, *options, settings={})
    assert (code, said) == (3, [])
    assert complaints.startswith("trio-relay: data/relay.db has schema version 99, this trio-relay knows versions up")


async def test_a_store_in_memory_needs_nothing(tmp_path: Path) -> None:
    code, said, complaints = await migrate(tmp_path, settings={"store.backend": "memory"})
    assert (code, said) == (2, [])
    assert complaints.startswith("trio-relay: store.backend: ")


async def test_the_configuration_that_comes_with_the_relay_is_good(tmp_path: Path) -> None:
    ended = await finished(tmp_path, "check-config", "--config", str(CONFIG))
    assert (ended.returncode, ended.stdout.decode()) == (0, f"{CONFIG} is good\n")
