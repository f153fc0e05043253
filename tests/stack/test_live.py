"""Live nudges by the way that phones take: through the gateway, and with `make run` without one."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.api import PASSWORD, changes, new_email, project
from tests.conftest import on_servers
from tests.servers.stacks import Server, Stack, fetch

#: A nudge is there within a second; a busy machine gets more.
SOON_S = 5


class Phone:
    """A session, by HTTP."""

    def __init__(self, url: str, email: str, call: str) -> None:
        self.url = url
        status, _, body = fetch(f"{url}/auth/{call}", {"email": email, "password": PASSWORD})
        assert status in (200, 201), body
        self.token: str = body["accessToken"]

    def push(self) -> int:
        body = changes(projects={"created": [project()]})
        _, _, answer = fetch(f"{self.url}/sync/push?last_pulled_at=0", body, token=self.token)
        tick: int = answer["timestamp"]
        return tick

    @contextmanager
    def wait(self) -> Iterator[ClientConnection]:
        with connect(f"ws{self.url.removeprefix('http')}/sync/live", proxy=None) as socket:
            socket.send(json.dumps({"accessToken": self.token}))
            yield socket


def nudge(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=SOON_S))["timestamp"]


def two_phones(url: str) -> tuple[Phone, Phone]:
    email = new_email()
    return Phone(url, email, "register"), Phone(url, email, "login")


def test_a_phone_is_nudged_when_another_pushes(server: Server) -> None:
    one, two = two_phones(server.url)
    with one.wait() as socket, two.wait() as witness:
        nudge(socket)
        nudge(witness)
        # Its own is no reason, though the server has heard of it.
        assert one.push() == nudge(witness)
        began = time.monotonic()
        assert two.push() == nudge(socket)
        assert time.monotonic() - began < SOON_S
        assert socket.response
        assert socket.response.headers["X-Request-ID"]


def test_plain_http_is_told_to_upgrade(server: Server) -> None:
    status, headers, body = fetch(f"{server.url}/sync/live")
    assert status == 426
    assert body["code"] == "upgrade_required"
    assert body["requestId"] == headers["X-Request-ID"]
    assert fetch(f"{server.url}/sync/live", {})[0] == 405
    assert fetch(f"{server.url}/sync/live/")[0] == 404


def test_a_token_in_a_message_is_in_no_log_and_a_bad_one_ends_the_socket(server: Server) -> None:
    one, _ = two_phones(server.url)
    one.token = "eyJ" + "x" * 20
    with one.wait() as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=SOON_S)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4401


@on_servers
def test_no_request_for_a_socket_is_answered_with_an_error_of_ours(stack: Stack) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for method, body, headers in (
        ("GET", None, {}),
        ("GET", None, {"Sec_WebSocket_Key": "short", "Sec_WebSocket_Version": "13"}),
        ("GET", None, {"Sec_WebSocket_Version": "99"}),
        ("GET", None, {"X_Long": "x" * 20_000}),
        ("GET", b"body", {}),
        ("HEAD", None, {}),
    ):
        sent = upgrade | headers
        status, _, _ = fetch(f"{stack.url}/sync/live", body, method=method, **sent)
        assert status == 426, (method, body, headers)
    assert fetch(f"{stack.url}/sync/live", b"body", **upgrade)[0] == 405


@on_servers
def test_sockets_take_no_place_of_other_requests(stack: Stack, start: Any) -> None:
    url = start(ADDRESS_CONNECTIONS="4", ADDRESS_SOCKETS="10")
    one, two = two_phones(url)
    with ExitStack() as stack_:
        sockets = [stack_.enter_context(one.wait()) for _ in range(10)]
        for socket in sockets:
            nudge(socket)
        tick = two.push()
        assert {nudge(socket) for socket in sockets} == {tick}
        with pytest.raises(InvalidStatus) as refused, one.wait():
            pass
        assert refused.value.response.status_code == 429
