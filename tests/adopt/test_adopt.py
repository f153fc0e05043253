"""`make adopt` in a copy of the project: declarations, migration, the kept schema, the demo's tables."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from schema.adopt import demo
from schema.adopt.declarations import APP
from schema.adopt.reader import INSTALLED, install
from schema.adopt.schema import KEPT
from tests.adopt import CORPUS, column, schema, whole_corpus
from tests.conftest import ROOT, Backend, lacking
from tests.servers.checkout import copy_checkout
from tests.servers.commands import Done, run_module

pytestmark = pytest.mark.stack
COMPARE = """
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
import os, shared.models
from shared.database.base import Base
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert compare_metadata(context, Base.metadata) == []
"""


class Checkout:
    """A copy of what adopting needs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, module: str, *arguments: str, **environ: str) -> Done:
        return run_module(self.path, module, *arguments, **environ)

    def adopt(self, wanted: Any, *options: str, url: str = "") -> str:
        """Adopt a schema, and return what was said."""
        done = self.try_to_adopt(wanted, *options, url=url)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_to_adopt(self, wanted: Any, *options: str, url: str = "") -> Done:
        path = self.path / "schema.json"
        path.write_text(json.dumps(wanted))
        return self.run("schema.adopt", f"--schema={path}", *options, DATABASE_URL=url)

    def alembic(self, url: str, *command: str) -> Done:
        return self.run("alembic", *command, DATABASE_URL=url)

    def upgrade(self, url: str) -> None:
        done = self.alembic(url, "upgrade", "head")
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> dict[str, str]:
        """Everything that adopting writes."""
        written = [*(self.path / "shared").rglob("*.py"), *(self.path / "migrations").rglob("*.py")]
        written += [self.path / KEPT] if (self.path / KEPT).exists() else []
        return {str(path.relative_to(self.path)): path.read_text() for path in sorted(written)}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if not shutil.which("node") or not shutil.which("npm"):
        lacking("Node.js with npm")
    install()
    copy_checkout(tmp_path, "deploy", "migrations", "schema", "shared")
    (tmp_path / "client").mkdir()
    shutil.copy(ROOT / KEPT, tmp_path / KEPT)
    (tmp_path / ".local/adopt").symlink_to(INSTALLED)
    return Checkout(tmp_path)


@pytest.fixture
def new_url(backend: Backend) -> Iterator[Callable[[], str]]:
    made = []

    def new() -> str:
        made.append(f"adopted_{len(made)}")
        (backend.directory / f"{made[-1]}.db").unlink(missing_ok=True)
        return backend.new_database(made[-1])[0]

    yield new
    for name in made:
        if backend.database:
            backend.database.drop_database(name)


