"""A push of the wrong shape is refused whole, and says why (docs/api.md, "Bad input")."""

from typing import Any

import pytest

import services.sync
from tests.api import Api, Device, assert_problem, project, task

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
        ({"tasks": {"created": [{"id": "x" * 129}]}}, "tasks.created.0"),
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
    # What cannot be the tables of a wrapped push is a table `changes` of a bare one.
    is_table = wrapped and not all(isinstance(c, dict) for c in body.values())
    assert list(problem["errors"]) == ["changes" if is_table else path]
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


def test_a_table_may_be_called_changes(device: Device) -> None:
    """Then a bare push has its lists there, where a wrapped one has the tables."""
    p = project()
    lists = {"created": [], "updated": [], "deleted": []}
    answer = device.push_raw({"projects": {"created": [p]}, "changes": lists})
    assert answer.status_code == 200, answer.text
    assert len(device.another().pull()["changes"]["projects"]["created"]) == 1
    refused = device.push_raw({"changes": lists | {"created": [{"id": "x"}]}})
    assert list(assert_problem(refused, 422, "invalid_request")["errors"]) == ["changes"]


def test_a_table_beside_the_changes_is_not_read_as_nothing(device: Device) -> None:
    for body in ({"changes": {}}, {"changes": {"tasks": {}}, "lastPulledAt": None}):
        refused = device.push_raw(body | {"projects": {"created": [project()]}})
        assert list(assert_problem(refused, 422, "invalid_request")["errors"]) == ["projects"]


def test_more_records_than_a_push_may_have_are_413_and_nothing_is_applied(
    device: Device, environ: dict[str, str]
) -> None:
    api = Api(services.sync.create_app(MAX_PUSH_RECORDS=3))
    three = {"projects": {"created": [project()], "updated": [project()], "deleted": ["x"]}}
    four = three | {"tasks": {"deleted": ["y"]}}
    for body in (four, {"changes": four}, {"projects": {"deleted": [1] * 4}}):
        refused = api.post("/sync", body, token=device.token)
        assert_problem(refused, 413, "too_large")
    assert device.pull()["changes"]["projects"]["created"] == []
    assert api.post("/sync", three, token=device.token).status_code == 200


@pytest.mark.parametrize("operation", ["created", "updated", "deleted"])
def test_an_answer_does_not_grow_with_the_faults_of_a_push(device: Device, operation: str) -> None:
    refused = device.push_raw({"projects": {operation: [1] * 100_000}})
    problem = assert_problem(refused, 422, "invalid_request")
    assert len(problem["errors"]) == 50
    assert problem["errorsOmitted"] == 100_000 - 50
    assert len(refused.get_data()) < 20_000
    names = {"t" * 5_000 + str(n): 1 for n in range(1_000)}
    assert len(device.push_raw(names | {"\ud800": 1}).get_data()) < 20_000


def test_the_service_lives_on_after_all_of_it(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]}, tasks={"created": [task(p["id"])]})
    assert len(device.another().pull()["changes"]["tasks"]["created"]) == 1
