"""The gateway: it routes, and its own errors have the form of all others (docs/api.md, "Gateway")."""

import gzip
import http.client
import json
import os
import re
import select
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api import PASSWORD, changes, new_email, project
from tests.conftest import NewPlace, on_servers
from tests.servers import processes
from tests.servers.stacks import Stack, fetch
from tests.stack.conftest import GATEWAYS, Start
from tests.stack.load import eventually

#: `make run` has no gateway.
pytestmark = on_servers


class Upstream:
    """A service that does as it is told, and counts the requests that reach it."""

    def __init__(self, behave: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if self.raw_requestline and self.parse_request():
                    requests.append(self.command)
                    behave(self)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    running = []

    def start(behave: Callable[[BaseHTTPRequestHandler], None]) -> Upstream:
        running.append(Upstream(behave))
        return running[-1]

    yield start
    for one in running:
        one.server.shutdown()
        one.server.server_close()


def says(text: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    return behave


def says_nothing(_request: BaseHTTPRequestHandler) -> None:
    """The connection breaks off after the request was read: who knows what became of it."""


def raw(url: str, request: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """The answer to bytes that no HTTP library would send."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, dict(response.headers), json.loads(response.read())


def problem(answer: tuple[int, dict[str, str], dict[str, object]], status: int, code: str) -> None:
    got, headers, body = answer
    assert (got, body["status"], body["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert body["requestId"] == headers["X-Request-ID"]
    assert body.keys() >= {"type", "title"}
    assert body["message"] == body["detail"]


def test_each_service_answers_under_its_own_path(stack: Stack) -> None:
    assert fetch(f"{stack.url}/auth/jwks.json")[0] == 200
    problem(fetch(f"{stack.url}/users/me"), 401, "unauthorized")
    for path in ("/sync", "/sync/pull", "/sync?last_pulled_at=0"):
        problem(fetch(stack.url + path), 401, "unauthorized")


def test_the_gateway_answers_for_itself_only(stack: Stack) -> None:
    root = stack.url.removesuffix("/v1")
    assert fetch(f"{root}/healthz")[0] == 200
    for path in ("/readyz", "/metrics", "/v1", "/", "/v1/authx", "/v1/nothing"):
        problem(fetch(root + path), 404, "not_found")


def test_a_service_that_cannot_be_reached_is_unavailable(start: Start) -> None:
    url = start({name: [processes.free_port()] for name in ("auth", "users", "sync")})
    for path in ("/auth/login", "/users/me", "/sync"):
        answer = fetch(url + path)
        problem(answer, 502, "unavailable")
        assert int(answer[1]["Retry-After"]) > 0
    assert fetch(f"{url.removesuffix('/v1')}/healthz")[0] == 200


def test_a_body_over_64_mib_is_refused_by_the_gateway(stack: Stack) -> None:
    problem(fetch(f"{stack.url}/sync", b"x" * (64 * 2**20 + 1)), 413, "too_large")


def test_a_sane_request_id_travels_through_and_another_is_replaced(stack: Stack) -> None:
    def answered(request_id: str, path: str) -> str:
        return fetch(stack.url + path, X_Request_ID=request_id)[1]["X-Request-ID"]

    for path in ("/auth/jwks.json", "/nothing"):
        assert answered("my-id.7_Z", path) == "my-id.7_Z"
        assert re.fullmatch(r"[0-9a-f]{32}", answered("no good", path))
    assert '"request_id":"my-id.7_Z"' in stack.services["auth"].log.read_text()


def test_every_request_is_logged_by_the_path_that_was_asked_for_and_nothing_secret(
    stack: Stack,
) -> None:
    for path in ("/nothing", "/users/me", "/auth/jwks.json"):
        fetch(f"{stack.url}{path}?token=secret", X_Request_ID="logged")

    def logged() -> list[dict[str, Any]]:
        lines = (stack.directory / "gateway/gateway.log").read_text().splitlines()
        return [json.loads(line) for line in lines if '"logged"' in line]

    eventually(lambda: len(logged()) == 3)
    assert [(event["path"], event["status"]) for event in logged()] == [
        ("/v1/nothing", 404),
        ("/v1/users/me", 401),
        ("/v1/auth/jwks.json", 200),
    ]
    assert "secret" not in str(logged())


def test_no_version_of_any_software_is_named(stack: Stack) -> None:
    for path in ("/auth/jwks.json", "/nothing"):
        assert not re.search(r"\d", fetch(stack.url + path)[1].get("Server", ""))


def test_cors_lets_an_allowed_origin_in_and_no_other(start: Start) -> None:
    url = start(CORS_ALLOWED_ORIGINS="https://app.example, http://localhost:5173")
    for path in ("/auth/jwks.json", "/users/me", "/nothing"):
        for origin in ("https://app.example", "http://localhost:5173"):
            headers = fetch(url + path, Origin=origin)[1]
            assert headers["Access-Control-Allow-Origin"] == origin
            assert "X-Request-ID" in headers["Access-Control-Expose-Headers"]
            assert "Origin" in headers["Vary"]
        for origin in (
            "https://app.example.evil",
            "https://app",
            "https://app.example,http://localhost:5173",
            "x|https://app.example",
            "null",
            "",
        ):
            headers = fetch(url + path, Origin=origin)[1]
            assert not [name for name in headers if name.startswith("Access-Control")], origin
    assert "Access-Control-Allow-Origin" not in fetch(start() + "/users/me", Origin="null")[1]


def test_a_cors_preflight_is_answered_by_the_gateway_and_may_be_kept(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    service = upstream(says(b"{}"))
    url = start({"sync": [service.port]}, CORS_ALLOWED_ORIGINS="https://app.example")
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x"}
    status, headers, _ = fetch(
        f"{url}/sync", method="OPTIONS", Origin="https://app.example", **asked
    )
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} == set(
        headers["Access-Control-Allow-Methods"].split(", ")
    )
    assert {
        "Authorization",
        "Content-Type",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
    } <= set(headers["Access-Control-Allow-Headers"].split(", "))
    assert headers["Access-Control-Max-Age"] == "7200"
    status, headers, _ = fetch(
        f"{url}/sync", method="OPTIONS", Origin="https://evil.example", **asked
    )
    assert "Access-Control-Allow-Methods" not in headers
    assert service.requests == []


def limited(url: str, burst: int, *calls: dict[str, str]) -> None:
    """Call with each of these headers: all are refused but those that a burst and one a second allow."""
    began = time.monotonic()
    # No more at a time than one token may have: else some would be refused for that.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda headers: fetch(url, **headers), calls))
    seconds = time.monotonic() - began
    over = [answer for answer in answers if answer[0] == 429]
    assert over
    assert burst <= len(answers) - len(over) < burst + 2 + seconds
    for answer in over:
        problem(answer, 429, "rate_limited")
        assert int(answer[1]["Retry-After"]) > 0


@pytest.mark.parametrize("call", ["login", "oidc"])
def test_too_many_logins_from_one_address_are_refused(start: Start, call: str) -> None:
    url = start(LOGIN_RATE="1", LOGIN_BURST="5", CORS_ALLOWED_ORIGINS="https://app.example")
    limited(f"{url}/auth/{call}", 5, *[{}] * 30)
    headers = eventually(
        lambda: (
            (answer := fetch(f"{url}/auth/register", Origin="https://app.example"))[0] == 429
            and answer[1]
        )
    )
    assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert fetch(f"{url}/auth/jwks.json")[0] == 200


def test_too_many_calls_of_one_token_leave_other_tokens_alone(start: Start) -> None:
    url = start(TOKEN_RATE="1", TOKEN_BURST="5") + "/users/me"
    mine, other = (f"Bearer a.b.{letter * 86}" for letter in "xy")
    limited(url, 5, *[{"Authorization": mine}] * 30)
    assert fetch(url, Authorization=other)[0] == 401


def test_too_many_calls_of_one_service_key_leave_other_keys_and_tokens_alone(start: Start) -> None:
    url = start(SERVICE_RATE="1", SERVICE_BURST="5", TOKEN_RATE="1", TOKEN_BURST="1")
    mine, other = (f"Bearer wdbsk_{letter * 40}" for letter in "xy")
    limited(f"{url}/service/spaces", 5, *[{"Authorization": mine}] * 30)
    problem(fetch(f"{url}/service/spaces", Authorization=other), 401, "unauthorized")
    assert fetch(f"{url}/users/me", Authorization=f"Bearer a.b.{'z' * 86}")[0] == 401


def test_what_a_client_says_in_the_name_of_a_proxy_changes_nothing(start: Start) -> None:
    url = start() + "/users/me"
    for said in ({"X-Forwarded-Ssl": "on"}, {"X-Forwarded-Protocol": "ssl"}, {"Script_Name": "/x"}):
        assert fetch(url, **said)[0] == 401


def test_a_service_key_may_call_more_often_than_a_user(start: Start, service_key: str) -> None:
    url = start() + "/service/spaces?limit=1"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: fetch(url, token=service_key)[0], range(90)))
    assert answers == [200] * 90


def test_eight_requests_of_a_service_key_are_passed_on_at_a_time(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    waiting = Waiting(upstream)
    url = start({"sync": [waiting.service.port]})
    one, other = ({"Authorization": f"Bearer wdbsk_{letter * 40}"} for letter in "xy")
    spelled = {"Authorization": one["Authorization"] + "="}
    calls = [*[one] * 11, spelled, *[other] * 3]
    statuses = at_once(url, waiting, calls, "/service/changes")
    assert (statuses[:12].count(200), statuses[12:]) == (8, [200] * 3)


def test_no_page_may_make_a_service_call_by_cors(start: Start, service_key: str) -> None:
    origin = "https://app.example"
    url = start(CORS_ALLOWED_ORIGINS=origin)
    asked = {
        "Access_Control_Request_Method": "GET",
        "Access_Control_Request_Headers": "authorization",
    }
    for path in ("", "/spaces", "/spaces?limit=1", "/changes?space=x", "/push", "/nothing"):
        call = f"{url}/service{path}"
        preflight = fetch(call, method="OPTIONS", Origin=origin, **asked)
        assert preflight[0] == 204
        answers = [preflight, fetch(call, Origin=origin)]
        answers.append(fetch(call, token=service_key, Origin=origin))
        for _, headers, _ in answers:
            assert not [name for name in headers if name.lower().startswith("access-control")]
    assert fetch(f"{url}/users/me", Origin=origin)[1]["Access-Control-Allow-Origin"] == origin


def test_one_address_has_a_ceiling_however_many_tokens_it_shows(start: Start) -> None:
    url = start(ADDRESS_RATE="1", ADDRESS_BURST="5") + "/users/me"
    limited(url, 5, *[{"Authorization": f"Bearer a.b.{n:086}"} for n in range(30)])


def test_the_client_behind_a_trusted_proxy_is_told_by_it_and_by_nobody_else(start: Start) -> None:
    limits = {"LOGIN_RATE": "1", "LOGIN_BURST": "1"}
    calls = [{"X_Forwarded_For": f"192.0.2.{n}"} for n in range(12)]
    limited(start(**limits, GATEWAY_TRUSTED_PROXY="unix:") + "/auth/login", 1, *calls)
    url = start(**limits, GATEWAY_TRUSTED_PROXY="127.0.0.1") + "/auth/login"
    assert 429 not in [fetch(url, **call)[0] for call in calls]


def test_an_ipv6_client_is_its_network_and_an_ipv4_one_its_address(start: Start) -> None:
    settings = {"GATEWAY_TRUSTED_PROXY": "127.0.0.1", "LOGIN_RATE": "1", "LOGIN_BURST": "1"}
    for addresses, are_one in (
        ([f"2001:db8:1:2:{n:x}::{n:x}" for n in range(12)], True),
        ([f"2001:db8::{n + 1:x}" for n in range(12)], True),
        ([f"2001:db8:1:{n:x}::1" for n in range(12)], False),
        ([f"::ffff:192.0.2.{n}" for n in range(12)], False),
        ([f"192.0.2.{n}" for n in range(12)], False),
    ):
        url = start(**settings) + "/auth/login"
        calls = [{"X_Forwarded_For": address} for address in addresses]
        if are_one:
            limited(url, 1, *calls)
        else:
            assert 429 not in [fetch(url, **call)[0] for call in calls], addresses[1]


def bearer(user: str, token: str) -> str:
    """What has the form of a user's token."""
    return f"Bearer header.eyJzdWIiOi{user.ljust(50, 'u')}{token}.{token.ljust(86, 't')}"


class Waiting:
    """A service that keeps its requests until it is told to answer them."""

    def __init__(self, upstream: Callable[..., Upstream]) -> None:
        self.answer = threading.Event()
        self.service = upstream(self.behave)

    def behave(self, request: BaseHTTPRequestHandler) -> None:
        self.answer.wait(30)
        says(b"{}")(request)


def at_once(
    url: str, waiting: Waiting, calls: list[dict[str, str]], path: str = "/sync"
) -> list[int]:
    """The statuses of calls that are made while none of them is answered."""
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(fetch, url + path, **headers) for headers in calls]
        eventually(
            lambda: (
                len(waiting.service.requests) + sum(answer.done() for answer in answers)
                >= len(calls)
            )
        )
        refused = [answer.result() for answer in answers if answer.done()]
        for answer in refused:
            problem(answer, 429, "rate_limited")
            assert int(answer[1]["Retry-After"]) > 0
        waiting.answer.set()
        return [answer.result()[0] for answer in answers]


def test_four_requests_of_a_token_and_eight_of_a_user_are_passed_on_at_a_time(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    def answered(calls: list[dict[str, str]]) -> list[int]:
        waiting = Waiting(upstream)
        url = start({"sync": [waiting.service.port]}, GATEWAY_TRUSTED_PROXY="127.0.0.1")
        return at_once(url, waiting, calls)

    one = [{"Authorization": bearer("ann", "one")} for _ in range(6)]
    assert sorted(answered(one)) == [200] * 4 + [429] * 2
    # Spelled otherwise it is the same token.
    spellings = [
        {"Authorization": bearer("ann", "one") + ending} for ending in ("", "=", "==", " x", ",")
    ]
    last = [{"Authorization": bearer("ann", "one")[:-1] + letter} for letter in "AQgw"]
    assert answered(spellings + last).count(429) == 5

    many = [{"Authorization": bearer("ann", f"{n}")} for n in range(12)]
    others = [{"Authorization": bearer("bob", f"{n}")} for n in range(3)]
    statuses = answered(many + others)
    assert (statuses[:12].count(200), statuses[12:]) == (8, [200] * 3)
    # Who forges a user's tokens takes nothing away from them elsewhere.
    forged = [call | {"X_Forwarded_For": "192.0.2.1"} for call in many]
    statuses = answered([*forged, {"Authorization": bearer("ann", "right")}])
    assert (statuses[:12].count(200), statuses[12]) == (8, 200)
    # And who has none is held to the limits of the address alone.
    assert answered([{} for _ in range(12)]) == [200] * 12


def test_the_tokens_of_a_user_and_no_others_count_together(start: Start, stack: Stack) -> None:
    """As auth signs them, access and refresh tokens of all sessions."""
    email, password = new_email(), PASSWORD
    account = {"email": email, "password": password}
    mine = [
        fetch(f"{stack.url}/auth/{call}", account)[2] for call in ("register", "login", "login")
    ]
    other = fetch(f"{stack.url}/auth/register", account | {"email": new_email()})[2]
    tokens = [t[kind] for t in mine for kind in ("accessToken", "refreshToken")]
    users = {token.split(".")[1][:60] for token in tokens}
    assert len(users) == 1
    assert other["accessToken"].split(".")[1][:60] not in users
    assert users.pop().startswith("eyJzdWIiOi")


def test_https_in_front_of_it_is_known_from_the_trusted_proxy_alone(start: Start) -> None:
    asked = {"X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https"}
    trusting, other = start(GATEWAY_TRUSTED_PROXY="127.0.0.1"), start()
    for path in ("/auth/jwks.json", "/users/me", "/nothing"):
        assert fetch(trusting + path, **asked)[1]["Strict-Transport-Security"]
        plain = asked | {"X_Forwarded_Proto": "http"}
        assert "Strict-Transport-Security" not in fetch(trusting + path, **plain)[1]
        assert "Strict-Transport-Security" not in fetch(other + path, **asked)[1]


def test_nothing_redirects_to_where_the_request_says(stack: Stack) -> None:
    address = urlsplit(stack.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(b"GET /docs HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.headers["Location"]) == (308, "/docs/")


def test_its_own_lines_hold_no_query_and_no_address(start: Start) -> None:
    # Nobody listens, everybody is limited, and bodies cannot be kept.
    nowhere = {name: [processes.free_port()] for name in ("auth", "users", "sync")}
    url = start(nowhere, LOGIN_RATE="1", LOGIN_BURST="1", TOKEN_REQUESTS="1")
    (gateway,) = [g for g in GATEWAYS if f":{g.port}/" in url]
    limited(f"{url}/auth/login?secret=1", 1, *[{}] * 10)
    fetch(f"{url}/sync?secret=1", token="x")
    (gateway.directory / "run/body").chmod(0)
    fetch(f"{url}/sync?secret=1", b"x" * 2**20)
    raw(url, b"GET /v1/sync?secret=1 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    raw(url, b"GET /v1/sync?secret=1 HTTP/1.1\r\nX: " + b"y" * 65536 + b"\r\n\r\n")

    def lines() -> list[str]:
        return gateway.log.read_text().splitlines()

    eventually(lambda: sum('"event":"request"' in line for line in lines()) >= 14)
    events = [json.loads(line) for line in lines() if line.startswith("{")]
    assert "secret" not in gateway.log.read_text()
    assert not [line for line in lines() if "client:" in line or "127.0.0.1," in line]
    # What they would have said is said with the request.
    assert "REJECTED" in {event["rate"] for event in events}
    assert [e for e in events if e["status"] == 502 and e["upstream_status"] == "502"]
    assert [e for e in events if e["status"] == 500 and not e["upstream"]]


def test_answers_are_compressed_for_who_wants_it(stack: Stack) -> None:
    email = new_email()
    token = fetch(f"{stack.url}/auth/register", {"email": email, "password": PASSWORD})[2][
        "accessToken"
    ]
    body = changes(projects={"created": [project() for _ in range(500)]})
    assert fetch(f"{stack.url}/sync?last_pulled_at=null", body, token=token)[0] == 200
    _, headers, plain = fetch(f"{stack.url}/sync", token=token)
    assert "Content-Encoding" not in headers
    request = urllib.request.Request(f"{stack.url}/sync")
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Accept-Encoding", "gzip")
    with urllib.request.urlopen(request) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in response.headers.get_all("Vary")
        packed = response.read()
    assert json.loads(gzip.decompress(packed)) == plain
    assert len(packed) < len(json.dumps(plain)) / 4


def test_a_dead_instance_is_passed_over_for_reads_and_writes(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    alive = upstream(says(b"{}"))
    url = start({"sync": [processes.free_port(), alive.port]})
    for _ in range(20):
        assert fetch(f"{url}/sync")[0] == 200
        assert fetch(f"{url}/sync", {})[0] == 200
    assert len(alive.requests) == 40


def test_a_post_that_may_have_been_applied_is_never_repeated(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    breaking, working = upstream(says_nothing), upstream(says(b"{}"))
    for method in ("POST", "PATCH"):
        # One of its own for each: a failure sets an instance aside for a while.
        url = start({"sync": [breaking.port, working.port]})
        sent = len(breaking.requests) + len(working.requests)
        statuses = [fetch(f"{url}/sync", {}, method=method)[0] for _ in range(4)]
        assert len(breaking.requests) + len(working.requests) == sent + 4
        assert statuses.count(502) == breaking.requests.count(method) > 0
        assert [fetch(f"{url}/sync")[0] for _ in range(4)] == [200] * 4


def test_connections_to_the_services_are_kept(start: Start, stack: Stack) -> None:
    def held() -> set[str]:
        port = f"{stack.services['auth'].port:04X}"
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return {row.split()[1] for row in rows if row.split()[2].endswith(port)}

    url = start()
    before = held()
    for _ in range(10):
        assert fetch(f"{url}/auth/jwks.json")[0] == 200
    # At most one for each of nginx's workers.
    assert 0 < len(held() - before) <= len(os.sched_getaffinity(0))


@contextmanager
def hold(url: str, number: int) -> Iterator[list[socket.socket]]:
    """Connections on which a request has begun and does not go on."""
    address = urlsplit(url)
    with ExitStack() as held:
        connections = [
            held.enter_context(socket.create_connection((address.hostname, address.port)))
            for _ in range(number)
        ]
        for one in connections:
            one.sendall(b"POST /v1/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        yield connections


def test_slow_clients_leave_the_services_to_others(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    service = upstream(says(b"{}"))
    url = start({"sync": [service.port]})
    with hold(url, 100):
        assert fetch(f"{url}/sync", {})[0] == 200
        assert service.requests == ["POST"]


def test_one_address_cannot_hold_every_connection(start: Start) -> None:
    url = start(ADDRESS_CONNECTIONS="5")
    with hold(url, 6) as held:
        # nginx's processes race: once one of the six is too many, whichever, the others are counted.
        [refused] = select.select(held, [], [], 30)[0]
        assert refused.recv(12) == b"HTTP/1.1 429"
        problem(fetch(f"{url}/sync"), 429, "rate_limited")
    eventually(lambda: fetch(f"{url}/sync")[0] == 401)


def test_what_is_no_http_never_reaches_a_service(
    start: Start, upstream: Callable[..., Upstream]
) -> None:
    service = upstream(says(b"{}"))
    url = start({"sync": [service.port]})
    line = b"GET /v1/sync HTTP/1.1\r\nHost: x\r\n"
    problem(raw(url, b"nonsense\r\n\r\n"), 400, "invalid_request")
    problem(raw(url, b"GET /v1/sync HTTP/1.1\r\n\r\n"), 400, "invalid_request")
    problem(raw(url, line + b"Content-Length: many\r\n\r\n"), 400, "invalid_request")
    problem(raw(url, line + b"X: " + b"y" * 65536 + b"\r\n\r\n"), 431, "invalid_request")
    problem(raw(url, b"GET /" + b"y" * 65536 + line), 414, "invalid_request")
    problem(raw(url, line + b"Transfer-Encoding: tar\r\n\r\n"), 501, "invalid_request")
    for method in (b"TRACE", b"PROPFIND", b"BREW"):
        answer = raw(url, line.replace(b"GET", method) + b"\r\n")
        problem(answer, 405, "method_not_allowed")
        assert "GET" in answer[1]["Allow"]
    assert service.requests == []


def test_an_answer_from_the_gateway_and_one_from_a_service_have_each_header_once(
    stack: Stack,
) -> None:
    for path in ("/auth/jwks.json", "/users/me", "/nothing", "/auth/login"):
        address = urlsplit(stack.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        connection.request("GET", f"/v1{path}")
        response = connection.getresponse()
        response.read()
        connection.close()
        names = [name.lower() for name, _ in response.getheaders()]
        assert len(names) == len(set(names)), names
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Strict-Transport-Security"] is None
        if response.status == 405:
            assert "POST" in response.headers["Allow"]


def test_it_speaks_tls_with_a_certificate_of_its_own(stack: Stack, new_place: NewPlace) -> None:
    place = new_place()
    (place / "tls").mkdir()
    key, certificate = place / "tls/tls.key", place / "tls/tls.crt"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    port, plain = processes.free_port(), processes.free_port()
    ports = {name: [service.port] for name, service in stack.services.items()}
    gateway = processes.Gateway(
        place,
        plain,
        ports,
        GATEWAY_LISTEN=f"127.0.0.1:{port} ssl http2; listen 127.0.0.1:{plain}",
        GATEWAY_TLS="on",
    )
    gateway.start()
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"https://localhost:{port}/healthz", context=context) as answer:
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        problem(fetch(f"http://127.0.0.1:{port}/v1/sync"), 400, "invalid_request")
    finally:
        gateway.stop()


def test_a_full_disk_refuses_what_does_not_fit_and_nothing_else(
    stack: Stack, new_place: NewPlace
) -> None:
    disk = new_place()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine may mount nothing")
    ports = {name: [service.port] for name, service in stack.services.items()}
    gateway = processes.Gateway(new_place(), processes.free_port(), ports, GATEWAY_RUN=str(disk))
    gateway.start()
    url = f"http://127.0.0.1:{gateway.port}/v1"
    try:
        problem(fetch(f"{url}/sync", b"x" * 2**22), 500, "internal_error")
        problem(fetch(f"{url}/sync", {}), 401, "unauthorized")
        assert fetch(f"{url}/auth/jwks.json")[0] == 200
    finally:
        gateway.stop()
        subprocess.run(["umount", disk], check=True)
