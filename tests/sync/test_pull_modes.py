"""Pulls that are more than the changes: pages, migrations, devices that cannot follow (docs/api.md)."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update

import services.sync
from services.sync.purge import purge
from shared.database.base import db
from shared.models import Restore, User
from shared.now import DAY_MS
from tests.api import Device, assert_problem, project, task, wire
from tests.sync.aging import age
from tests.sync.restoring import forget_restores


def drain(device: Device, limit: int, **parameters: Any) -> tuple[list[dict[str, Any]], int]:
    """All pages of one pull, and their number; no page longer than `limit`."""
    pages: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = device.pull_raw(limit=limit, **parameters, **cursor).json
        rows = sum(len(b) for t in page["changes"].values() for b in t.values())
        assert rows <= limit
        pages.append(page)
        if "cursor" not in page:
            return pages, len(pages)
        assert rows == limit
        cursor = {"cursor": page["cursor"]}


def together(pages: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"changes": {}, "timestamp": pages[0]["timestamp"]}
    for page in pages:
        assert page["timestamp"] == merged["timestamp"]
        if "experimentalStrategy" in page:
            merged["experimentalStrategy"] = page["experimentalStrategy"]
        for table, change in page["changes"].items():
            into = merged["changes"].setdefault(table, {b: [] for b in change})
            for bucket, rows in change.items():
                into[bucket] += rows
    return merged


def in_order(answer: dict[str, Any]) -> dict[str, Any]:
    for change in answer["changes"].values():
        for bucket, rows in change.items():
            rows.sort(key=lambda r: r if bucket == "deleted" else r["id"])
    return answer


@pytest.fixture
def history(device: Device) -> tuple[Device, Device]:
    """A reader that has seen some of what a writer did, and the writer."""
    old = [project() for _ in range(7)]
    tasks = [task(old[n % 7]["id"]) for n in range(20)]
    device.push(projects={"created": old}, tasks={"created": tasks})
    reader = device.another()
    reader.pull()
    device.pull()
    new = [project() for _ in range(4)]
    device.push(
        projects={
            "created": new,
            "updated": [p | {"name": "new"} for p in old[:3]],
            "deleted": [old[6]["id"]],
        },
        tasks={"updated": [tasks[0] | {"title": "new"}], "deleted": [tasks[1]["id"]]},
    )
    return reader, device


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("first", [True, False])
def test_all_pages_together_are_the_one_big_answer(history: Any, limit: int, first: bool) -> None:
    reader, _ = history
    since = "null" if first else reader.last_pulled_at
    whole = reader.pull_raw(since).json
    pages, count = drain(reader, limit, last_pulled_at=since)
    assert in_order(together(pages)) == in_order(whole)
    assert count > 1 or limit == 1000


def test_a_page_of_exactly_the_rest_is_the_last(device: Device) -> None:
    device.push(projects={"created": [project() for _ in range(4)]})
    assert [drain(device, limit)[1] for limit in (2, 4)] == [2, 1]


def test_what_changes_between_two_pages_is_never_missed(history: Any) -> None:
    reader, writer = history
    reader.last_pulled_at = 0
    fresh = writer.another()
    cursor: dict[str, Any] = {}
    seen: dict[str, dict[str, Any]] = {"projects": {}, "tasks": {}}
    timestamp = 0
    for turn in range(100):
        page = fresh.pull_raw("null", limit=3, **cursor).json
        timestamp = page["timestamp"]
        for table, change in page["changes"].items():
            assert change["updated"] == change["deleted"] == []
            for record in change["created"]:
                assert record["id"] not in seen[table], "created twice"
                seen[table][record["id"]] = record
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
        writer.pull()
        edit, gone = list(writer.rows["tasks"].values())[turn :: max(1, 9 - turn)][:2] or (
            None,
            None,
        )
        writer.push(
            projects={"created": [project()]},
            tasks={
                "updated": [edit | {"title": f"turn {turn}"}] if edit else [],
                "deleted": [gone["id"]] if gone and turn % 2 else [],
            },
        )
    assert cursor
    fresh.rows, fresh.last_pulled_at = seen, timestamp
    rest = fresh.pull()
    for table, change in rest["changes"].items():
        for record in change["created"]:
            # What is new comes first as `created`, and once.
            assert record["id"] not in seen[table] or fresh.rows[table][record["id"]] == record
    newcomer = writer.another()
    newcomer.pull()
    assert fresh.rows == newcomer.rows


def test_a_cursor_is_bound_to_its_user_and_parameters(history: Any) -> None:
    reader, _ = history
    cursor = reader.pull_raw("null", limit=2).json["cursor"]
    assert reader.pull_raw("null", limit=2, cursor=cursor).status_code == 200
    stranger = reader.api.register()
    for refused in (
        stranger.pull_raw("null", limit=2, cursor=cursor),
        reader.pull_raw(1, limit=2, cursor=cursor),
        reader.pull_raw("null", limit=3, cursor=cursor),
        reader.pull_raw("null", limit=2, cursor=cursor, sendCreatedAsUpdated=1),
        *(
            reader.pull_raw("null", limit=2, cursor=bad)
            for bad in (
                "",
                "x",
                "é",
                cursor[:-4],
                cursor + "x",
                "bnVsbA==",
                "W10=",
                "WzEsMiwzLDQsNV0=",
            )
        ),
    ):
        assert_problem(refused, 400, "invalid_cursor")
    assert_problem(reader.pull_raw("null", cursor=cursor), 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((0, 10**30), (0, -1), (0, 1e400), (0, None), (1, []), (1, "else")),
        *((2, -1), (2, 2**63), (2, "x"), (2, {})),
        *((3, "users"), (3, []), (4, []), (4, [0, 0, "", None]), (4, None)),
        *((5, "ü"), (5, "x" * 129), (5, "\ud800"), (6, None)),
    ],
)
def test_a_forged_cursor_is_refused_though_its_seal_is_right(
    history: Any, place: int, value: Any
) -> None:
    reader, _ = history
    fields = json.loads(b64decode(reader.pull_raw("null", limit=2).json["cursor"], "-_"))
    fields[place] = value
    forged = b64encode(json.dumps(fields).encode(), b"-_").decode()
    refused = reader.pull_raw("null", limit=2, cursor=forged)
    assert_problem(refused, 400, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "10001", "-1", "x", "1.5", "99999999999"])
def test_a_bad_limit_is_400(device: Device, limit: str) -> None:
    problem = assert_problem(device.pull_raw(limit=limit), 400, "invalid_parameter")
    assert list(problem["errors"]) == ["limit"]


def test_pages_come_by_post_too(history: Any) -> None:
    reader, _ = history
    body: dict[str, Any] = {"lastPulledAt": None, "limit": 5}
    first = reader.api.post("/sync/pull", body, token=reader.token).json
    body["cursor"] = first["cursor"]
    second = reader.api.post("/sync/pull", body, token=reader.token)
    assert second.status_code == 200
    assert second.json["timestamp"] == first["timestamp"]


def test_a_migration_brings_new_tables_whole_and_new_columns_that_hold_something(
    device: Device,
) -> None:
    empty, filled = project(description=None), project(description="filled")
    done, open_ = task(empty["id"], is_completed=True), task(empty["id"])
    device.push(projects={"created": [empty, filled]}, tasks={"created": [done, open_]})
    other = device.another()
    other.pull()

    def migrated(**migration: Any) -> Any:
        given = {"from": 1, "tables": [], "columns": []} | migration
        body = {"lastPulledAt": other.last_pulled_at, "migration": given}
        answer = other.api.post("/sync/pull", body, token=other.token)
        assert answer.status_code == 200, answer.text
        return in_order(answer.json)["changes"]

    nothing = {"created": [], "updated": [], "deleted": []}
    assert migrated() == {"projects": nothing, "tasks": nothing}
    tables = migrated(tables=["tasks", "unknown", "users"])
    assert {t["id"] for t in tables["tasks"]["created"]} == {done["id"], open_["id"]}
    assert tables["projects"] == nothing
    columns = migrated(
        columns=[
            {"table": "projects", "columns": ["description", "unknown"]},
            {"table": "tasks", "columns": ["is_completed"]},
            {"table": "unknown", "columns": ["x"]},
        ]
    )
    assert columns["projects"] == nothing | {"updated": [wire(filled)]}
    assert columns["tasks"] == nothing | {"updated": [wire(done)]}
    for secret in ("user_id", "updated_at_ms", "is_deleted", "created_by", "id"):
        found = migrated(columns=[{"table": "projects", "columns": [secret]}])
        assert found["projects"] == nothing
    # Besides the changes, which keep their buckets.
    new = project()
    device.push(projects={"created": [new], "deleted": [filled["id"]]})
    both = migrated(columns=[{"table": "projects", "columns": ["created_at"]}])
    assert both["projects"]["created"] == [wire(new)]
    assert both["projects"]["updated"] == [wire(empty)]
    assert both["projects"]["deleted"] == [filled["id"]]


def test_a_table_may_stand_in_a_migration_several_times(device: Device) -> None:
    p = project(description="filled")
    device.push(projects={"created": [p]})
    device.pull()
    entries = [{"table": "projects", "columns": [name]} for name in ("description", "unknown")]
    answer = device.pull_raw(migration=json.dumps({"columns": entries}))
    assert answer.json["changes"]["projects"]["updated"] == [wire(p)]


@pytest.mark.parametrize(
    "spread",
    [
        "migration[tables][0]",
        "migration[tables][]",
        "migration[columns][0][table]",
        "migration.from",
    ],
)
def test_a_migration_spread_over_parameters_is_400_and_says_what_to_send(
    device: Device, spread: str
) -> None:
    whole = {"lastPulledAt": 1}
    for refused in (
        device.pull_raw(1, **{spread: "tasks"}),
        device.pull_raw(1, **{spread: "tasks", "limit": 1}),
        device.api.post("/sync/pull", whole | {spread: "tasks"}, token=device.token),
    ):
        problem = assert_problem(refused, 400, "invalid_parameter")
        (said,) = problem["errors"]["migration"]
        assert "JSON" in said


@pytest.mark.parametrize("name", ["last_pulled_at[]", "lastPulledAt[0]", "conflicts[]"])
def test_no_parameter_is_read_as_none_because_it_is_spread(device: Device, name: str) -> None:
    refused = device.api.post("/sync", {}, token=device.token, query_string={name: "reject"})
    assert_problem(refused, 400, "invalid_parameter")


def test_half_a_surrogate_pair_in_a_migration_is_no_name_that_we_know(device: Device) -> None:
    device.push(projects={"created": [project(), project()]})
    body: dict[str, Any] = {"lastPulledAt": 1, "limit": 1}
    body["migration"] = {
        "tables": ["\ud800"],
        "columns": [{"table": "\ud800", "columns": ["\ud800"]}],
    }
    first = device.api.post("/sync/pull", body, token=device.token)
    assert first.status_code == 200, first.text
    second = device.api.post(
        "/sync/pull", body | {"cursor": first.json["cursor"]}, token=device.token
    )
    assert second.status_code == 200


@pytest.mark.parametrize("none", ["null", "", "undefined"])
def test_no_migration_is_none(device: Device, none: str) -> None:
    assert device.pull_raw(1, migration=none).status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        "1",
        '"x"',
        '{"tables": 1}',
        '{"tables": [1]}',
        '{"tables": [["a"]]}',
        '{"columns": [1]}',
        '{"columns": [{}]}',
        '{"columns": [{"table": "tasks"}]}',
        '{"columns": [{"table": [], "columns": []}]}',
        '{"columns": [{"table": "tasks", "columns": [{}]}]}',
        # What can be gone through like a list and is none.
        '{"tables": "tasks"}',
        '{"tables": {"tasks": 1}}',
        '{"tables": false}',
        '{"columns": {"table": "tasks", "columns": []}}',
        '{"columns": [{"table": "tasks", "columns": "title"}]}',
        '{"table": ["tasks"]}',
        "[object Object]",
        "{'tables': ['tasks']}",
    ],
)
def test_a_bad_migration_is_400(device: Device, bad: str) -> None:
    problem = assert_problem(device.pull_raw(1, migration=bad), 400, "invalid_parameter")
    assert list(problem["errors"]) == ["migration"]


def run_purge(days: int) -> None:
    with services.sync.create_app().app_context():
        purge(tombstone_days=days)


def test_a_device_that_was_away_since_before_what_was_purged_gets_a_replacement(
    device: Device,
) -> None:
    p, gone = project(), project()
    device.push(projects={"created": [p, gone]})
    other = device.another()
    other.pull()
    device.pull()
    seen = other.last_pulled_at
    tick = device.push(projects={"deleted": [gone["id"]]})["timestamp"]
    age(device, 92)
    away, by = seen - 92 * DAY_MS, 92 * DAY_MS
    new = project()
    device.push(projects={"created": [new]})

    # As long as nothing was purged the changes are enough, however long it was.
    for limit in ({}, {"limit": 10}):
        answer = other.pull_raw(away, **limit).json
        assert "experimentalStrategy" not in answer
        assert answer["changes"]["projects"]["deleted"] == [gone["id"]]
    run_purge(90)
    answer = in_order(other.pull_raw(away).json)
    assert answer["experimentalStrategy"] == "replacement"
    assert answer["changes"]["projects"] == {
        "created": [wire(new)],
        "updated": [wire(p)],
        "deleted": [],
    }
    pages, count = drain(other, 1, last_pulled_at=away)
    assert count == 2
    assert in_order(together(pages)) == answer
    # Whoever knew of the last deletion that was purged has missed none.
    knew = other.pull_raw(tick - by).json
    assert "experimentalStrategy" not in knew


def test_nothing_new_is_nothing_however_long_it_was_and_whatever_was_purged(
    device: Device,
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    age(device, 200)
    run_purge(90)
    assert device.pull_raw().json == {
        "changes": {t: {b: [] for b in ("created", "updated", "deleted")} for t in device.rows},
        "timestamp": device.last_pulled_at,
    }


def test_a_later_page_whose_tombstones_were_purged_meanwhile_is_refused(device: Device) -> None:
    projects = [project() for _ in range(3)]
    device.push(projects={"created": projects})
    device.pull()
    since = device.last_pulled_at
    device.push(projects={"deleted": [p["id"] for p in projects]})
    page = device.pull_raw(since, limit=1).json
    run_purge(0)
    late = device.pull_raw(since, limit=1, cursor=page["cursor"])
    assert_problem(late, 400, "invalid_cursor")
    assert device.pull_raw(since, limit=1).json["experimentalStrategy"] == "replacement"


@pytest.fixture
def restores() -> Iterator[Callable[[int, int], None]]:
    """Record an interval that a restore lost."""
    made: list[int] = []

    def record(lost_after: int, lost_until: int) -> None:
        made.append(lost_after)
        with services.sync.create_app().app_context(), db.session.begin():
            db.session.merge(Restore(lost_after=lost_after, lost_until=lost_until))

    yield record
    with services.sync.create_app().app_context():
        forget_restores(made)


def set_clock(device: Device, tick: int) -> None:
    with services.sync.create_app().app_context(), db.session.begin():
        db.session.execute(
            update(User).where(User.id == device.user_id).values(last_modified_at=tick)
        )


def test_a_device_that_pulled_what_a_restore_lost_gets_everything_and_what_was_deleted_since(
    device: Device, restores: Any
) -> None:
    kept, before, after = project(), project(), project()
    device.push(projects={"created": [kept, before, after]})
    device.pull()
    tick = device.push(projects={"deleted": [before["id"]]})["timestamp"]
    lost = tick + 5_000
    restores(tick, lost)
    # The clock of a restored user goes on after the interval.
    set_clock(device, lost + 1)
    device.last_pulled_at = 2**50
    device.push(projects={"deleted": [after["id"]]})
    other = device.another()
    nothing = {"created": [], "updated": [], "deleted": []}
    changed = nothing | {"deleted": [after["id"]]}
    everything = nothing | {"updated": [wire(kept)], "deleted": [after["id"]]}
    for since, expected in (
        (tick, changed),
        (tick + 1, everything),
        (lost, everything),
        (lost + 1, changed),
    ):
        for limit in ({}, {"limit": 10}):
            answer = other.pull_raw(since, **limit).json
            assert answer["changes"]["projects"] == expected, since
            assert answer["timestamp"] > lost
        pages, _ = drain(other, 1, last_pulled_at=since)
        assert together(pages)["changes"]["projects"] == expected


def test_of_several_restores_that_lost_a_tick_the_earliest_backup_counts(
    device: Device, restores: Any
) -> None:
    gone = [project() for _ in range(3)]
    device.push(projects={"created": gone})
    device.pull()
    ticks = [device.push(projects={"deleted": [p["id"]]})["timestamp"] for p in gone]
    restores(ticks[0], ticks[2] + 2_000)
    restores(ticks[1], ticks[2] + 3_000)
    set_clock(device, ticks[2] + 3_001)
    deleted = [
        set(device.pull_raw(ticks[2] + by).json["changes"]["projects"]["deleted"])
        for by in (1_000, 2_500, 3_001)
    ]
    ids = [p["id"] for p in gone]
    assert deleted == [{ids[1], ids[2]}, {ids[2]}, set()]


def test_a_clock_that_stands_in_what_was_lost_is_no_reason_to_send_nothing(
    device: Device, restores: Any
) -> None:
    p = project()
    tick = device.push(projects={"created": [p]})["timestamp"]
    restores(tick - 1, tick + 1_000)
    for limit in ({}, {"limit": 10}):
        answer = device.pull_raw(tick, **limit).json
        assert answer["changes"]["projects"]["updated"] == [wire(p)]


def test_what_was_purged_counts_before_what_was_lost(device: Device, restores: Any) -> None:
    p = project()
    tick = device.push(projects={"created": [p]})["timestamp"]
    restores(tick, tick + 1_000)
    set_clock(device, tick + 1_001)
    device.last_pulled_at = 2**50
    device.push(projects={"deleted": [p["id"]]})
    assert device.pull_raw(tick + 1).json["changes"]["projects"]["deleted"] == [p["id"]]
    run_purge(-1)
    assert device.pull_raw(tick + 1).json["experimentalStrategy"] == "replacement"
