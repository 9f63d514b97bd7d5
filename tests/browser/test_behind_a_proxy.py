"""The relay's pages below a path of another server, HAProxy, which takes that path off or leaves it there."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.browser import Browser, Visitors, expect
from tests.support.operators import ADMIN
from tests.support.program import PATIENCE
from tests.support.site import Site

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")

CONFIG = """
defaults
    mode http
    timeout client {patience}s
    timeout server {patience}s
    timeout connect {patience}s
frontend taking_off
    bind fd@{taking_off}
    http-request deny unless {{ path_beg /nostr/relay }}
    http-request replace-path /nostr/relay/?(.*) /\\1
    default_backend relay
frontend leaving
    bind fd@{leaving}
    http-request deny unless {{ path_beg /nostr/relay }}
    default_backend relay
backend relay
    server relay {relay}
"""
PATH = "/nostr/relay"
Doors = dict[str, socket.socket]


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Where the proxy listens, by what it does with the path."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in ("taking_off", "leaving")}


@pytest.fixture(scope="module")
def settings(doors: Doors) -> dict[str, str]:
    urls = [f"ws://127.0.0.1:{door.getsockname()[1]}{PATH}" for door in doors.values()]
    return {"relay.url": urls[0], "relay.also_known_as": json.dumps(urls[1:]), "net.trusted_proxies": '["127.0.0.1"]'}


@pytest.fixture(scope="module")
def proxy(doors: Doors, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """It runs; whoever connects before it takes the sockets over waits in their backlogs."""
    file: Path = tmp_path_factory.mktemp("proxy") / "haproxy.cfg"
    numbers = {name: door.fileno() for name, door in doors.items()}
    file.write_text(CONFIG.format(patience=PATIENCE, relay=site.origin.removeprefix("http://"), **numbers))
    with subprocess.Popen(["haproxy", "-db", "-q", "-f", file], pass_fds=list(numbers.values())) as process:
        yield
        process.kill()


@pytest.mark.parametrize("door", ["taking_off", "leaving"])
@pytest.mark.usefixtures("proxy")
def test_pages_work_below_a_path(browser: Browser, doors: Doors, door: str) -> None:
    visitors = Visitors(browser, f"http://127.0.0.1:{doors[door].getsockname()[1]}")
    page = visitors.open(f"{PATH}/", key=ADMIN)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(PATH)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(f"{PATH}/admin")
    page.get_by_role("button", name="key").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    assert page.url == f"{visitors.origin}{PATH}/admin"
    (cookie,) = page.context.cookies()
    assert cookie["path"] == f"{PATH}/admin"
    with page.expect_response(f"**{PATH}/admin/live*") as streamed:
        page.reload()
    assert streamed.value.status == 200
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Manage")
    assert page.context.cookies() == []
    visitors.close()
