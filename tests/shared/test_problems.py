"""Every error has one form (API.md, "Conventions")."""

import re

import pytest

from shared.problems import flatten
from tests.api import Api, Device, assert_problem


def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    assert_problem(api.get("/auth/nothing"), 404, "not_found")
    assert_problem(api.get("/nothing"), 404, "not_found")
    refused = api.call("PUT", "/auth/login")
    assert_problem(refused, 405, "method_not_allowed")
    assert "POST" in refused.headers["Allow"]


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/refresh", "/auth/logout"])
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"NaN",
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"email":"\xff"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_json_object_is_invalid_json(api: Api, path: str, body: bytes) -> None:
    assert_problem(api.post(path, body), 400, "invalid_json")


def test_a_sane_request_id_is_kept_and_another_replaced(api: Api) -> None:
    def answered(request_id: str) -> str:
        response = api.get("/auth/jwks.json", headers={"X-Request-ID": request_id})
        return response.headers["X-Request-ID"]

    assert answered("my-id.7_Z") == "my-id.7_Z"
    for hostile in ("", "a b", "x" * 65, "é", '"><script>'):
        assert re.fullmatch(r"[0-9a-f]{32}", answered(hostile))


def test_nothing_is_cacheable(device: Device) -> None:
    for path in ("/auth/jwks.json", "/users/me", "/sync"):
        answer = device.api.get(path, token=device.token)
        assert answer.headers["Cache-Control"] == "no-store"


def test_field_paths_are_flat() -> None:
    nested = {"a": ["x"], "b": {"c": {"0": ["y"]}}, "_schema": ["z"]}
    assert flatten(nested) == {"a": ["x"], "b.c.0": ["y"], "": ["z"]}
