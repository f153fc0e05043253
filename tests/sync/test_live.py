"""Nudges by WebSocket (docs/api.md, "Live"), from a process of its own beside the services of this one."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse

import pytest
from sqlalchemy import create_engine, make_url, text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import services.auth
from tests.api import PASSWORD, Api, Device, assert_problem, project
from tests.conftest import Backend
from tests.servers.processes import Live, free_port
from tests.servers.proxy import Proxy
from tests.sharing import join, make_space

#: A nudge, or a close, is there within a second; a busy machine gets more.
SOON_S = 5


@pytest.fixture(scope="module")
def live(backend: Backend, environ: dict[str, str], application: object) -> Iterator[Live]:
    server = Live(backend.directory / "live", free_port(), environ)
    server.start()
    yield server
    server.stop()


def open_socket(server: Live) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/v1/sync/live", proxy=None, close_timeout=1)


@contextmanager
def wait_on(server: Live, device: Device, since: int | None = None) -> Iterator[ClientConnection]:
    """A socket of a device that has pulled up to `since`; None: now."""
    if since is None:
        since = device.pull()["timestamp"]
    with open_socket(server) as socket:
        socket.send(json.dumps({"accessToken": device.token, "lastPulledAt": since}))
        yield socket


def nudge(socket: ClientConnection) -> int:
    message = json.loads(socket.recv(timeout=SOON_S))
    assert list(message) == ["timestamp"]
    return message["timestamp"]


def code(socket: ClientConnection, seconds: float = SOON_S) -> int:
    """The code that a socket is closed with."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=seconds)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def push(device: Device) -> int:
    tick: int = device.push(projects={"created": [project()]})["timestamp"]
    return tick


