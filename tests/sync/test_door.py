"""What the app's own server pushes, and who hears of it (docs/api.md, "Push")."""

from typing import Any

import pytest
from sqlalchemy import select

import services.sync
from services.sync.door import MAX_SPACES, NoSuchSpace
from services.sync.plan import PushResult
from shared.database.base import db
from shared.models import User
from shared.models.tables import tables_by_name
from shared.web.errors import TooLarge
from tests.api import Api, Device, new_id, project, task, wire
from tests.server import server_push
from tests.sharing import join, leave, make_space


@pytest.fixture
def pair(api: Api) -> tuple[Device, Device, str]:
    """Ann, Ben, who reads alone, and a space of hers; both have pulled."""
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben, "reader")
    ann.pull()
    ben.pull()
    return ann, ben, space


def changed(device: Device) -> dict[str, list[str]]:
    """The ids that a pull brings, by table."""
    changes = device.pull()["changes"]
    return {
        table: sorted([row["id"] for row in c["created"] + c["updated"]] + c["deleted"])
        for table, c in changes.items()
        if any(c.values())
    }


def clock_of(*devices: Device) -> list[int]:
    return [device.pull_raw(0).json["timestamp"] for device in devices]


def refusals(pushed: PushResult) -> dict[str, str]:
    return {id_: word for words in pushed.refused.values() for id_, word in words.items()}


def test_what_the_server_pushes_reaches_every_device_of_the_user(device: Device) -> None:
    p, other = project(), device.another()
    t = task(p["id"])
    device.pull()
    other.pull()
    pushed = server_push(device.user_id, projects={"created": [p]}, tasks={"updated": [t]})
    assert (pushed.up_to_date, pushed.resolved, pushed.refused) == (True, {}, {})
    for one in (device, other):
        assert one.pull()["timestamp"] == pushed.timestamp
        assert one.rows == {"projects": {p["id"]: wire(p)}, "tasks": {t["id"]: wire(t)}}


@pytest.mark.parametrize("named", ["absent", None, "", "own"])
def test_what_the_server_pushes_to_a_shared_space_reaches_all_members_at_one_tick(
    pair: tuple[Device, Device, str], named: str | None
) -> None:
    ann, ben, space = pair
    p = project(space_id=space if named == "own" else named)
    if named == "absent":
        del p["space_id"]
    t = task(p["id"])
    pushed = server_push(space, projects={"created": [p]}, tasks={"created": [t]})
    assert pushed.refused == {}
    for one in (ann, ben, ann.another()):
        assert one.pull()["timestamp"] == pushed.timestamp
        assert one.rows["projects"][p["id"]] == wire(p) | {"space_id": space}
        assert one.rows["tasks"][t["id"]] == wire(t)


