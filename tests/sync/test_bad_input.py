"""A push of the wrong shape is refused whole, and says why (docs/api.md, "Bad input")."""

from typing import Any

import pytest

from tests.api import Device, assert_problem, project, task

GOOD = {"id": "good", "name": "applied only with the rest"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"strangers": {"created": [{"id": "x"}]}}, "strangers"),
        ({"users": {"deleted": ["x"]}}, "users"),
        ({"tasks": []}, "tasks"),
        ({"tasks": None}, "tasks"),
        ({"tasks": {"created": None}}, "tasks.created"),
        ({"tasks": {"created": {}}}, "tasks.created"),
        ({"tasks": {"create": []}}, "tasks.create"),
        ({"tasks": {"created": [1]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "ok"}, None]}}, "tasks.created.1"),
        ({"tasks": {"created": [{}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": 7}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": ""}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "x" * 37}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "a b"}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "a\n"}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "é"}]}}, "tasks.created.0"),
        ({"tasks": {"created": [{"id": "\ud800"}]}}, "tasks.created.0"),
        ({"tasks": {"deleted": ["'; DROP TABLE tasks; --"]}}, "tasks.deleted.0"),
        ({"tasks": {"deleted": [{"id": "x"}]}}, "tasks.deleted.0"),
        ({"tasks": {"created": [{"id": "x"}], "updated": [{"id": "x"}]}}, "tasks.updated.0"),
        ({"tasks": {"created": [{"id": "x"}], "deleted": ["x"]}}, "tasks.deleted.0"),
        ({"tasks": {"deleted": ["x", "x"]}}, "tasks.deleted.1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bad_shape_is_named_and_nothing_is_applied(
    device: Device, change: dict[str, Any], path: str, wrapped: bool
) -> None:
    device.pull()
    body = {"projects": {"created": [GOOD]}} | change
    problem = assert_problem(
        device.push_raw({"changes": body} if wrapped else body), 422, "invalid_request"
    )
    assert list(problem["errors"]) == [path]
    assert device.pull()["changes"]["projects"]["created"] == []


def test_changes_that_are_no_object_are_refused(device: Device) -> None:
    for wrong in (None, [], 1, "x"):
        assert_problem(device.push_raw({"changes": wrong}), 422, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_400(device: Device, body: bytes) -> None:
    assert_problem(device.push_raw(body), 400, "invalid_json")


@pytest.mark.parametrize(
    ("name", "value"),
    [("last_pulled_at", "x"), ("last_pulled_at", "-1"), ("conflicts", "maybe")],
)
def test_a_bad_parameter_is_named(device: Device, name: str, value: str) -> None:
    refused = device.push_raw({"projects": {"created": [GOOD]}}, **{name: value})
    assert list(assert_problem(refused, 400, "invalid_parameter")["errors"]) == [name]
    body = {"changes": {}, name: {"an": "object"}}
    refused = device.api.post("/sync/push", body, token=device.token)
    assert_problem(refused, 400, "invalid_parameter")


def test_numbers_of_any_size_and_half_surrogates_are_repaired(device: Device) -> None:
    device.pull()
    body = (
        b'{"projects":{"created":[{"id":"p","name":"a\\ud800b","created_at":'
        + b"9" * 6000
        + b',"updated_at":1e999}]}}'
    )
    answer = device.push_raw(body)
    assert answer.status_code == 200, answer.text
    assert answer.json["repaired"] == {"projects": ["p"]}
    (row,) = device.pull()["changes"]["projects"]["updated"]
    assert row["name"] == "a\ufffdb"
    assert (row["created_at"], row["updated_at"]) == (0, 0)


def test_the_service_lives_on_after_all_of_it(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]}, tasks={"created": [task(p["id"])]})
    assert len(device.another().pull()["changes"]["tasks"]["created"]) == 1
