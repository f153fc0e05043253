"""Every write to a synced table goes through one door (docs/jobs.md, "Why no SQL")."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

import services.sync
from deploy.grants import rights
from services.sync.door import writing
from shared.models.tables import synced_tables
from tests.api import Api, project, task
from tests.conftest import ROOT
from tests.server import server_push
from tests.sharing import join, make_space
from tests.sync.aging import age

#: Where rows are written.
DOOR = "services/sync/rows.py"
#: Where they are removed, when no device can need them any more. (A restore replaces the whole database.)
REMOVALS = {"services/sync/purge.py", "services/users/removal.py"}


def tables() -> str:
    return "|".join(re.escape(table.sql.name) for table in synced_tables())


def writer(frame: FrameType | None) -> str:
    """The file of the project, but for what serves every statement, that runs one."""
    while frame:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
            name = str(path.relative_to(ROOT))
            if not name.startswith("shared/database/") and name != "tests/sync/test_one_door.py":
                return name
        frame = frame.f_back
    return "?"


@contextmanager
def writers() -> Iterator[dict[str, set[str]]]:
    """Note which files write to synced tables, and by what."""
    found: dict[str, set[str]] = {}
    writes = re.compile(
        rf"\s*(INSERT INTO|UPDATE|DELETE FROM|REPLACE INTO) [`\"]?({tables()})\b", re.I
    )

    def note(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        if match := writes.match(statement):
            found.setdefault(writer(sys._getframe()), set()).add(match[1].split()[0].upper())

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


def test_pushes_the_servers_hand_and_jobs_write_through_one_door(api: Api) -> None:
    ann, ben = api.register(), api.register()
    space = make_space(ann)
    join(ann, space, ben)
    with writers() as found:
        mine, ours = project(), project(space_id=space)
        tasks = [task(mine["id"]), task(ours["id"]), task("not-there")]
        ann.push(projects={"created": [mine, ours]}, tasks={"created": tasks})
        ben.pull()
        ben.push(projects={"updated": [ours | {"name": "x"}]})
        ben.push(projects={"updated": [ours | {"space_id": None}]})
        ann.pull()
        ann.push(projects={"deleted": [mine["id"]]})
        server_push(space, projects={"created": [project()]}, tasks={"created": [task("nor-here")]})
        with services.sync.create_app().app_context(), writing(ann.user_id) as changes:
            changes.delete("projects", changes.create("projects", {"name": "x"}))
            changes.create("projects", {"name": "y"})
    assert found == {DOOR: {"INSERT", "UPDATE"}}


def test_rows_are_removed_only_where_no_device_can_need_them(api: Api) -> None:
    ann = api.register()
    p = project()
    ann.push(projects={"created": [p]})
    ann.pull()
    ann.push(projects={"deleted": [p["id"]]})
    age(ann, 100)
    with writers() as found:
        assert services.sync.create_app().test_cli_runner().invoke(args=["purge"]).exit_code == 0
        ann.push(projects={"created": [project()]})
        body = {"password": "correct horse battery"}
        assert api.delete("/users/me", body, token=ann.token).status_code == 204
    assert found == {DOOR: {"INSERT"}} | {name: {"DELETE"} for name in REMOVALS}


def test_no_other_source_writes_to_a_synced_table() -> None:
    verbs = r"\b(?:insert|update|delete|upsert|write_rows|insert_or_update)\("
    subject = r"\s*(?:db\.session\.connection\(\),\s*)?(?:\w+\.sql|rows\.table|table\.model)\b"
    sources = [
        path
        for folder in ("services", "shared", "deploy")
        for path in (ROOT / folder).rglob("*.py")
    ]
    found = {
        str(path.relative_to(ROOT))
        for path in sources
        if re.search(verbs + subject, path.read_text())
    }
    assert found == {DOOR, *REMOVALS}


def test_the_database_lets_nobody_else_write_rows() -> None:
    synced = {table.sql.name for table in synced_tables()}
    may_write = {
        user
        for user, right, table in rights()
        if table in synced and re.search(r"INSERT|UPDATE|ALL", right)
    }
    assert may_write == {"sync", "jobs"}
