"""Bounds come before work, for every field of every call of auth and users (docs/api.md)."""

import json
import unicodedata
from itertools import product
from typing import Any

import pytest
from flask import Flask
from marshmallow import fields
from prometheus_client import REGISTRY
from werkzeug.test import TestResponse

from services.users.schemas import ListParameters
from shared.database.base import db
from shared.models import LoginFailures
from shared.web.schemas import Text
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.test_bad_bodies import CALLS, NO_TOKEN

#: What a call needs besides the field that is tried.
GOOD = {
    "email": "somebody@example.com",
    "password": PASSWORD,
    "currentPassword": PASSWORD,
    "newPassword": "another " + PASSWORD,
    "code": "0123456789AB",
    "purpose": "verify",
    "provider": "closed",
    "idToken": "x",
}
MAX_BODY_BYTES = 64 * 1024
#: Marks of several combining classes, in no order: what normalizing sorts the longest.
MARKS = "\u0301\u0323\u0345\u0334"
FILLERS = ["x", " ", "\u0301", MARKS, "🍉", "\ud800", "İ"]
FIELDS = [
    pytest.param(call, field, id=f"{' '.join(call)} {field.data_key}")
    for call, schema in CALLS.items()
    for field in schema().fields.values()
    if isinstance(field, fields.String)
]


@pytest.fixture
def normalized(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all texts that were normalized."""
    lengths: list[int] = []
    normalize = unicodedata.normalize

    def noted(form: Any, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", noted)
    return lengths


def passwords_hashed() -> float:
    return REGISTRY.get_sample_value("auth_passwords_total") or 0


def attempts_counted(app: Flask) -> int:
    with app.app_context(), db.session.begin():
        counted = db.session.scalar(db.select(db.func.sum(LoginFailures.failures)))
    return counted or 0


def call_with(device: Device, call: tuple[str, str], body: Any) -> TestResponse:
    method, path = call
    token = None if path in NO_TOKEN else device.token
    url = path.format(user_id=device.user_id, space_id="nowhere")
    return device.api.call(method, url, body, token=token)


@pytest.mark.any_backend
@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_field_of_ten_times_its_limit_is_refused_before_any_work(
    admin: Device,
    users_service: Flask,
    normalized: list[int],
    call: tuple[str, str],
    field: fields.Field,
) -> None:
    limit = field.check_sent.max if isinstance(field, Text) else 100
    key = str(field.data_key)
    known = {f.data_key for f in CALLS[call]().fields.values()}
    good = {k: v for k, v in GOOD.items() if k in known}
    if call == ("POST", "/spaces/{space_id}/invitations"):
        good["role"] = "reader"
    before = passwords_hashed(), attempts_counted(users_service)
    normalized.clear()
    for filler, length in product(FILLERS, (limit + 1, 10 * limit)):
        value = ("e" + filler * length)[:length]
        body = json.dumps(good | {key: value}).encode()
        refused = call_with(admin, call, body)
        if len(body) > MAX_BODY_BYTES:
            assert_problem(refused, 413, "too_large")
            continue
        problem = assert_problem(refused, 422, "invalid_request")
        assert list(problem["errors"]) == [key]
        # Nothing of the value comes back.
        assert len(refused.data) < 600
        if isinstance(field, Text):
            assert problem["errorCodes"] == {key: ["too_long"]}
    assert (passwords_hashed(), attempts_counted(users_service)) == before
    assert max(normalized, default=0) <= 512


def test_every_text_of_a_body_has_a_bound() -> None:
    words = ("role", "purpose", "is_active", "email_verified", "limit", "offset")
    for schema in [*CALLS.values(), ListParameters]:
        for name, field in schema._declared_fields.items():
            bounded = isinstance(field, Text) or name in words
            assert bounded, f"{schema.__name__}.{name}"


@pytest.mark.parametrize(
    "password", ["e\u0301" * 128, "\u1100\u1161\u11a8" * 128, "\u03b9\u0308\u0301\u0345"[:3] * 128]
)
def test_a_password_of_128_characters_may_come_in_any_normal_form(api: Api, password: str) -> None:
    body = {"email": new_email(), "password": password}
    assert api.post("/auth/register", body).status_code == 201
    for form in ("NFC", "NFD"):
        same = body | {"password": unicodedata.normalize(form, password)}
        assert api.post("/auth/login", same).status_code == 200


@pytest.mark.parametrize("password", ["x" * 129, "e\u0301" * 129, "e\u0301" * 7, "\u0301" * 600])
def test_characters_of_a_password_are_counted_in_nfc(api: Api, password: str) -> None:
    body = {"email": new_email(), "password": password}
    problem = assert_problem(api.post("/auth/register", body), 422, "invalid_request")
    assert list(problem["errors"]) == ["password"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "9" * 5000},
        {"limit": "9" * 30},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "1e2"},
        {"limit": "0x10"},
        {"limit": ""},
        {"limit": "Infinity"},
        {"offset": "9" * 5000},
        {"offset": "9" * 30},
        {"offset": "-1"},
        {"offset": "1.5"},
        {"q": "x" * 256},
        {"q": "e" + "\u0301" * 5000},
    ],
    ids=lambda query: str(query)[:30],
)
def test_a_parameter_out_of_bounds_is_400(admin: Device, query: dict[str, str]) -> None:
    refused = admin.api.get("/users", token=admin.token, query_string=query)
    problem = assert_problem(refused, 400, "invalid_parameter")
    assert list(problem["errors"]) == list(query)
    assert len(refused.data) < 600


@pytest.mark.parametrize("q", ["x" * 255, "%", "_", "\\", "🍉", "\0", "İ", "'", '"', "e\u0301"])
def test_any_search_within_bounds_is_answered(admin: Device, q: str) -> None:
    answer = admin.api.get("/users", token=admin.token, query_string={"q": q, "limit": 1})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/users/{}", "/auth/sessions/{}"])
@pytest.mark.parametrize("id_", ["x" * 37, "x" * 5000, "é", "%00", "a%0A", "..", "%F0%9F%8D%89"])
def test_what_cannot_be_an_id_is_404(admin: Device, path: str, id_: str) -> None:
    refused = admin.api.delete(path.format(id_), token=admin.token)
    assert_problem(refused, 404, "not_found")
