"""The gateway: it routes, and its own errors have the form of all others (API.md, "Gateway")."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import native
from tests.conftest import Backend
from tests.stack.servers import Embedded, Stack, fetch


@pytest.fixture
def stack(backend: Backend, server: Embedded | Stack) -> Stack:
    if not isinstance(server, Stack):
        pytest.skip("the embedded backend has no gateway")
    return server


@pytest.fixture
def alone(stack: Stack, directory: Path) -> Iterator[str]:
    """The URL of a gateway none of whose services runs."""
    nobody = dict.fromkeys(("auth", "users", "sync"), f"127.0.0.1:{native.free_port()}")
    gateway = native.Gateway(directory / "alone", native.free_port(), nobody)
    gateway.start()
    yield f"http://127.0.0.1:{gateway.port}"
    gateway.stop()


def problem(answer: tuple[int, dict[str, str], dict[str, object]], status: int, code: str) -> None:
    got, headers, body = answer
    assert (got, body["status"], body["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert body["requestId"] == headers["X-Request-ID"]
    assert body.keys() >= {"type", "title", "detail"}


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


def test_a_service_that_cannot_be_reached_is_unavailable(alone: str) -> None:
    for path in ("/v1/auth/login", "/v1/users/me", "/v1/sync"):
        answer = fetch(alone + path)
        problem(answer, 502, "unavailable")
        assert int(answer[1]["Retry-After"]) > 0
    assert fetch(f"{alone}/healthz")[0] == 200


def test_a_body_over_64_mib_is_refused_by_the_gateway(stack: Stack) -> None:
    problem(fetch(f"{stack.url}/sync", b"x" * (64 * 2**20 + 1)), 413, "too_large")


def test_a_sane_request_id_travels_through_and_another_is_replaced(stack: Stack) -> None:
    def answered(request_id: str, path: str) -> str:
        return fetch(stack.url + path, X_Request_ID=request_id)[1]["X-Request-ID"]

    for path in ("/auth/jwks.json", "/nothing"):
        assert answered("my-id.7_Z", path) == "my-id.7_Z"
        assert re.fullmatch(r"[0-9a-f]{32}", answered("no good", path))
    assert '"request_id": "my-id.7_Z"' in stack.services["auth"].log.read_text()


def test_no_version_of_any_software_is_named(stack: Stack) -> None:
    for path in ("/auth/jwks.json", "/nothing"):
        assert not re.search(r"\d", fetch(stack.url + path)[1].get("Server", ""))
