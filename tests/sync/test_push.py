"""What a push does (docs/api.md, "Push")."""

import logging
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import services.sync
from services.sync.plan import MAX_PARENTS
from tests.api import Api, Device, assert_problem, changes, project, task, wire
from tests.clock import Clock


def server_rows(device: Device) -> dict[str, dict[str, Any]]:
    """What a fresh device of the same user gets."""
    fresh = device.another()
    fresh.pull()
    return fresh.rows


def nothing_to_tell(timestamp: int) -> dict[str, Any]:
    """The answer to a push that was stored as sent."""
    lists = ("resolved", "repaired", "ignored", "refused", "refusedReasons")
    return {"timestamp": timestamp, "upToDate": True, **{name: {} for name in lists}}


@pytest.fixture
def pair(device: Device) -> tuple[Device, Device, dict[str, Any]]:
    """Two devices of one user that both know one project, and the project."""
    p = project(name="old", description="old")
    device.push(projects={"created": [p]})
    device.pull()
    other = device.another()
    other.pull()
    return device, other, p


def test_every_spelling_of_the_call_works(device: Device) -> None:
    api, token = device.api, device.token
    device.pull()
    since = device.last_pulled_at
    ids = []
    for path, wrap in (
        (f"/sync?last_pulled_at={since}", lambda c: c),
        (f"/sync/push?lastPulledAt={since}", lambda c: c),
        (f"/sync/push?last_pulled_at={since}", lambda c: {"changes": c}),
        ("/sync/push", lambda c: {"changes": c, "lastPulledAt": since}),
        ("/sync", lambda c: {"changes": c, "last_pulled_at": since}),
    ):
        p = project()
        answer = api.post(path, wrap({"projects": {"created": [p]}}), token=token)
        assert answer.status_code == 200, answer.text
        assert answer.json.keys() == nothing_to_tell(0).keys()
        ids.append(p["id"])
    assert server_rows(device)["projects"].keys() == set(ids)


def test_created_updated_and_deleted_are_applied_at_one_tick(pair: Any) -> None:
    device, other, p = pair
    q = project()
    device.push(projects={"created": [q]})
    device.pull()
    p["name"] = "new"
    t = task(p["id"])
    tick = device.push(projects={"updated": [p], "deleted": [q["id"]]}, tasks={"created": [t]})[
        "timestamp"
    ]
    assert server_rows(device) == {"projects": {p["id"]: wire(p)}, "tasks": {t["id"]: wire(t)}}
    assert other.pull()["timestamp"] == tick


def test_an_update_of_an_unknown_record_creates_it(device: Device) -> None:
    p = project()
    device.push(projects={"updated": [p]})
    assert server_rows(device)["projects"] == {p["id"]: wire(p)}


def test_a_created_record_that_is_known_updates_it(pair: Any) -> None:
    device, _, p = pair
    p["name"] = "again"
    device.push(projects={"created": [p]})
    assert server_rows(device)["projects"] == {p["id"]: wire(p)}


def test_deleting_what_is_unknown_or_deleted_changes_nothing(pair: Any) -> None:
    device, _, p = pair
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    before = device.last_pulled_at
    answer = device.push(projects={"deleted": [p["id"], "unknown"]})
    assert answer == nothing_to_tell(before)


def test_a_seen_tombstone_becomes_live_again(pair: Any) -> None:
    device, _, p = pair
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    device.push(projects={"updated": [p]})
    assert server_rows(device)["projects"] == {p["id"]: wire(p)}


@pytest.mark.parametrize("operation", ["created", "updated"])
def test_an_unseen_tombstone_stays_deleted(pair: Any, operation: str) -> None:
    device, other, p = pair
    device.push(projects={"deleted": [p["id"]]})
    answer = other.push(projects={operation: [p]})
    assert answer["resolved"] == {"projects": [p["id"]]}
    assert answer["upToDate"] is False
    assert server_rows(device)["projects"] == {}
    assert other.pull()["changes"]["projects"]["deleted"] == [p["id"]]


