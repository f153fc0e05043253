"""Pulls that are more than the changes: pages, migrations, devices that cannot follow (docs/api.md)."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

import services.sync
from shared.db import db
from shared.models import Restore
from shared.now import DAY_MS
from tests.api import Device, assert_problem, changes, project, task, wire
from tests.sync.aging import age


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
    ("place", "value"), [(0, 10**30), (0, -1), (0, 1e400), (2, "users"), (3, "ü"), (3, "x" * 99)]
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
    ],
)
def test_a_bad_migration_is_400(device: Device, bad: str) -> None:
    problem = assert_problem(device.pull_raw(1, migration=bad), 400, "invalid_parameter")
    assert list(problem["errors"]) == ["migration"]


def test_a_device_that_was_away_for_longer_than_deletions_are_known_gets_a_replacement(
    device: Device,
) -> None:
    p, gone = project(), project()
    device.push(projects={"created": [p, gone]})
    other = device.another()
    other.pull()
    device.pull()
    age(device, 92)
    away = other.last_pulled_at - 92 * DAY_MS
    # As long as nothing changed there is nothing to bring, however long it was.
    assert other.pull_raw(away).json["changes"]["projects"]["updated"] == []
    new = project()
    device.push(projects={"created": [new], "deleted": [gone["id"]]})

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
    # Within the retention the changes are enough.
    recent = other.pull_raw(away + 3 * DAY_MS).json
    assert "experimentalStrategy" not in recent
    assert recent["changes"]["projects"]["deleted"] == [gone["id"]]


def test_a_device_that_pulled_what_a_restore_lost_gets_everything_and_loses_nothing(
    device: Device,
) -> None:
    p = project()
    tick = device.push(projects={"created": [p]})["timestamp"]
    lost = tick + 5_000
    with services.sync.create_app().app_context(), db.session.begin():
        db.session.merge(Restore(lost_after=tick, lost_until=lost))
    device.push_raw(changes(projects={"created": [project(id="later")]}))
    with services.sync.create_app().app_context(), db.session.begin():
        # The clock of a restored user goes on after the interval.
        db.session.execute(
            db.text("UPDATE users SET last_modified_at = :t WHERE id = :id"),
            {"t": lost + 1, "id": device.user_id},
        )
    other = device.another()
    for since, inside in ((tick, False), (tick + 1, True), (lost, True), (lost + 1, False)):
        answer = other.pull_raw(since).json["changes"]["projects"]
        assert (wire(p) in answer["updated"]) is inside, since
        assert answer["deleted"] == []
    with services.sync.create_app().app_context(), db.session.begin():
        db.session.execute(db.delete(Restore).where(Restore.lost_after == tick))
