"""What devices are sent of reference tables, and what becomes of what they push. Run by tests/own_table."""

import itertools
import json
import random
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Event
from time import time_ns
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

import services.sync
from schema.client_schema import render
from schema.client_versions import declared_tables, follow
from services.sync.purge import purge
from services.sync.reference.loading import find_table, load
from services.sync.webhooks.batches import write_body
from shared.database.base import db
from shared.models import ReferenceClock, ReferenceLoad, Restore, WebhookChange
from shared.models.rules import refuse
from shared.now import DAY_MS
from tests.api import Device, new_id, project, wire
from tests.clock import Clock
from tests.conftest import Backend
from tests.references.conftest import Load, Record, exercise, other_device
from tests.rules import ruled
from tests.servers.receiver import configuration, new_secret
from tests.statements import statements


def changed(answer: dict[str, Any], ids: set[str], table: str = "exercises") -> dict[str, set[str]]:
    """Of some ids, those that an answer has, by bucket."""
    buckets = answer["changes"][table]
    return {
        bucket: {row if isinstance(row, str) else row["id"] for row in rows} & ids
        for bucket, rows in buckets.items()
        if {row if isinstance(row, str) else row["id"] for row in rows} & ids
    }


@pytest.fixture
def three(load_rows: Load) -> list[Record]:
    """Three exercises, loaded."""
    rows = [exercise(new_id(), name=f"number {n}") for n in range(3)]
    assert load_rows("exercises", rows).inserted == 3
    return rows


