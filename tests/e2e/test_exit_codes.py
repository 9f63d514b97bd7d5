"""Why the real program does not start, or does not go on: one line for the operator, and a code for his scripts."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.keys import ALICE
from tests.support.program import MODULE, finished, launcher, running

pytestmark = pytest.mark.slow


async def test_a_bad_configuration_is_2_and_names_key_reason_and_nearest(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    (tmp_path / "relay.toml").write_text("[limits]\nmax_filter = 3\n")
    ended = await finished(tmp_path, "--config", "relay.toml", settings=processes)
    assert ended.returncode == 2
    assert ended.stderr.decode() == (
        "trio-relay: limits.max_filter: unknown key; the nearest known is limits.max_filters\n"
    )
    assert ended.stdout == b""


async def test_a_store_that_another_process_holds_is_3_and_names_its_pid(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    async with running(tmp_path, processes) as program:
        ended = await finished(tmp_path, settings=processes)
        assert ended.returncode == 3
        assert ended.stderr.decode() == (
            f"trio-relay: data/relay.db is in use by the process with pid {program.process.pid}\n"
        )


async def test_a_store_of_a_newer_make_is_3_and_is_left_as_it_is(tmp_path: Path, processes: dict[str, str]) -> None:
    async with running(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "data" / "relay.db")
    database.execute("PRAGMA user_version = 99")
    database.commit()
    ended = await finished(tmp_path, settings=processes)
    assert ended.returncode == 3
    assert b"data/relay.db has schema version 99, this trio-relay knows versions up to" in ended.stderr
    assert database.execute("PRAGMA user_version").fetchone() == (99,)
    database.close()


async def test_an_address_in_use_is_4_and_named(tmp_path: Path, processes: dict[str, str]) -> None:
    [taken] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        address = f"127.0.0.1:{taken.socket.getsockname()[1]}"
        settings = {**processes, "net.listen": f'["127.0.0.1:0", "{address}"]'}
        ended = await finished(tmp_path, settings=settings)
    assert ended.returncode == 4
    assert ended.stderr.decode() == f"trio-relay: cannot listen on {address}: Address already in use\n"
    assert b"listening on" not in ended.stdout


@pytest.mark.parametrize(
    "command",
    ["doctor --json", "completion bash", "check-config", "--help", "--version", "init --yes", "serve", "stats"],
)
async def test_a_disk_that_is_full_for_what_is_said_is_1_and_one_line(tmp_path: Path, command: str) -> None:
    await finished(tmp_path, "migrate")
    into_full = ["sh", "-c", 'exec "$0" "$@" >/dev/full', *MODULE]
    ended = await finished(tmp_path, *command.split(), command=into_full)
    told = ended.stderr.decode().splitlines()
    assert (ended.returncode, told[-1:]) == (1, ["trio-relay: cannot write the output: No space left on device"])
    assert "Traceback" not in ended.stderr.decode()


async def test_the_code_tells_what_no_line_can(tmp_path: Path) -> None:
    all_full = ["sh", "-c", 'exec "$0" "$@" >/dev/full 2>&1', *MODULE]
    assert (await finished(tmp_path, "--version", command=all_full)).returncode == 1
    assert (await finished(tmp_path, "check-config", "--config", "none.toml", command=all_full)).returncode == 2


FALLING_LATER = """
async def fall_over(_, live, __):
    async for batch in live:
        raise RuntimeError('the stage fell over')
trio_relay.pipeline.broadcaster.Broadcaster.run = fall_over
"""
"""The broadcaster is compiled, and calls its own methods directly."""
THE_LONG_WAY = "trio_relay.pipeline.verifier.Verifier.pass_nowait = lambda *_, **_named: False"
"""A lone event would not come to the verifying stage."""


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("trio_relay.pipeline.verifier.Verifier._verify", THE_LONG_WAY),
        ("trio_relay.pipeline.writer.Writer._write", ""),
        ("trio_relay.pipeline.broadcaster.Broadcaster.run", FALLING_LATER),
    ],
)
async def test_a_stage_that_crashes_ends_the_process_with_1_and_its_traceback(
    tmp_path: Path, stage: str, more: str
) -> None:
    module, owner, method = stage.rsplit(".", 2)
    fall_over = "def fall_over(*_): raise RuntimeError('the stage fell over')"
    sabotage = f"import {module}\n{fall_over}\n{stage} = fall_over\n{more}"
    async with running(tmp_path, command=launcher(sabotage)) as program:
        async with program.client() as client:
            await client.send("EVENT", ALICE.event("the last straw"))
            with suppress(ConnectionClosed):
                while True:
                    await client.receive()
        code = await program.wait()
    assert (code, owner.lower()) == (1, module.rpartition(".")[2])
    assert "Traceback (most recent call last):" in program.err
    assert "RuntimeError: the stage fell over" in program.err
    assert program.err.splitlines()[-1] == "trio-relay: a part of the relay failed, so it has stopped"
    assert f"{method}(" in program.err
    assert "stopped" not in program.out
