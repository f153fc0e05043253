"""Rows that users share: where they go, who gets them, and who may not write them (docs/api.md, "Spaces")."""

import json
from typing import Any

import pytest
from sqlalchemy import update

import services.sync
from shared.database.base import db
from shared.models import Space
from tests.api import Api, Device, assert_problem, new_id, project, task, wire
from tests.clock import Clock
from tests.sharing import join, leave, make_space


class Team:
    """A space of Ann's, in which Ben writes and Cleo reads. Dan is a stranger."""

    def __init__(self, api: Api) -> None:
        self.ann, self.ben, self.cleo, self.dan = (api.register() for _ in range(4))
        self.space = make_space(self.ann)
        join(self.ann, self.space, self.ben, "writer")
        join(self.ann, self.space, self.cleo, "reader")
        for device in (self.ann, self.ben, self.cleo, self.dan):
            device.pull()

    def project(self, **values: Any) -> dict[str, Any]:
        return project(space_id=self.space) | values

    def shared(self, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
        """A project of the space and a task in it, that everybody has pulled."""
        p = self.project()
        t = task(p["id"])
        answer = device.push(projects={"created": [p]}, tasks={"created": [t]})
        assert answer["refused"] == {}
        for member in (self.ann, self.ben, self.cleo):
            member.pull()
        return p, t


@pytest.fixture
def team(api: Api) -> Team:
    return Team(api)


def news(device: Device, **parameters: Any) -> dict[str, dict[str, list[Any]]]:
    """What a pull brings, by table, without what is empty; ids alone."""
    answer = device.pull(**parameters)
    return {
        table: {
            bucket: sorted(row if bucket == "deleted" else row["id"] for row in rows)
            for bucket, rows in change.items()
            if rows
        }
        for table, change in answer["changes"].items()
        if any(change.values())
    }


def test_every_member_gets_what_one_pushes_into_a_space(team: Team) -> None:
    p, t = team.project(), task("?")
    t["project_id"] = p["id"]
    answer = team.ben.push(projects={"created": [p]}, tasks={"created": [t]})
    assert answer["upToDate"] is True
    for device in (team.ann, team.cleo, team.ben.another()):
        device.pull()
        assert device.rows["projects"][p["id"]] == wire(p)
        assert device.rows["tasks"][t["id"]] == wire(t)
    assert news(team.dan) == {}


def test_one_tick_moves_the_clocks_of_all_members(team: Team) -> None:
    tick = team.ben.push(projects={"created": [team.project()]})["timestamp"]
    assert {device.pull()["timestamp"] for device in (team.ann, team.ben, team.cleo)} == {tick}


@pytest.mark.parametrize("named", [None, "", "own"])
def test_null_nothing_and_ones_own_id_are_the_personal_space(team: Team, named: Any) -> None:
    p = team.project(space_id=team.ben.user_id if named == "own" else named)
    team.ben.push(projects={"created": [p]})
    team.ben.pull()
    assert team.ben.rows["projects"][p["id"]]["space_id"] is None
    assert news(team.ann) == {}


@pytest.mark.parametrize("who", ["cleo", "dan"])
def test_who_may_not_write_is_refused_and_gets_the_servers_state_back(team: Team, who: str) -> None:
    device: Device = getattr(team, who)
    p, t = team.shared(team.ann)
    new = team.project()
    under = task(new["id"])
    mine = project()
    edited = {**p, "name": "mine now"}
    answer = device.push(
        projects={"created": [new, mine], "updated": [edited]},
        tasks={"created": [under], "deleted": [t["id"]] if who == "cleo" else []},
    )
    word = "read_only" if who == "cleo" else "no_such_space"
    gone = [under["id"], t["id"]] if who == "cleo" else [under["id"]]
    assert {name: sorted(ids) for name, ids in answer["refused"].items()} == {
        "projects": sorted([new["id"], p["id"]]),
        "tasks": sorted(gone),
    }
    assert {w for words in answer["refusedReasons"].values() for w in words.values()} == {word}
    assert (answer["upToDate"], answer["resolved"]) == (False, {})
    came = news(device)
    assert new["id"] in came["projects"]["deleted"]
    assert under["id"] in came["tasks"]["deleted"]
    if who == "cleo":
        assert p["id"] in came["projects"]["updated"]
        assert came["tasks"]["updated"] == [t["id"]]
        assert device.rows["projects"][p["id"]] == wire(p)
    else:
        assert p["id"] in came["projects"]["deleted"]
    assert mine["id"] in device.rows["projects"]
    assert news(team.ann) == {}, "what is refused concerns nobody else"


def test_what_is_refused_is_no_conflict_though_the_device_is_strict(team: Team) -> None:
    p, _ = team.shared(team.ann)
    team.ann.push(projects={"updated": [{**p, "name": "newer"}]})
    answer = team.cleo.push({"conflicts": "reject"}, projects={"updated": [{**p, "name": "older"}]})
    assert answer["refused"] == {"projects": [p["id"]]}


def test_a_move_is_an_update_to_who_reads_both_a_creation_or_deletion_to_who_reads_one(
    team: Team,
) -> None:
    other = make_space(team.ann)
    join(team.ann, other, team.dan, "reader")
    p, t = team.shared(team.ann)
    team.dan.pull()
    answer = team.ann.push(projects={"updated": [{**p, "space_id": other}]})
    assert answer["refused"] == {}
    assert news(team.ann.another()) == {
        "projects": {"created": [p["id"]]},
        "tasks": {"created": [t["id"]]},
    }
    assert news(team.dan) == {
        "projects": {"created": [p["id"]]},
        "tasks": {"created": [t["id"]]},
    }
    assert news(team.cleo) == {
        "projects": {"deleted": [p["id"]]},
        "tasks": {"deleted": [t["id"]]},
    }
    both = team.ann.another()
    both.last_pulled_at = team.ann.last_pulled_at
    assert news(both) == {"projects": {"updated": [p["id"]]}, "tasks": {"updated": [t["id"]]}}


def test_a_row_that_moves_under_a_parent_elsewhere_goes_there(team: Team) -> None:
    mine = project()
    team.ben.push(projects={"created": [mine]})
    p, t = team.shared(team.ben)
    team.ben.push(tasks={"updated": [{**t, "project_id": mine["id"]}]})
    assert news(team.ann) == {"tasks": {"deleted": [t["id"]]}}
    team.ben.push(tasks={"updated": [{**t, "project_id": p["id"]}]})
    assert news(team.ann)["tasks"].keys() == {"created"}


def test_a_move_takes_the_right_to_write_in_both_spaces(team: Team) -> None:
    mine = project()
    team.cleo.push(projects={"created": [mine]})
    team.cleo.pull()
    answer = team.cleo.push(projects={"updated": [{**mine, "space_id": team.space}]})
    assert answer["refusedReasons"] == {"projects": {mine["id"]: "read_only"}}
    assert news(team.cleo) == {"projects": {"updated": [mine["id"]]}}
    p, _ = team.shared(team.ann)
    answer = team.cleo.push(projects={"updated": [{**p, "space_id": None}]})
    assert answer["refusedReasons"] == {"projects": {p["id"]: "read_only"}}


def test_a_move_onto_an_id_that_lives_there_is_refused_with_all_below(team: Team) -> None:
    _, t = team.shared(team.ann)
    mine = project()
    team.ben.push(projects={"created": [mine]}, tasks={"created": [task(mine["id"])]})
    own = task(mine["id"], id=t["id"])
    # The same id in the personal space, made before there was a shared row that it could mean.
    alone = team.ben.api.register()
    theirs = project()
    alone.push(
        projects={"created": [theirs]}, tasks={"created": [{**own, "project_id": theirs["id"]}]}
    )
    join(team.ann, team.space, alone)
    alone.pull()
    answer = alone.push(projects={"updated": [{**theirs, "space_id": team.space}]})
    assert answer["refusedReasons"] == {"projects": {theirs["id"]: "duplicate_id"}}
    alone.pull()
    assert alone.rows["projects"][theirs["id"]]["space_id"] is None
    assert alone.rows["tasks"][t["id"]]["project_id"] == theirs["id"]


def test_in_a_conflict_that_does_not_name_it_a_row_stays_in_its_space(team: Team) -> None:
    p, _ = team.shared(team.ann)
    team.ann.push(projects={"updated": [{**p, "name": "Ann's"}]})
    edit = {**p, "space_id": None, "description": "Ben's", "_changed": "description"}
    team.ben.push(projects={"updated": [edit]})
    team.cleo.pull()
    row = team.cleo.rows["projects"][p["id"]]
    assert (row["name"], row["description"], row["space_id"]) == ("Ann's", "Ben's", team.space)


def test_a_deletion_beats_a_move(team: Team) -> None:
    p, _ = team.shared(team.ann)
    team.ann.push(projects={"deleted": [p["id"]]})
    team.ben.push(projects={"updated": [{**p, "space_id": None}]})
    team.ben.pull()
    assert p["id"] not in team.ben.rows["projects"]


@pytest.mark.parametrize("value", [5, True, [], {}])
def test_a_space_that_is_no_text_is_repaired(team: Team, value: Any) -> None:
    new = team.project(space_id=value)
    answer = team.ben.push(projects={"created": [new]})
    assert answer["repaired"] == {"projects": [new["id"]]}
    p, _ = team.shared(team.ann)
    answer = team.ben.push(projects={"updated": [{**p, "space_id": value, "name": "kept"}]})
    assert answer["repaired"] == {"projects": [p["id"]]}
    team.ben.pull()
    assert team.ben.rows["projects"][new["id"]]["space_id"] is None
    assert team.ben.rows["projects"][p["id"]]["space_id"] == team.space
    assert team.ben.rows["projects"][p["id"]]["name"] == "kept"


def test_who_joins_gets_every_row_as_created_and_who_leaves_loses_them(team: Team) -> None:
    p, t = team.shared(team.ann)
    join(team.ann, team.space, team.dan)
    there = {"projects": {"created": [p["id"]]}, "tasks": {"created": [t["id"]]}}
    gone = {"projects": {"deleted": [p["id"]]}, "tasks": {"deleted": [t["id"]]}}
    assert news(team.dan) == there
    leave(team.space, team.dan)
    later = team.project()
    team.ann.push(projects={"created": [later]})
    assert news(team.dan) == gone
    join(team.ann, team.space, team.dan)
    there["projects"]["created"] = sorted([p["id"], later["id"]])
    assert news(team.dan) == there


def test_who_was_away_while_leaving_and_coming_back_misses_no_deletion(team: Team) -> None:
    p, t = team.shared(team.ann)
    leave(team.space, team.ben)
    team.ann.push(projects={"deleted": [p["id"]]})
    join(team.ann, team.space, team.ben)
    news(team.ben)
    assert p["id"] not in team.ben.rows["projects"]
    assert t["id"] not in team.ben.rows["tasks"]


def test_nobody_learns_of_what_is_made_after_they_left(team: Team) -> None:
    p, _ = team.shared(team.ann)
    leave(team.space, team.ben)
    later = team.project()
    team.ann.push(projects={"created": [later]})
    answer = team.ben.pull_raw().text
    assert p["id"] in answer
    assert later["id"] not in answer
    assert later["id"] not in team.ben.pull_raw("null").text


def test_a_row_that_lives_again_after_one_left_still_leaves_their_device(team: Team) -> None:
    p, _ = team.shared(team.ann)
    leave(team.space, team.ben)
    team.ann.push(projects={"deleted": [p["id"]]})
    team.ann.pull()
    team.ann.push(projects={"updated": [p]})
    assert p["id"] in news(team.ben)["projects"]["deleted"]
    # Who has heard of leaving hears no more.
    team.ben.push(projects={"created": [project()]})
    assert "deleted" not in news(team.ben)["projects"]


def test_of_two_rows_with_one_id_the_personal_one_is_sent_and_the_other_comes_when_it_goes(
    team: Team,
) -> None:
    own = project(name="own")
    alone = team.ben.api.register()
    alone.push(projects={"created": [own]})
    team.ann.push(projects={"created": [team.project(id=own["id"], name="shared")]})
    join(team.ann, team.space, alone)
    alone.pull()
    assert alone.rows["projects"][own["id"]]["name"] == "own"
    alone.push(projects={"deleted": [own["id"]]})
    assert own["id"] in news(alone)["projects"]["updated"]
    assert alone.rows["projects"][own["id"]]["name"] == "shared"


def test_a_pushed_record_means_the_row_of_the_space_that_it_names(team: Team) -> None:
    own = project(name="own")
    alone = team.ben.api.register()
    alone.push(projects={"created": [own]})
    shared = team.project(id=own["id"], name="shared")
    team.ann.push(projects={"created": [shared]})
    join(team.ann, team.space, alone)
    alone.pull()
    alone.push(projects={"updated": [{**shared, "name": "edited"}]})
    team.ann.pull()
    assert team.ann.rows["projects"][own["id"]]["name"] == "edited"
    alone.pull()
    assert alone.rows["projects"][own["id"]]["name"] == "own"


def test_nobody_squats_an_id_of_a_space_that_they_are_not_in(team: Team) -> None:
    p, t = team.shared(team.ann)
    answer = team.dan.push(
        projects={"created": [project(id=p["id"])]}, tasks={"created": [task(p["id"], id=t["id"])]}
    )
    assert (answer["refused"], answer["resolved"], answer["upToDate"]) == ({}, {}, True)
    team.ann.pull()
    assert team.ann.rows["projects"][p["id"]] == wire(p)


def test_a_tag_of_another_space_does_not_hold_a_row(team: Team) -> None:
    """A parent is looked for in the row's own space."""
    p, t = team.shared(team.ann)
    team.ben.push(tasks={"updated": [{**t, "project_id": "unknown"}]})
    team.ann.pull()
    assert t["id"] not in team.ann.rows["tasks"]
    assert p["id"] in team.ann.rows["projects"]


def test_a_deleted_space_leaves_every_device(team: Team) -> None:
    p, t = team.shared(team.ann)
    assert team.ann.api.delete(f"/spaces/{team.space}", token=team.ann.token).status_code == 204
    gone = {"projects": {"deleted": [p["id"]]}, "tasks": {"deleted": [t["id"]]}}
    for device in (team.ann, team.ben, team.cleo):
        assert news(device) == gone
        assert news(device.another()) == {}
    answer = team.ben.push(projects={"updated": [p]})
    assert answer["refusedReasons"] == {"projects": {p["id"]: "no_such_space"}}


def test_pages_together_are_the_whole_answer(team: Team) -> None:
    for _ in range(5):
        team.shared(team.ann)
    team.ben.push(projects={"created": [project() for _ in range(5)]})
    whole = team.ben.another()
    whole.pull()
    for limit in (1, 3, 100):
        paged = team.ben.another()
        answer = paged.pull_raw("null", limit=limit).json
        while True:
            for table, change in answer["changes"].items():
                for record in change["created"]:
                    assert record["id"] not in paged.rows[table], "an id came twice"
                    paged.rows[table][record["id"]] = record
            if "cursor" not in answer:
                break
            answer = paged.pull_raw("null", limit=limit, cursor=answer["cursor"]).json
        assert paged.rows == whole.rows


def test_a_cursor_of_before_goes_on_without_the_rows_of_a_space_that_was_left(team: Team) -> None:
    for _ in range(3):
        team.shared(team.ann)
    mine = task("unknown")
    team.ben.push(tasks={"created": [mine]})
    device = team.ben.another()
    first = device.pull_raw("null", limit=1).json
    leave(team.space, team.ben)
    rest = device.pull_raw("null", limit=100, cursor=first["cursor"])
    assert_problem(rest, 400, "invalid_cursor")
    rest = device.pull_raw("null", limit=1, cursor=first["cursor"]).json
    assert rest["timestamp"] == first["timestamp"]
    assert not any(rows for change in rest["changes"].values() for rows in change.values())


def test_a_cursor_is_refused_when_what_it_owes_was_purged_of_a_space(team: Team) -> None:
    p, t = team.shared(team.ann)
    team.ann.push(projects={"deleted": [p["id"]]})
    first = team.ben.pull_raw(limit=1).json
    assert "cursor" in first
    assert team.ben.pull_raw(limit=1, cursor=first["cursor"]).json["changes"]["tasks"][
        "deleted"
    ] == [t["id"]]
    with services.sync.create_app().app_context(), db.session.begin():
        purged = update(Space).where(Space.id == team.space)
        db.session.execute(purged.values(purged_until=first["timestamp"]))
    refused = team.ben.pull_raw(limit=1, cursor=first["cursor"])
    assert_problem(refused, 400, "invalid_cursor")
    assert team.ben.pull()["experimentalStrategy"] == "replacement"


def test_a_migration_brings_all_rows_of_every_space(team: Team) -> None:
    _, t = team.shared(team.ann)
    migration = '{"from":1,"tables":["tasks"],"columns":[]}'
    answer = team.cleo.pull(migration=migration)
    assert [row["id"] for row in answer["changes"]["tasks"]["created"]] == [t["id"]]


def test_a_clock_that_is_ahead_of_the_others_goes_for_all(team: Team, clock: Clock) -> None:
    clock.advance(seconds=60)
    team.dan.push(projects={"created": [project()]})
    ahead = team.dan.pull()["timestamp"]
    clock.reset()
    join(team.ann, team.space, team.dan)
    tick = team.ben.push(projects={"created": [team.project()]})["timestamp"]
    assert tick > ahead
    assert team.dan.pull()["timestamp"] == tick


@pytest.mark.parametrize(
    ("migration", "comes"),
    [
        ({"tables": [], "columns": [{"table": "projects", "columns": ["name"]}]}, "updated"),
        ({"tables": [], "columns": [{"table": "projects", "columns": ["description"]}]}, "updated"),
        ({"tables": ["projects"], "columns": []}, "created"),
    ],
)
def test_a_migration_brings_what_was_refused_once(
    team: Team, migration: dict[str, Any], comes: str
) -> None:
    """Else the device could not apply the answer, nor any after it."""
    p, _ = team.shared(team.ann)
    team.cleo.push(projects={"updated": [{**p, "name": "mine now"}]})
    came = news(team.cleo, migration=json.dumps({"from": 1} | migration))
    assert came["projects"] == {comes: [p["id"]]}


class Twins:
    """Two rows with one id, of which Ann is sent that of the team's space."""

    def __init__(self, team: Team) -> None:
        self.other = make_space(team.ann)
        join(team.ann, self.other, team.dan)
        team.dan.pull()
        self.row = team.project()
        self.hidden = {**self.row, "space_id": self.other, "name": "hidden"}
        team.ben.push(projects={"created": [self.row]})
        team.dan.push(projects={"created": [self.hidden]})
        team.ann.pull()
        assert team.ann.rows["projects"][self.row["id"]] == wire(self.row)


@pytest.mark.parametrize("goes", ["deleted", "moved"])
def test_a_push_by_which_another_row_comes_forward_leaves_something_to_pull(
    team: Team, goes: str
) -> None:
    twins = Twins(team)
    if goes == "deleted":
        answer = team.ann.push(projects={"deleted": [twins.row["id"]]})
    else:
        third = make_space(team.ann)
        team.ann.pull()
        answer = team.ann.push(projects={"updated": [{**twins.row, "space_id": third}]})
    assert answer["upToDate"] is False
    team.ann.pull()
    assert team.ann.rows["projects"][twins.row["id"]] == wire(twins.hidden)


def test_who_writes_a_row_that_they_are_not_sent_gets_back_the_one_that_they_are(
    team: Team,
) -> None:
    twins = Twins(team)
    edited = {**twins.hidden, "name": "edited"}
    answer = team.ann.push(projects={"updated": [edited]})
    assert answer["upToDate"] is False
    assert news(team.ann)["projects"] == {"updated": [twins.row["id"]]}
    assert team.ann.rows["projects"][twins.row["id"]] == wire(twins.row)
    team.dan.pull()
    assert team.dan.rows["projects"][twins.row["id"]] == wire(edited)


def test_what_came_into_a_space_after_one_left_hides_nothing_of_another(team: Team) -> None:
    id_, other = new_id(), make_space(team.ann)
    for device in (team.cleo, team.dan):
        join(team.ann, other, device)
        device.pull()
    team.dan.push(projects={"created": [project(id=id_, space_id=other)]})
    team.cleo.pull()
    leave(team.space, team.cleo)
    team.ben.push(projects={"created": [team.project(id=id_)]})
    leave(other, team.cleo)
    assert news(team.cleo) == {"projects": {"deleted": [id_]}}


def test_who_left_is_not_told_what_becomes_of_the_rows(team: Team) -> None:
    p, _ = team.shared(team.ann)
    leave(team.space, team.cleo)

    def told() -> Any:
        return [team.cleo.pull_raw(since).json["changes"] for since in (1, 2**60)]

    before = told()
    gone = {"created": [], "updated": [], "deleted": [p["id"]]}
    assert [changes["projects"] for changes in before] == [gone, gone]
    team.ann.push(projects={"deleted": [p["id"]]})
    assert told() == before
