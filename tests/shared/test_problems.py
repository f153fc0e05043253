"""Every error has one form (docs/api.md, "Conventions")."""

import json
import re
from typing import Any

import orjson
import pytest

from shared.web.errors import Fault, flatten
from tests.api import PASSWORD, Api, Device, assert_problem


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
        b"[" * 60_000,
        b'{"a":' * 12_000,
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


def test_field_paths_are_flat_and_every_sentence_has_its_word() -> None:
    nested = {"a": ["x"], "b": {"c": {"0": [Fault("y", "too_long")]}}, "_schema": ["z"]}
    assert flatten(nested).members() == {
        "errors": {"a": ["x"], "b.c.0": ["y"], "": ["z"]},
        "errorCodes": {"a": ["invalid"], "b.c.0": ["too_long"], "": ["invalid"]},
    }


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({}, {"email": ["required"], "password": ["required"]}),
        ({"email": "a@b.example", "password": "short"}, {"password": ["too_short"]}),
        ({"email": "a@b.example", "password": "x" * 129}, {"password": ["too_long"]}),
        ({"email": "a@b.example", "password": "password1"}, {"password": ["too_common"]}),
        ({"email": "nobody", "password": PASSWORD}, {"email": ["invalid"]}),
        (
            {"email": "a@b.example", "password": PASSWORD, "name": "x" * 256},
            {"name": ["too_long"]},
        ),
    ],
)
def test_an_app_can_say_what_is_wrong_in_its_own_language(
    api: Api, body: object, codes: object
) -> None:
    refused = assert_problem(api.post("/auth/register", body), 422, "invalid_request")
    assert refused["errorCodes"] == codes


def test_an_answer_does_not_grow_with_the_faults_of_the_request(device: Device) -> None:
    def refused(change: Any) -> dict[str, Any]:
        answer = device.push_raw(change)
        asked = json.dumps(change, ensure_ascii=False).encode(errors="surrogatepass")
        assert len(answer.data) < 2 * len(asked) + 16_384
        # As strict as any parser.
        orjson.loads(answer.data)
        return assert_problem(answer, 422, "invalid_request")

    body = refused({"projects": {"deleted": [1] * 10_000}})
    assert len(body["errors"]) == len(body["errorCodes"]) == 50
    assert body["errorsOmitted"] == 9_950
    assert "errorsOmitted" not in refused({"projects": {"deleted": ["a", "a"]}})
    for name in ("x" * 30_000, "\ud800", "\0" * 1_000, "🍉" * 1_000):
        refused({name: {"created": [1]}})
        refused({"projects": {name: []}})
    refused({f"{n}{'🍉' * 100}": {"created": [1]} for n in range(60)})
