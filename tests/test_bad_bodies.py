"""No body makes a service stumble: never a 5xx, always the error form (docs/design.md, invariant 6)."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema
from werkzeug.test import TestResponse

from services.openapi import routes
from shared.web.schemas import Body
from tests.api import PASSWORD, Device, new_email
from tests.histories import tried
from tests.sharing import make_space

#: What takes a body, by method and path; changes are tried by tests/sync.
CALLS: dict[tuple[str, str], type[Schema]] = {
    (method.upper(), path.removeprefix("/v1")): type(view.call.takes)
    for path, method, view, _ in routes()
    if isinstance(view.call.takes, Body)
}
#: Calls whose guard would answer before the body is looked at.
NO_TOKEN = {"/auth/refresh", "/auth/logout"}

#: Good, bad and hostile values for any field.
VALUES = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            0,
            -1,
            2**70,
            1e308,
            "",
            " ",
            "\0",
            "\ud800",
            "a\udfffb@example.com",
            "x" * 300,
            "🍉" * 300,
            "İ@EXAMPLE.com",
            "a@b",
            '"a b"@example.com',
            "'; DROP TABLE users; --",
            "admin",
            "%s%n{0}",
            [],
            {},
            [[]],
            {"$ne": None},
            PASSWORD,
        ]
    ),
    st.text(max_size=40),
    st.builds(new_email),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
EXTRA = st.dictionaries(
    st.sampled_from(["role", "id", "isActive", "createdAt", "__proto__", "constructor", ""]),
    VALUES,
    max_size=3,
)


def check(answer: TestResponse) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.mimetype == "application/problem+json"
        assert answer.json.keys() >= {"type", "title", "detail", "message", "code", "requestId"}
        assert answer.json["status"] == answer.status_code


def names(schema: type[Schema]) -> list[str]:
    return [str(field.data_key) for field in schema().fields.values()]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_any_values_in_any_fields(admin: Device, call: tuple[str, str]) -> None:
    method, path = call
    fields = st.fixed_dictionaries({}, optional=dict.fromkeys(names(CALLS[call]), VALUES))

    @settings(
        max_examples=tried(30),
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(fields, EXTRA)
    def run(body: dict[str, Any], extra: dict[str, Any]) -> None:
        target = admin.api.register()
        space = make_space(target) if "{space_id}" in path else ""
        url = path.format(user_id=target.user_id, space_id=space)
        who = target if path.startswith(("/users/me", "/spaces")) else admin
        token = None if path in NO_TOKEN else who.token
        answer = admin.api.call(method, url, extra | body, token=token)
        check(answer)
        if path == "/auth/register" and answer.status_code == 201:
            assert (answer.json["user"]["role"], answer.json["user"]["isActive"]) == ("user", True)

    run()


@pytest.mark.any_backend
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"email": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"email":' + b"[" * 100_000,
        b'{"email": "a@example.com", "email": {"b": 1}, "password": 1, "password": 2}',
        b'{"email": "\\ud800", "password": "\\udc00"}',
        b'{"email": 1e99999, "name": -1e99999}',
        b"1" * 100_000,
        b'"' + b"a" * 1_000_000 + b'"',
        b'{"a": 1',
        b"null",
        b"{}{}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_hostile_bytes(admin: Device, call: tuple[str, str], body: bytes) -> None:
    method, path = call
    token = None if path in NO_TOKEN else admin.token
    url = path.format(user_id=admin.user_id, space_id="nowhere")
    answer = admin.api.call(method, url, body, token=token)
    check(answer)
    assert answer.status_code >= 400
