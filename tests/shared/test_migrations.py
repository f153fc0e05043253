"""The migrations build what the models declare, on every engine, and take it down again."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from shared.db import Base
from tests.conftest import Backend, alembic


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


def test_ids_and_texts_are_compared_byte_for_byte(
    backend: Backend, environ: dict[str, str]
) -> None:
    if backend.name == "embedded":
        pytest.skip("SQLite always does")
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
