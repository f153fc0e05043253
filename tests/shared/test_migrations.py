"""The migrations build what the models declare, on every engine, and take it down again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from shared.database.base import Base
from tests.conftest import ROOT, Backend, alembic, on_servers


def test_the_migrated_schema_is_the_models(backend: Backend, environ: dict[str, str]) -> None:
    engine = create_engine(environ["DATABASE_URL"])
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_downgrade_leaves_nothing_and_upgrade_works_again(backend: Backend) -> None:
    url, _ = backend.new_database("updown")
    for step in ("upgrade head", "downgrade base", "upgrade head", "downgrade base"):
        alembic(url, *step.split())
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


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
        is_id = column == "created_by" or column == "id" or column.endswith("_id")
        assert collation == ("ascii_bin" if is_id else "utf8mb4_bin"), (table, column)


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
        done = subprocess.run(
            [Path(sys.executable).parent / "alembic", "upgrade", "head"],
            cwd=checkout,
            env={**os.environ, "DATABASE_URL": backend.database.url("migrate", "online")},
            capture_output=True,
            text=True,
        )
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
        done = subprocess.run(
            [sys.executable, "-m", "deploy.lint_migrations"],
            cwd=checkout,
            capture_output=True,
            text=True,
        )
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