def test_edits_of_different_columns_both_stand(pair: Any) -> None:
    device, other, p = pair
    device.push(projects={"updated": [p | {"name": "new", "_changed": "name"}]})
    answer = other.push(
        projects={"updated": [p | {"description": "new", "_changed": "description"}]}
    )
    assert answer["resolved"] == {"projects": [p["id"]]}
    assert answer["upToDate"] is False
    row = server_rows(device)["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("new", "new")


def test_of_edits_of_one_column_the_last_stands(pair: Any) -> None:
    device, other, p = pair
    device.push(projects={"updated": [p | {"name": "first", "_changed": "name"}]})
    other.push(projects={"updated": [p | {"name": "second", "_changed": "name"}]})
    assert server_rows(device)["projects"][p["id"]]["name"] == "second"


def test_without_changed_the_whole_record_is_written(pair: Any) -> None:
    device, other, p = pair
    device.push(projects={"updated": [p | {"name": "new"}]})
    other.push(projects={"updated": [p | {"description": "new"}]})
    row = server_rows(device)["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("old", "new")


def test_outside_a_conflict_changed_is_ignored(pair: Any) -> None:
    device, _, p = pair
    device.push(projects={"updated": [p | {"name": "a", "description": "b", "_changed": "name"}]})
    row = server_rows(device)["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("a", "b")


def test_deleting_beats_an_unseen_edit(pair: Any) -> None:
    device, other, p = pair
    device.push(projects={"updated": [p | {"name": "new"}]})
    assert other.push(projects={"deleted": [p["id"]]})["resolved"] == {"projects": [p["id"]]}
    assert server_rows(device)["projects"] == {}


def test_columns_that_an_older_app_does_not_know_stay(pair: Any) -> None:
    device, _, p = pair
    device.push(projects={"updated": [{"id": p["id"], "name": "new"}]})
    assert server_rows(device)["projects"][p["id"]] == wire(p | {"name": "new"})


def test_columns_missing_at_an_insert_are_empty(device: Device) -> None:
    device.push(
        projects={"created": [{"id": "p"}]}, tasks={"created": [{"id": "t", "project_id": "p"}]}
    )
    rows = server_rows(device)
    assert rows["projects"]["p"] == {
        "id": "p",
        "name": "",
        "description": None,
        "space_id": None,
        "created_at": 0,
        "updated_at": 0,
    }
    assert rows["tasks"]["t"]["is_completed"] is False


def test_unknown_and_server_columns_are_ignored(device: Device) -> None:
    foreign = {"user_id": "x", "created_at_ms": 1, "is_deleted": True, "future": [1], "\ud800": 1}
    p = project()
    answer = device.push(projects={"created": [p | foreign]})
    assert answer["repaired"] == {}
    assert answer["ignored"] == {"projects": [*list(foreign)[:-1], "?"]}
    assert server_rows(device)["projects"] == {p["id"]: wire(p)}


def test_ignored_columns_are_named_within_bounds(device: Device) -> None:
    many = {f"column{n}" + "x" * 1000: n for n in range(500)}
    answer = device.push(projects={"created": [project() | many], "updated": [project() | many]})
    names = answer["ignored"]["projects"]
    assert len(names) == 50
    assert names[0].startswith("column0x")
    assert max(map(len, names)) <= 64
    assert answer["upToDate"] is False
    device.pull()
    assert device.push(projects={"created": [project() | many]})["upToDate"] is True


@pytest.mark.parametrize(("for_people", "level"), [(True, "WARNING"), (False, "DEBUG")])
def test_ignored_columns_are_a_warning_to_those_who_build_the_app(
    device: Device, for_people: bool, level: str
) -> None:
    api = Api(services.sync.create_app(LOG_TEXT=for_people, LOG_LEVEL=logging.DEBUG))
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    logger = logging.getLogger("services.sync")
    logger.addHandler(handler)
    try:
        body = changes(projects={"created": [project(future=1, createdAt=1, descriptoin="x")]})
        api.post("/sync", body, token=device.token)
    finally:
        logger.removeHandler(handler)
        services.sync.create_app()
    (record,) = [r for r in said if r.getMessage() == "columns_ignored"]
    assert record.levelname == level
    assert vars(record)["columns"] == {"projects": ["future", "createdAt", "descriptoin"]}
    assert vars(record)["meant"] == {
        "projects.createdAt": "created_at",
        "projects.descriptoin": "description",
    }


def test_a_repaired_value_is_reported_and_pulled_back(pair: Any) -> None:
    device, _, p = pair
    answer = device.push(projects={"updated": [wire(p) | {"name": "x" * 300, "created_at": "7"}]})
    assert answer["repaired"] == {"projects": [p["id"]]}
    assert answer["upToDate"] is False
    (back,) = device.pull()["changes"]["projects"]["updated"]
    assert (back["name"], back["created_at"]) == ("x" * 255, 0)
    # Even when the repaired record is what the server has: the device still has the other value.
    device.push(projects={"updated": [wire(back) | {"created_at": "7"}]})
    assert device.pull()["changes"]["projects"]["updated"] == [back]


def test_deleting_a_project_deletes_its_tasks_for_everybody(pair: Any) -> None:
    device, other, p = pair
    inside, outside = task(p["id"]), task(p["id"])
    q = project()
    device.push(projects={"created": [q]}, tasks={"created": [inside, outside]})
    device.pull()
    other.pull()
    outside["project_id"] = q["id"]
    answer = device.push(projects={"deleted": [p["id"]]}, tasks={"updated": [outside]})
    assert answer["upToDate"] is False
    pulled = other.pull()["changes"]
    assert pulled["projects"]["deleted"] == [p["id"]]
    assert pulled["tasks"]["deleted"] == [inside["id"]]
    assert [t["id"] for t in pulled["tasks"]["updated"]] == [outside["id"]]
    assert server_rows(device)["tasks"].keys() == {outside["id"]}


def test_a_cascade_reaches_tasks_that_the_device_has_not_seen(pair: Any) -> None:
    device, other, p = pair
    unseen = task(p["id"])
    other.push(tasks={"created": [unseen]})
    device.push(projects={"deleted": [p["id"]]})
    assert server_rows(device)["tasks"] == {}
    assert other.pull()["changes"]["tasks"]["deleted"] == [unseen["id"]]


def test_a_task_moved_into_a_project_that_is_deleted_with_it_is_deleted(pair: Any) -> None:
    device, _, p = pair
    q, t = project(), task(p["id"])
    device.push(projects={"created": [q]}, tasks={"created": [t]})
    device.pull()
    device.push(projects={"deleted": [q["id"]]}, tasks={"updated": [t | {"project_id": q["id"]}]})
    assert server_rows(device)["tasks"] == {}


def test_a_task_of_a_deleted_project_is_stored_deleted(pair: Any) -> None:
    device, other, p = pair
    device.push(projects={"deleted": [p["id"]]})
    t = task(p["id"])
    answer = other.push(tasks={"created": [t]})
    assert answer["upToDate"] is False
    assert t["id"] in other.pull()["changes"]["tasks"]["deleted"]
    assert server_rows(device)["tasks"] == {}


@pytest.mark.parametrize("others", [0, MAX_PARENTS])
def test_of_new_records_those_live_whose_parent_does(device: Device, others: int) -> None:
    there, gone, going, coming = (project() for _ in range(4))
    more = [project() for _ in range(others)]
    device.push(projects={"created": [there, gone, going, *more]})
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    device.pull()
    living = [task(p["id"]) for p in (there, coming, *more)]
    orphans = [task(id_) for id_ in (gone["id"], going["id"], "never-seen")]
    told = device.push(
        projects={"created": [coming], "deleted": [going["id"]]},
        tasks={"created": [*orphans, *living]},
    )
    assert told["upToDate"] is False
    device.pull()
    assert device.rows["tasks"].keys() == {t["id"] for t in living}


@pytest.mark.parametrize("parent", ["never-seen", "", "no id!", None, 7, "x" * 129])
def test_an_orphan_is_stored_deleted_and_the_device_learns_of_it(
    device: Device, parent: object
) -> None:
    device.pull()
    orphan = task("p") | {"project_id": parent}
    assert device.push(tasks={"created": [orphan]})["upToDate"] is False
    pulled = device.pull()["changes"]
    assert pulled["tasks"]["deleted"] == [orphan["id"]]
    assert pulled["projects"]["deleted"] == (["never-seen"] if parent == "never-seen" else [])
    assert device.push(tasks={"created": [orphan]})["upToDate"] is False
    assert device.pull()["changes"]["tasks"]["deleted"] == [orphan["id"]]
    assert server_rows(device)["tasks"] == {}


def test_a_live_task_that_loses_its_owner_is_stored_deleted(pair: Any) -> None:
    device, other, p = pair
    t = task(p["id"])
    device.push(tasks={"created": [t]})
    device.pull()
    other.pull()
    device.push(tasks={"updated": [t | {"project_id": "never-seen"}]})
    assert other.pull()["changes"]["tasks"]["deleted"] == [t["id"]]


def test_the_same_push_twice_is_the_same_as_once(pair: Any) -> None:
    device, other, p = pair
    q, t = project(), task(p["id"])
    body = changes(
        projects={"created": [q], "updated": [p | {"name": "new"}]}, tasks={"created": [t]}
    )
    first = device.push_raw(body)
    rows = server_rows(device)
    other.pull()
    again = device.push_raw(body)
    assert again.status_code == 200
    assert again.json["timestamp"] == first.json["timestamp"]
    assert server_rows(device) == rows
    assert other.pull()["changes"]["projects"]["updated"] == []


def test_a_late_repeat_of_a_creation_overwrites_nothing(device: Device) -> None:
    p = project(name="first")
    body = changes(projects={"created": [p]})
    device.push_raw(body)
    other = device.another()
    other.pull()
    other.push(projects={"updated": [p | {"name": "edited elsewhere"}]})
    for conflicts in ("merge", "reject"):
        answer = device.push_raw(body, conflicts=conflicts)
        assert answer.json["resolved"] == {}
    assert server_rows(device)["projects"][p["id"]]["name"] == "edited elsewhere"


@pytest.mark.parametrize("since", ["null", "the first pull"])
def test_edits_made_since_a_creation_whose_answer_was_lost_are_written(
    device: Device, since: str
) -> None:
    """However often it happens, with and without `last_pulled_at`, by the strict rule too."""
    device.pull()
    lost = {"last_pulled_at": "null" if since == "null" else device.last_pulled_at}
    p = project(name="first", description="first")
    device.push_raw(changes(projects={"created": [p]}), **lost)
    for name, changed in (("second", "name"), ("third", "name"), ("third", "description,name")):
        p = p | {"name": name, "_changed": changed, "description": changed}
        answer = device.push_raw(changes(projects={"created": [p]}), conflicts="reject", **lost)
        assert answer.status_code == 200, answer.text
        assert answer.json["resolved"] == {}
        expected = {"name": name, "description": "first" if changed == "name" else changed}
        assert server_rows(device)["projects"][p["id"]].items() >= expected.items()
    # An app that leaves `_changed` out says nothing of what it changed.
    bare = wire(p) | {"name": "fourth", "description": "fourth"}
    device.push_raw(changes(projects={"created": [bare]}), **lost)
    assert server_rows(device)["projects"] == {p["id"]: bare}


def test_an_edit_that_a_repeat_cannot_write_is_a_conflict(device: Device) -> None:
    device.pull()
    p = project(name="first")
    device.push_raw(changes(projects={"created": [p]}))
    other = device.another()
    other.pull()
    other.push(projects={"updated": [p | {"name": "edited elsewhere"}]})
    edited = changes(projects={"created": [p | {"name": "edited", "_changed": "name"}]})
    assert_problem(device.push_raw(edited, conflicts="reject"), 409, "conflict")
    answer = device.push_raw(edited).json
    assert (answer["resolved"], answer["upToDate"]) == ({"projects": [p["id"]]}, False)
    assert server_rows(device)["projects"][p["id"]]["name"] == "edited elsewhere"
    # Once the device has pulled, it is an edit like any other.
    device.pull()
    device.push_raw(edited)
    assert server_rows(device)["projects"][p["id"]]["name"] == "edited"


@pytest.mark.parametrize("conflicts", ["merge", "reject"])
def test_an_edit_of_a_creation_in_doubt_meets_another_device_as_any_edit_does(
    device: Device, conflicts: str
) -> None:
    device.pull()
    p = project(name="old", description="old")
    device.push_raw(changes(projects={"created": [p]}))  # The answer is lost.
    device.pull()
    other = device.another()
    other.pull()
    other.push(projects={"updated": [p | {"description": "new", "_changed": "description"}]})
    edited = changes(projects={"created": [p | {"name": "new", "_changed": "name"}]})
    answer = device.push_raw(edited, conflicts=conflicts)
    if conflicts == "reject":
        assert_problem(answer, 409, "conflict")
        return
    assert answer.json["resolved"] == {"projects": [p["id"]]}
    row = server_rows(device)["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("new", "new")


def test_a_creation_in_doubt_that_was_not_edited_takes_back_nobodys_edit(device: Device) -> None:
    device.pull()
    p = project(name="old")
    device.push_raw(changes(projects={"created": [p]}))  # The answer is lost.
    device.pull()
    other = device.another()
    other.pull()
    other.push(projects={"updated": [p | {"name": "new", "_changed": "name"}]})
    device.push_raw(changes(projects={"created": [p]}))
    assert server_rows(device)["projects"][p["id"]]["name"] == "new"


def test_a_late_repeat_takes_back_no_edit_of_its_own_session(device: Device) -> None:
    device.pull()
    p = project(name="first", _changed="name")
    created = changes(projects={"created": [p]})
    device.push_raw(created)
    device.push_raw(changes(projects={"updated": [p | {"name": "later", "_changed": "name"}]}))
    device.push_raw(created)
    assert server_rows(device)["projects"][p["id"]]["name"] == "later"


def test_up_to_date_saves_the_echo(pair: Any) -> None:
    device, other, p = pair
    answer = device.push(projects={"updated": [p | {"name": "new"}], "created": [project()]})
    assert answer["upToDate"] is True
    device.last_pulled_at = answer["timestamp"]
    assert device.pull()["changes"]["projects"] == {"created": [], "updated": [], "deleted": []}
    other.push(projects={"created": [project()]})
    assert device.push(projects={"created": [project()]})["upToDate"] is False


def test_an_empty_push_takes_no_tick(pair: Any) -> None:
    device, other, _ = pair
    before = device.last_pulled_at
    for empty in ({}, {"projects": {}}, {"strangers": {"created": []}}):
        answer = device.push_raw(empty)
        assert answer.json == nothing_to_tell(before)
    assert other.pull()["timestamp"] == before


def test_strict_conflicts_abort_the_whole_push(pair: Any) -> None:
    device, other, p = pair
    t = task(p["id"])
    device.push(projects={"updated": [p | {"name": "new"}]})
    refused = other.push_raw(
        changes(projects={"updated": [p]}, tasks={"created": [t]}), conflicts="reject"
    )
    problem = assert_problem(refused, 409, "conflict")
    assert problem["conflicts"] == {"projects": [p["id"]]}
    assert server_rows(device)["tasks"] == {}
    other.pull()
    other.push(
        {"conflicts": "reject"},
        projects={"updated": [p | {"name": "newer"}]},
        tasks={"created": [t]},
    )
    assert server_rows(device)["projects"][p["id"]]["name"] == "newer"


def test_strict_conflicts_leave_alone_what_contradicts_nobody(pair: Any) -> None:
    device, other, p = pair
    t = task(p["id"])
    device.push(tasks={"created": [t]})
    device.pull()
    other.pull()
    device.push(tasks={"updated": [t | {"title": "unseen by the other"}]})
    # What the cascade reaches is no conflict, and neither is deleting twice.
    other.push({"conflicts": "reject"}, projects={"deleted": [p["id"]]})
    device.push({"conflicts": "reject"}, projects={"deleted": [p["id"]]})
    refused = device.push_raw(changes(projects={"updated": [p]}), conflicts="reject")
    assert_problem(refused, 409, "conflict")


def test_a_clock_set_back_still_ticks_forward(device: Device, clock: Clock) -> None:
    other = device.another()
    ticks = [device.push(projects={"created": [project()]})["timestamp"]]
    other.pull()
    clock.advance(seconds=-3600)
    for _ in range(3):
        p = project()
        ticks.append(device.push(projects={"created": [p]})["timestamp"])
        assert other.pull()["changes"]["projects"]["created"] == [wire(p)]
    assert ticks == sorted(set(ticks))


def test_two_users_may_hold_the_same_ids(device: Device) -> None:
    stranger = device.api.register()
    mine, theirs = project(id="same", name="mine"), project(id="same", name="theirs")
    for who, record in ((device, mine), (stranger, theirs)):
        who.push(projects={"created": [record]}, tasks={"created": [task("same", id="t")]})
    stranger.pull()
    stranger.push(projects={"deleted": ["same"]})
    assert server_rows(device)["projects"] == {"same": wire(mine)}
    assert server_rows(device)["tasks"].keys() == {"t"}
    assert server_rows(stranger) == {"projects": {}, "tasks": {}}


def test_a_row_that_is_older_than_a_required_relation_of_it_lives_until_it_names_a_parent(
    device: Device, environ: dict[str, str]
) -> None:
    p, dead = project(), project()
    edited, named = task(p["id"]), task(p["id"])
    device.push(projects={"created": [p, dead]}, tasks={"created": [edited, named]})
    engine = create_engine(environ["DATABASE_URL"])
    with engine.begin() as connection:
        # As a migration leaves them that adds the column.
        for one in (edited, named):
            connection.execute(
                text("UPDATE tasks SET project_id = NULL WHERE id = :id"), {"id": one["id"]}
            )
    engine.dispose()
    # The device's schema requires a text.
    changed = device.another().pull()["changes"]["tasks"]["created"]
    assert [row["project_id"] for row in changed] == ["", ""]
    device.pull()
    without = {k: v for k, v in edited.items() if k != "project_id"}
    for record in (without | {"title": "of an older app"}, edited | {"project_id": ""}):
        assert device.push(tasks={"updated": [record]})["upToDate"]
        device.pull()
        assert edited["id"] in device.rows["tasks"]
    device.push(projects={"deleted": [dead["id"]]})
    device.push(tasks={"updated": [edited, named | {"project_id": dead["id"]}]})
    device.pull()
    assert device.rows["tasks"].keys() == {edited["id"]}
    assert device.rows["tasks"][edited["id"]]["project_id"] == p["id"]
