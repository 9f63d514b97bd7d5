"""The relay of an environment, as its user meets it: version, start, one event in, the same out, Ctrl-C.

    python -I building/first_event.py 1.0.0rc1 compiled

is run by the Python of that environment, beside which it looks for the command `trio-relay`, and needs nothing but what
the relay brings along. It ends with exit code 0 if all went as it should, and else with a traceback.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import coincurve
import trio
import trio_websocket

_PATIENCE: Final = 60
"""Seconds that all of it may take, where a machine is busy with something else; it takes two."""


async def try_out(program: Sequence[str], version: str, code: str) -> None:
    """See all of it happen, in a folder that is taken away afterwards.

    Args:
        program: the command that runs the relay.
        version: what it must say of itself.
        code: likewise, `compiled` or `interpreted`.

    Raises:
        AssertionError: something is not as it should be.
        trio.TooSlowError: it took more than a minute.
    """
    with trio.fail_after(_PATIENCE), tempfile.TemporaryDirectory() as folder:
        said = await trio.run_process([*program, "--version"], capture_stdout=True, cwd=folder)
        assert said.stdout.decode() == f"trio-relay, version {version} ({code})\n", said.stdout
        process = await trio.lowlevel.open_process(program, stdout=PIPE, cwd=folder, env=_environment())
        assert process.stdout is not None
        async with process.stdout:
            try:
                await _converse(await _address(process.stdout))
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0, process.returncode
            finally:
                process.kill()


def _environment() -> dict[str, str]:
    """Ours without settings of the relay, which has all its defaults but for the ports."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_RELAY_")}
    return {**inherited, "TRIO_RELAY_NET__LISTEN": '["127.0.0.1:0"]', "TRIO_RELAY_METRICS__LISTEN": "127.0.0.1:0"}


async def _address(output: trio.abc.ReceiveStream) -> str:
    """Where it listens, once it says so."""
    said = ""
    async for chunk in output:
        said += chunk.decode()
        for line in said.splitlines(keepends=True):
            if line.startswith("listening on ws://") and line.endswith("\n"):
                return line.split()[2]
    raise AssertionError(f"it ended before it listened: {said}")


async def _converse(url: str) -> None:
    event = _event("from a fresh environment")
    async with trio_websocket.open_websocket_url(url) as relay:
        await relay.send_message(json.dumps(["EVENT", event]))
        assert json.loads(await relay.get_message()) == ["OK", event["id"], True, ""]
        await relay.send_message(json.dumps(["REQ", "all", {"ids": [event["id"]]}]))
        assert json.loads(await relay.get_message()) == ["EVENT", "all", event]
        assert json.loads(await relay.get_message()) == ["EOSE", "all"]


def _event(content: str) -> dict[str, Any]:
    """A signed note of a new key, as NIP-01 has it."""
    key = coincurve.PrivateKey()
    pubkey, now, kind = coincurve.PublicKeyXOnly.from_secret(key.secret).format().hex(), int(time.time()), 1
    hashed = json.dumps([0, pubkey, now, kind, [], content], separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(hashed.encode()).digest()
    head = {"id": digest.hex(), "pubkey": pubkey, "created_at": now, "kind": kind, "tags": [], "content": content}
    return {**head, "sig": key.sign_schnorr(digest).hex()}


if __name__ == "__main__":
    _, wanted_version, wanted_code = sys.argv
    command = str(Path(sys.executable).with_name("trio-relay"))
    trio.run(try_out, [command], wanted_version, wanted_code)
