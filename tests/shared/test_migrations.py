"""The migrations build what the models declare, on every engine, and take it down again."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect, text

from shared.database.base import Base
from shared.database.engines import prepare
from tests.conftest import ROOT, Backend, alembic, on_servers
from tests.servers.commands import run_module


def assert_is_at_head(url: str) -> None:
    """Hold a database's tables against the models."""
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_migrated_schema_is_the_models(backend: Backend, environ: dict[str, str]) -> None:
    assert_is_at_head(environ["DATABASE_URL"])


def test_downgrade_leaves_nothing_and_upgrade_works_again(backend: Backend) -> None:
    url, _ = backend.new_database("updown")
    for step in ("upgrade head", "downgrade base", "upgrade head", "downgrade base"):
        alembic(url, *step.split())
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_accounts_that_were_there_keep_password_and_rows_when_passwords_become_optional(
    backend: Backend,
) -> None:
    url, _ = backend.new_database("optional")
    alembic(url, "upgrade", "0009")
    engine = create_engine(url)
    # As the services do: what refers to a deleted row goes with it.
    prepare(engine)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO users (id, email, password, role, is_active, created_at, updated_at,"
            " last_modified_at) VALUES ('ann', 'ann', 'hash', 'user', 1, 1, 1, 1)",
            "INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_used_at, expires_at)"
            " VALUES ('phone', 'ann', 'x', 1, 1, 1)",
        ):
            connection.execute(text(statement))
    for step, password in (("upgrade head", None), ("downgrade 0009", ""), ("upgrade head", "")):
        alembic(url, *step.split())
        with engine.begin() as connection:
            assert connection.scalar(text("SELECT COUNT(*) FROM sessions")) == 1
            kept = connection.scalar(text("SELECT password FROM users WHERE id = 'ann'"))
            assert kept == ("hash" if password is None else password)
            if password is None:
                connection.execute(text("UPDATE users SET password = NULL"))
    engine.dispose()
    alembic(url, "downgrade", "base")


def rows_of(url: str, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of tables, by these columns."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            name: sorted(
                map(tuple, connection.execute(text(f"SELECT {', '.join(names)} FROM {name}"))),
                key=repr,
            )
            for name, names in columns.items()
        }
    engine.dispose()
    return found


def test_rows_of_the_release_before_are_as_they_were_after_every_migration(
    backend: Backend,
) -> None:
    url, _ = backend.new_database("kept")
    # Release 0.1.0.
    alembic(url, "upgrade", "0006")
    engine = create_engine(url)
    old = MetaData()
    old.reflect(engine)
    columns = {t.name: t.columns.keys() for t in old.sorted_tables if t.name in HELD}
    with engine.begin() as connection:
        for name, held in HELD.items():
            connection.execute(old.tables[name].insert(), held)
    engine.dispose()
    before = rows_of(url, columns)
    assert [len(rows) for rows in before.values()] == [2, 2, 3]
    alembic(url, "upgrade", "head")
    assert rows_of(url, columns) == before
    alembic(url, "downgrade", "0006")
    assert rows_of(url, columns) == before
    alembic(url, "downgrade", "base")


TICKS = {"created_at_ms": 5, "updated_at_ms": 2**53, "is_deleted": False, "created_by": "s"}
TIMES = {"created_at": -(2**53), "updated_at": 2**53}
TEXT = " 🍉 '\"\\ \n"
#: Rows of release 0.1.0, of each table in the order in which they name each other.
HELD: dict[str, list[dict[str, Any]]] = {
    "users": [
        {"id": id_, "email": f"{id_}@example.org", "password": "x", "name": TEXT}
        | {"role": "user", "is_active": True, "last_modified_at": 2**53, "purged_until": 0}
        | TIMES
        for id_ in ("u", "U")
    ],
    "projects": [
        {"user_id": "u", "id": id_, "name": TEXT, "description": TEXT * 1000} | TIMES | TICKS
        for id_ in ("p", "P" * 36)
    ],
    "tasks": [
        {"user_id": "u", "id": id_, "title": TEXT, "description": None, "is_completed": True}
        | {"project_id": parent, **TIMES, **TICKS}
        for id_, parent in (("t", "p"), ("T", "P" * 36), ("t" * 36, None))
    ],
}


