"""Old tombstones are removed, and nothing else (docs/api.md, "Pull")."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

import services.sync
from services.sync import purge as purge_module
from shared.database.base import db
from shared.models import LoginFailures, Session, User
from shared.models.demo import Project, Task
from tests.api import PASSWORD, Device, project, task, wire
from tests.clock import Clock
from tests.conftest import Backend
from tests.sync.aging import age

DAY = 86400


@pytest.fixture
def app(application: object) -> Flask:
    return services.sync.create_app()


def purge(app: Flask) -> str:
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    return result.output


def rows(app: Flask, model: type, user_id: str) -> int:
    with app.app_context():
        return db.session.scalar(
            select(func.count()).select_from(model).where(model.user_id == user_id)
        )


def test_tombstones_go_after_their_retention_and_what_lives_stays(
    device: Device, app: Flask
) -> None:
    kept, gone, recent = project(), project(), project()
    tasks = [task(gone["id"]) for _ in range(3)]
    device.push(projects={"created": [kept, gone, recent]}, tasks={"created": tasks})
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    age(device, 195)
    device.pull()
    device.push(projects={"deleted": [recent["id"]]})
    purge(app)
    assert rows(app, Task, device.user_id) == 0
    with app.app_context():
        left = db.session.scalars(select(Project.id).where(Project.user_id == device.user_id)).all()
    assert sorted(left) == sorted([kept["id"], recent["id"]])


def test_an_owner_stays_while_a_younger_tombstone_points_to_it(device: Device, app: Flask) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    age(device, 200)
    device.push(tasks={"created": [task(p["id"])]})
    purge(app)
    assert rows(app, Task, device.user_id) == 1


def test_purging_beside_pushes_disturbs_none(
    device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "BATCH", 3)
    projects = [project() for _ in range(30)]
    device.push(projects={"created": projects})
    device.pull()
    device.push(projects={"deleted": [p["id"] for p in projects]})
    device.pull()
    age(device, 200)

    def revive(p: Any) -> None:
        device.push(projects={"updated": [p]}, tasks={"created": [task(p["id"])]})

    device.last_pulled_at = 2**50
    with ThreadPoolExecutor(4) as pool:
        purging = pool.submit(purge, app)
        list(pool.map(revive, projects))
        purging.result()
    fresh = device.another()
    fresh.pull()
    assert fresh.rows["projects"] == {p["id"]: wire(p) for p in projects}
    assert len(fresh.rows["tasks"]) == 30


def with_old_tombstones(device: Device) -> int:
    """Give the device's user two; return the tick of the newer."""
    projects = [project(), project()]
    device.push(projects={"created": projects})
    for p in projects:
        device.pull()
        tick = device.push(projects={"deleted": [p["id"]]})["timestamp"]
    age(device, 200)
    return tick - 200 * DAY * 1000


def test_the_purge_records_for_each_user_up_to_which_tick_it_went(
    device: Device, app: Flask
) -> None:
    newest = with_old_tombstones(device)
    other = device.api.register()
    kept = project()
    other.push(projects={"created": [kept]})
    purge(app)
    with app.app_context():
        until = dict(
            db.session.execute(
                select(User.id, User.purged_until).where(
                    User.id.in_([device.user_id, other.user_id])
                )
            ).all()
        )
    assert until == {device.user_id: newest, other.user_id: 0}
    # Neither a shorter retention nor this machine's clock makes a device forget what it has.
    for since in (newest, newest + 1):
        assert "experimentalStrategy" not in device.pull_raw(since).json
        assert "experimentalStrategy" not in other.pull_raw(since).json
    assert device.pull_raw(newest - 1).json["experimentalStrategy"] == "replacement"


def test_an_account_that_is_deleted_beside_the_purge_does_not_end_it(
    device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [device.api.register() for _ in range(3)]
    for each in (device, *others):
        with_old_tombstones(each)
    find = purge_module._find

    def find_and_delete(query: Any) -> Any:
        found = find(query)
        if any(getattr(row, "user_id", None) == device.user_id for row in found):
            api = device.api
            assert (
                api.delete("/users/me", {"password": PASSWORD}, token=device.token).status_code
                == 204
            )
        return found

    monkeypatch.setattr(purge_module, "_find", find_and_delete)
    purge(app)
    assert [rows(app, Project, each.user_id) for each in others] == [0, 0, 0]


def test_a_user_whose_clock_is_held_for_long_is_left_to_the_next_purge(
    device: Device, application: object, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.database is None or backend.others:
        pytest.skip("SQLite has one lock for all, and a cluster many clocks")
    monkeypatch.setattr("shared.database.transaction.RETRY_FOR_S", 0)
    other = device.api.register()
    for each in (device, other):
        with_old_tombstones(each)
    with backend.database.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@innodb_lock_wait_timeout")
        ((before,),) = cursor.fetchall()
        cursor.execute("SET GLOBAL innodb_lock_wait_timeout = 1")
        try:
            app = services.sync.create_app()
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM app.users WHERE id = %s FOR UPDATE", (device.user_id,))
            purge(app)
            left = [rows(app, Project, each.user_id) for each in (device, other)]
            cursor.execute("ROLLBACK")
        finally:
            cursor.execute(f"SET GLOBAL innodb_lock_wait_timeout = {before}")
    assert left == [2, 0]
    purge(app)
    assert rows(app, Project, device.user_id) == 0


def test_ended_sessions_and_old_failures_go_too(device: Device, clock: Clock, app: Flask) -> None:
    clock.advance(seconds=-20 * DAY)
    old = device.api.register()
    old.api.post("/auth/login", {"email": old.email, "password": "a wrong one"})
    clock.reset()
    purge(app)
    assert rows(app, Session, old.user_id) == 0
    assert rows(app, Session, device.user_id) == 1
    with app.app_context():
        assert (
            db.session.scalar(
                select(func.count())
                .select_from(LoginFailures)
                .where(LoginFailures.first_failed_at < (clock.now_ns() // 10**6) - 2 * DAY * 1000)
            )
            == 0
        )
