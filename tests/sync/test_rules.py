"""What an app's rules see, change and refuse (docs/rules.md)."""

from typing import Any

import pytest

from shared.models import rules, tables
from shared.models.columns import DeclarationError
from shared.models.rules import Change, refuse, rule
from shared.models.tables import synced_tables
from tests.api import Api, Device, assert_problem, new_id, project, task, wire
from tests.rules import ruled
from tests.server import server_push
from tests.sharing import join, make_space


def never(change: Change) -> Any:
    return refuse("never")


def nothing(change: Change) -> None:
    """A rule that minds nothing."""


class Seen(list[Change]):
    """A rule that remembers what it was asked."""

    def __call__(self, change: Change) -> None:
        self.append(change)


def news(device: Device) -> dict[str, list[str]]:
    """The ids that a pull brings, by table."""
    changes = device.pull()["changes"]
    return {
        table: sorted([row["id"] for row in c["created"] + c["updated"]] + c["deleted"])
        for table, c in changes.items()
        if any(c.values())
    }


def test_what_a_rule_refuses_is_told_by_its_word_and_the_device_gets_the_servers_state_back(
    device: Device,
) -> None:
    p, edited, deleted = project(), project(), project()
    device.push(projects={"created": [edited, deleted]})
    device.pull()
    with ruled(projects=never):
        answer = device.push(
            projects={
                "created": [p],
                "updated": [{**edited, "name": "mine"}],
                "deleted": [deleted["id"]],
            }
        )
    ids = [p["id"], edited["id"], deleted["id"]]
    assert sorted(answer["refused"]["projects"]) == sorted(ids)
    assert answer["refusedReasons"] == {
        "projects": dict.fromkeys(answer["refused"]["projects"], "never")
    }
    assert (answer["upToDate"], answer["resolved"], answer["repaired"]) == (False, {}, {})
    # As the device has it, which applied its own push before.
    del device.rows["projects"][deleted["id"]]
    device.rows["projects"][p["id"]] = p
    assert news(device) == {"projects": sorted(ids)}
    assert device.rows["projects"] == {r["id"]: wire(r) for r in (edited, deleted)}
    assert news(device) == {}
    assert news(device.another()) == {"projects": sorted([edited["id"], deleted["id"]])}


def test_what_is_not_refused_of_the_same_push_is_written(device: Device) -> None:
    def no_bad_name(change: Change) -> Any:
        return refuse("bad_name") if change.after and change.after["name"] == "bad" else None

    good, bad = project(), project(name="bad")
    tasks = [task(good["id"]), task(bad["id"])]
    with ruled(projects=no_bad_name):
        answer = device.push(projects={"created": [bad, good]}, tasks={"created": tasks})
    assert answer["refusedReasons"] == {
        "projects": {bad["id"]: "bad_name"},
        "tasks": {tasks[1]["id"]: "bad_name"},
    }
    device.pull()
    assert device.rows == {
        "projects": {good["id"]: wire(good)},
        "tasks": {tasks[0]["id"]: wire(tasks[0])},
    }


def test_what_a_rule_changes_counts_as_repaired_and_the_device_pulls_it(device: Device) -> None:
    def shout(change: Change) -> Any:
        return {"name": change.after["name"].upper()} if change.after else None

    p, loud = project(name="quiet"), project(name="LOUD")
    device.pull()
    with ruled(projects=shout):
        answer = device.push(projects={"created": [p, loud]})
        assert (answer["repaired"], answer["upToDate"]) == ({"projects": [p["id"]]}, False)
        device.pull()
        assert device.rows["projects"][p["id"]]["name"] == "QUIET"
        # Ends as it is stored, which the device does not have.
        answer = device.push(projects={"updated": [{**p, "name": "quiet"}]})
        assert answer["repaired"] == {"projects": [p["id"]]}
        assert news(device) == {"projects": [p["id"]]}


def test_what_a_rule_changes_is_repaired_like_a_pushed_value(device: Device) -> None:
    def too_much(change: Change) -> Any:
        return {"name": "n" * 300, "description": 7}

    p = project()
    with ruled(projects=too_much):
        device.push(projects={"created": [p]})
    device.pull()
    row = device.rows["projects"][p["id"]]
    assert (row["name"], row["description"]) == ("n" * 255, None)


