"""The client over real sockets: who it says it is, whom it trusts, and what a request that was given up leaves."""

from __future__ import annotations

import gzip
import ssl
from base64 import b64encode
from pathlib import Path

import pytest
import trio
import trustme

from tests.opensearch.server import Heard, serving
from trio_relay import OpenSearchOptions
from trio_relay.store.opensearch.client import Unreachable, open_client

PATIENCE = 30


async def well(heard: Heard) -> bytes:
    await trio.lowlevel.checkpoint()
    return b'{"is": "well"}'


async def never(heard: Heard) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def ask(url: str, **options: object) -> bytes:
    with trio.fail_after(PATIENCE):
        async with open_client(OpenSearchOptions(urls=(url,), **options)) as client:  # type: ignore[arg-type]
            return await client.ask("POST", "/some/_search?x=y", {"a": 1})


async def test_a_request_is_plain_http_with_one_json_object() -> None:
    async with serving(well) as server:
        assert await ask(server.url) == b'{"is": "well"}'
    (heard,) = server.heard
    assert (heard.method, heard.target, heard.body) == ("POST", "/some/_search?x=y", b'{"a":1}')
    assert (heard.headers["content-type"], heard.headers["content-length"]) == ("application/json", "7")
    assert heard.headers["accept-encoding"] == "identity"
    assert not {"authorization", "content-encoding", "transfer-encoding"} & heard.headers.keys()


async def test_requests_without_a_body_say_so() -> None:
    async with serving(well) as server, open_client(OpenSearchOptions(urls=(server.url,))) as client:
        for method in ("GET", "POST"):
            await client.ask(method, "/")
    assert ["content-type" in heard.headers for heard in server.heard] == [False, False]
    assert [heard.headers.get("content-length") for heard in server.heard] == [None, "0"]


async def test_many_lines_are_sent_as_such_and_compressed() -> None:
    async with serving(well) as server, open_client(OpenSearchOptions(urls=(server.url,), gzip=True)) as client:
        await client.ask_lines("/_bulk", [b'{"a":1}'] * 1_000)
    (heard,) = server.heard
    assert (heard.headers["content-type"], heard.headers["content-encoding"]) == ("application/x-ndjson", "gzip")
    assert heard.headers["accept-encoding"] == "gzip"
    assert heard.headers["content-length"] == str(len(heard.body))
    assert gzip.decompress(heard.body) == b'{"a":1}\n' * 1_000


async def test_a_user_is_told_by_basic_authentication() -> None:
    async with serving(well) as server:
        await ask(server.url, username="relay", password="pass:wörd")
    assert server.heard[0].headers["authorization"] == f"Basic {b64encode('relay:pass:wörd'.encode()).decode()}"


async def test_a_key_is_told_as_one() -> None:
    async with serving(well) as server:
        await ask(server.url, api_key="a2V5")
    assert server.heard[0].headers["authorization"] == "ApiKey a2V5"


async def test_a_node_is_trusted_by_the_file_of_certificates(tmp_path: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(well, tls_of(authority)) as server:
        assert await ask(server.url, ca_file=str(tmp_path / "ca.pem")) == b'{"is": "well"}'


@pytest.mark.parametrize("is_other", [False, True], ids=["the system's authorities", "another authority"])
async def test_a_node_of_an_unknown_authority_is_told_nothing(
    tmp_path: Path, authority: trustme.CA, is_other: bool
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(well, tls_of(authority)) as server:
        with pytest.raises(Unreachable, match=r"^the relay's store is away$"):
            await ask(server.url, ca_file=str(tmp_path / "ca.pem") if is_other else "")
    assert server.heard == []


async def test_a_node_of_another_name_is_told_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(well, tls_of(authority)) as server:
        other = server.url.replace("localhost", "127.0.0.1")
        with pytest.raises(Unreachable):
            await ask(other, ca_file=str(tmp_path / "ca.pem"))
    assert server.heard == []


async def test_a_node_that_does_not_answer_is_not_waited_for_without_end() -> None:
    async with serving(never) as server:
        with pytest.raises(Unreachable, match=r"^the relay's store takes too long$"):
            await ask(server.url, request_seconds=0.05)


async def test_nobody_is_asked_where_nobody_listens() -> None:
    async with serving(well) as server:
        gone = server.url
    with pytest.raises(Unreachable, match=r"^the relay's store is away$"):
        await ask(gone)


async def test_a_request_that_is_given_up_leaves_nothing_behind() -> None:
    """Its connection goes too: the answer of the one must not become the answer of the next."""
    gate = trio.Event()

    async def the_first_late(heard: Heard) -> bytes:
        if heard is server.heard[0]:
            await gate.wait()
            return b'{"is": "late"}'
        return b'{"is": "well"}'

    with trio.fail_after(PATIENCE):
        async with serving(the_first_late) as server, open_client(OpenSearchOptions(urls=(server.url,))) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.ask_lines, "/_bulk", [b"{}"] * 100_000)
                await server.until(lambda: server.heard)
                nursery.cancel_scope.cancel()
            assert await client.ask("GET", "/") == b'{"is": "well"}'
            gate.set()
            await server.until(lambda: server.connections == 1)
            assert await client.ask("GET", "/") == b'{"is": "well"}'
            assert server.connections == 1
