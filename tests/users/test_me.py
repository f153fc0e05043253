"""One's own profile (docs/api.md, "Users service")."""

from typing import Any

import pytest

from tests.api import PASSWORD, Device, assert_problem, new_email
from tests.clock import Clock
from tests.conftest import Backend, on_servers
from tests.mails import verify


def test_me_is_the_user_of_the_token(device: Device) -> None:
    answer = device.api.get("/users/me", token=device.token)
    assert answer.status_code == 200
    assert answer.json == device.tokens["user"]


def test_a_name_can_be_set_and_taken_away(device: Device, clock: Clock) -> None:
    clock.advance(seconds=1)
    before = device.tokens["user"]
    named = device.api.patch("/users/me", {"name": "Ann \u0000 🍉"}, token=device.token).json
    assert named["name"] == "Ann \u0000 🍉"
    assert named["updatedAt"] > before["updatedAt"]
    assert named["createdAt"] == before["createdAt"]
    assert device.api.patch("/users/me", {"name": None}, token=device.token).json["name"] is None


def test_a_new_email_needs_the_password(device: Device) -> None:
    email = new_email()
    for sent, status, code in (
        ({}, 422, "invalid_request"),
        ({"currentPassword": "wrong password"}, 403, "wrong_password"),
        ({"currentPassword": ""}, 403, "wrong_password"),
    ):
        refused = device.api.patch("/users/me", {"email": email, **sent}, token=device.token)
        problem = assert_problem(refused, status, code)
        if status == 422:
            assert problem["errorCodes"] == {"currentPassword": ["required"]}
    body = {"email": email.upper(), "currentPassword": PASSWORD}
    asked = device.api.patch("/users/me", body, token=device.token).json
    assert (asked["email"], asked["pendingEmail"]) == (device.email, email)
    verify(device, email)
    assert device.api.login(email).user_id == device.user_id
    old = device.api.post("/auth/login", {"email": device.email, "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")


def test_an_email_of_somebody_else_is_409(device: Device) -> None:
    taken = device.api.register().email
    body = {"email": taken, "currentPassword": PASSWORD, "name": "Both or nothing"}
    assert_problem(device.api.patch("/users/me", body, token=device.token), 409, "email_taken")
    assert device.api.get("/users/me", token=device.token).json == device.tokens["user"]


def test_ones_own_email_again_needs_no_password(device: Device) -> None:
    body = {"email": device.email.upper()}
    answer = device.api.patch("/users/me", body, token=device.token)
    assert answer.json == device.tokens["user"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"email": "nobody"}, "email"),
        ({"email": None}, "email"),
        ({"email": "a@b.example", "currentPassword": 7}, "currentPassword"),
    ],
)
def test_a_bad_profile_names_its_field(device: Device, body: Any, field: str) -> None:
    refused = device.api.patch("/users/me", body, token=device.token)
    assert list(assert_problem(refused, 422, "invalid_request")["errors"]) == [field]


def test_role_and_state_are_not_ones_own_to_change(device: Device) -> None:
    body = {"role": "admin", "isActive": False, "id": "x", "password": "y"}
    assert device.api.patch("/users/me", body, token=device.token).json == device.tokens["user"]


@on_servers
def test_redis_never_holds_a_name_or_an_email(device: Device, backend: Backend) -> None:
    name = f"Somebody's own name {device.user_id}"
    device.api.patch("/users/me", {"name": name}, token=device.token)
    assert device.api.get("/users/me", token=device.token).json["name"] == name
    assert backend.redis
    with backend.redis.client() as client:
        texts = [client.dump(key) or b"" for key in client.scan_iter("*")]
    assert not [text for text in texts if name.encode() in text or device.email.encode() in text]