def test_rules_are_tried_in_order_and_each_sees_what_the_one_before_changed(
    device: Device,
) -> None:
    def add(letter: str) -> Any:
        return lambda change: {"name": change.after["name"] + letter}

    def stop_at_abc(change: Change) -> Any:
        return refuse("abc") if change.after and change.after["name"] == "abc" else None

    p, other = project(name="a"), project(name="x")
    with ruled(projects=[add("b"), add("c"), stop_at_abc, add("d")]):
        answer = device.push(projects={"created": [p, other]})
    assert answer["refusedReasons"] == {"projects": {p["id"]: "abc"}}
    device.pull()
    assert device.rows["projects"][other["id"]]["name"] == "xbcd"


def test_a_rule_sees_who_changes_what_in_which_space_and_role(api: Api) -> None:
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben, "writer")
    p, mine = project(space_id=space), project()
    seen = Seen()
    with ruled(projects=seen):
        ann.push(projects={"created": [p]})
        ben.pull()
        ben.push(projects={"updated": [{**p, "name": "Ben's"}], "created": [mine]})
        server_push(space, projects={"updated": [{"id": p["id"], "name": "ours"}]})
        server_push(ben.user_id, projects={"deleted": [mine["id"]]})
    # A push that needs to hold more spaces asks again.
    seen.pop(1)
    who = [(c.user_id, c.role, c.space_id, c.table, c.is_move) for c in seen]
    assert who == [
        (ann.user_id, "owner", space, "projects", False),
        (ben.user_id, "owner", ben.user_id, "projects", False),
        (ben.user_id, "writer", space, "projects", False),
        (None, "server", space, "projects", False),
        (None, "server", ben.user_id, "projects", False),
    ]
    stored = wire(p)
    assert (seen[0].before, seen[0].after) == (None, stored)
    assert (seen[1].before, seen[1].after) == (None, wire(mine) | {"space_id": ben.user_id})
    assert (seen[2].before, seen[2].after) == (stored, stored | {"name": "Ben's"})
    assert seen[3].after == stored | {"name": "ours"}
    assert (seen[4].before, seen[4].after) == (wire(mine) | {"space_id": ben.user_id}, None)


