"""Password, deletion and export of one's own account (docs/api.md, "Users service")."""

from typing import Any

import pytest

import services.users
from shared.database.base import Base, db
from tests.api import PASSWORD, Api, Device, assert_problem, project, task, wire
from tests.conftest import Backend

NEW = "another " + PASSWORD


def test_a_changed_password_counts_and_ends_every_other_session(device: Device) -> None:
    other = device.another()
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert device.api.put("/users/me/password", body, token=device.token).status_code == 204
    assert device.api.get("/users/me", token=device.token).status_code == 200
    assert_problem(device.api.get("/users/me", token=other.token), 401, "unauthorized")
    old = device.api.post("/auth/login", {"email": device.email, "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    device.api.login(device.email, NEW)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"currentPassword": "a wrong one", "newPassword": NEW}, 403, "wrong_password"),
        ({"currentPassword": PASSWORD, "newPassword": "short"}, 422, "invalid_request"),
        ({"currentPassword": PASSWORD, "newPassword": "password1"}, 422, "invalid_request"),
        ({"currentPassword": PASSWORD}, 422, "invalid_request"),
        ({"newPassword": NEW}, 422, "invalid_request"),
        ({"currentPassword": None, "newPassword": NEW}, 422, "invalid_request"),
    ],
    ids=str,
)
def test_a_refused_change_of_the_password_changes_nothing(
    device: Device, body: Any, status: int, code: str
) -> None:
    other = device.another()
    answer = device.api.put("/users/me/password", body, token=device.token)
    assert_problem(answer, status, code)
    assert device.api.get("/users/me", token=other.token).status_code == 200
    device.api.login(device.email)


def test_a_deleted_account_leaves_nothing_and_frees_its_email(
    device: Device, backend: Backend
) -> None:
    stranger = device.api.register()
    for user in (device, stranger):
        p = project(id="same")
        user.push(projects={"created": [p]}, tasks={"created": [task("same", id="t")]})
        user.pull()
        user.api.get("/users/me", token=user.token)
    body = {"password": PASSWORD}
    assert device.api.delete("/users/me", body, token=device.token).status_code == 204

    with services.users.create_app().app_context():
        for table in Base.metadata.sorted_tables:
            owner = "id" if table.name == "users" else "user_id"
            if owner in table.c:
                rows = db.session.execute(
                    table.select().where(table.c[owner] == device.user_id)
                ).all()
                assert rows == [], table.name
    if backend.redis:
        with backend.redis.client() as client:
            assert client.keys(f"*{device.user_id}*") == []
            assert client.keys(f"*{stranger.user_id}*") != []

    stranger.last_pulled_at = 0
    assert len(stranger.pull()["changes"]["tasks"]["created"]) == 1
    again = device.api.register(device.email)
    assert again.user_id != device.user_id
    assert again.pull()["changes"]["projects"]["created"] == []


def test_deletion_needs_the_password(device: Device) -> None:
    for body, status, code in (
        ({"password": "a wrong one"}, 403, "wrong_password"),
        ({}, 422, "invalid_request"),
    ):
        assert_problem(device.api.delete("/users/me", body, token=device.token), status, code)
    assert device.api.get("/users/me", token=device.token).status_code == 200


def test_the_export_is_all_there_is_and_no_hash(device: Device) -> None:
    kept, gone = project(name="🍉 \0"), project()
    t = task(kept["id"])
    device.push(projects={"created": [kept, gone]}, tasks={"created": [t]})
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    device.api.register().push(projects={"created": [project()]})
    answer = device.api.get("/users/me/export", token=device.token)
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    export = answer.json
    assert export.keys() == {"user", "sessions", "records"}
    assert export["user"] == device.tokens["user"]
    assert [s["id"] for s in export["sessions"]] == [device.session_id]
    by_id = {record["id"]: record for record in export["records"]["projects"]}
    assert by_id == {
        kept["id"]: wire(kept) | {"_deleted": False},
        gone["id"]: wire(gone) | {"_deleted": True},
    }
    assert export["records"]["tasks"] == [wire(t) | {"_deleted": False}]
    assert "hash" not in answer.text
    assert "$argon2" not in answer.text


def test_a_profile_is_never_stale_at_any_instance(device: Device) -> None:
    instances = [Api(services.users.create_app()) for _ in range(2)]
    for number in range(5):
        name = f"Name {number}"
        changed = instances[number % 2].patch("/users/me", {"name": name}, token=device.token)
        assert changed.status_code == 200
        for instance in instances:
            for _ in range(2):
                assert instance.get("/users/me", token=device.token).json["name"] == name
