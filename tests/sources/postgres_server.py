"""A real Postgres for tests, in a folder of its own, and nostream's table in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from trio_relay import Event

OWNER = "postgres"
"""Whom Debian runs it as; root may not."""
TABLE = """
CREATE EXTENSION "uuid-ossp";
CREATE TABLE events (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    event_id bytea UNIQUE NOT NULL,
    event_pubkey bytea NOT NULL,
    event_kind integer NOT NULL,
    event_created_at integer NOT NULL,
    event_content text NOT NULL,
    event_tags jsonb,
    event_signature bytea NOT NULL,
    first_seen timestamp DEFAULT now(),
    event_delegator bytea
);
CREATE INDEX ON events (event_created_at);
"""
LATER = """
ALTER TABLE events ADD deleted_at timestamp;
ALTER TABLE events ADD event_deduplication jsonb;
ALTER TABLE events ADD remote_address inet;
ALTER TABLE events ADD expires_at integer;
ALTER TABLE events DROP COLUMN event_delegator;
CREATE TABLE users (pubkey bytea PRIMARY KEY, is_admitted boolean DEFAULT false, balance bigint DEFAULT 0);
INSERT INTO users (pubkey) VALUES ('\\x00');
"""
"""What the migrations after the first year's left of the table, and a table beside it."""


class Postgres:
    """A server that runs until the tests are through; each of them has a database of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._made = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which its programs, and all that speak by libpq, find it."""
        return {"PGHOST": str(self._folder), "PGUSER": OWNER, "PGTZ": "UTC"}

    def database(self, tables: str = TABLE + LATER, name: str = "") -> str:
        """Make a database with these tables, in the place of one of the same name, and return its URL."""
        self._made += 1
        name = name or f"nostream{self._made}"
        self.run("dropdb", "--if-exists", name)
        self.run("createdb", name)
        self.run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={name}", given=tables)
        return f"postgresql:///{name}?host={self._folder}&user={OWNER}"

    def run(self, program: str, *arguments: str, given: str = "") -> bytes:
        """Run one of its programs, and return what it writes."""
        return subprocess.run(
            [self._programs / program, *arguments],
            input=given.encode(),
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout


def programs() -> Path:
    """The folder with the server's programs; the test is skipped where there is none, or nobody to run it as."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: int(it.parent.name), reverse=True)
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    if not folders:
        pytest.skip("there is no initdb on this machine (Debian's package postgresql)")
    return folders[0]


@contextmanager
def running() -> Iterator[Postgres]:
    """Run a server that listens on a Unix socket only, all of it in a folder that goes away with it."""
    where = programs()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        as_owner = partial(subprocess.run, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        if os.geteuid() == 0:
            owner = _owner()
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            as_owner = partial(as_owner, user=owner.pw_uid, group=owner.pw_gid, extra_groups=())
        data = folder / "data"
        as_owner([where / "initdb", f"--username={OWNER}", "--auth=trust", "--encoding=UTF8", "--no-sync", data])
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        as_owner([where / "pg_ctl", "start", "--wait", f"--pgdata={data}", f"--log={folder / 'log'}", "-o", options])
        try:
            yield Postgres(where, folder)
        finally:
            as_owner([where / "pg_ctl", "stop", "--wait", "--mode=immediate", f"--pgdata={data}"])


def _owner() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(OWNER)
    except KeyError:
        pytest.skip("root may not run Postgres, and there is no user postgres on this machine")


def row(event: Event) -> tuple[object, ...]:
    """The values of an event's columns, in the order of `INSERT`."""
    raw = (bytes.fromhex(value) for value in (event.id, event.pubkey, event.sig))
    return (*raw, event.kind, event.created_at, event.content)


INSERT = (
    "INSERT INTO events (event_id, event_pubkey, event_signature, event_kind, event_created_at, event_content,"
    " event_tags) VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
