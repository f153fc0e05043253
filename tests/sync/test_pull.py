"""What a pull brings (docs/api.md, "Pull")."""

import pytest

from tests.api import Device, assert_problem, changes, project, task, wire
from tests.sync.aging import age
from tests.watermelon_model import ModelDevice, NetworkFailure

EMPTY = {
    "projects": {"created": [], "updated": [], "deleted": []},
    "tasks": {"created": [], "updated": [], "deleted": []},
}


@pytest.mark.parametrize("nothing_yet", ["null", "undefined", "", "0"])
def test_a_first_sync_of_a_user_without_data_is_empty_and_has_a_timestamp(
    device: Device, nothing_yet: str
) -> None:
    answer = device.pull_raw(nothing_yet)
    assert answer.status_code == 200
    assert answer.json["changes"] == EMPTY
    assert answer.json["timestamp"] > 0


def test_last_pulled_at_may_be_absent(device: Device) -> None:
    assert device.api.get("/sync/pull", token=device.token).json["changes"] == EMPTY


@pytest.mark.parametrize("bad", ["-1", "1.5", "x", "1e3", " 1", "0x1", "٣"])
def test_any_other_last_pulled_at_is_400(device: Device, bad: str) -> None:
    problem = assert_problem(device.pull_raw(bad), 400, "invalid_parameter")
    assert list(problem["errors"]) == ["last_pulled_at"]


def test_every_spelling_of_the_call_gives_the_same(device: Device) -> None:
    p = project()
    tick = device.push(projects={"created": [p]})["timestamp"]
    token, before = device.token, tick - 1
    api = device.api
    answers = [
        api.get(f"/sync?last_pulled_at={before}", token=token),
        api.get(f"/sync?lastPulledAt={before}", token=token),
        api.get(f"/sync/pull?last_pulled_at={before}", token=token),
        api.get(f"/sync/pull?lastPulledAt={before}", token=token),
        api.post("/sync/pull", {"lastPulledAt": before}, token=token),
        api.post("/sync/pull", {"last_pulled_at": str(before)}, token=token),
        api.post(f"/sync/pull?last_pulled_at={before}", {"lastPulledAt": 0}, token=token),
    ]
    assert [a.status_code for a in answers] == [200] * 7
    assert {a.text for a in answers} == {answers[0].text}
    assert answers[0].json["changes"]["projects"]["updated"] == [wire(p)]
    assert api.post("/sync/pull", token=token).json["changes"]["projects"]["created"] == [wire(p)]


def test_a_first_sync_has_every_live_row_and_no_tombstone(device: Device) -> None:
    kept, gone = project(), project()
    device.push(projects={"created": [kept, gone]})
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    answer = device.another().pull()
    assert answer["changes"]["projects"] == {"created": [wire(kept)], "updated": [], "deleted": []}


def test_changes_go_to_their_buckets(device: Device) -> None:
    other = device.another()
    edited, gone = project(), project()
    device.push(projects={"created": [edited, gone]})
    device.pull()
    other.pull()
    new = task(edited["id"])
    edited["name"] = "Edited"
    device.push(projects={"updated": [edited], "deleted": [gone["id"]]}, tasks={"created": [new]})
    answer = other.pull()
    assert answer["changes"] == {
        "projects": {"created": [], "updated": [wire(edited)], "deleted": [gone["id"]]},
        "tasks": {"created": [wire(new)], "updated": [], "deleted": []},
    }
    assert other.pull()["changes"] == EMPTY


def test_what_the_own_session_created_comes_back_as_updated(device: Device) -> None:
    device.pull()
    other = device.another()
    other.pull()
    p = project()
    device.push(projects={"created": [p]})
    assert device.pull()["changes"]["projects"]["updated"] == [wire(p)]
    assert other.pull()["changes"]["projects"]["created"] == [wire(p)]