def get(server: Live, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def metric(server: Live, name: str) -> float:
    text = get(server, "/metrics")[1].decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_push_of_another_session_nudges_within_a_second(live: Live, device: Device) -> None:
    other = device.another()
    with wait_on(live, device) as socket, wait_on(live, other) as theirs:
        # Both are let in when each has heard of something.
        first = push(other)
        assert nudge(socket) == first
        began = time.monotonic()
        second = push(device)
        assert nudge(theirs) == second
        assert time.monotonic() - began < 1 + SOON_S


def test_a_socket_is_told_at_once_what_it_missed(live: Live, device: Device) -> None:
    since = device.pull()["timestamp"]
    other = device.another()
    tick = push(other)
    with wait_on(live, device, since) as socket:
        assert nudge(socket) == tick
    with open_socket(live) as socket:
        socket.send(json.dumps({"accessToken": device.token}))
        assert nudge(socket) == tick
    with open_socket(live) as socket:
        socket.send(json.dumps({"accessToken": device.token, "lastPulledAt": None}))
        assert nudge(socket) == tick


def test_ones_own_push_is_no_reason_for_a_nudge_and_what_others_did_before_is(
    live: Live, device: Device
) -> None:
    other = device.another()
    since = device.pull()["timestamp"]
    with wait_on(live, device, since) as socket, wait_on(live, other, since) as witness:
        for _ in range(2):
            # What the witness hears of is what the server knows of.
            assert push(device) == nudge(witness)
        # The first that it hears is of the other's.
        theirs = push(other)
        assert nudge(socket) == theirs
    # Pushed after another, and not told of that yet.
    push(other)
    own = push(device)
    with wait_on(live, device, theirs) as socket:
        assert nudge(socket) == own
        theirs = push(other)
        assert nudge(socket) == theirs
    # Pushed by itself alone since it pulled.
    push(device)
    own = push(device)
    with wait_on(live, device, theirs) as socket, wait_on(live, other, theirs) as witness:
        assert nudge(witness) == own
        assert push(other) == nudge(socket)


def test_a_push_that_changes_nothing_is_no_reason(live: Live, device: Device) -> None:
    other = device.another()
    with wait_on(live, device) as socket:
        other.push(projects={"deleted": ["nothing"]})
        assert push(other) == nudge(socket)


def test_nobody_is_nudged_for_another_user(live: Live, device: Device) -> None:
    stranger, other = device.api.register(), device.another()
    with wait_on(live, device) as socket:
        push(stranger)
        assert push(other) == nudge(socket)


def test_every_member_of_a_space_is_nudged_for_a_push_into_it(live: Live, device: Device) -> None:
    member, reader = device.api.register(), device.api.register()
    space = make_space(device)
    join(device, space, member)
    join(device, space, reader, "reader")
    with wait_on(live, member) as theirs, wait_on(live, reader) as reads:
        shared = {"created": [project(space_id=space)]}
        tick = device.push(projects=shared)["timestamp"]
        assert nudge(theirs) == tick == nudge(reads)
        # Its own is no reason, also where others hear of it.
        own = member.push(projects={"created": [project(space_id=space)]})["timestamp"]
        assert nudge(reads) == own
        assert push(member.another()) == nudge(theirs)


@pytest.mark.parametrize(
    "message",
    ["", "no JSON", "[]", "{}", '{"accessToken": 1}', b'{"accessToken": "x"}']
    + [
        f'{{"accessToken": "x", "lastPulledAt": {since}}}' for since in ('"1"', "-1", "1.5", "true")
    ],
)
def test_a_first_message_that_is_none_is_told_so(live: Live, message: str | bytes) -> None:
    with open_socket(live) as socket:
        socket.send(message)
        assert code(socket) == 4400


@pytest.mark.parametrize("token", ["", "x", "ä.ö.ü", "refresh"])
def test_a_bad_token_is_told_so(live: Live, device: Device, token: str) -> None:
    token = device.tokens["refreshToken"] if token == "refresh" else token
    with open_socket(live) as socket:
        socket.send(json.dumps({"accessToken": token, "lastPulledAt": 1}))
        assert code(socket) == 4401


def test_silence_is_ended_after_ten_seconds(live: Live) -> None:
    with open_socket(live) as socket:
        assert code(socket, 10 + SOON_S) == 4408


def test_a_long_message_is_refused_and_later_ones_are_ignored(live: Live, device: Device) -> None:
    with open_socket(live) as socket:
        socket.send("x" * (16 * 1024 + 1))
        assert code(socket) == 1009
    with wait_on(live, device, 0) as socket:
        nudge(socket)
        for message in ("x", b"x", "{}", "x" * 16 * 1024):
            socket.send(message)
        assert push(device.another()) == nudge(socket)


def test_a_session_that_has_ended_is_closed_and_let_in_no_more(live: Live, device: Device) -> None:
    other = device.another()
    with wait_on(live, device, 0) as socket, wait_on(live, other, 0) as theirs:
        nudge(socket)
        nudge(theirs)
        device.api.post("/auth/logout", token=device.token)
        assert code(socket) == 4401
        push(other)
    with wait_on(live, device, 0) as socket:
        assert code(socket) == 4401
    with wait_on(live, other, 0) as theirs:
        nudge(theirs)
        assert device.api.delete("/users/me", {"password": PASSWORD}, token=other.token)
        assert code(theirs) == 4401


def test_a_token_that_expires_closes_its_socket(live: Live, device: Device) -> None:
    other = Api(services.auth.create_app(ACCESS_TOKEN_SECONDS=3)).login(device.email)
    with wait_on(live, other, 0) as socket:
        nudge(socket)
        # Silence would end it later.
        assert code(socket, 3 + SOON_S) == 4401


def test_a_user_has_twenty_sockets_and_no_more(live: Live, device: Device) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(wait_on(live, device, 0)) for _ in range(20)]
        for socket in sockets:
            nudge(socket)
        with wait_on(live, device, 0) as socket:
            assert code(socket) == 1013
        tick = push(device.another())
        assert {nudge(socket) for socket in sockets} == {tick}


def test_what_is_no_websocket_is_told_to_become_one(live: Live, api: Api) -> None:
    assert_problem(api.get("/sync/live"), 426, "upgrade_required")
    answer = api.get("/sync/live")
    assert answer.headers["Upgrade"] == "websocket"
    for headers in ({}, {"Upgrade": "websocket", "Connection": "Upgrade"}, {"Upgrade": "h2c"}):
        response, body = get(live, "/v1/sync/live", **{"X-Request-ID": "mine"}, **headers)
        assert response.status == 426
        assert response.getheader("X-Request-ID") == "mine"
        assert json.loads(body)["code"] == "upgrade_required"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{live.port}/v1/sync/nowhere", proxy=None)
    assert refused.value.response.status_code == 404