def test_a_rule_sees_the_record_as_it_would_be_once_it_is_merged(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    other = device.another()
    device.push(projects={"updated": [{**p, "name": "newer"}]})
    other.last_pulled_at = device.last_pulled_at
    seen = Seen()
    with ruled(projects=seen):
        edit = {**p, "description": 5, "_changed": "description"}
        answer = other.push(projects={"updated": [{**edit, "name": "old"}]})
        assert answer["resolved"] == {"projects": [p["id"]]}
        assert seen == [], "what changes nothing is no change"
        other.push(projects={"updated": [{**edit, "description": "x", "name": "old"}]})
    assert seen[0].before == wire(p) | {"name": "newer", "space_id": device.user_id}
    assert seen[0].after == {**seen[0].before, "description": "x"}


def test_what_refuses_is_no_conflict_though_the_device_is_strict(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    with ruled(projects=never):
        strict = {"conflicts": "reject"}
        answer = device.push(strict, projects={"updated": [{**p, "name": "other"}]})
    assert answer["refusedReasons"] == {"projects": {p["id"]: "never"}}


def test_a_tombstone_is_no_row_before(device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    seen = Seen()
    with ruled(projects=seen):
        device.push(projects={"updated": [p]})
    assert [(c.before, c.after is None) for c in seen] == [(None, False)]


def test_a_quota_holds_within_one_push(device: Device) -> None:
    def quota(change: Change) -> Any:
        if change.after and not change.before and change.count("projects") >= 10:
            return refuse("too_many")
        return None

    with ruled(projects=quota):
        first = [project() for _ in range(8)]
        assert device.push(projects={"created": first})["refused"] == {}
        device.pull()
        more = [project() for _ in range(100)]
        answer = device.push(projects={"created": more})
        assert len(answer["refused"]["projects"]) == 98
        device.pull()
        assert len(device.rows["projects"]) == 10
        # What makes room in the same push counts first.
        gone = [p["id"] for p in first[:3]]
        answer = device.push(projects={"created": [project() for _ in range(4)], "deleted": gone})
        assert len(answer["refused"]["projects"]) == 1


def test_what_goes_with_its_parent_makes_room_only_when_it_is_named(device: Device) -> None:
    def three(change: Change) -> Any:
        return refuse("full") if change.before is None and change.count("tasks") >= 3 else None

    gone, other = project(), project()
    under = [task(gone["id"]) for _ in range(3)]
    device.push(projects={"created": [gone, other]}, tasks={"created": under})
    device.pull()
    new = task(other["id"])
    ids = [t["id"] for t in under]
    with ruled(tasks=three):
        answer = device.push(projects={"deleted": [gone["id"]]}, tasks={"created": [new]})
        assert answer["refusedReasons"] == {"tasks": {new["id"]: "full"}}
        device.pull()
        assert device.rows["tasks"] == {}
        device.push(projects={"created": [gone]}, tasks={"created": under})
        device.pull()
        answer = device.push(
            projects={"deleted": [gone["id"]]}, tasks={"created": [new], "deleted": ids}
        )
        assert answer["refused"] == {}
    device.pull()
    assert device.rows["tasks"].keys() == {new["id"]}


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_rule_counts_right_however_many_rows_a_push_has(
    device: Device, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    monkeypatch.setattr("services.sync.push.CHUNK", 3)
    space = make_space(device) if is_shared else None
    p, other = project(space_id=space), project(space_id=space)
    there = [task(p["id"]) for _ in range(5)]
    device.push(projects={"created": [p]}, tasks={"created": there})
    device.pull()
    counts: list[tuple[int, int]] = []

    def count(change: Change) -> None:
        if change.after is None or change.after["title"] != "silent":
            counts.append((change.count("tasks"), change.count("projects")))

    silent = [task(p["id"], title="silent") for _ in range(4)]
    with ruled(tasks=count):
        answer = device.push(
            projects={"created": [other]},
            tasks={
                "created": [*silent, *(task(p["id"]) for _ in range(7))],
                "updated": [there[0] | {"title": "edited"}],
                "deleted": [there[1]["id"], there[2]["id"], "not-there"],
            },
        )
    assert answer["refused"] == {}
    # Two go, then eleven come, of which the first four do not count; then one is edited.
    assert counts == [(tasks, 2) for tasks in (5, 4, *range(7, 14), 14)]


def test_a_rule_finds_rows_with_what_the_push_has_done_so_far(device: Device) -> None:
    found: list[Any] = []

    def look(change: Change) -> None:
        if change.after:
            found.append(change.find("projects", change.after["project_id"]))

    there, gone, new = project(), project(), project()
    device.push(projects={"created": [there, gone]})
    device.pull()
    tasks = [task(p["id"]) for p in (there, gone, new)]
    tasks.append(task(new_id()))
    with ruled(tasks=look):
        device.push(
            projects={
                "created": [new],
                "updated": [{**there, "name": "edited"}],
                "deleted": [gone["id"]],
            },
            tasks={"created": tasks},
        )
    mine = {"space_id": device.user_id}
    assert found == [wire(there) | mine | {"name": "edited"}, None, wire(new) | mine, None]


def test_a_move_is_a_deletion_there_and_a_row_that_comes_into_being_here(api: Api) -> None:
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben, "writer")
    p = project(space_id=space)
    t = task(p["id"])
    ann.push(projects={"created": [p]}, tasks={"created": [t]})
    ann.pull()
    ben.pull()
    seen = Seen()
    with ruled(projects=seen, tasks=seen):
        ben.push(projects={"updated": [{**p, "space_id": None}]})
    told = [
        (c.table, c.space_id, c.role, c.before is None, c.after is None, c.is_move) for c in seen
    ]
    assert told == [
        ("projects", space, "writer", False, True, True),
        ("projects", ben.user_id, "owner", True, False, True),
    ], "and what moves along is not asked about"

    def stays(change: Change) -> Any:
        return refuse("stays") if change.after is None else None

    ben.pull()
    with ruled(projects=stays):
        answer = ben.push(projects={"updated": [{**p, "space_id": space}]})
    assert answer["refusedReasons"] == {"projects": {p["id"]: "stays"}}
    assert news(ben) == {"projects": [p["id"]]}
    assert ben.rows["projects"][p["id"]]["space_id"] is None
    assert news(ann) == {"projects": [p["id"]], "tasks": [t["id"]]}


def test_what_goes_with_a_parent_is_kept_with_it_and_cascades_are_not_asked_about(
    device: Device,
) -> None:
    p, other = project(), project()
    under, also = task(p["id"]), task(other["id"])
    device.push(projects={"created": [p, other]}, tasks={"created": [under, also]})
    device.pull()

    def keep(change: Change) -> Any:
        return refuse("kept") if not change.after and change.before["id"] == p["id"] else None

    gone = {"projects": {"deleted": [p["id"], other["id"]]}}
    with ruled(projects=keep):
        answer = device.push(**gone, tasks={"deleted": [under["id"], also["id"]]})
    assert answer["refusedReasons"] == {
        "projects": {p["id"]: "kept"},
        "tasks": {under["id"]: "kept"},
    }
    with ruled(tasks=never):
        assert device.push(projects={"deleted": [p["id"]]})["refused"] == {}
    device.pull()
    assert device.rows == {"projects": {}, "tasks": {}}


def test_the_servers_pushes_are_asked_about_too(device: Device) -> None:
    def hide(change: Change) -> Any:
        return {"description": None}

    p, bad = project(), project(name="bad")
    server_push(device.user_id, projects={"created": [p]})
    with ruled(projects=never):
        pushed = server_push(device.user_id, projects={"created": [bad]})
        assert pushed.to_wire()["refusedReasons"] == {"projects": {bad["id"]: "never"}}
        assert (pushed.up_to_date, pushed.timestamp) == (False, pushed.since)
    device.pull()
    with ruled(projects=hide):
        pushed = server_push(device.user_id, projects={"updated": [{**p, "description": "x"}]})
        assert pushed.repaired == {"projects": [p["id"]]}
    # It ends as it was, and the server needs not hear of that.
    assert news(device) == {}


def failing(change: Change) -> Any:
    raise RuntimeError("a bug")


def missing(change: Change) -> Any:
    from shared.web.errors import NotFound

    raise NotFound


@pytest.mark.parametrize(
    "bug",
    [
        failing,
        missing,
        lambda change: False,
        lambda change: "refused",
        lambda change: {"no_column": 1},
        lambda change: {"space_id": None},
        lambda change: {"id": "other"},
        lambda change: refuse("read_only"),
        lambda change: refuse("Not a word"),
        lambda change: change.after.update(name="mine"),
        lambda change: change.find("no_table", "x"),
    ],
)
def test_a_rule_that_fails_is_a_bug_and_nothing_is_applied(device: Device, bug: Any) -> None:
    def only_bad(change: Change) -> Any:
        return bug(change) if change.after and change.after["name"] == "bad" else None

    with ruled(projects=only_bad):
        body = {"projects": {"created": [project(), project(name="bad")]}}
        assert_problem(device.push_raw(body), 500, "internal_error")
    assert news(device) == {}


@pytest.mark.parametrize("word", ["", "Word", "a-b", "1st", "a" * 51, *sorted(rules.OWN_WORDS)])
def test_a_word_is_checked_when_it_is_made(word: str) -> None:
    with pytest.raises(ValueError, match="refuse"):
        refuse(word)
    assert refuse("a" + "9_" * 24 + "z").word


def test_a_rule_of_a_table_that_is_not_declared_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "RULES", {"taks": [nothing]})
    with pytest.raises(DeclarationError, match="nothing is about the table 'taks'"):
        synced_tables.__wrapped__()


def test_the_decorator_registers_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: dict[str, Any] = {}
    monkeypatch.setattr(rules, "RULES", registered)
    assert rule("tasks")(rule("projects")(nothing)) is nothing
    rule("tasks")(never)
    assert registered == {"projects": [nothing], "tasks": [nothing, never]}
