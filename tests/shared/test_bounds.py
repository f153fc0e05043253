"""Bounds hold before any work is done, and what a request held is free again (docs/api.md)."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.test import TestResponse

import services.auth
import services.sync
import services.users
from shared.web import bounds, errors
from shared.web.json_body import read_json
from tests.api import Api, Device, assert_problem, project


class Held:
    """A route whose requests wait until they are let go."""

    def __init__(self, app: Flask, route: str, answer: Callable[[], Any]) -> None:
        self.api = Api(app)
        self.go, self.waiting = threading.Event(), threading.Semaphore(0)

        def wait() -> Any:
            self.waiting.release()
            self.go.wait(30)
            return answer()

        if hasattr(app.view_functions[route], "takes_large_bodies"):
            bounds.takes_large_bodies(wait)
        app.view_functions[route] = wait

    def arrived(self, number: int) -> None:
        """Return once so many requests wait."""
        for _ in range(number):
            assert self.waiting.acquire(timeout=30)


def streamed() -> Response:
    return Response((piece for piece in (b"{", b"}")), mimetype="application/json")


def broken() -> None:
    raise ZeroDivisionError


def refused() -> None:
    raise errors.NotFound


@pytest.mark.parametrize("answer", [dict, streamed, broken, refused], ids=lambda f: f.__name__)
def test_one_user_has_half_the_threads_of_a_process_at_most(
    device: Device, answer: Callable[[], Any]
) -> None:
    other = device.api.register()
    held = Held(services.users.create_app(), "me.read_me", answer)

    def ask(who: Device) -> int:
        # Past the contract: what this route answers is made up.
        headers = {"Authorization": f"Bearer {who.token}"}
        return held.api.client.get("/v1/users/me", headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(ask, device) for _ in range(bounds.REQUESTS_PER_USER)]
        held.arrived(len(running))
        over = held.api.get("/users/me", token=device.token)
        assert_problem(over, 429, "rate_limited")
        assert int(over.headers["Retry-After"]) > 0
        theirs = pool.submit(ask, other)
        held.arrived(1)
        held.go.set()
        statuses = {future.result() for future in [*running, theirs]}
    assert statuses <= {200, 404, 500}
    # Whatever became of them, nothing is held any more.
    assert [ask(device) for _ in range(9)] == [*statuses] * 9
    assert not bounds.places.taken


def test_who_goes_away_from_a_streamed_answer_gives_the_place_back(device: Device) -> None:
    app = services.users.create_app()
    app.view_functions["me.read_me"] = streamed
    headers = {"Authorization": f"Bearer {device.token}"}
    for _ in range(9):
        answer = app.test_client().get("/v1/users/me", headers=headers, buffered=False)
        assert bounds.places.taken[device.user_id] == 1
        answer.close()
    assert not bounds.places.taken


LARGE = b'{"changes": {}}' + b" " * bounds.LARGE_BYTES


def test_large_bodies_go_one_at_a_time_and_few_wait(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "TURN_TIMEOUT_S", 0.5)
    arrived, go = threading.Event(), threading.Event()

    def work() -> dict[str, Any]:
        body = read_json()
        arrived.set()
        go.wait(30)
        return body

    app = services.sync.create_app()
    app.view_functions["sync.push"] = bounds.takes_large_bodies(work)

    def push(who: Device, body: bytes = LARGE) -> TestResponse:
        headers = {"Authorization": f"Bearer {who.token}"}
        return app.test_client().post("/v1/sync", data=body, headers=headers)

    others = [device.api.register() for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(push, device)
        assert arrived.wait(30)
        for answer in pool.map(push, others):
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        small = pool.submit(push, others[0], b"{}")
        go.set()
        assert (first.result().status_code, small.result().status_code) == (200, 200)
        # The turn is free again; who comes a little later waits for it.
        assert [answer.status_code for answer in pool.map(push, others[:3])] == [200] * 3


def test_every_call_takes_64_kib_and_push_alone_takes_more(device: Device) -> None:
    token, sync = device.token, Api(services.sync.create_app(MAX_PUSH_BYTES=100_000))
    exact = json.dumps({"a": ""})
    for size, status in ((65536, 422), (65537, 413)):
        body = exact.replace('""', json.dumps("x" * (size - len(exact)))).encode()
        assert len(body) == size
        answer = Api(services.auth.create_app()).post("/auth/login", body)
        assert answer.status_code == status
    for path in ("/sync", "/sync/push"):
        body = b'{"changes": {}}'.ljust(100_000)
        assert sync.post(path, body, token=token).status_code == 200
        assert_problem(sync.post(path, body + b" ", token=token), 413, "too_large")
    assert_problem(sync.post("/sync/pull", b" " * 65537, token=token), 413, "too_large")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "GZIP"])
def test_a_compressed_body_is_unsupported(device: Device, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    for path in ("/sync", "/auth/login", "/auth/refresh", "/users/me"):
        answer = device.api.call("POST", path, {}, token=device.token, headers=headers)
        assert answer.status_code in (405, 415)
        if answer.status_code == 415:
            assert_problem(answer, 415, "unsupported_encoding")
    plain = device.api.post(
        "/sync", {}, token=device.token, headers={"Content-Encoding": "Identity"}
    )
    assert plain.status_code == 200


def test_a_body_of_many_tiny_values_is_not_unpacked_and_texts_may_have_what_they_like(
    device: Device,
) -> None:
    half = 2**19
    bombs = [
        b'{"changes": [' + b"[]," * 2 * half + b"[]]}",
        b"[" * 2**21,
        b"[" * 2**21 + b'\\"' * 2**20,
        b'{"a":' * 2**21,
        b'{"\\\\":' + b'[{"":' * half + b"[" * half,
        b'{"a": [' + b"1," * 2**23 + b"1.5,1]}",
        b'{"a": [' + b'"ab",' * 2**23 + b"1,1]}",
        b"{" + b'"":1,' * 2**23 + b'"":1,"":1}',
    ]
    for bomb in bombs:
        assert_problem(device.api.post("/sync", bomb, token=device.token), 413, "too_large")
    for text in ('[{\\"' * half, "," * (2**23 + 1)):
        pushed = project(description=text)
        for body in ({"projects": {"created": [pushed]}}, {"a": {}, "x": text}):
            answer = device.api.post("/sync", body, token=device.token)
            assert answer.status_code in (200, 422)