def test_to_the_server_nothing_is_unseen_and_what_is_changed_is_its_own_to_say(
    device: Device,
) -> None:
    p = project(description="hers")
    device.push(projects={"created": [p]})
    device.pull()
    sent = {"id": p["id"], "name": "the server's", "_changed": "", "_status": "synced"}
    pushed = server_push(device.user_id, projects={"updated": [sent]})
    assert (pushed.up_to_date, pushed.resolved) == (True, {})
    device.pull()
    row = device.rows["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("the server's", "hers")


@pytest.mark.parametrize("operation", ["created", "updated"])
def test_what_was_deleted_lives_again_when_the_server_pushes_it(
    device: Device, operation: str
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    other = device.another()
    other.pull()
    server_push(device.user_id, projects={operation: [p]})
    other.pull()
    assert other.rows["projects"] == {p["id"]: wire(p)}


def test_what_is_stored_as_it_is_pushed_takes_no_tick_and_wakes_nobody(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p, long = project(), project(name="n" * 300)
    t = task(p["id"])
    everything: dict[str, Any] = {
        "projects": {"created": [p, long], "deleted": [new_id()]},
        "tasks": {"updated": [t, task("not an id")]},
    }
    first = server_push(space, **everything)
    assert first.repaired == {"projects": [long["id"]]}
    ann.pull()
    ben.pull()
    before = clock_of(ann, ben)
    again = server_push(space, **everything)
    # It is said all the same what is not as it was sent.
    assert (again.repaired, again.up_to_date) == (first.repaired, False)
    assert again.timestamp == first.timestamp
    assert server_push(space, projects={"updated": [p]}).up_to_date is True
    assert clock_of(ann, ben) == before
    assert changed(ann) == changed(ben) == {}


def test_a_push_of_nothing_is_the_clock(device: Device) -> None:
    device.push(projects={"created": [project()]})
    assert server_push(device.user_id).timestamp == clock_of(device)[0]


def test_a_record_that_names_another_space_goes_there_with_all_below_it(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p = project()
    t, deleted = task(p["id"]), task(p["id"])
    server_push(space, projects={"created": [p]}, tasks={"created": [t, deleted]})
    server_push(space, tasks={"deleted": [deleted["id"]]})
    ann.pull()
    ben.pull()
    moved = server_push(space, projects={"updated": [{"id": p["id"], "space_id": ann.user_id}]})
    assert moved.refused == {}
    assert changed(ben) == changed(ann) == {"projects": [p["id"]], "tasks": [t["id"]]}
    assert ben.rows == {"projects": {}, "tasks": {}}
    assert ann.rows["projects"] == {p["id"]: wire(p) | {"space_id": None}}
    assert ann.rows["tasks"] == {t["id"]: wire(t)}
    server_push(ann.user_id, projects={"updated": [{"id": p["id"], "space_id": space}]})
    ben.pull()
    assert ben.rows["projects"].keys() == {p["id"]}


def test_a_record_that_names_another_space_means_its_row_there(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p = project(space_id=space)
    ann.push(projects={"created": [p]})
    new = task(p["id"])
    pushed = server_push(
        ben.user_id,
        projects={"updated": [{"id": p["id"], "space_id": space, "name": "there"}]},
        tasks={"created": [new]},
    )
    assert pushed.up_to_date is True
    ann.pull()
    assert ann.rows["projects"][p["id"]]["name"] == "there"
    assert ann.rows["tasks"].keys() == {new["id"]}


def test_what_is_under_a_record_that_stays_as_it_is_goes_to_its_space(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p = project(space_id=space)
    ann.push(projects={"created": [p]})
    new = task(p["id"])
    server_push(ben.user_id, projects={"updated": [wire(p)]}, tasks={"created": [new]})
    ann.pull()
    assert ann.rows["tasks"].keys() == {new["id"]}


def test_without_the_name_of_a_space_a_record_is_the_calls_own_whatever_others_have(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p, other = project(space_id=space), project(space_id=space)
    ann.push(projects={"created": [p]})
    # The space is named by another record.
    mine = {**p, "space_id": None, "name": "Ben's"}
    server_push(ben.user_id, projects={"created": [other, mine]})
    stranger = ben.another()
    leave(space, ben)
    stranger.pull()
    assert stranger.rows["projects"] == {p["id"]: wire(mine)}
    ann.pull()
    assert ann.rows["projects"][p["id"]] == wire(p)


def test_what_names_no_space_that_there_is_is_refused_with_what_is_under_it(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    gone = make_space(ann)
    assert ann.api.delete(f"/spaces/{gone}", token=ann.token).status_code == 204
    named = [gone, new_id(), "é" * 5, "x" * 5000, "a b"]
    projects = [project(space_id=name) for name in named]
    tasks = [task(p["id"]) for p in projects]
    fine = project()
    before = clock_of(ben)
    pushed = server_push(space, projects={"created": projects}, tasks={"created": tasks})
    assert refusals(pushed) == {row["id"]: "no_such_space" for row in [*projects, *tasks]}
    assert pushed.to_wire()["refused"].keys() == {"projects", "tasks"}
    assert pushed.up_to_date is False
    assert clock_of(ben) == before, "what is refused concerns nobody"
    pushed = server_push(space, projects={"created": [*projects, fine]})
    assert changed(ben) == {"projects": [fine["id"]]}


def test_a_row_is_not_moved_onto_one_that_lives_there(pair: tuple[Device, Device, str]) -> None:
    ann, _, space = pair
    p = project(space_id=space)
    ann.push(projects={"created": [p]})
    other = ann.api.register()
    theirs = project()
    t = task(theirs["id"], id=new_id())
    other.push(projects={"created": [theirs]}, tasks={"created": [t]})
    mine = task(p["id"], id=t["id"])
    ann.push(tasks={"created": [mine]})
    moved = server_push(space, projects={"updated": [{"id": p["id"], "space_id": other.user_id}]})
    assert refusals(moved) == {p["id"]: "duplicate_id"}
    other.pull()
    assert other.rows["projects"].keys() == {theirs["id"]}


@pytest.mark.parametrize("space", ["", "nobody", "x" * 99, "é", "a b"])
def test_there_must_be_such_a_space(device: Device, space: str) -> None:
    with pytest.raises(NoSuchSpace) as raised:
        server_push(space, projects={"created": [project(space_id=device.user_id)]})
    assert (raised.value.status, raised.value.code) == (404, "not_found")


def test_what_has_ended_takes_no_push(device: Device) -> None:
    space = make_space(device)
    assert device.api.delete(f"/spaces/{space}", token=device.token).status_code == 204
    with pytest.raises(NoSuchSpace):
        server_push(space, projects={"created": [project()]})
    body = {"password": "correct horse battery"}
    assert device.api.delete("/users/me", body, token=device.token).status_code == 204
    with pytest.raises(NoSuchSpace):
        server_push(device.user_id, projects={"created": [project()]})


def test_a_push_holds_no_more_spaces_than_it_may(api: Api, device: Device) -> None:
    others = [api.register().user_id for _ in range(3)]
    projects = [project(space_id=id_) for id_ in others]
    # That there are none of these costs a look, and is a refusal.
    projects += [project(space_id=new_id()) for _ in range(2 * MAX_SPACES)]
    assert len(refusals(server_push(device.user_id, projects={"created": projects}))) == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.sync.door.MAX_SPACES", 2)
        with pytest.raises(TooLarge):
            server_push(device.user_id, projects={"created": projects})


def test_relations_hold_for_the_server_too(device: Device) -> None:
    orphan = task(new_id())
    assert server_push(device.user_id, tasks={"created": [orphan]}).up_to_date is False
    p = project()
    t = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    device.pull()
    pushed = server_push(device.user_id, projects={"deleted": [p["id"]]})
    assert pushed.up_to_date is False
    device.pull()
    assert device.rows == {"projects": {}, "tasks": {}}


def test_a_row_notes_who_made_it_and_a_device_that_pushes_it_as_new_edits_it(
    device: Device,
) -> None:
    p = project()
    server_push(device.user_id, author="k" * 36, projects={"created": [p]})
    sql = tables_by_name()["projects"].sql
    with services.sync.create_app().app_context():
        assert db.session.scalar(select(sql.c.created_by).where(sql.c.id == p["id"])) == "k" * 36
        marks = select(User.pushed_by, User.pushed_at).where(User.id == device.user_id)
        assert tuple(db.session.execute(marks).one()) == (None, None)
    device.pull()
    device.push(projects={"created": [p | {"name": "again", "_changed": "name"}]})
    device.pull()
    assert device.rows["projects"][p["id"]]["name"] == "again"


def test_who_left_a_space_hears_nothing_of_what_the_server_does_there(
    pair: tuple[Device, Device, str],
) -> None:
    ann, ben, space = pair
    p = project(space_id=space)
    ann.push(projects={"created": [p]})
    ben.pull()
    other = ben.another()
    other.pull()
    leave(space, ben)
    ben.pull()
    server_push(space, projects={"deleted": [p["id"]]})
    server_push(space, projects={"updated": [p]})
    assert changed(ben) == {}
    # The same is told to a device that has not heard of the leaving yet: it has the row from before.
    assert changed(other) == {"projects": [p["id"]]}
    assert other.rows["projects"] == {}
    join(ann, space, ben)
    ben.pull()
    assert ben.rows["projects"].keys() == {p["id"]}