def test_what_was_there_at_login_comes_as_updated_and_what_came_later_as_created(
    device: Device,
) -> None:
    """The session is not the device: a record that was deleted here must not come back."""
    # A user's clock may be ahead of the time.
    age(device, -1)
    device.pull()
    since = device.last_pulled_at
    mine, theirs = project(), project()
    device.push(projects={"created": [mine]})
    device.another().push(projects={"created": [theirs]})
    again = device.another()
    later = project()
    device.push(projects={"created": [later]})
    changed = again.pull_raw(since).json["changes"]["projects"]
    assert {p["id"] for p in changed["updated"]} == {mine["id"], theirs["id"]}
    assert changed["created"] == [wire(later)]
    # A first sync has no device that could know anything.
    assert len(again.pull_raw("null").json["changes"]["projects"]["created"]) == 3


def test_a_deletion_that_was_not_pushed_before_a_new_login_stays(device: Device) -> None:
    model = ModelDevice(device)
    model.sync()
    model.create("projects", project(id="p"))
    with pytest.raises(NetworkFailure):
        model.push(lose="answer")
    model.delete("projects", "p")
    model.login()
    model.sync()
    model.sync()
    assert model.rows()["projects"] == {}
    assert device.another().pull()["changes"]["projects"]["created"] == []


def test_a_row_that_lives_again_is_created_for_others(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    other = device.another()
    other.pull()
    device.push(projects={"updated": [p]})
    assert other.pull()["changes"]["projects"]["created"] == [wire(p)]


def test_timestamps_never_go_back_and_nothing_new_is_nothing(device: Device) -> None:
    seen = 0
    for _ in range(5):
        answer = device.push(projects={"created": [project()]})
        assert answer["timestamp"] > seen
        seen = device.pull()["timestamp"]
        assert seen == answer["timestamp"]
        assert device.pull()["changes"] == EMPTY
        assert device.last_pulled_at == seen


def test_a_device_ahead_of_the_clock_gets_every_live_row_as_updated(device: Device) -> None:
    p = project()
    now = device.push(projects={"created": [p]})["timestamp"]
    everything = {"created": [], "updated": [wire(p)], "deleted": []}
    for ahead in (now + 1000, 2**53, "9" * 30):
        for page in ({}, {"limit": 10}):
            answer = device.pull_raw(ahead, **page).json
            assert answer["changes"]["projects"] == everything
            assert answer["timestamp"] == now
        pushed = device.push_raw({"projects": {"deleted": ["unknown"]}}, last_pulled_at=ahead)
        assert pushed.json["upToDate"] is False


@pytest.mark.parametrize("name", ["sendCreatedAsUpdated", "send_created_as_updated"])
def test_created_goes_to_updated_on_request(device: Device, name: str) -> None:
    p = project()
    device.push(projects={"created": [p]})
    for since in ("null", 1):
        answer = device.another().pull_raw(since, **{name: 1}).json
        assert answer["changes"]["projects"]["created"] == []
        assert answer["changes"]["projects"]["updated"] == [wire(p)]


def test_times_and_texts_come_back_exactly(device: Device) -> None:
    text = (
        "".join(map(chr, range(0x20))) + '"\\/\u2028\u2029\ufeff\uffff🍉é e\u0301 <script>\x7f\x80'
    )
    p = project(name=text, description=text * 50, created_at=-(2**53), updated_at=2**53)
    device.push(projects={"created": [p]})
    device.pull()
    assert device.rows["projects"][p["id"]] == wire(p)


def test_ids_that_differ_in_case_are_two_records(device: Device) -> None:
    one, two = project(id="aB.-_"), project(id="Ab.-_")
    device.push(projects={"created": [one, two]})
    pulled = device.another().pull()["changes"]["projects"]["created"]
    assert sorted(r["id"] for r in pulled) == ["Ab.-_", "aB.-_"]


def test_no_record_has_a_server_column(device: Device) -> None:
    p = project()
    t = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    device.pull()
    assert device.rows == {"projects": {p["id"]: wire(p)}, "tasks": {t["id"]: wire(t)}}


def test_a_long_streamed_answer_is_whole(device: Device) -> None:
    projects = [project() for _ in range(2500)]
    device.push_raw(changes(projects={"created": projects}))
    first = device.another()
    first.pull()
    assert first.rows["projects"] == {p["id"]: wire(p) for p in projects}
