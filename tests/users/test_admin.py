"""Administration (docs/api.md, "Users service")."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

import services.users
from services import embedded
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.conftest import Backend, alembic, promote_to_admin
from tests.mails import mails, verify


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"),
        ("POST", "/users"),
        ("GET", "/users/{id}"),
        ("PATCH", "/users/{id}"),
        ("DELETE", "/users/{id}"),
    ],
)
def test_everybody_else_is_forbidden(device: Device, method: str, path: str) -> None:
    url = path.format(id=device.user_id)
    assert_problem(device.api.call(method, url, {}, token=device.token), 403, "forbidden")
    assert_problem(device.api.call(method, url, {}), 401, "unauthorized")


def test_an_account_is_made_read_changed_and_deleted(admin: Device) -> None:
    api, token, email = admin.api, admin.token, new_email()
    body = {"email": email.upper(), "password": PASSWORD, "name": "Bob", "role": "user"}
    made = api.post("/users", body, token=token)
    assert made.status_code == 201
    user = made.json
    assert (user["email"], user["name"], user["role"]) == (email, "Bob", "user")
    path = f"/users/{user['id']}"
    assert api.get(path, token=token).json == user
    device = api.login(email)

    renamed = new_email()
    changed = api.patch(path, {"email": renamed, "name": None}, token=token).json
    assert (changed["email"], changed["name"]) == (renamed, None)
    assert api.get("/users/me", token=device.token).json == changed

    assert api.patch(path, {"isActive": False}, token=token).json["isActive"] is False
    assert_problem(api.get("/users/me", token=device.token), 401, "unauthorized")
    for password, status, code in (
        (PASSWORD, 403, "account_disabled"),
        ("a wrong one", 401, "invalid_credentials"),
    ):
        refused = api.post("/auth/login", {"email": renamed, "password": password})
        assert_problem(refused, status, code)
    api.patch(path, {"isActive": True}, token=token)
    # What was ended stays ended.
    assert_problem(api.get("/users/me", token=device.token), 401, "unauthorized")
    api.login(renamed)

    assert api.delete(path, token=token).status_code == 204
    for call in (api.get, api.delete):
        assert_problem(call(path, token=token), 404, "not_found")
    assert_problem(api.patch(path, {}, token=token), 404, "not_found")
    api.register(renamed)


def test_a_taken_email_is_409(admin: Device, device: Device) -> None:
    other = admin.api.register()
    body = {"email": other.email.upper(), "password": PASSWORD}
    assert_problem(admin.api.post("/users", body, token=admin.token), 409, "email_taken")
    refused = admin.api.patch(f"/users/{admin.user_id}", {"email": other.email}, token=admin.token)
    assert_problem(refused, 409, "email_taken")


def test_a_role_counts_at_once(admin: Device) -> None:
    other = admin.api.register()
    path = f"/users/{other.user_id}"
    for role, status in (("admin", 200), ("user", 403)):
        assert admin.api.patch(path, {"role": role}, token=admin.token).json["role"] == role
        assert admin.api.get("/users", token=other.token).status_code == status


def test_the_list_has_pages_and_a_search(admin: Device) -> None:
    api, token = admin.api, admin.token
    mark = new_email().partition("@")[0]
    emails = [f"{number}-{mark}@example.com" for number in range(5)]
    for email in emails:
        api.register(email)
    api.post(
        "/users",
        {"email": new_email(), "password": PASSWORD, "name": f"50% {mark.upper()}_x"},
        token=token,
    )

    def listed(**parameters: Any) -> dict[str, Any]:
        answer = api.get("/users", token=token, query_string=parameters)
        assert answer.status_code == 200
        return answer.json

    found = listed(q=mark.upper())
    assert (found["total"], found["limit"], found["offset"]) == (6, 50, 0)
    assert [u["email"] for u in found["users"][:5]] == emails
    page = listed(q=mark, limit=2, offset=1)
    assert [u["email"] for u in page["users"]] == emails[1:3]
    assert (page["total"], page["limit"], page["offset"]) == (6, 2, 1)
    assert listed(q=f"50% {mark}_")["total"] == 1
    assert listed(q=f"5%{mark}")["total"] == 0
    assert listed(limit=1)["total"] >= 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 0),
        ("limit", 201),
        ("limit", "x"),
        ("offset", -1),
        ("offset", "1e9"),
        ("limit", ""),
    ],
)
def test_a_bad_parameter_is_400(admin: Device, name: str, value: object) -> None:
    answer = admin.api.get("/users", token=admin.token, query_string={name: value})
    assert list(assert_problem(answer, 400, "invalid_parameter")["errors"]) == [name]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "king"}, "role"),
        ({"isActive": "yes"}, "isActive"),
        ({"isActive": None}, "isActive"),
        ({"email": "x"}, "email"),
        ({"name": 7}, "name"),
    ],
)
def test_a_bad_change_names_its_field(admin: Device, body: Any, field: str) -> None:
    answer = admin.api.patch(f"/users/{admin.user_id}", body, token=admin.token)
    assert list(assert_problem(answer, 422, "invalid_request")["errors"]) == [field]


@pytest.fixture
def lone_api(backend: Backend, application: object) -> Iterator[tuple[Api, str]]:
    """An API of its own database, where nobody has appointed anybody yet."""
    migrate, service = backend.new_database("lone")
    alembic(migrate, "upgrade", "head")
    yield Api(embedded.create_app(DATABASE_URL=service)), service
    if backend.database:
        backend.database.drop_database("lone")
    else:
        (backend.directory / "lone.db").unlink()


def test_the_last_administrator_stays(lone_api: tuple[Api, str]) -> None:
    api, url = lone_api
    email = new_email()
    users = services.users.create_app(DATABASE_URL=url)
    said = promote_to_admin(users, email)
    last = api.login(email, said.split()[-1])
    path = f"/users/{last.user_id}"
    for change in ({"role": "user"}, {"isActive": False}, {"role": "user", "name": "x"}):
        assert_problem(api.patch(path, change, token=last.token), 409, "last_admin")
    assert_problem(api.delete(path, token=last.token), 409, "last_admin")
    own = {"password": said.split()[-1]}
    assert_problem(api.delete("/users/me", own, token=last.token), 409, "last_admin")
    assert api.patch(path, {"name": "Still here"}, token=last.token).status_code == 200

    # Of two that remove each other at the same time one stays.
    other = api.register()
    pairs = [(last, other), (other, last)]
    for _ in range(8):
        for device in (last, other):
            promote_to_admin(users, device.email)
        with ThreadPoolExecutor(2) as pool:
            statuses = list(pool.map(lambda pair: demote(*pair), pairs))
        assert sorted(statuses) in ([200, 403], [200, 409])


def demote(by: Device, target: Device) -> int:
    path = f"/users/{target.user_id}"
    return by.api.patch(path, {"role": "user"}, token=by.token).status_code


def test_the_command_appoints_an_account_that_there_is(
    device: Device, users_service: Flask
) -> None:
    said = promote_to_admin(users_service, device.email.upper())
    assert "Password" not in said
    assert device.api.get("/users", token=device.token).status_code == 200


def test_an_address_that_an_administrator_sets_is_told_and_gets_a_code(admin: Device) -> None:
    api, email = admin.api, new_email()
    device = api.register()
    verify(device)
    path = f"/users/{device.user_id}"
    changed = api.patch(path, {"email": email}, token=admin.token).json
    assert (changed["email"], changed["emailVerified"]) == (email, False)
    assert len(mails(device.email, "e-mail was changed")) == 1
    verify(device, email)
    assert api.get(path, token=admin.token).json["emailVerified"] is True


def test_an_administrator_verifies_by_hand_resends_ends_sessions_and_unlocks(
    admin: Device,
) -> None:
    api, token = admin.api, admin.token
    device = api.register()
    path = f"/users/{device.user_id}"
    assert api.patch(path, {"emailVerified": True}, token=token).json["emailVerified"] is True
    assert api.get("/users/me", token=device.token).json["emailVerified"] is True
    for purpose, status in (("verify", 202), ("reset", 202), ("reset", 429)):
        sent = api.post(f"{path}/send-code", {"purpose": purpose}, token=token)
        assert sent.status_code == status
    assert_problem(sent, 429, "too_many_codes")
    assert len(mails(device.email, "new password")) == 1
    assert api.delete(f"{path}/sessions", token=token).status_code == 204
    assert_problem(api.get("/users/me", token=device.token), 401, "unauthorized")
    wrong = {"email": device.email, "password": "wrong " + PASSWORD}
    for _ in range(11):
        refused = api.post("/auth/login", wrong)
    assert_problem(refused, 429, "too_many_attempts")
    assert api.delete(f"{path}/lockout", token=token).status_code == 204
    api.login(device.email)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "send-code", {"purpose": "verify"}),
        ("DELETE", "sessions", None),
        ("DELETE", "lockout", None),
    ],
)
def test_help_is_for_administrators_to_give_to_who_is_there(
    admin: Device, method: str, path: str, body: Any
) -> None:
    other = admin.api.register()
    own = f"/users/{other.user_id}/{path}"
    assert_problem(admin.api.call(method, own, body, token=other.token), 403, "forbidden")
    nobody = f"/users/{'0' * 36}/{path}"
    assert_problem(admin.api.call(method, nobody, body, token=admin.token), 404, "not_found")


def test_the_command_line_helps_as_well(device: Device) -> None:
    import services.users

    runner = services.users.create_app().test_cli_runner()

    def run(what: str, email: str) -> Any:
        return runner.invoke(args=["help-user", what, email])

    for what in ("verify", "send-reset-code", "unlock", "end-sessions"):
        done = run(what, device.email.upper())
        assert (done.exit_code, device.email.upper() in done.output) == (0, True), done.output
    assert len(mails(device.email, "new password")) == 1
    assert_problem(device.api.get("/users/me", token=device.token), 401, "unauthorized")
    assert device.api.login(device.email).tokens["user"]["emailVerified"] is True
    missing = run("unlock", new_email())
    assert missing.exit_code == 1
    assert "There is no account" in missing.output
    unknown = run("bless", device.email)
    assert (unknown.exit_code, len(unknown.output.splitlines())) == (2, 1), unknown.output
    assert "'bless' is not one of 'verify'" in unknown.output