def test_a_first_sync_brings_all_and_later_ones_what_a_load_changed(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    device.pull()
    assert [device.rows["exercises"][row["id"]] for row in three] == three
    ids = {row["id"] for row in three}
    assert changed(device.pull(), ids) == {}
    new = exercise(new_id())
    counts = load_rows("exercises", [three[0], three[1] | {"name": "other"}, new])
    assert (counts.inserted, counts.updated, counts.deleted) == (1, 1, 0)
    answer = device.pull()
    assert changed(answer, ids | {new["id"]}) == {
        "created": {new["id"]},
        "updated": {three[1]["id"]},
    }
    assert answer["timestamp"] >= counts.timestamp
    rest = [*three[1:], new]
    counts = load_rows("exercises", [three[1] | {"name": "other"}, three[2], new], "replace")
    assert counts.inserted == counts.updated == 0
    assert changed(device.pull(), ids | {new["id"]}) == {"deleted": {three[0]["id"]}}
    assert {row["id"] for row in rest} <= device.rows["exercises"].keys()
    # What lives again came into being then.
    load_rows("exercises", [three[0]])
    assert changed(device.pull(), ids) == {"created": {three[0]["id"]}}


def test_a_load_of_what_is_there_takes_no_tick(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    device.pull()
    before = device.last_pulled_at
    assert not load_rows("exercises", three)
    # A column that is left out stays.
    assert not load_rows("exercises", [{"id": three[0]["id"], "name": three[0]["name"]}])
    assert device.pull()["timestamp"] == before


def test_what_was_there_when_the_session_began_is_not_created(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    device.pull()
    since = device.last_pulled_at
    first = exercise(new_id())
    load_rows("exercises", [first])
    device.pull()
    other = other_device(device)
    second = exercise(new_id())
    load_rows("exercises", [second])
    answer = other.pull_raw(since).json
    ids = {first["id"], second["id"]}
    assert changed(answer, ids) == {"created": {second["id"]}, "updated": {first["id"]}}
    answer = other.pull_raw(since, send_created_as_updated=1).json
    assert changed(answer, ids) == {"updated": ids}


def test_a_device_cannot_write_them_and_hears_how_they_are(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    device.pull()
    edited, deleted, unknown = three[0] | {"name": "mine"}, three[1]["id"], exercise(new_id())
    p = project()
    answer = device.push(
        exercises={"created": [unknown], "updated": [edited], "deleted": [deleted]},
        projects={"created": [p]},
    )
    ids = {unknown["id"], edited["id"], deleted}
    assert answer["refusedReasons"] == {"exercises": dict.fromkeys(ids, "read_only")}
    assert set(answer["refused"]["exercises"]) == ids
    assert answer["upToDate"] is False
    pulled = device.pull()
    assert changed(pulled, ids) == {"updated": {edited["id"], deleted}, "deleted": {unknown["id"]}}
    assert device.rows["exercises"][edited["id"]] == three[0]
    assert p["id"] in device.rows["projects"]
    assert changed(device.pull(), ids) == {}
    # By pages the same.
    device.push(exercises={"created": [unknown], "updated": [edited]})
    assert changed(pages(device, device.last_pulled_at, 1), ids) == {
        "updated": {edited["id"]},
        "deleted": {unknown["id"]},
    }
    device.pull()
    # A load meanwhile brings it as it is, once.
    device.push(exercises={"updated": [edited], "deleted": [deleted]})
    load_rows("exercises", [three[0] | {"name": "loaded"}])
    assert changed(device.pull(), ids) == {"updated": {edited["id"], deleted}}


def test_a_row_of_a_user_names_one_and_keeps_the_name(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    device.pull()
    workout = {"id": new_id(), "exercise_id": three[0]["id"]}
    assert device.push(workouts={"created": [workout]})["upToDate"]
    load_rows("exercises", three[1:], "replace")
    device.pull()
    assert device.rows["workouts"] == {workout["id"]: workout}
    assert three[0]["id"] not in device.rows["exercises"]


def test_a_rule_finds_them(device: Device, load_rows: Load, three: list[Record]) -> None:
    found: list[Any] = []

    def there(change: Any) -> Any:
        row = change.find("exercises", change.after["exercise_id"])
        found.append(row and dict(row))
        return None if row else refuse("no_such_exercise")

    load_rows("exercises", [gone := exercise(new_id())])
    everything = device.pull()["changes"]["exercises"]["created"]
    load_rows("exercises", [row for row in everything if row != gone], "replace")
    ids = (three[0]["id"], gone["id"], new_id(), three[0]["id"])
    workouts = [{"id": new_id(), "exercise_id": id_} for id_ in ids]
    with ruled(workouts=there):
        answer = device.push(workouts={"created": workouts})
    refused = [workouts[1]["id"], workouts[2]["id"]]
    assert answer["refusedReasons"] == {"workouts": dict.fromkeys(refused, "no_such_exercise")}
    assert found[-4:] == [three[0], None, None, three[0]]


def test_a_push_is_not_up_to_date_after_a_load_and_ticks_above_it(
    device: Device, load_rows: Load
) -> None:
    device.push(projects={"created": [project()]})
    device.pull()
    row = exercise(new_id())
    tick = load_rows("exercises", [row]).timestamp
    answer = device.push(projects={"created": [project()]})
    assert answer["upToDate"] is False
    pulled = device.pull()
    assert changed(pulled, {row["id"]}) == {"created": {row["id"]}}
    assert pulled["timestamp"] >= tick
    answer = device.push(projects={"created": [project()]})
    assert answer["upToDate"]
    assert answer["timestamp"] > tick


def test_what_another_device_pushes_after_a_load_is_never_before_it(
    device: Device, load_rows: Load
) -> None:
    """One device has pulled the load, and a later push of another one must not hide below it."""
    writer = other_device(device)
    tick = load_rows("exercises", [exercise(new_id())]).timestamp
    assert device.pull()["timestamp"] >= tick
    p = project()
    writer.push(projects={"created": [p]})
    device.pull()
    assert p["id"] in device.rows["projects"]


def pages(device: Device, since: int, limit: int, between: Any = None) -> dict[str, Any]:
    """The pages of a pull as one answer; `between`: what is done after the first."""
    whole: dict[str, Any] = {}
    cursor: dict[str, str] = {}
    while True:
        page = device.pull_raw(since or "null", limit=limit, **cursor).json
        assert whole.get("timestamp", page["timestamp"]) == page["timestamp"]
        for table, change in page["changes"].items():
            into = whole.setdefault("changes", {}).setdefault(table, {})
            for bucket, rows in change.items():
                into.setdefault(bucket, []).extend(rows)
        whole["timestamp"] = page["timestamp"]
        if "cursor" not in page:
            return whole
        cursor = {"cursor": page["cursor"]}
        if between:
            between()
            between = None


@pytest.mark.parametrize("since", ["first", "later"])
def test_pages_are_the_whole_answer(
    device: Device, load_rows: Load, three: list[Record], since: str
) -> None:
    device.push(projects={"created": [project() for _ in range(3)]})
    at = 0 if since == "first" else device.pull()["timestamp"]
    device.push(projects={"created": [project() for _ in range(3)]})
    load_rows("exercises", [three[0] | {"order": 7}, *(exercise(new_id()) for _ in range(5))])
    load_rows("muscles", [{"id": new_id(), "name": "x"} for _ in range(3)])
    load_rows("exercises", [three[0] | {"order": 8}, three[1]], "replace")
    whole = device.pull_raw(at or "null").json
    by_pages = pages(device, at, 2)
    for table, change in whole["changes"].items():
        for bucket, rows in change.items():
            key = str if bucket == "deleted" else lambda row: row["id"]
            assert sorted(rows, key=key) == sorted(by_pages["changes"][table][bucket], key=key)


@pytest.mark.parametrize("since", ["first", "later"])
def test_a_load_between_two_pages_is_never_missed(
    device: Device, load_rows: Load, three: list[Record], since: str
) -> None:
    at = 0 if since == "first" else device.pull()["timestamp"]
    rows = [exercise(f"{letter}{new_id()}") for letter in "09az"]
    load_rows("exercises", rows)
    new = [exercise(f"{letter}{new_id()}") for letter in "09az"]

    def between() -> None:
        load_rows("exercises", [rows[1] | {"order": 9}, rows[2], *new], "replace")

    whole = pages(device, at, 1, between)
    held = {row["id"]: row for row in device.rows["exercises"].values()} if at else {}

    def apply(answer: dict[str, Any]) -> None:
        change = answer["changes"]["exercises"]
        for row in (*change["created"], *change["updated"]):
            held[row["id"]] = row
        for id_ in change["deleted"]:
            held.pop(id_, None)

    apply(whole)
    assert not {row["id"] for row in new} & held.keys()
    later = device.pull_raw(whole["timestamp"]).json
    assert changed(later, {row["id"] for row in new}) == {"created": {row["id"] for row in new}}
    apply(later)
    device.rows.clear()
    device.last_pulled_at = 0
    device.pull()
    assert held == device.rows["exercises"]


def test_a_migration_brings_the_table_and_its_columns(
    device: Device, load_rows: Load, three: list[Record]
) -> None:
    priced = exercise(new_id(), notes="x", price=0)
    load_rows("exercises", [priced])
    device.pull()
    ids = {priced["id"], *(row["id"] for row in three)}

    def migrated(**migration: Any) -> dict[str, set[str]]:
        given = {"from": 1, "tables": [], "columns": []} | migration
        body = {"lastPulledAt": device.last_pulled_at, "migration": given}
        return changed(device.api.post("/sync/pull", body, token=device.token).json, ids)

    assert migrated(tables=["exercises"]) == {"created": ids}
    assert migrated(columns=[{"table": "exercises", "columns": ["notes"]}]) == {
        "updated": {priced["id"]}
    }
    assert migrated(columns=[{"table": "exercises", "columns": ["is_hard"]}]) == {"updated": ids}


def test_the_purge_sends_older_devices_everything_anew(
    device: Device, load_rows: Load, loader: Flask, three: list[Record]
) -> None:
    device.pull()
    load_rows("exercises", three[1:], "replace")
    with loader.app_context():
        with db.session.begin():
            by = 100 * DAY_MS
            db.session.execute(
                update(ReferenceLoad)
                .where(ReferenceLoad.number > 0)
                .values(tick=ReferenceLoad.tick - by)
            )
        try:
            assert purge(90)["exercises"] >= 1
            old = device.pull_raw(device.last_pulled_at - 2 * by)
            assert old.json["experimentalStrategy"] == "replacement"
            assert changed(old.json, {r["id"] for r in three}) == {
                "updated": {r["id"] for r in three[1:]}
            }
            assert "experimentalStrategy" not in device.pull_raw().json
        finally:
            with db.session.begin():
                db.session.execute(
                    update(ReferenceLoad)
                    .where(ReferenceLoad.number > 0)
                    .values(tick=ReferenceLoad.tick + by)
                )
                db.session.execute(update(ReferenceClock).values(purged_until=0))


def test_a_restore_sends_them_again(device: Device, loader: Flask, three: list[Record]) -> None:
    device.pull()
    lost = device.last_pulled_at
    device.push(projects={"created": [project()]})
    with loader.app_context():
        with db.session.begin():
            db.session.execute(insert(Restore), {"lost_after": lost - 1, "lost_until": lost})
        try:
            answer = device.pull_raw(lost).json
        finally:
            with db.session.begin():
                db.session.execute(Restore.__table__.delete().where(Restore.lost_after == lost - 1))
    ids = {row["id"] for row in three}
    assert changed(answer, ids) == {"updated": ids}


def test_an_export_leaves_them_out_and_an_account_goes_without_them(
    device: Device, three: list[Record]
) -> None:
    device.pull()
    export = device.api.get("/users/me/export", token=device.token).json
    assert "exercises" not in export["records"]
    assert "workouts" in export["records"]


def test_the_apps_schema_has_them_and_says_whose_they_are() -> None:
    printed = render(follow(None, declared_tables()), typed=True)
    assert "name: 'exercises'" in printed
    classes = {
        text.split()[2]: text for text in re.split(r"^(?=export class)", printed, flags=re.M)[1:]
    }
    assert "@relation('exercises', 'exercise_id')" in classes["Workout"]
    assert "@relation('muscles', 'muscle_id')" in classes["Exercise"]
    assert printed.count("// The server's own rows") == 2
    assert re.search(r"// The server's own rows.*\nexport class Exercise ", printed)


def test_a_pull_with_nothing_new_is_the_callers_statement(
    device: Device, three: list[Record]
) -> None:
    device.pull()
    with statements() as counted:
        device.pull()
    assert counted.total() <= 1, counted


def test_a_push_of_one_record_asks_the_clock_once_a_second(
    device: Device, backend: Backend, three: list[Record]
) -> None:
    device.pull()
    totals: Counter[int] = Counter()
    for _ in range(5):
        p = project()
        with statements() as counted:
            device.push(projects={"created": [p]})
        totals[counted.total()] += 1
        device.pull()
    if backend.database:
        # The caller's, the clock, the row before, the row; and now and then the mark.
        assert min(totals) <= 4, totals


def test_a_load_is_later_than_every_clock_however_far_ahead(
    device: Device, load_rows: Load, clock: Clock
) -> None:
    row = exercise(new_id())
    load_rows("exercises", [row])
    clock.advance(seconds=60)
    device.push(projects={"created": [project()]})
    newcomer = device.api.register()
    clock.reset()
    for one in (device, newcomer):
        one.pull_raw()
    since = device.pull_raw(0).json["timestamp"], newcomer.pull_raw(0).json["timestamp"]
    load_rows("exercises", [row | {"order": 2}])
    for one, at in zip((device, newcomer), since, strict=True):
        assert changed(one.pull_raw(at).json, {row["id"]}) == {"updated": {row["id"]}}


WRITERS, PUSHES, LOADS = 2, 25, 25
#: Clocks of machines may differ by this.
SKEW_NS = 2_000_000_000


def test_no_device_misses_a_row_of_parallel_pushes_and_loads(
    device: Device, load_rows: Load, loader: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices pull, push and take `upToDate` at its word while loads of all sizes come in between, and no
    two looks at a clock agree.
    """
    prefix = new_id()
    writers = [other_device(device) for _ in range(WRITERS)]
    stranger = device.api.register()
    stranger.rows = defaultdict(dict)
    readers = [other_device(device), stranger]
    done = Event()
    numbers = itertools.count()
    sizes = {number: 1200 if number % 8 == 0 else 3 for number in range(LOADS)}

    def write(writer: Device) -> None:
        for _ in range(PUSHES):
            p = project()
            answer = writer.push(projects={"created": [p]})
            if answer["upToDate"]:
                writer.last_pulled_at = answer["timestamp"]
                writer.rows["projects"][p["id"]] = wire(p)
            elif next(numbers) % 2:
                writer.pull()

    def read(reader: Device) -> None:
        while not done.is_set():
            before = reader.last_pulled_at
            assert reader.pull()["timestamp"] >= before
            rows = (r for r in reader.rows["exercises"].values() if r["id"].startswith(prefix))
            # Never a part of a load.
            for number, count in Counter(row["order"] for row in rows).items():
                assert count == sizes[number]

    def load_all() -> None:
        for number, size in sizes.items():
            rows = [exercise(f"{prefix}-{number}-{n}", order=number) for n in range(size)]
            load_rows("exercises", rows)

    def odd_time() -> int:
        return time_ns() + random.randrange(-SKEW_NS, SKEW_NS)

    with ThreadPoolExecutor(WRITERS + 3) as pool, monkeypatch.context() as patch:
        patch.setattr("shared.now.time_ns", odd_time)
        reading = [pool.submit(read, reader) for reader in readers]
        try:
            working = [pool.submit(load_all), *(pool.submit(write, w) for w in writers)]
            for one in working:
                one.result()
        finally:
            done.set()
        for one in reading:
            one.result()
    fresh = other_device(device)
    fresh.pull()
    assert len(fresh.rows["projects"]) == WRITERS * PUSHES
    for one in (*readers, *writers):
        one.pull()
        assert one.rows["exercises"] == fresh.rows["exercises"]
        assert one is stranger or one.rows["projects"] == fresh.rows["projects"]
    with loader.app_context(), db.session.begin():
        ticks = list(db.session.scalars(select(ReferenceLoad.tick).order_by(ReferenceLoad.number)))
    assert ticks == sorted(set(ticks))


def test_a_load_is_noted_once_for_a_receiver_of_webhooks(
    application: Any, tmp_path: Path, three: list[Record]
) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(configuration([("prices", [new_secret()], "https://hooks.example.com")]))
    app = services.sync.create_app(WEBHOOKS_FILE=str(file))
    with app.app_context():
        rows = [three[0] | {"name": "other"}, *three[1:]]
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        for _ in range(2):
            counts = load(find_table("exercises"), BytesIO(body), "ndjson", "merge")
        with db.session.begin():
            noted = db.session.scalars(select(WebhookChange)).all()
        assert [(one.space_id, one.row_id, one.kind) for one in noted] == [("", "", "updated")]
        assert noted[0].tick == counts.timestamp
        [told] = json.loads(write_body(noted, 0))["data"]["changes"]
        assert (told["table"], told["space"], told["id"]) == ("exercises", None, None)
        for engine in db.engines.values():
            engine.dispose()
