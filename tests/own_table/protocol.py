"""The protocol over `comments`, a table that was only declared. Run by test_own_table.py."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import Device, assert_problem, new_id, project, task, wire


def comment(task_id: str, **values: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "_status": "created",
        "_changed": "",
        "body": "hello",
        "mood": None,
        "stars": 4.5,
        "is_pinned": False,
        "task_id": task_id,
    } | values


@pytest.fixture
def two(device: Device) -> tuple[Device, Device, Any, Any, Any]:
    """Two devices that know a project, a task and a comment."""
    p = project()
    t = task(p["id"])
    c = comment(t["id"])
    device.rows["comments"] = {}
    device.push(projects={"created": [p]}, tasks={"created": [t]}, comments={"created": [c]})
    device.pull()
    other = device.another()
    other.rows["comments"] = {}
    other.pull()
    return device, other, p, t, c


def test_every_bucket(two: Any) -> None:
    device, other, _, t, c = two
    assert other.rows["comments"] == {c["id"]: wire(c)}
    new = comment(t["id"], stars=-1e300, mood="🍉", is_pinned=True)
    device.push(comments={"created": [new], "updated": [c | {"body": "edited"}]})
    change = other.pull()["changes"]["comments"]
    assert change["created"] == [wire(new)]
    assert change["updated"] == [wire(c | {"body": "edited"})]
    device.pull()
    device.push(comments={"deleted": [new["id"]]})
    assert other.pull()["changes"]["comments"]["deleted"] == [new["id"]]


def test_edits_of_different_columns_both_stand(two: Any) -> None:
    device, other, _, _, c = two
    device.push(comments={"updated": [c | {"stars": 1, "_changed": "stars"}]})
    answer = other.push(comments={"updated": [c | {"mood": "new", "_changed": "mood"}]})
    assert answer["resolved"] == {"comments": [c["id"]]}
    device.pull()
    row = device.rows["comments"][c["id"]]
    assert (row["stars"], row["mood"]) == (1, "new")


def test_strict_conflicts(two: Any) -> None:
    device, other, _, _, c = two
    device.push(comments={"updated": [c | {"stars": 1}]})
    refused = other.push_raw({"comments": {"updated": [c]}}, conflicts="reject")
    assert assert_problem(refused, 409, "conflict")["conflicts"] == {"comments": [c["id"]]}


@pytest.mark.parametrize("what", ["projects", "tasks"])
def test_deleting_an_owner_reaches_down_to_the_comments(two: Any, what: str) -> None:
    device, other, p, t, c = two
    gone = {"projects": p, "tasks": t}[what]
    device.push(**{what: {"deleted": [gone["id"]]}})
    assert other.pull()["changes"]["comments"]["deleted"] == [c["id"]]


def test_an_orphan_is_stored_deleted_under_a_tombstone_of_its_owner(two: Any) -> None:
    device, other, *_ = two
    orphan = comment("never-seen")
    assert device.push(comments={"created": [orphan]})["upToDate"] is False
    change = other.pull()["changes"]
    assert change["comments"]["deleted"] == [orphan["id"]]
    assert change["tasks"]["deleted"] == ["never-seen"]


def test_bad_values_are_repaired_as_watermelondb_would(two: Any) -> None:
    device, _, _, t, _ = two
    bad = comment(t["id"], body=7, mood=[], stars="many", is_pinned="yes")
    assert device.push(comments={"created": [bad]})["repaired"] == {"comments": [bad["id"]]}
    device.pull()
    empty = {"body": "", "mood": None, "stars": 0, "is_pinned": False}
    assert device.rows["comments"][bad["id"]] == wire(bad) | empty


def test_a_migration_brings_the_table_and_its_columns(two: Any) -> None:
    device, other, _, t, c = two
    moody = comment(t["id"], mood="x", stars=0)
    device.push(comments={"created": [moody]})
    other.pull()

    def migrated(**migration: Any) -> Any:
        given = {"from": 1, "tables": [], "columns": []} | migration
        body = {"lastPulledAt": other.last_pulled_at, "migration": given}
        return other.api.post("/sync/pull", body, token=other.token).json["changes"]["comments"]

    assert {r["id"] for r in migrated(tables=["comments"])["created"]} == {c["id"], moody["id"]}
    for column, ids in (("mood", [moody["id"]]), ("stars", [c["id"]]), ("is_pinned", [])):
        found = migrated(columns=[{"table": "comments", "columns": [column]}])
        assert [r["id"] for r in found["updated"]] == ids


def test_pages_the_export_and_deletion_know_it_too(two: Any) -> None:
    device, _, _, _, c = two
    seen, cursor = [], {}
    while True:
        page = device.pull_raw("null", limit=1, **cursor).json
        seen += [r["id"] for r in page["changes"]["comments"]["created"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == [c["id"]]
    export = device.api.get("/users/me/export", token=device.token).json
    assert export["records"]["comments"] == [wire(c) | {"_deleted": False}]
    body = {"password": "correct horse battery"}
    assert device.api.delete("/users/me", body, token=device.token).status_code == 204


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stars=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_any_fraction_comes_back_as_it_was(two: Any, stars: list[float]) -> None:
    device, other, _, t, _ = two
    comments = [comment(t["id"], stars=value) for value in stars]
    device.push(comments={"created": comments})
    other.pull()
    assert [other.rows["comments"][c["id"]]["stars"] for c in comments] == stars
