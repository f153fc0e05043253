"""A push by the app's own server, as a call (docs/api.md, "Writing rows"); test_door.py has the rest."""

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from shared.database.base import db
from shared.models.demo import Project
from tests.api import Device, assert_problem, changes, project, task, wire
from tests.service import Service, new_key, new_name
from tests.sharing import join, make_space
from tests.sync.feeds import Reader


def push(service: Service, space: str, **tables: Any) -> dict[str, Any]:
    body = {"changes": changes(**tables)}
    answer = service.call("POST", "/push", body, space=space)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def test_what_a_server_writes_every_device_of_every_member_pulls(
    service: Service, device: Device
) -> None:
    other = device.api.register()
    space = make_space(device)
    join(device, space, other)
    p = project()
    t = task(p["id"])
    answer = push(service, space, projects={"created": [p]}, tasks={"created": [t]})
    assert answer == {
        "timestamp": answer["timestamp"],
        "upToDate": True,
        "resolved": {},
        "repaired": {},
        "ignored": {},
        "refused": {},
        "refusedReasons": {},
    }
    for reader in (device, other):
        assert reader.pull()["timestamp"] == answer["timestamp"]
        assert reader.rows["projects"] == {p["id"]: wire(p | {"space_id": space})}
        assert reader.rows["tasks"] == {t["id"]: wire(t)}
    assert [c["tick"] for c in Reader(service, space).read()] == [answer["timestamp"]] * 2
    push(service, space, projects={"deleted": [p["id"]]})
    for reader in (device, other):
        reader.pull()
        assert reader.rows == {"projects": {}, "tasks": {}}


def test_nothing_is_unseen_to_a_server_and_equal_rows_are_no_change(
    service: Service, device: Device
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"updated": [p | {"name": "the device's"}]})
    ours = p | {"name": "the server's", "_changed": "description", "_status": "updated"}
    body = {"changes": changes(projects={"updated": [ours]}), "lastPulledAt": 1}
    ignored = {"conflicts": "reject", "last_pulled_at": 1}
    answer = service.call("POST", "/push", body, space=device.user_id, **ignored)
    assert answer.status_code == 200, answer.text
    assert answer.json["resolved"] == {}
    tick = answer.json["timestamp"]
    # A nightly job that writes everything again wakes nobody.
    again = push(service, device.user_id, projects={"updated": [ours]})
    assert again["timestamp"] == tick
    device.pull()
    assert device.last_pulled_at == tick
    assert device.rows["projects"][p["id"]]["name"] == "the server's"
    # What is deleted lives again.
    device.push(projects={"deleted": [p["id"]]})
    push(service, device.user_id, projects={"updated": [ours]})
    device.pull()
    assert device.rows["projects"].keys() == {p["id"]}


def test_rows_have_the_name_of_the_key_that_made_them(
    service: Service, device: Device, sync_service: Flask
) -> None:
    name = new_name()
    named = Service(service.api, new_key(sync_service, "sync:write", name=name))
    p = project()
    push(named, device.user_id, projects={"created": [p]})
    with sync_service.app_context(), db.session.begin():
        by = db.session.scalars(select(Project.created_by).where(Project.id == p["id"])).all()
    assert by == [name]


def test_a_record_goes_to_the_space_of_the_call_or_to_another_that_there_is(
    service: Service, device: Device
) -> None:
    space = make_space(device)
    ours, theirs, nowhere = project(), project(space_id=space), project(space_id="nowhere")
    answer = push(service, device.user_id, projects={"created": [ours, theirs, nowhere]})
    assert answer["refusedReasons"] == {"projects": {nowhere["id"]: "no_such_space"}}
    assert answer["refused"] == {"projects": [nowhere["id"]]}
    device.pull()
    assert {id_: row["space_id"] for id_, row in device.rows["projects"].items()} == {
        ours["id"]: None,
        theirs["id"]: space,
    }


def test_a_push_to_nowhere_is_404_and_one_without_a_space_400(
    service: Service, device: Device
) -> None:
    body = {"changes": changes(projects={"created": [project()]})}
    for space in ("nobody", "é", "x" * 500, "\0"):
        assert_problem(service.call("POST", "/push", body, space=space), 404, "not_found")
    for query in ({}, {"space": ""}):
        refused = assert_problem(
            service.call("POST", "/push", body, **query), 400, "invalid_parameter"
        )
        assert list(refused["errors"]) == ["space"]
    space = make_space(device)
    device.api.delete(f"/spaces/{space}", token=device.token)
    assert_problem(service.call("POST", "/push", body, space=space), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"changes": {"projects": {"created": [{}]}}}', 422, "invalid_request"),
        (b'{"changes": {"projects": {"created": {}}}}', 422, "invalid_request"),
        (b'{"changes": {"projects": {"made": []}}}', 422, "invalid_request"),
        (b'{"changes": {"nothing": {"created": [{"id": "x"}]}}}', 422, "invalid_request"),
        (b'{"changes": 1}', 422, "invalid_request"),
        (b"[" * 2_000_000, 413, "too_large"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_push_is_refused_whole(
    service: Service, device: Device, body: bytes, status: int, code: str
) -> None:
    assert_problem(service.call("POST", "/push", body, space=device.user_id), status, code)


@pytest.mark.parametrize("bad", [None, 5, True, "", "no such", "ä" * 9, [], ["a"], {}, {"a": 1}])
def test_a_bad_name_of_a_parent_is_an_orphan_whoever_sends_it(
    service: Service, device: Device, bad: Any
) -> None:
    space = make_space(device)
    for_own, for_space, own = (task(bad) for _ in range(3))
    p = project(space_id=space)
    push(service, device.user_id, tasks={"created": [for_own]})
    push(service, space, tasks={"created": [for_space]})
    device.pull()
    # A device whose push goes to a space.
    device.push(projects={"created": [p]}, tasks={"created": [own]})
    device.pull()
    assert device.rows["tasks"] == {} and set(device.rows["projects"]) == {p["id"]}


def test_a_push_may_be_longer_than_other_bodies(service: Service, device: Device) -> None:
    projects = [project(description="x" * 60_000) for _ in range(20)]
    push(service, device.user_id, projects={"created": projects})
    device.pull()
    assert device.rows["projects"].keys() == {p["id"] for p in projects}
    # Of other service calls none is.
    body = json.dumps(projects).encode()
    assert_problem(service.call("GET", "/spaces", body), 413, "too_large")
