"""What jobs write, and the page that shows how (docs/jobs.md)."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pymysql
import pytest
import yaml
from flask import Flask
from sqlalchemy import Connection, event, select

import services.sync
from deploy.grants import grant
from services.sync.door import NoSuchSpace, every_space, writing
from services.sync.jobs import jobs
from services.sync.writing import Refused
from shared.database.base import db
from shared.models import User
from shared.models.rules import refuse
from tests.api import Api, Device, new_id, project, task, wire
from tests.conftest import ROOT, Backend, on_servers
from tests.rules import ruled
from tests.sharing import join, leave, make_space


@pytest.fixture(scope="module")
def sync(application: Any) -> Flask:
    """The sync service, for its commands."""
    return services.sync.create_app()


def run(sync: Flask, space_id: str, *calls: tuple[str, Any, Any]) -> None:
    """Run a job that calls these methods of its block."""
    with sync.app_context(), writing(space_id) as changes:
        for word, table, given in calls:
            getattr(changes, word)(table, given)


def test_a_job_reads_and_writes_and_every_device_hears_of_it(sync: Flask, api: Api) -> None:
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben, "reader")
    p, gone = project(space_id=space), project(space_id=space)
    ann.push(projects={"created": [p, gone]})
    t = task(p["id"])
    ann.push(tasks={"created": [t]})
    for one in (ann, ben):
        one.pull()
    with sync.app_context(), writing(space) as changes:
        assert {row["id"]: row for row in changes.rows("projects")} == {
            row["id"]: wire(row) for row in (p, gone)
        }
        assert changes.find("tasks", t["id"]) == wire(t)
        assert changes.find("tasks", gone["id"]) is None
        changes.update("tasks", {"id": t["id"], "is_completed": True})
        changes.delete("projects", gone["id"])
        made = changes.create("projects", {"name": "by the job"})
        under = changes.create("tasks", {"id": "mine", "project_id": made})
        changes.update("tasks", {"id": under, "title": "and what is in it"})
        changes.delete("tasks", new_id())
    assert ann.pull()["timestamp"] == ben.pull()["timestamp"]
    for one in (ann, ben):
        assert one.rows["projects"].keys() == {p["id"], made}
        assert one.rows["projects"][made]["space_id"] == space
        assert one.rows["tasks"][t["id"]] == wire(t) | {"is_completed": True}
        assert one.rows["tasks"]["mine"]["title"] == "and what is in it"


def test_what_a_job_has_read_it_may_write_back(sync: Flask, device: Device) -> None:
    p = project(description="x")
    device.push(projects={"created": [p]})
    before = device.pull()["timestamp"]
    with sync.app_context(), writing(device.user_id) as changes:
        for row in changes.rows("projects"):
            assert row == wire(p)
            changes.update("projects", row)
    assert device.pull()["timestamp"] == before, "what stays the same wakes nobody"
    with sync.app_context(), writing(device.user_id) as changes:
        for row in changes.rows("projects"):
            changes.update("projects", row | {"name": row["name"] + "!"})
    device.pull()
    assert device.rows["projects"][p["id"]] == wire(p) | {"name": p["name"] + "!"}


def test_an_exception_in_the_block_applies_nothing(sync: Flask, device: Device) -> None:
    good = ("create", "projects", wire(project()))
    with pytest.raises(AttributeError):
        run(sync, device.user_id, good, ("no_method", "projects", {}))
    device.pull()
    assert device.rows["projects"] == {}
    run(sync, device.user_id, good)


def test_what_a_rule_refuses_is_raised_and_nothing_is_applied(sync: Flask, device: Device) -> None:
    def rule(change: Any) -> Any:
        assert (change.user_id, change.role) == (None, "server")
        return refuse("never") if change.after["name"] == "bad" else None

    bad = project(name="bad")
    calls = [("create", "projects", wire(row)) for row in (bad, project())]
    said = f"projects {bad['id']}: never"
    with ruled(projects=rule), pytest.raises(Refused, match=said) as raised:
        run(sync, device.user_id, *calls)
    assert raised.value.refused == {"projects": {bad["id"]: "never"}}
    device.pull()
    assert device.rows["projects"] == {}


@pytest.mark.parametrize(
    ("word", "table", "given"),
    [
        ("create", "no_table", {}),
        ("create", "projects", {"nmae": "typo"}),
        ("create", "projects", {"name": 7}),
        ("create", "projects", {"name": "n" * 256}),
        ("create", "projects", {"name": None}),
        ("create", "projects", {"id": "not an id"}),
        ("create", "projects", {"space_id": "another"}),
        ("create", "tasks", {"space_id": None}),
        ("update", "projects", {"name": "no id"}),
        ("delete", "projects", 7),
    ],
)
def test_a_mistake_of_a_job_is_told_at_once(
    sync: Flask, device: Device, word: str, table: str, given: Any
) -> None:
    with pytest.raises(ValueError, match=table):
        run(sync, device.user_id, (word, table, given), ("no_method", "projects", {}))


def test_an_update_is_of_a_living_row(sync: Flask, device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    device.push(projects={"deleted": [p["id"]]})
    good = ("create", "projects", wire(project()))
    for id_ in (p["id"], new_id()):
        with pytest.raises(LookupError, match=id_):
            run(sync, device.user_id, good, ("update", "projects", {"id": id_, "name": "x"}))
    with pytest.raises(LookupError, match="deleted"):
        run(sync, device.user_id, ("delete", "projects", "x"), ("update", "projects", {"id": "x"}))
    device.pull()
    assert device.rows["projects"] == {}


def test_there_must_be_such_a_space(sync: Flask, device: Device) -> None:
    space = make_space(device)
    device.api.delete(f"/spaces/{space}", token=device.token)
    for id_ in ("nobody", "é", "x" * 99, space):
        with sync.app_context(), pytest.raises(NoSuchSpace), writing(id_):
            pass


def impatient(connection: Connection) -> None:
    connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")


@on_servers
def test_a_job_waits_for_who_holds_the_space_and_tries_again(
    device: Device, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.database
    slept: list[float] = []
    with backend.database.root() as holder, holder.cursor() as cursor:
        cursor.execute("USE app")
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT id FROM users WHERE id = %s FOR UPDATE", (device.user_id,))

        def let_go(seconds: float) -> None:
            slept.append(seconds)
            holder.rollback()

        monkeypatch.setattr("shared.database.transaction.time.sleep", let_go)
        # A connection of its own, which waits for less.
        app = services.sync.create_app()
        with app.app_context():
            event.listen(db.engine, "begin", impatient)
        run(app, device.user_id, ("create", "projects", {"name": "x"}))
    assert len(slept) == 1
    device.pull()
    assert len(device.rows["projects"]) == 1


def test_a_job_reads_more_rows_than_go_into_one_statement(
    sync: Flask, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sync.rows.CHUNK", 3)
    monkeypatch.setattr("services.sync.door.CHUNK", 2)
    services.sync.rows._find_living.cache_clear()
    ids = sorted(f"p{n}" for n in range(10))
    device.push(projects={"created": [project(id=id_) for id_ in ids]})
    with sync.app_context():
        with writing(device.user_id) as changes:
            assert [row["id"] for row in changes.rows("projects")] == ids
            for row in changes.rows("projects"):
                assert changes.find("projects", row["id"]) == row
        assert {*every_space()} >= {*db.session.scalars(select(User.id))}
    services.sync.rows._find_living.cache_clear()


def test_a_space_that_has_ended_is_none_of_every_space(sync: Flask, device: Device) -> None:
    there, gone = make_space(device), make_space(device)
    device.api.delete(f"/spaces/{gone}", token=device.token)
    with sync.app_context():
        found = list(every_space())
    assert {device.user_id, there} <= {*found}
    assert gone not in found
    assert len(found) == len({*found})


def test_the_job_of_the_page_deletes_what_was_done_long_ago(
    sync: Flask, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = project()
    old, new, undone = (task(p["id"], is_completed=done) for done in (True, True, False))
    new["updated_at"] = 4_000_000_000_000
    device.push(projects={"created": [p]}, tasks={"created": [old, new, undone]})
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/jobs.md").read_text(), re.DOTALL)
    # An account that ends between the list and its turn stops nothing.
    spaces = [new_id(), device.user_id]
    monkeypatch.setattr("services.sync.door.every_space", lambda: spaces)
    namespace: dict[str, Any] = {}
    exec(compile(code, "docs/jobs.md", "exec"), namespace)
    try:
        result = sync.test_cli_runner().invoke(args=["jobs", "delete-done", "--days", "90"])
    finally:
        jobs.commands.pop("delete-done")
    assert result.exit_code == 0, result.output
    device.pull()
    assert device.rows["tasks"].keys() == {new["id"], undone["id"]}


@pytest.mark.parametrize(
    ("named", "said"), [("nobody", "There is no job 'nobody'. Jobs: "), ("", "Name a job. Jobs: ")]
)
def test_a_job_that_is_not_there_is_answered_with_those_that_are(
    sync: Flask, named: str, said: str
) -> None:
    result = sync.test_cli_runner().invoke(args=["jobs", named])
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1), result.output
    assert said in result.output


def test_each_module_of_the_folder_registers_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copied_jobs"
    folder.mkdir()
    (folder / "__init__.py").write_text((ROOT / "services/sync/jobs/__init__.py").read_text())
    (folder / "mine.py").write_text("from copied_jobs import jobs\njobs.command('mine')(print)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [*import_module("copied_jobs").jobs.commands] == ["mine"]


def test_the_cron_job_of_the_page_is_as_careful_as_the_purge() -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/jobs.md").read_text(), re.DOTALL)
    mine = yaml.safe_load(text)
    kubernetes_validate.validate(mine, "1.34", strict=True)
    base = yaml.safe_load_all((ROOT / "deploy/kubernetes/base/jobs.yaml").read_text())
    [purge] = [manifest for manifest in base if manifest["metadata"]["name"] == "purge"]
    for manifest in (mine, purge):
        manifest["spec"].pop("schedule")
        template = manifest["spec"]["jobTemplate"]["spec"]["template"]
        template.pop("metadata")
        [container] = template["spec"]["containers"]
        for name in ("name", "command", "env"):
            container.pop(name)
    assert mine["spec"] == purge["spec"]


@on_servers
def test_the_user_for_jobs_may_do_what_jobs_do_and_no_more(
    application: Any, backend: Backend, api: Api
) -> None:
    assert backend.database
    grant(backend.database.url("migrate", "app"))
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben)
    p = project(space_id=space)
    ann.push(projects={"created": [p]})
    ben.pull()
    leave(space, ben)
    app = services.sync.create_app(DATABASE_URL=backend.database.url("jobs", "app"))
    calls: list[tuple[str, str, Any]] = [("create", "projects", {"name": "new"})]
    run(app, space, *calls, ("delete", "projects", p["id"]))
    # Who left knows this row: that it lives again is noted for them.
    run(app, space, ("create", "projects", wire(p)), ("create", "tasks", {"project_id": "no"}))
    with app.app_context():
        assert {ann.user_id, ben.user_id, space} <= {*every_space()}
    ann.pull()
    assert {row["name"] for row in ann.rows["projects"].values()} == {"new", p["name"]}
    connection = pymysql.connect(
        host="127.0.0.1",
        port=backend.database.port,
        user="jobs",
        password=backend.database.passwords["jobs"],
        database="app",
    )
    for statement in (
        "SELECT email FROM users",
        "UPDATE users SET role = 'admin'",
        "SELECT id FROM sessions",
        "DELETE FROM projects",
        "INSERT INTO members (user_id, space_id) VALUES ('a', 'b')",
        "UPDATE members SET role = 'owner'",
        "UPDATE spaces SET name = ''",
    ):
        with (
            connection.cursor() as cursor,
            pytest.raises(pymysql.err.OperationalError, match="denied"),
        ):
            cursor.execute(statement)
    connection.close()


@on_servers
def test_a_database_from_before_there_were_jobs_gets_its_other_rights(
    application: Any, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backend.database
    with backend.database.root() as root, root.cursor() as cursor:
        cursor.execute("DROP USER 'jobs'@'%'")
        try:
            grant(backend.database.url("migrate", "app"))
        finally:
            password = backend.database.passwords["jobs"]
            cursor.execute(f"CREATE USER 'jobs'@'%' IDENTIFIED BY '{password}'")
    assert "There is no user 'jobs'" in capsys.readouterr().out