def tables_of(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def rows(url: str, statement: str) -> list[Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(statement))]
    engine.dispose()
    return found


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_what_is_adopted_is_migrated_on_every_engine_and_adopted_again_changes_nothing(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    url = new_url()
    corpus = whole_corpus()
    checkout.adopt(corpus)
    checkout.upgrade(url)
    (checkout.path / "compare.py").write_text(COMPARE)
    compared = checkout.run("compare", DATABASE_URL=url)
    assert compared.returncode == 0, compared.stderr
    assert not tables_of(url) & {"projects", "tasks"}
    linted = checkout.run("migrations.lint")
    assert linted.returncode == 0, linted.stdout
    before = checkout.files()
    assert "Nothing is new." in checkout.adopt(corpus)
    assert checkout.files() == before
    down = checkout.alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    assert tables_of(url) == {"alembic_version"}


FIRST = schema({"tasks": [column("title"), column("mood")], "notes": [column("task_id")]})


def test_a_reference_table_of_the_apps_schema_stays_what_it_is(checkout: Checkout) -> None:
    declared = checkout.path / "shared/models/prices.py"
    declared.write_text(
        '"""Prices."""\n\n'
        "from sqlalchemy.orm import Mapped\n\n"
        "from shared.database.base import Base\n"
        "from shared.models import columns\n"
        "from shared.models.reference import Reference\n\n\n"
        "class Price(Reference, Base):\n"
        '    """A price."""\n\n'
        '    __tablename__ = "prices"\n\n'
        "    amount: Mapped[float] = columns.number()\n"
    )
    whole = schema({"lists": [column("title")], "prices": [column("amount", "number")]})
    checkout.adopt(whole)
    app = (checkout.path / APP).read_text()
    assert "prices" not in app
    assert '"lists"' in app
    kept = json.loads((checkout.path / KEPT).read_text())
    assert [table["name"] for table in kept["tables"]] == ["lists", "prices"]
    done = checkout.run("schema.client_schema", "ts")
    assert done.returncode == 0, done.stderr
    assert "name: 'prices'" in done.stdout


def test_a_newer_schema_brings_the_difference_and_removes_only_when_told(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    url = new_url()
    checkout.adopt(FIRST)
    checkout.upgrade(url)
    execute(url, USER, ADOPTED)
    newer = schema({"tasks": [column("title"), *REQUIRED], "labels": []}, version=1)
    said = checkout.adopt(newer)
    assert said.startswith("Not in the schema, and kept (REMOVE=1 takes them and their data away):")
    assert "  tasks.mood\n  notes\n" in said
    assert (
        "New tables:\n  labels\nNew columns:\n  tasks.stars\n  tasks.is_done\n  tasks.why\n" in said
    )
    kept = json.loads((checkout.path / KEPT).read_text())
    assert kept["tables"] == newer["tables"]
    assert kept["retired"] == ["tasks.mood", "notes"]
    checkout.upgrade(url)
    assert {"notes", "labels", "tasks"} <= tables_of(url)
    # What was there has the empty values. A text has none, and is read as one.
    assert rows(url, "SELECT title, stars, is_done, why FROM tasks") == [("old", 0, 0, None)]
    said = checkout.adopt(newer, "--remove=1")
    assert said.startswith("Removed, with the data in them:\n  tasks.mood\n  notes\n")
    assert json.loads((checkout.path / KEPT).read_text())["retired"] == []
    assert "mood" not in (checkout.path / APP).read_text()


USER = (
    "INSERT INTO users (id, email, password, role, is_active, created_at, updated_at, last_modified_at)"
    " VALUES ('u', 'u@example.com', '', 'user', true, 0, 0, 0)"
)
#: Columns that what is there has no value for.
REQUIRED = [column("stars", "number"), column("is_done", "boolean"), column("why")]
ADOPTED = (
    "INSERT INTO tasks (user_id, id, title, mood, created_at_ms, updated_at_ms, is_deleted, created_by)"
    " VALUES ('u', 't', 'old', '', 0, 0, false, '')"
)
ROW = (
    "INSERT INTO projects (user_id, id, name, created_at, updated_at, created_at_ms, updated_at_ms,"
    " is_deleted, created_by) VALUES ('u', 'p', '', 0, 0, 0, 0, false, '')"
)
TASK = (
    "INSERT INTO tasks (user_id, id, title, is_completed, project_id, created_at, updated_at, created_at_ms,"
    " updated_at_ms, is_deleted, created_by) VALUES ('u', :id, '', false, :name, 0, 0, 0, 0, false, '')"
)


def test_the_demo_goes_when_it_is_empty_and_otherwise_only_when_told(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    url = new_url()
    checkout.upgrade(url)
    execute(url, USER, ROW)
    before = checkout.files()
    refused = checkout.try_to_adopt(FIRST, url=url)
    assert refused.returncode == 1
    assert refused.stderr == (
        "make adopt: The app's table tasks would take the place of the demo's, which stays: projects has 1 "
        "rows in DATABASE_URL; DEMO=drop removes them. Nothing was written.\n"
    )
    assert checkout.files() == before
    beside = checkout.adopt(schema({"lists": []}), url=url)
    assert "The demo's tables stay: projects has 1 rows in DATABASE_URL" in beside
    assert "The demo's tables are gone: projects, tasks." in checkout.adopt(
        FIRST, "--demo=drop", "--remove=1", url=url
    )
    checkout.upgrade(url)
    assert "projects" not in tables_of(url)


def test_rows_of_the_demo_in_another_database_stop_the_migration_before_anything_is_dropped(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    url = new_url()
    checkout.upgrade(url)
    execute(url, USER, ROW)
    checkout.adopt(FIRST)
    stopped = checkout.alembic(url, "upgrade", "head")
    assert stopped.returncode != 0
    assert "The demo's table projects has 1 rows. Delete them, or set drop_rows = True in" in (
        stopped.stdout + stopped.stderr
    )
    assert {"projects", "tasks"} <= tables_of(url)
    # A tombstone is no row that anybody would miss.
    execute(url, "UPDATE projects SET is_deleted = true")
    checkout.upgrade(url)
    assert "projects" not in tables_of(url)
    down = checkout.alembic(url, "downgrade", "-2")
    assert down.returncode == 0, down.stderr
    execute(url, ROW)


def test_nothing_is_dropped_before_make_migration_is_told(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    def migration(**environ: str) -> Done:
        return checkout.run("schema.migration", "other tables", **environ)

    url = new_url()
    checkout.upgrade(url)
    execute(url, USER, ROW)
    path = checkout.path / demo.DEMO
    declared = path.read_text()
    assert declared.count("description: Mapped[str | None]") == 2
    before = checkout.files()
    path.write_text(declared + '    task_id: Mapped[str] = columns.relation("tasks", "cascade")\n')
    refused = migration()
    assert refused.returncode != 0
    assert "tasks.task_id would be required and cascade in a table that is there" in refused.stdout
    path.write_text(declared)
    assert checkout.files() == before
    without = declared.replace("    is_completed: Mapped[bool] = columns.boolean()\n", "")
    path.write_text(without.replace("description: Mapped[str | None]", "description: Mapped[str]"))
    before = checkout.files()
    refused = migration()
    assert refused.returncode != 0
    assert "would remove, with the data in them:\n  column tasks.is_completed\n" in refused.stdout
    assert 'is_completed: Mapped[…] = columns.…(name="…")' in refused.stdout
    assert checkout.files() == before
    assert migration(REMOVE="1").returncode == 0
    checkout.upgrade(url)
    # Required now: a text without a value may stay so in the table, and is read as the empty one.
    assert rows(url, "SELECT description FROM projects") == [(None,)]
    assert rows(url, "SELECT COUNT(*) FROM tasks") == [(0,)]
    path.write_text(declared.split("class Task")[0].replace("Mapped[str | None]", "Mapped[str]"))
    refused = migration()
    assert "\n  table tasks\n" in refused.stdout
    assert '__tablename__ = "tasks" and WIRE_NAME = "…"' in refused.stdout
    assert migration(REMOVE="1").returncode == 0
    checkout.upgrade(url)
    assert "tasks" not in tables_of(url)


def test_a_relation_may_cascade_after_it_kept_with_rows_of_any_text_and_keep_again(
    checkout: Checkout, new_url: Callable[[], str]
) -> None:
    url = new_url()
    checkout.upgrade(url)
    path = checkout.path / demo.DEMO
    cascades = path.read_text()
    assert cascades.count('"cascade"') == 1

    def declare(text: str) -> None:
        path.write_text(text)
        written = checkout.run("schema.migration", "other relations")
        assert written.returncode == 0, written.stdout + written.stderr
        linted = checkout.run("migrations.lint")
        assert linted.returncode == 0, linted.stdout
        checkout.upgrade(url)
        (checkout.path / "compare.py").write_text(COMPARE)
        compared = checkout.run("compare", DATABASE_URL=url)
        assert compared.returncode == 0, compared.stderr

    declare(cascades.replace('"cascade"', '"keep"'))
    named = ["p", "x" * 128, "", "no id", "x" * 129, "é", "p\0", "p\n", "🍉", "-._"]
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(USER))
        for at, name in enumerate(named):
            connection.execute(text(TASK), {"id": f"t{at}", "name": name})
    engine.dispose()
    declare(cascades)
    # As if it had broken off before its end was noted.
    versions = sorted((checkout.path / demo.VERSIONS).glob("0*.py"))
    back = checkout.alembic(url, "stamp", versions[-2].name.split("_")[0])
    assert back.returncode == 0, back.stderr
    checkout.upgrade(url)
    found = rows(url, "SELECT id, project_id FROM tasks")
    assert {int(id_[1:]): name for id_, name in found} == {
        at: name if at in (0, 1, 9) else None for at, name in enumerate(named)
    }
    down = checkout.alembic(url, "downgrade", "-2")
    assert down.returncode == 0, down.stderr
    assert len(rows(url, "SELECT id FROM tasks")) == len(named)


def test_the_demo_stays_while_a_declaration_names_its_rows(checkout: Checkout) -> None:
    own = checkout.path / "shared/models/own.py"
    own.write_text(
        (checkout.path / demo.DEMO).read_text().split("class Project")[0]
        + "class Comment(Synced, Base):\n"
        '    """Something said."""\n\n'
        '    __tablename__ = "comments"\n\n'
        '    project_id: Mapped[str] = columns.relation("projects", "cascade")\n'
    )
    said = checkout.adopt(schema({"lists": []}))
    assert "The demo's tables stay: comments.project_id names their rows." in said


def test_what_no_engine_could_take_is_refused_and_nothing_is_written(checkout: Checkout) -> None:
    before = checkout.files()
    wide = schema({"wide": [column(f"c{n}") for n in range(400)]})
    refused = checkout.try_to_adopt(wide)
    assert refused.returncode == 1
    assert "MySQL takes 7800" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert checkout.files() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--schema="], "Say where the app's schema is: make adopt SCHEMA=path/to/schema.ts"),
        (["--schema=nowhere.ts"], "There is no nowhere.ts."),
        (["--schema=x.ts", "--remove=yes"], "REMOVE is 1 or not given, and so is DEMO=drop."),
        ([f"--schema={CORPUS}/throws.js"], "throws.js fails when it is loaded: TypeError: half"),
    ],
)
def test_a_refusal_is_one_line_and_writes_nothing(
    checkout: Checkout, options: list[str], said: str
) -> None:
    before = checkout.files()
    done = checkout.run("schema.adopt", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"make adopt: {said}")
    assert done.stderr.endswith(" Nothing was written.\n")
    assert checkout.files() == before
