"""Which socket of a service manager's is for which address of the settings, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from perf.restarts.manager import tcp, unix
from trio_relay.net import handed_sockets, listeners, transport
from trio_relay.systemd import HandedSocket

CLIENTS, METRICS = "net.listen", "metrics.listen"


@contextmanager
def handed(*sockets: socket.socket, names: Sequence[str] | None = None) -> Iterator[list[HandedSocket]]:
    """Sockets that are listened on, as a process finds them; `names` stand beside them."""
    with ExitStack() as opened:
        for one in sockets:
            opened.enter_context(one)
            one.listen()
        fds = [os.dup(one.fileno()) for one in sockets]
        yield list(map(HandedSocket, fds, names or ["relay.socket"] * len(sockets)))
        for fd in fds:
            with suppress(OSError):  # whoever took it has closed it
                os.close(fd)


def port_of(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


async def taken(sockets: Sequence[HandedSocket], settings: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """By setting, where it listens on sockets of these; they are closed."""
    found = await handed_sockets.assigned(sockets, settings)
    places: dict[str, list[str]] = {}
    for setting, addresses in settings.items():
        for address in addresses:
            for listener in found.take(setting, address):
                places.setdefault(setting, []).append(listeners.bound_address(listener))
                await listener.aclose()
    return places


async def test_each_socket_is_for_the_address_that_it_is_bound_to(tmp_path: Path) -> None:
    four, six, metrics = tcp(), tcp("::1"), tcp()
    file = tmp_path / "relay.sock"
    four_at, six_at, metrics_at = f"127.0.0.1:{port_of(four)}", f"[::1]:{port_of(six)}", f"127.0.0.1:{port_of(metrics)}"
    settings = {CLIENTS: [f"unix:{file}", "127.0.0.1:1", six_at, four_at], METRICS: [metrics_at]}
    with handed(metrics, four, unix(file), six) as sockets:
        assert await taken(sockets, settings) == {CLIENTS: [f"unix:{file}", six_at, four_at], METRICS: [metrics_at]}
    assert file.is_socket()


async def test_a_name_is_for_the_sockets_of_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(_host: str, port: int, **_wanted: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("127.0.0.1", port)), (0, 0, 0, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", both)
    four = tcp()
    with handed(four, tcp("::1", port_of(four))) as sockets:
        at = port_of(four)
        assert await taken(sockets, {CLIENTS: [f"here:{at}"]}) == {CLIENTS: [f"127.0.0.1:{at}", f"[::1]:{at}"]}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_every_address_is_what_is_of_every_address(host: str) -> None:
    everywhere = tcp(host, is_dual=True)
    shown = f"[{host}]" if ":" in host else host
    with handed(everywhere) as sockets:
        at = port_of(everywhere)
        assert await taken(sockets, {CLIENTS: [f"*:{at}"]}) == {CLIENTS: [f"{shown}:{at}"]}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_client_has_the_same_address_on_a_socket_of_both_kinds(address: str) -> None:
    """systemd's are of both where only a port is given; bars, trust and budgets go by the address."""
    everywhere = tcp("::", is_dual=True)
    with handed(everywhere) as sockets:
        at = f"*:{port_of(everywhere)}"
        (listener,) = (await handed_sockets.assigned(sockets, {CLIENTS: [at]})).take(CLIENTS, at)
        async with (
            listener,
            await trio.open_tcp_stream(address, port_of(everywhere)),
            await listener.accept() as stream,
        ):
            assert transport.peer_address(stream) == address


async def test_connections_begin_with_what_the_setting_says(tmp_path: Path) -> None:
    four, file = tcp(), tmp_path / "relay.sock"
    addresses = [f"proxy:tls:127.0.0.1:{port_of(four)}", f"proxy:unix:{file}"]
    with handed(four, unix(file)) as sockets:
        found = await handed_sockets.assigned(sockets, {CLIENTS: addresses})
        opened = [listener for address in addresses for listener in found.take(CLIENTS, address)]
        preambles = list(map(listeners.preamble_of, opened))
        for listener in opened:
            await listener.aclose()
    assert [(one.proxy, one.tls) for one in preambles] == [(True, True), (True, False)]


async def test_a_socket_is_closed_for_this_process_alone(tmp_path: Path) -> None:
    bound = unix(tmp_path / "relay.sock")
    with handed(bound) as sockets:
        found = await handed_sockets.assigned(sockets, {CLIENTS: [f"unix:{tmp_path}/relay.sock"]})
        for listener in found.take(CLIENTS, f"unix:{tmp_path}/relay.sock"):
            await listener.aclose()
        async with await trio.open_unix_socket(tmp_path / "relay.sock"):
            accepted, _ = bound.accept()
            accepted.close()