def test_sockets_and_nudges_are_counted(live: Live, device: Device) -> None:
    sent = metric(live, "live_nudges_total")
    closed = metric(live, 'live_closes_total{code="1000"}')
    before = metric(live, "live_sockets")
    with wait_on(live, device, 0) as socket:
        nudge(socket)
        assert metric(live, "live_sockets") == before + 1
    assert metric(live, "live_nudges_total") == sent + 1
    deadline = time.monotonic() + SOON_S
    while metric(live, 'live_closes_total{code="1000"}') == closed:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_server_that_stops_says_so_and_logs_no_token(
    backend: Backend, environ: dict[str, str], device: Device
) -> None:
    server = Live(backend.directory / "stopped", free_port(), environ)
    server.start()
    with wait_on(server, device, 0) as socket:
        nudge(socket)
        assert server.process
        os.kill(server.process.pid, signal.SIGHUP)
        assert code(socket) == 1001
    with wait_on(server, device, 0) as socket:
        nudge(socket)
        server.stop()
        assert code(socket) == 1001
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["code"] for line in lines if line["event"] == "socket"] == [1001, 1001]
    assert "eyJ" not in server.log.read_text()


@contextmanager
def behind_proxies(
    backend: Backend, environ: dict[str, str]
) -> Iterator[tuple[Live, Proxy, Proxy]]:
    """A server that reaches its database and its Redis by proxies."""
    assert backend.database
    assert backend.redis
    database, redis = make_url(environ["DATABASE_URL"]), environ["REDIS_URL"]
    with Proxy(backend.database.port) as to_database, Proxy(backend.redis.port) as to_redis:
        settings = environ | {
            "DATABASE_URL": database.set(port=to_database.port).render_as_string(
                hide_password=False
            ),
            "REDIS_URL": redis.replace(str(backend.redis.port), str(to_redis.port)),
        }
        port = free_port()
        server = Live(backend.directory / f"live-{port}", port, settings)
        server.start()
        try:
            yield server, to_database, to_redis
        finally:
            server.stop()


@contextmanager
def gone(proxy: Proxy) -> Iterator[None]:
    """Nobody is behind a proxy for a while."""
    proxy.target, target = free_port(), proxy.target
    proxy.break_all()
    yield
    proxy.target = target


def wait_for_event(server: Live, name: str, times: int = 1) -> None:
    deadline = time.monotonic() + 2 * SOON_S
    while server.log.read_text().count(f'"event":"{name}"') < times:
        assert time.monotonic() < deadline, f"{name} is not logged"
        time.sleep(0.02)


@pytest.mark.backends("native", "mysql")
def test_nudges_go_on_without_redis_and_are_quick_again_with_it(
    backend: Backend, environ: dict[str, str], device: Device
) -> None:
    other = device.another()
    with behind_proxies(backend, environ) as (server, _, redis):
        wait_for_event(server, "listening")
        with wait_on(server, device) as socket:
            assert push(other) == nudge(socket)
            with gone(redis):
                wait_for_event(server, "not_listening")
                for _ in range(2):
                    assert push(other) == nudge(socket)
            wait_for_event(server, "listening", 2)
            assert push(other) == nudge(socket)
            # It hangs, and with it what is told meanwhile.
            redis.swallow()
            assert push(other) == nudge(socket)


@pytest.mark.backends("native", "mysql")
def test_what_redis_tells_and_what_it_loses_arrives(
    backend: Backend, environ: dict[str, str], device: Device
) -> None:
    other = device.another()
    with behind_proxies(backend, environ) as (server, database, _):
        wait_for_event(server, "listening")
        with wait_on(server, device, 0) as socket:
            nudge(socket)
            # Without any database here, so that Redis alone can have told it.
            with gone(database):
                wait_for_event(server, "database_unavailable")
                assert push(other) == nudge(socket)
                assert get(server, "/readyz")[0].status == 503
                assert get(server, "/healthz")[0].status == 200
            assert push(other) == nudge(socket)
            # Moved by what tells nobody, as an administrator or a restore does.
            with create_engine(environ["DATABASE_URL"]).begin() as connection:
                move = "UPDATE users SET last_modified_at = last_modified_at + 1000 WHERE id = :id"
                connection.execute(text(move), {"id": device.user_id})
            assert json.loads(socket.recv(timeout=15 + SOON_S))["timestamp"] > 0


def test_two_instances_nudge_for_each_others_pushes(
    backend: Backend, environ: dict[str, str], live: Live, device: Device
) -> None:
    second = Live(backend.directory / "second", free_port(), environ)
    second.start()
    other = device.another()
    try:
        with wait_on(live, device) as socket, wait_on(second, other) as theirs:
            assert push(device) == nudge(theirs)
            assert push(other) == nudge(socket)
            third = device.another()
            assert push(third) == nudge(socket) == nudge(theirs)
    finally:
        second.stop()