@on_servers
def test_ids_and_texts_are_compared_byte_for_byte(
    backend: Backend, environ: dict[str, str]
) -> None:
    engine = create_engine(environ["DATABASE_URL"])
    with engine.connect() as connection:
        collations = connection.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
                " AND table_name <> 'alembic_version'"
            )
        ).all()
    engine.dispose()
    assert collations
    for table, column, collation in collations:
        assert collation in ("ascii_bin", "utf8mb4_bin"), (table, column)


MIGRATION = '''"""A change."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head}"
branch_labels = depends_on = None
release = "0.2.0"
{said}

def upgrade() -> None:
    {step}


def downgrade() -> None:
    pass
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what migrations need."""
    for name in ("deploy", "migrations", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def write(checkout: Path, step: str, said: str = "") -> None:
    versions = checkout / "migrations/versions"
    head = max(path.name for path in versions.glob("*.py")).split("_")[0]
    (versions / "9999_change.py").write_text(MIGRATION.format(head=head, step=step, said=said))


@on_servers
@pytest.mark.parametrize(
    ("step", "works"),
    [
        ('op.add_column("tasks", sa.Column("stars", sa.Integer(), server_default="0"))', True),
        ('op.create_index("ix_tasks_title", "tasks", ["title"])', True),
        # Both copy every row, for hours when there are many.
        ('op.alter_column("tasks", "title", type_=sa.Text(), existing_nullable=False)', False),
        ('op.create_foreign_key("fk_x", "sessions", "users", ["device_name"], ["email"])', False),
    ],
)
def test_a_step_that_would_copy_a_table_fails_instead(
    backend: Backend, checkout: Path, step: str, works: bool
) -> None:
    write(checkout, step)
    backend.database.create_database("online")
    try:
        url = backend.database.url("migrate", "online")
        done = run_module(checkout, "alembic", "upgrade", "head", DATABASE_URL=url)
        assert (done.returncode == 0) is works, done.stderr
        assert works or "ALGORITHM=INPLACE" in done.stderr
    finally:
        backend.database.drop_database("online")


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ('op.add_column("tasks", sa.Column("stars", sa.Integer()))', None),
        ('op.create_index("ix_tasks_title", "tasks", ["title"])', None),
        ('op.drop_column("tasks", "title")', "drop_column"),
        ('op.drop_table("tasks")', "drop_table"),
        ('op.alter_column("tasks", "title", new_column_name="name")', "alter_column"),
        ('op.rename_table("tasks", "todos")', "rename_table"),
        ('op.alter_column("tasks", "title", existing_type=sa.Text(), nullable=True)', None),
        ('op.alter_column("tasks", "title", nullable=False)', "alter_column"),
        ('op.execute("ALTER TABLE tasks DROP COLUMN title")', "execute(DROP …)"),
        ('op.add_column("tasks", sa.Column("s", sa.Integer(), nullable=False))', "server_default"),
        ('op.add_column("tasks", sa.Column("s", sa.Integer(), unique=True))', "step of its own"),
    ],
)
def test_what_the_running_release_still_uses_is_not_taken_away(
    checkout: Path, step: str, fault: str | None
) -> None:
    def lint() -> str:
        done = run_module(checkout, "migrations.lint")
        assert done.stderr == ""
        assert (done.returncode == 0) is ("nothing is taken away" in done.stdout)
        return done.stdout

    write(checkout, step)
    assert (fault or "nothing is taken away") in lint()
    # One that names an older release whose code stopped using it may.
    write(checkout, step, 'unused_since = "0.1.0"')
    assert "nothing is taken away" in lint()
    write(checkout, step, 'unused_since = "0.2.0"')
    assert (fault or "nothing is taken away") in lint()