async def test_it_is_taken_once() -> None:
    four = tcp()
    address = f"127.0.0.1:{port_of(four)}"
    with handed(four) as sockets:
        found = await handed_sockets.assigned(sockets, {CLIENTS: [address]})
        (listener,) = found.take(CLIENTS, address)
        assert found.take(CLIENTS, address) == []
        await listener.aclose()


async def test_a_link_leads_to_its_socket(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with handed(unix(tmp_path / "real" / "a.sock")) as sockets:
        assert await taken(sockets, {CLIENTS: [f"unix:{tmp_path}/link/a.sock"]}) == {
            CLIENTS: [f"unix:{tmp_path}/real/a.sock"]
        }


async def test_where_the_address_cannot_tell_the_name_does(tmp_path: Path) -> None:
    settings = {CLIENTS: ["127.0.0.1:0", "unix:/elsewhere/relay.sock"], METRICS: ["127.0.0.1:0"]}
    four, metrics, file = tcp(), tcp(), tmp_path / "relay.sock"
    with handed(metrics, unix(file), four, names=[METRICS, CLIENTS, CLIENTS]) as sockets:
        assert await taken(sockets, settings) == {
            CLIENTS: [f"127.0.0.1:{port_of(four)}", f"unix:{file}"],
            METRICS: [f"127.0.0.1:{port_of(metrics)}"],
        }


async def test_an_abstract_socket_needs_a_name() -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(b"")
    name = os.fsdecode(bound.getsockname()[1:])
    with handed(bound, names=[CLIENTS]) as sockets:
        assert await taken(sockets, {CLIENTS: ["unix:/run/relay.sock"]}) == {CLIENTS: [f"unix:@{name}"]}


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1:1"], ["0.0.0.0:0"], ["unix:/run/a.sock"], ["127.0.0.1:0", "proxy:127.0.0.1:0"], []]
)
async def test_what_is_in_no_setting_is_refused_whatever_its_name(addresses: list[str]) -> None:
    four = tcp()
    with handed(four, names=[CLIENTS]) as sockets:
        with pytest.raises(listeners.AddressRefused) as refused:
            await handed_sockets.assigned(sockets, {CLIENTS: addresses, METRICS: []})
        assert str(refused.value) == (
            f"127.0.0.1:{port_of(four)} was handed over as 'net.listen', and no setting has that address: net.listen"
            f" has {', '.join(addresses) or 'none'}; metrics.listen has none. Change one of these, or ListenStream= in"
            " the socket's unit"
        )


async def test_a_name_of_two_unix_sockets_tells_neither(tmp_path: Path) -> None:
    """One of them may be for trusted proxies."""
    with (
        handed(unix(tmp_path / "c.sock"), names=[CLIENTS]) as sockets,
        pytest.raises(
            listeners.AddressRefused, match=r"was handed over as 'net\.listen', and no setting has that address"
        ),
    ):
        await handed_sockets.assigned(sockets, {CLIENTS: ["unix:/run/a.sock", "proxy:unix:/run/b.sock"]})


async def test_what_accepts_no_connections_is_refused(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        tcp() as deaf,
        (tmp_path / "f").open("w") as file,
    ):
        datagrams.bind(os.fspath(tmp_path / "d.sock"))
        for fd, complaint in [
            (datagrams.fileno(), "what was handed over as 'a' is not listened on: its unit needs ListenStream= and"),
            (deaf.fileno(), "what was handed over as 'a' is not listened on"),
            (file.fileno(), "what was handed over as 'a' is no socket"),
        ]:
            with pytest.raises(listeners.AddressRefused, match=complaint):
                await handed_sockets.assigned([HandedSocket(fd, "a")], {CLIENTS: ["127.0.0.1:7777"]})
            os.fstat(fd)  # it is still open


async def test_a_name_that_nobody_knows_is_refused() -> None:
    with (
        handed(tcp()) as sockets,
        pytest.raises(listeners.AddressRefused, match=r"cannot listen on no\.invalid:80: no such name"),
    ):
        await handed_sockets.assigned(sockets, {CLIENTS: ["no.invalid:80"]})


async def test_without_sockets_nothing_is_asked() -> None:
    assert (await handed_sockets.assigned([], {CLIENTS: ["no.invalid:80"]})).take(CLIENTS, "no.invalid:80") == []
