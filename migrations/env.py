"""How Alembic reaches the database: `DATABASE_URL`, with the same engine options as the services."""

import os

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import shared.models  # noqa: F401 - declares the tables
from shared.db import Base, engine_options, prepare
from shared.models.columns import ID


def render_item(kind, item, autogen):
    """Write the type of ids by its name into new migrations."""
    if kind == "type" and item is ID:
        autogen.imports.add("from shared.models.columns import ID")
        return "ID"
    return False


url = make_url(os.environ["DATABASE_URL"])
engine = create_engine(url, **engine_options(url))
prepare(engine)

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot change a table in place.
        render_as_batch=url.get_backend_name() == "sqlite",
        render_item=render_item,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
